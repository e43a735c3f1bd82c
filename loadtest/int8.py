"""Compares FP32, FP16 and INT8 of the shipped models: calibrators, sources and smoothing, on the same queries.

python loadtest/int8.py INDEX --judgments judgments.csv --work FOLDER [--models embed,rerank] [--share 1/4]
    [--before int8-cpu.json] [--modelopt PYTHON: of an environment that has NVIDIA ModelOpt, see peers/modelopt_ptq.py]

Writes docs/benchmarks/int8-cpu.json and .md, anew after every recipe. The rows of each lie in the folder of --work,
where a run that was stopped goes on; several processes may share it, each with a --share of the recipes. With
`--models ""` nothing is measured: the page is written from rows that are there, of whatever machine. Lines that lie in
the folder's beside.txt, such as what else ran on the machine, stand on the page.
"""

import json
import os
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from int8_bench import Bench, steps
from int8_shared import beside
from int8_subject import MODELS
from options import parser_of, some_of
from report import Row, write

from millirank.loadtest.results import published, read_rows, result
from millirank_engines.build.quantize.gate import LIMITS

FROM = ("machine", "commit", "date", "command")  # of a result
BEFORE = ("ModelOpt", "time/")  # what a run without ModelOpt keeps of an earlier one: in the case of its rows
NOTES = (
    "What each precision of the shipped models' real weights answers to the same queries, beside FP32. `fp16` is the",
    "FP16 graph that TensorRT is built from, GELU by tanh, every FP16 output of a node rounded to it; pooling's sum",
    "and a classifier's last product are FP32 in that graph, and here so are the sums inside a product or a",
    "normalization. It rounds more often than a GPU, which fuses nodes, and says nothing of one that sums in FP16.",
    "INT8 rows are Q/DQ graphs with exact products, as on hardware that multiplies INT8, and FP32 between them: none",
    "of them depends on what a processor has. All linear layers are INT8, none spared, but for `int8 as it ships`, the",
    "scales in the package. `alpha chosen`: each layer's smoothing by its own search; `no shift`: channels are not",
    "moved to the middle of their ranges. Where they are, GELU's floor lies at the end of the range; a cut by entropy",
    "falls before it, so that many values change.",
)
EARLIER = (
    "Sections `before` are of an earlier run, with ModelOpt, which quantizes the same graph from the same data, run as",
    "it is written: as it comes, sums of the residual stream are INT8, too; `products alone` is what the others",
    "quantize.",
)


def share_of(text: str) -> tuple[int, int]:
    """The type of --share: which of how many."""
    which, _, count = text.partition("/")
    if not (which.isdecimal() and count.isdecimal() and 1 <= int(which) <= int(count)):
        raise ArgumentTypeError(f"{text} is no share: write 1/4 to 4/4")
    return int(which), int(count)


def asked(given: Namespace) -> dict[str, Any]:
    """What rows depend on besides their names."""
    return {name: getattr(given, name) for name in ("count", "queries", "depth")} | {"judged": bool(given.judgments)}


def measure(given: Namespace) -> None:
    """Measures this process's share of the recipes that no row is kept of."""
    which, count = given.share
    for task in given.models:
        with ExitStack() as opened:
            bench: Bench | None = None
            for number, (how, made) in enumerate(steps(task, modelopt=bool(given.modelopt))):
                path = given.work / "rows" / task / f"{number:02} {how}.json"
                if number % count != which - 1 or kept(path, given):
                    continue
                if bench is None:
                    bench = Bench(task, given, given.work / f"{which} of {count}" / task)
                    opened.callback(bench.close)
                print(f"{MODELS[task]}/{how}", flush=True)
                keep(path, given, list(made(bench)))
                page(given)


def kept(path: Path, given: Namespace) -> dict[str, Any] | None:
    """What was measured before, if it was asked the same."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found if found.get("asked") == asked(given) else None


def keep(path: Path, given: Namespace, rows: list[Row]) -> None:
    """At once: processes beside this one read it, too."""
    words = iter(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    command = published([word for word in words if word != "--share" or not next(words)])
    about = result(rows) | {"command": command}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}")
    part.write_text(json.dumps(about | {"asked": asked(given)}), encoding="utf-8")
    part.replace(path)


def page(given: Namespace) -> None:
    """Writes the rows that lie in the work folder, of this process and of others."""
    rows: list[Row] = []
    abouts: list[dict[str, str]] = []
    places: dict[str, list[str]] = {}  # which recipes' rows are of which machine and commit
    for task, model in MODELS.items():
        for path in sorted((given.work / "rows" / task).glob("*.json")):
            if found := kept(path, given):
                rows += [Row(**row) for row in found["rows"]]
                abouts.append({key: found[key] for key in FROM})
                place = f"{found['machine']}, commit {found['commit']}"
                places.setdefault(place, []).append(f"{model}/{path.stem.partition(' ')[2]}")
    about = {key: "; ".join(dict.fromkeys(one[key] for one in abouts)) for key in FROM if abouts}
    lines = [
        *NOTES,
        f"top1 and recall@100: {given.queries} known-item queries, of the encoder in its fused order, of the reranker",
        f"in the final one over {given.depth} candidates; nDCG@10: judged queries. Calibrated on at most {given.count}",
        "queries and as many products: made traffic (brand, type and long queries of rules, with BM25's products),",
        "catalogue text, or random tokens; cosines on catalogue text that was held back.",
        "",
        *(f"- {line}" for line in failing(rows)),
        *(f"- {line}" for line in beside(given.work)),
        *(f"- on {place}: {'; '.join(names)}" for place, names in places.items() if len(places) > 1),
    ]
    if given.before:
        old = json.loads(given.before.read_text(encoding="utf-8"))
        rows += before(given.before)
        told = f"{old['date']}, commit {old['commit']}, {old['machine']}: `{old['command']}`"
        lines += [f"- before: {told}", "", *EARLIER]
    write(given.name, "INT8 on the CPU", lines, rows, given.out, about=about)


def failing(rows: Sequence[Row]) -> Iterator[str]:
    """What loses more than the gate allows, by figure and model, the worst first."""
    for model in MODELS.values():
        for name, limit in LIMITS.items():
            lost = {
                row.case.removeprefix(f"{model}/"): row.value
                for row in rows
                if row.case.startswith(f"{model}/") and row.metric == f"{name} lost" and row.value > limit
            }
            if lost:
                told = "; ".join(f"{how} ({lost[how]:.3g})" for how in sorted(lost, key=lost.__getitem__, reverse=True))
                yield f"{model} loses more {name} than the gate's {limit:g}: {told}"


def before(path: Path) -> Iterator[Row]:
    """Rows of an earlier run that this one does not measure, and what they compare with, in sections of their own."""
    for row in read_rows(path):
        section, _, case = row.case.rpartition("/")
        base = "catalogue, max, alpha chosen, 8 bits"
        if any(name in row.case for name in BEFORE) or (section == MODELS["embed"] and case == base):
            yield Row(f"{section}, before/{case}", row.metric, row.value, row.unit)


def main() -> None:
    """Measures, and writes the page."""
    parser = parser_of(__doc__, "int8-cpu")
    parser.add_argument("index", type=Path)
    parser.add_argument("--judgments", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=192, help="queries and products to calibrate on")
    parser.add_argument("--queries", type=int, default=600, help="known-item queries")
    parser.add_argument("--depth", type=int, default=10, help="candidates that are reranked")
    parser.add_argument("--models", type=some_of(MODELS), default=",".join(MODELS), help="some of %(default)s")
    parser.add_argument("--share", type=share_of, default=(1, 1), help="of the recipes, such as 1/4")
    parser.add_argument("--before", type=Path, help="an earlier result, whose rows of ModelOpt and times are kept")
    parser.add_argument("--modelopt", type=Path, help="the Python of an environment with NVIDIA ModelOpt")
    given = parser.parse_args()
    measure(given)
    page(given)


if __name__ == "__main__":
    main()

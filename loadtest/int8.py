"""Compares FP32, FP16 and INT8 of the shipped models: calibrators, sources and smoothing, on the same queries.

python loadtest/int8.py INDEX --judgments judgments.csv --work FOLDER [--models embed,rerank] [--share 1/4]
    [--again FOLDER] [--before int8-cpu.json]
    [--modelopt PYTHON: of an environment that has NVIDIA ModelOpt, see peers/modelopt_ptq.py]

Writes docs/benchmarks/int8-cpu.json and .md, anew after every recipe. The rows of each lie in the folder of --work,
where a run that was stopped goes on; several processes may share it, each with a --share of the recipes. With
`--models ""` nothing is measured: the page is written from rows that are there, of whatever machine. Lines that lie in
the folder's beside.txt, such as what else ran on the machine, stand on the page.
"""

import json
import os
import sys
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from int8_bench import Bench, steps
from int8_shared import beside, written_whole
from int8_subject import MODELS
from options import parser_of, some_of
from report import Row, write

from millirank.loadtest.results import published, read_rows, result
from millirank_engines.build.quantize.gate import LIMITS

FROM = ("machine", "commit", "date", "command")  # of a result
AGAIN, EARLIER_RUN = ", again", ", before"  # of a section
BEFORE = ("ModelOpt", "time/")  # what a run without ModelOpt keeps of an earlier one: in the case of its rows
NOTES = (
    "What each precision of the shipped models' real weights answers to the same queries, beside FP32. `fp16` is the",
    "FP16 graph that TensorRT is built from, GELU by tanh, every FP16 output of a node rounded to it; pooling's sum",
    "and a classifier's last product are FP32 in that graph, and here so are the sums inside a product or a",
    "normalization. It rounds more often than a GPU, which fuses nodes, and says nothing of one that sums in FP16.",
    "INT8 rows are Q/DQ graphs with exact products, as on hardware that multiplies INT8, whether this processor does",
    "or not, and FP32 between them. The last digits of FP32 differ by processor, in these graphs and in the making of",
    "scales, and what lies between two steps of INT8 falls to the other one with them: sections `again` are of recipes",
    "made on another. All linear layers are INT8, none spared, but for `int8 as it ships`, the scales in the package.",
    "`alpha chosen`: each layer's smoothing by its own search; `no shift`: channels are not moved to the middle of",
    "their ranges. Where they are, GELU's floor lies at the end of the range; a cut by entropy falls before it, so",
    "that many values change. top1 of the encoder does not tell one that finds nothing: its known items are found by",
    "words, too. `ndcg@10 agreement` is how many of the first ten are the same, which a reranker of ten cannot change.",
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
    """Writes the rows, and where they are from."""
    words = iter(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    command = published([word for word in words if word != "--share" or not next(words)])
    about = result(rows) | {"command": command}
    path.parent.mkdir(parents=True, exist_ok=True)
    written_whole(path, json.dumps(about | {"asked": asked(given)}))


def recipes(work: Path, given: Namespace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Model, recipe and what was measured, of this process and of others."""
    for task, model in MODELS.items():
        for path in sorted((work / "rows" / task).glob("*.json")):
            if found := kept(path, given):
                yield model, path.stem.partition(" ")[2], found


def page(given: Namespace) -> None:
    """Writes the rows that lie in the work folder, and those that were measured again."""
    rows: list[Row] = []
    abouts: list[dict[str, str]] = []
    places: dict[str, dict[str, list[str]]] = {}  # by section and by machine and commit: recipes
    for folder in (given.work, *([given.again] if given.again else ())):
        for model, how, found in recipes(folder, given):
            section = model if folder == given.work else f"{model}{AGAIN}"
            made = [Row(**row) for row in found["rows"]]
            rows += [replace(row, case=section + row.case.removeprefix(model)) for row in made]
            abouts.append({key: found[key] for key in FROM})
            place = f"{found['machine']}, commit {found['commit']}"
            places.setdefault(section, {}).setdefault(place, []).append(how)
    about = {key: "; ".join(dict.fromkeys(one[key] for one in abouts)) for key in FROM if abouts}
    lines = [
        *NOTES,
        f"top1 and recall@100: {given.queries} known-item queries, of the encoder in its fused order, of the reranker",
        f"in the final one over {given.depth} candidates; nDCG@10: judged queries. Calibrated on at most {given.count}",
        "queries and as many products: made traffic (brand, type and long queries of rules, with BM25's products),",
        "catalogue text, or random tokens; cosines on catalogue text that was held back.",
        "",
        *(f"- {line}" for line in failing(rows)),
        *(f"- {line}" for line in swings(rows)),
        *(f"- {line}" for line in beside(given.work)),
        *(f"- {section} on {place}" for section, found in places.items() for place in made_on(found)),
    ]
    if given.before:
        rows += before(given.before)
        lines += [told_before(given.before), "", *EARLIER]
    write(given.name, "INT8 on the CPU", lines, rows, given.out, about=about)


def made_on(places: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Where the rows of a section were made: recipes are named where it was not one machine alone."""
    for place, names in places.items():
        yield f"{place}: {'; '.join(names)}" if len(places) > 1 else place


def failing(rows: Sequence[Row]) -> Iterator[str]:
    """What loses more than the gate allows, by model and figure, the worst first."""
    for section in dict.fromkeys(row.case.partition("/")[0] for row in rows):
        for name, limit in LIMITS.items():
            lost = {how: value for how, value in figures(rows, section, f"{name} lost").items() if value > limit}
            if lost:
                told = "; ".join(f"{how} ({lost[how]:.3g})" for how in sorted(lost, key=lost.__getitem__, reverse=True))
                yield f"{section} loses more {name} than the gate's {limit:g}: {told}"


def swings(rows: Sequence[Row]) -> Iterator[str]:
    """How far figures of a recipe lie from those of the same recipe that was made again, at most."""
    for model in MODELS.values():
        moved = {}
        for name in LIMITS:
            first, second = figures(rows, model, name), figures(rows, f"{model}{AGAIN}", name)
            if both := first.keys() & second.keys():
                moved[name] = max(abs(second[how] - first[how]) for how in both)
        if moved:
            told = ", ".join(f"{name} {far:.2g} ({LIMITS[name]:g} may be lost)" for name, far in moved.items())
            yield f"{model}: recipes that were made again on another machine moved by at most {told}"


def figures(rows: Sequence[Row], section: str, metric: str) -> dict[str, float]:
    """A metric by recipe."""
    return {
        row.case.removeprefix(f"{section}/"): row.value
        for row in rows
        if row.case.startswith(f"{section}/") and row.metric == metric
    }


def before(path: Path) -> Iterator[Row]:
    """Rows of an earlier run that this one does not measure, and what they compare with, in sections of their own."""
    rows = read_rows(path)
    if again := [row for row in rows if f"{EARLIER_RUN}/" in row.case]:  # itself written with --before
        yield from again
        return
    for row in rows:
        section, _, case = row.case.rpartition("/")
        base = "catalogue, max, alpha chosen, 8 bits"
        if any(name in row.case for name in BEFORE) or (section == MODELS["embed"] and case == base):
            yield Row(f"{section}{EARLIER_RUN}/{case}", row.metric, row.value, row.unit)


def told_before(path: Path) -> str:
    """Where those rows come from, as the page tells that had them first."""
    page = path.with_suffix(".md")
    lines = page.read_text(encoding="utf-8").splitlines() if page.is_file() else []
    old = json.loads(path.read_text(encoding="utf-8"))
    told = f"- before: {old['date']}, commit {old['commit']}, {old['machine']}: `{old['command']}`"
    return next((line for line in lines if line.startswith("- before: ")), told)


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
    parser.add_argument("--again", type=Path, help="a work folder with some recipes again, made on another machine")
    parser.add_argument("--before", type=Path, help="an earlier result, whose rows of ModelOpt and times are kept")
    parser.add_argument("--modelopt", type=Path, help="the Python of an environment with NVIDIA ModelOpt")
    given = parser.parse_args()
    measure(given)
    page(given)


if __name__ == "__main__":
    main()

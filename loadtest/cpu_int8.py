"""INT8 on a processor that multiplies it in hardware, beside FP32 and BF16: times, choice, gate and the whole path.

python loadtest/cpu_int8.py --work DIR [--parts times,choice,gate,path] [--index INDEX --judgments judgments.csv]
    [--cores 2] [--scales DIR] [--models embed,rerank] [--name int8-cpu-vnni] [--out DIR]

Writes docs/benchmarks/int8-cpu-vnni.json and .md, anew after every part. Parts may run in calls of their own, side by
side on other cores: their rows lie in the folder of --work. Scales are those that ship; DIR of --scales holds
MODEL.safetensors for a model that ships without. gate and path ask INDEX, as `millirank index` makes it; path needs
what choice has built.
"""

import argparse
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from int8_answers import choice_rows, gate_rows, path_rows
from int8_subject import MODELS, Int8Subject
from interleave import Entrant, interleaved
from report import BENCHMARKS, Row, write
from targets import Target

from millirank.evaluation import Judgments, read_judgments
from millirank_engines import Task
from millirank_engines.build.parity import parity_feeds, words
from millirank_engines.build.quantize.bits import multiplies_int8
from millirank_engines.build.quantize.gate import LIMITS
from millirank_engines.device import cores, this_cpu
from millirank_engines.manifest import parse_profile
from millirank_engines.openvino import STATIC_TOKENS

PARTS = ("times", "choice", "gate", "path")
SHAPES: dict[Task, tuple[str, ...]] = {"embed": ("1x8", "1x16"), "rerank": ("10x32", "16x32", "50x32", "50x64")}
SERVED = 30  # calls of each shape as it is served, at most
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
FASTER = (("rerank", "10x32", 2.7), ("rerank", "50x32", 2.7), ("embed", "1x8", 1.4))  # INT8 than FP32, as issue 6 asks
TARGETS = (
    *(
        Target(
            f"{task} {shape}, INT8 over FP32, p50",
            rf"minilm-\w+/{task}/{shape}/openvino/(?P<by>int8.*)",
            "against fp32",
            bound,
            "x",
            least=True,
        )
        for task, shape, bound in FASTER
    ),
    *(
        Target(f"{model}, {name} lost on Chorus", rf"minilm-{model}/gate, (?P<by>int8)/{name}", "lost", LIMITS[name])
        for model, name in (
            *(("encoder", name) for name in ("top1", "ndcg@10", "cosine_p1", "recall@100")),
            *(("reranker", name) for name in ("top1", "ndcg@10", "kendall_tau")),
        )
    ),
)
NOTES = (
    "The shipped models with their shipped scales in OpenVINO, all precisions in one process on the same cores, in ten",
    "turns, shapes at random, from host arrays to host arrays. Shapes of the first table have static models, which the",
    "path has for small ones alone; `as served` has them as the path does: there a change of shape costs a dynamic",
    "model about 1.2 ms. `int8` computes what is no product in the processor's default, `int8, rest fp32` in FP32.",
    "`choice of auto` is what `millirank index` does where INT8 may pay, by its own clock. `gate` asks known-item and",
    "judged queries of Chorus, INT8 as this processor multiplies it; top1 and recall@100 in percent. `path` is that of",
    "a judged query from its text to ranked products, gRPC left out, no time limit.",
)


def pinned(count: int) -> tuple[int, ...]:
    """Keeps this process on so many processors, each of a core of its own while there are such; 0 changes nothing."""
    mine = sorted(os.sched_getaffinity(0))
    seen: set[str] = set()
    chosen = []
    for processor in mine:
        path = Path(SIBLINGS.format(processor))
        core = path.read_text(encoding="ascii") if path.is_file() else str(processor)
        if core not in seen:
            chosen.append(processor)
        seen.add(core)
    chosen += [processor for processor in mine if processor not in chosen]
    if count:
        os.sched_setaffinity(0, chosen[:count])
    return tuple(sorted(os.sched_getaffinity(0)))


def time_rows(subject: Int8Subject, seconds: float, replays: int) -> Iterator[Row]:
    """Every precision at every shape, with static models and as served, and how many times as fast as FP32 each is."""
    shapes = tuple(map(parse_profile, SHAPES[subject.task]))
    spec = subject.float.spec
    feeds = parity_feeds(spec, words(subject.float.folder / "tokenizer.json", spec), shapes)
    forms = {"static": (max(p.tokens for p in shapes), replays), "served": (STATIC_TOKENS[subject.task], SERVED)}
    for form, (static_tokens, calls) in forms.items():
        engines = subject.engines(shapes, static_tokens)
        try:
            entrants = [Entrant(how, engine, feeds, min(calls, replays)) for how, engine in engines.items()]
            taken = {(one.profile, how): one for how, one in interleaved(entrants, spec, seconds=seconds)}
        finally:
            for engine in engines.values():
                engine.close()
        for (profile, how), timing in sorted(taken.items(), key=lambda pair: pair[0][0]):
            place = f"{subject.task}/{profile}/openvino" if form == "static" else f"as served, {profile}"
            case = f"{subject.name}/{place}/{how}"
            for metric, q in (("p50", 0.5), ("p99", 0.99)):
                yield Row(case, metric, 1e3 * timing.quantile(q), "ms")
            yield Row(case, "calls", len(timing.seconds), "calls")
            first = taken[profile, "fp32"].quantile(0.5)
            yield Row(case, "against fp32", first / timing.quantile(0.5), "x")


def part_rows(part: str, task: Task | None, given: argparse.Namespace) -> Iterator[Row | str]:
    """The rows of one part, of one model where that has a say."""
    engines, judged = given.work / "engines", _judged(given)
    if task is None:
        asked = dict(list(judged.items())[: given.asked])
        yield from path_rows(given.index, engines, asked)
        return
    subject = Int8Subject(task, given.work, given.scales)
    if part == "times":
        yield from time_rows(subject, given.seconds, given.replays)
    elif part == "choice":
        yield from choice_rows(subject, engines)
    else:
        cache = given.work / "answers"
        yield from gate_rows(subject, given.index, judged, cache, queries=given.queries, depth=given.depth)


def _judged(given: argparse.Namespace) -> Judgments:
    return read_judgments(given.judgments) if given.judgments else {}


def page(given: argparse.Namespace) -> None:
    """Writes the rows that lie in the work folder, of this call and of others."""
    rows: list[Row] = []
    notes = []
    for part in PARTS:
        for path in sorted((given.work / "rows").glob(f"{part}*.json")):
            kept = json.loads(path.read_text(encoding="utf-8"))
            rows += [Row(**row) for row in kept["rows"]]
            notes += kept["notes"]
    has = "multiplies" if multiplies_int8(this_cpu()) else "does NOT multiply"
    about = f"- this processor {has} INT8 in hardware; its instruction sets: {', '.join(this_cpu().features)}"
    lines = [*NOTES, "", about, *(f"- {note}" for note in dict.fromkeys(notes))]
    write(given.name, "INT8 on a CPU with VNNI", lines, rows, given.out, targets=TARGETS, compared=("p50",))


def main() -> None:
    """Measures part by part; one that fails leaves the others standing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="keeps rows, graphs and engines")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--models", default=",".join(MODELS), help="some of %(default)s")
    parser.add_argument("--index", type=Path, help="for gate and path")
    parser.add_argument("--judgments", type=Path, help="of its catalogue, for gate and path")
    parser.add_argument("--scales", type=Path, help="a folder of MODEL.safetensors")
    parser.add_argument("--cores", type=int, default=2, help="to run on; 0 takes all that this process has")
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing an engine at a shape, about")
    parser.add_argument("--replays", type=int, default=2000, help="of each shape, at most")
    parser.add_argument("--queries", type=int, default=2000, help="known-item queries of the gate")
    parser.add_argument("--depth", type=int, default=20, help="candidates that the gate reranks")
    parser.add_argument("--asked", type=int, help="judged queries of the path; all by default")
    parser.add_argument("--name", default="int8-cpu-vnni")
    parser.add_argument("--out", type=Path, default=BENCHMARKS)
    given = parser.parse_args()
    parts, models = given.parts.split(","), given.models.split(",")
    if unknown := sorted({*parts} - {*PARTS}) + sorted({*models} - {*MODELS}):
        sys.exit(f"{', '.join(unknown)} is unknown: name some of {', '.join((*PARTS, *MODELS))}")
    if {"gate", "path"} & {*parts} and not (given.index and given.judgments):
        sys.exit("gate and path ask an index about judged queries: name both with --index and --judgments")
    used = pinned(given.cores)
    (given.work / "rows").mkdir(parents=True, exist_ok=True)
    failed = []
    for part in parts:
        for task in [None] if part == "path" else [one for one in MODELS if one in models]:
            name = f"{part}-{task}" if task else part
            print(f"{name}: on processors {', '.join(map(str, used))}", flush=True)
            try:
                found = list(part_rows(part, task, given))
            except Exception:  # noqa: BLE001 - the others are worth having
                traceback.print_exc()
                failed.append(name)
                continue
            notes = [line for line in found if isinstance(line, str)]
            notes.append(f"{name} ran on {cores()} processors of {os.cpu_count()}: {', '.join(map(str, used))}")
            kept = {"rows": [vars(row) for row in found if isinstance(row, Row)], "notes": notes}
            (given.work / "rows" / f"{name}.json").write_text(json.dumps(kept), encoding="utf-8")
            page(given)
    print(f"wrote {given.out / given.name}.json and .md", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; repeat with --parts and --models")


if __name__ == "__main__":
    main()

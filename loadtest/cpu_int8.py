"""INT8 on a processor that multiplies it in hardware, beside FP32 and BF16: times, choice, gate and the whole path.

python loadtest/cpu_int8.py --work DIR [--parts times,choice,gate,path] [--index INDEX --judgments judgments.csv]
    [--cores 2] [--scales DIR] [--models rerank,embed] [--name int8-cpu-vnni] [--out DIR]

Writes docs/benchmarks/int8-cpu-vnni.json and .md, anew as rows come. Parts may run in calls of their own, side by side
on other cores: their rows lie in the folder of --work. Scales are those that ship; DIR of --scales holds
MODEL.safetensors for a model that ships without. gate and path ask INDEX, as `millirank index` makes it; path needs
what choice has built. `--join DIR,DIR` measures nothing: it writes one page of several such folders, as does
`--run FILE --run FILE` of results, int8-cpu-vnni.json with its page beside it; `--renamed NUMBER:OLD=NEW` gives a
precision of a run the name that it has today. Lines of beside.txt in such a folder, such as what else ran on the
machine, stand on the page.
"""

import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import needs
from int8_answers import built_rows, gate_rows, path_rows
from int8_page import PARTS, joined, keep, page
from int8_shared import int8_parser, word_feeds
from int8_subject import HOWS, Int8Subject
from interleave import Entrant, interleaved
from options import some_of
from report import Row

from millirank.commands.enginebench import timing_rows
from millirank.errors import ConfigError
from millirank.evaluation import read_judgments
from millirank.stack import MODELS as FOLDERS
from millirank_engines import Task, read_manifest
from millirank_engines.manifest import parse_profile
from millirank_engines.openvino import STATIC_TOKENS

STATIC, SERVED = "openvino", "as served"
PRECISIONS = ("fp32", "bf16", "int8", "auto")
GROUPS: dict[Task, tuple[tuple[str, tuple[str, ...]], ...]] = {  # shapes that are timed together, targets first
    "rerank": ((STATIC, ("10x32", "50x32")), (STATIC, ("16x32", "50x64")), (SERVED, ("10x32", "50x32"))),
    "embed": ((STATIC, ("1x8", "1x16")), (SERVED, ("1x8", "1x16"))),
}
Job = tuple[str, str, Task | None, int]  # its name, part, model and group of shapes
LEAST, WARM = 40, 1  # calls of a shape, and before each turn: 100 and 5 took minutes at 50x64
TAIL = 100  # calls from which a p99 says something
SIBLINGS = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"


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


def time_rows(subject: Int8Subject, group: int, given: Namespace) -> Iterator[Row]:
    """Every precision at every shape of a group, and how many times as fast as FP32 each is."""
    place, written = GROUPS[subject.task][group]
    shapes = tuple(map(parse_profile, written))
    tokens = STATIC_TOKENS[subject.task] if place == SERVED else max(profile.tokens for profile in shapes)
    feeds = word_feeds(subject.float, shapes)
    engines = subject.engines(shapes, tokens, given.hows)
    try:
        entrants = [Entrant(how, engine, feeds, given.replays) for how, engine in engines.items()]
        timings = interleaved(entrants, subject.float.spec, seconds=given.seconds, least=LEAST, warm=WARM)
        taken = {(one.profile, how): one for how, one in timings}
    finally:
        for engine in engines.values():
            engine.close()
    for (profile, how), timing in sorted(taken.items(), key=lambda pair: pair[0][0]):
        where = f"{place}, {profile}" if place == SERVED else f"{subject.task}/{profile}/{place}"
        case = f"{subject.name}/{where}/{how}"
        told = {"p50", "calls"} | ({"p99"} if len(timing.seconds) >= TAIL else set())
        yield from (row for row in timing_rows(case, timing, None) if row.metric in told)
        first = taken[profile, "fp32"].quantile(0.5)
        yield Row(case, "against fp32", first / timing.quantile(0.5), "x")


def fp32_engines(folder: Path) -> Path:
    """The folder, if what lies there is FP32.

    Raises:
        ConfigError: if it is not: it must not be called so.
    """
    for name in FOLDERS:
        precision = read_manifest(folder / name).precision
        if precision != "fp32":
            fix = "build FP32 in --work with `--parts choice --precisions fp32` first, then repeat with --parts path"
            raise ConfigError(f"{folder / name} is {precision}, path compares with fp32: {fix}")
    return folder


def part_rows(part: str, task: Task | None, group: int, given: Namespace) -> Iterator[Sequence[Row | str]]:
    """The rows of one part, of one model and of one group of its shapes where these have a say, as they come."""
    engines = given.work / "engines"
    judged = read_judgments(given.judgments) if given.judgments else {}
    if task is None:
        asked = dict(list(judged.items())[: given.asked])
        sets = {folder.name: folder for folder in sorted(engines.iterdir())} if engines.is_dir() else {}
        if "fp32" not in sets:
            sets["fp32"] = fp32_engines(given.index / "engines")
        yield from path_rows(given.index, {how: one for how, one in sets.items() if how in given.paths}, asked)
        return
    subject = Int8Subject(task, given.work, given.scales)
    yield [f"{subject.name} is {subject.source}, {subject.float.spec.layers} layers"]
    if part == "times":
        yield list(time_rows(subject, group, given))
    elif part == "choice":
        yield from built_rows(subject, engines, given.precisions)
    else:
        cache = given.work / "answers"
        yield from gate_rows(
            subject, given.index, judged, cache, hows=given.hows, queries=given.queries, depth=given.depth
        )


def jobs(given: Namespace) -> Iterator[Job]:
    """What is to be measured, one after the other."""
    for part in given.parts:
        if part == "path":
            yield part, part, None, 0
            continue
        for task in (task for task in GROUPS if task in given.models):
            if part != "times":
                yield f"{part}-{task}", part, task, 0
                continue
            for group in range(len(GROUPS[task])):
                if not given.groups or str(group + 1) in given.groups.split(","):
                    yield f"{part}-{task}-{group + 1}", part, task, group


def measure(given: Namespace) -> None:
    """Measures part by part; one that fails leaves the others standing."""
    if given.work is None:
        sys.exit("name a folder that keeps rows, graphs and engines with --work")
    if {"gate", "path"} & {*given.parts} and not (given.index and given.judgments):
        sys.exit("gate and path ask an index about judged queries: name both with --index and --judgments")
    needs.linux("/proc/cpuinfo and pins itself to cores")
    used = pinned(given.cores)
    (given.work / "rows").mkdir(parents=True, exist_ok=True)
    failed = []
    for name, part, task, group in jobs(given):
        print(f"{name}: on processors {', '.join(map(str, used))}", flush=True)
        found: list[Row | str] = []
        try:
            for rows in part_rows(part, task, group, given):
                found += rows
                keep(given, name, found, used)
        except Exception:  # noqa: BLE001 - the others are worth having
            traceback.print_exc()
            failed.append(name)
    print(f"wrote {given.out / given.name}.json and .md", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; repeat with --parts and --models")


def main() -> None:
    """Measures, or joins what was measured."""
    parser, precisions = int8_parser(__doc__, "int8-cpu-vnni", PARTS), some_of(PRECISIONS)
    parser.add_argument("--work", type=Path, help="keeps rows, graphs and engines")
    parser.add_argument("--models", type=some_of(GROUPS), default=",".join(GROUPS), help="some of %(default)s")
    parser.add_argument("--index", type=Path, help="for gate and path")
    parser.add_argument("--judgments", type=Path, help="of its catalogue, for gate and path")
    parser.add_argument("--cores", type=int, default=2, help="to run on; 0 takes all that this process has")
    parser.add_argument("--seconds", type=float, default=2.0, help="of timing an engine at a shape, about")
    parser.add_argument("--replays", type=int, default=2000, help="of each shape, at most")
    parser.add_argument("--queries", type=int, default=2000, help="known-item queries of the gate")
    parser.add_argument("--depth", type=int, default=20, help="candidates that the gate reranks")
    parser.add_argument("--asked", type=int, help="judged queries of the path; all by default")
    parser.add_argument("--groups", help="of a model's shapes that times measures, from 1; all by default")
    parser.add_argument(
        "--hows", type=some_of(HOWS, ";"), default=";".join(HOWS), help="of times and gate, separated by semicolons"
    )
    parser.add_argument(
        "--precisions", type=precisions, default=",".join(PRECISIONS), help="that choice builds, in this order"
    )
    parser.add_argument(
        "--paths", type=precisions, default=",".join(PRECISIONS), help="engines that path asks, of what choice built"
    )
    parser.add_argument("--join", help="folders of earlier runs")
    parser.add_argument("--run", type=Path, action="append", help="a result of an earlier run, with its page beside it")
    parser.add_argument("--renamed", action="append", default=[], metavar="NUMBER:OLD=NEW", help="of the runs, from 1")
    given = parser.parse_args()
    if given.run:
        joined(given)
    elif given.join:
        page(given, [Path(folder) for folder in given.join.split(",")])
    else:
        measure(given)


if __name__ == "__main__":
    main()

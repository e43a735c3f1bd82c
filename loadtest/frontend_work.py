"""What a query costs outside of the engines: docs/benchmarks/frontend-work.json and frontend-work.md.

python loadtest/frontend_work.py --index INDEX --queries judgments.csv [--before OTHER_CHECKOUT]

The real service over gRPC on engines that only wait, in one process and in two. Two checkouts take turns: each figure
is the median of several rounds, and the ratio that of the pairs. Processor time is the kernel's, by thread.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from report import Row, show, write

from millirank.loadtest.channel import Target
from millirank.loadtest.client import Run, drive, one_by_one, run
from millirank.loadtest.queries import read_queries, requests
from millirank.loadtest.schedule import Stretch, arrivals

HERE = Path(__file__).parent
ROLES = {"one process": ("both",), "two processes": ("core", "front")}
LONE, PAUSE, RATE, SECONDS = 80, 0.02, 80.0, 2.0  # queries, seconds between them; queries a second, for seconds
NOTES = (
    "Real servers over gRPC, one frontend, Chorus, on engines that sleep for 0.15 ms (encode) and 0.35 ms (rerank), as",
    "long as an H100 takes. `lone` are queries one at a time, each after a pause. Processor time is the kernel's: of a",
    "process, its event loop's thread, and all others. `ratio` is the median of after/before over the rounds.",
    "`stages` are called one by one, hot, on one thread: served, they take about twice as long.",
)


@dataclass
class Server:
    """The processes of one checkout in one shape."""

    processes: dict[str, "subprocess.Popen[str]"]
    port: int
    figures: dict[str, list[float]] = field(default_factory=dict)  # by metric, a value a round

    def tell(self, number: signal.Signals) -> None:
        """Sends a signal to all of them."""
        for process in self.processes.values():
            process.send_signal(number)

    def go(self) -> None:
        """Lets them go on."""
        self.tell(signal.SIGCONT)

    def spent(self) -> dict[str, float]:
        """Seconds of processor time by role, and by kind of thread of the one that speaks gRPC."""
        found: dict[str, float] = {}
        for role, process in self.processes.items():
            for task in Path(f"/proc/{process.pid}/task").iterdir():
                with contextlib.suppress(OSError):
                    seconds = int((task / "schedstat").read_text().split()[0]) / 1e9
                    found[role] = found.get(role, 0.0) + seconds
                    if role != "core":
                        name = "loop" if int(task.name) == process.pid else "other threads"
                        found[name] = found.get(name, 0.0) + seconds
        return found


def code_of(checkout: Path) -> dict[str, str]:
    """The environment in which Python runs a checkout's code."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(checkout / name) for name in ("service", "engines"))}


@contextlib.contextmanager
def serving(
    checkout: Path, roles: tuple[str, ...], index: Path, folder: str, sla: float, traces: Path | None = None
) -> Iterator[Server]:
    """A server on the code of a checkout, stopped until it is told to go on; it traces where there is a folder for."""
    endpoint = f"ipc://{folder}/{sum(1 for _ in Path(folder).iterdir())}"
    server = Server({}, 0)
    options = [str(index), endpoint, str(sla), *([str(traces)] if traces else [])]
    try:
        for role in roles:
            process = server.processes[role] = subprocess.Popen(  # noqa: S603 - our own arguments
                [sys.executable, str(HERE / "frontend_side.py"), role, *options],
                env=code_of(checkout),
                stdout=subprocess.PIPE,
                text=True,
            )
            assert process.stdout is not None  # noqa: S101 - asked for
            server.port = int(process.stdout.readline() or 0)
        server.tell(signal.SIGSTOP)
        yield server
    finally:
        server.tell(signal.SIGKILL)
        for process in server.processes.values():
            process.wait()


def measure(server: Server, messages: list[bytes]) -> None:
    """One round of one server."""
    server.go()
    target = Target(f"127.0.0.1:{server.port}", connections=1)
    spaced = arrivals([Stretch(1 / PAUSE, LONE * PAUSE)], seed=None)
    loaded = arrivals([Stretch(RATE, SECONDS)], seed=1)
    run(one_by_one(target, messages, 30))
    for name, schedule in (("lone", spaced), (f"{RATE:.0f} QPS", loaded)):
        before = server.spent()
        done = run(drive(target, messages, schedule))
        after = server.spent()
        for metric, value in figures(done, {kind: after[kind] - before.get(kind, 0.0) for kind in after}):
            server.figures.setdefault(f"{name}/{metric}", []).append(value)
    server.tell(signal.SIGSTOP)


def figures(done: Run, spent: dict[str, float]) -> Iterator[tuple[str, float]]:
    """Metrics of a run: milliseconds, microseconds of processor time a query, and what became of the queries."""
    answered = [call for call in done.calls if call.answered]
    for name, seconds in (
        ("first", sorted(call.first - call.sent for call in answered)),
        ("final", sorted(call.final - call.sent for call in answered)),
    ):
        yield f"{name} p50 (ms)", 1e3 * statistics.median(seconds)
        yield f"{name} p90 (ms)", 1e3 * seconds[int(0.9 * len(seconds))]
    for kind, seconds_spent in spent.items():
        yield f"{kind} (µs)", 1e6 * seconds_spent / len(done.calls)
    whole = sum(spent.get(role, 0.0) for role in ("both", "core", "front"))
    yield "processor time (µs)", 1e6 * whole / len(done.calls)
    yield "depth (candidates)", statistics.mean(call.depth for call in answered)
    yield "not answered (%)", 100 * (1 - len(answered) / len(done.calls))


def stages(checkout: Path, index: Path, queries: list[str]) -> dict[str, float]:
    """Seconds of each stage."""
    done = subprocess.run(  # noqa: S603 - our own arguments
        [sys.executable, str(HERE / "frontend_side.py"), "stages", str(index), "-"],
        env=code_of(checkout),
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compared(case: str, by_checkout: dict[str, dict[str, list[float]]]) -> Iterator[Row]:
    """The rows of one shape: the median of each checkout, and of the ratios of the rounds."""
    for metric, after in by_checkout["after"].items():
        part, _, what = metric.partition("/")
        name = f"{case}: {part}/{what}"
        for version, values in by_checkout.items():
            if metric in values:
                yield Row(name, version, statistics.median(values[metric]), "")
        before = by_checkout.get("before", {}).get(metric)
        if before and all(before):
            ratios = [new / old for new, old in zip(after, before, strict=True)]
            yield Row(name, "ratio", statistics.median(ratios), "")


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="what `millirank index` wrote")
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--shape", choices=list(ROLES), action="append")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sla-ms", type=float, default=10.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    queries = read_queries(options.queries)
    messages, distinct = requests(queries), list(dict.fromkeys(queries))
    checkouts = {"before": options.before, "after": HERE.parent}
    checkouts = {name: path.resolve() for name, path in checkouts.items() if path is not None}
    rows: list[Row] = []
    with contextlib.ExitStack() as opened:
        folder = opened.enter_context(tempfile.TemporaryDirectory())
        shapes = options.shape or list(ROLES)
        servers = {
            (shape, version): opened.enter_context(serving(path, ROLES[shape], options.index, folder, options.sla_ms))
            for shape in shapes
            for version, path in checkouts.items()
        }
        for number in range(options.rounds):
            for shape in shapes:
                for version in sorted(checkouts, reverse=bool(number % 2)):
                    measure(servers[shape, version], messages)
        for shape in shapes:
            rows += compared(shape, {version: servers[shape, version].figures for version in checkouts})
    hot = {version: stages(path, options.index, distinct) for version, path in checkouts.items()}
    rows += compared(
        "stages", {version: {f"hot/{k} (µs)": [1e6 * v] for k, v in found.items()} for version, found in hot.items()}
    )
    show(rows)
    if options.out:
        write("frontend-work", "What a query costs outside of the engines", NOTES, rows, options.out)


if __name__ == "__main__":
    main()

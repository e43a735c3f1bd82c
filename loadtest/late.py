"""Why answers are late: the stages of each query at rising rates, and what the machine itself adds.

python loadtest/late.py --index INDEX --queries judgments.csv [--engines DIR --device GPU-UUID --frontends 8]
    [--rates 1,100,1000] [--seconds 8] [--bound-ms 10] [--waiting] [--out DIR]

Starts `millirank serve --trace` itself, loads it, and lays the client's clock beside the server's: see
millirank.loadtest.stages. A canary sends a byte between two processes, alone and then beside each load. --waiting takes
engines that only wait as long as an H100 works, in a core and one frontend, for machines without a GPU.
"""

import argparse
import contextlib
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import needs
import psutil
from frontend_work import ROLES, serving
from launch import launch
from report import BENCHMARKS, Row, write

from millirank.loadtest import canary
from millirank.loadtest.canary import Canary
from millirank.loadtest.channel import Target
from millirank.loadtest.client import drive, one_by_one, run
from millirank.loadtest.queries import read_queries, requests
from millirank.loadtest.schedule import Stretch, arrivals
from millirank.loadtest.stages import Pause, breakdown, read_traces, timelines

NAME = "late-answers"
WARM = 200  # queries that are not counted
WRITTEN = 1.2  # seconds until every process has written its trace
NOTES = (
    "Stages of traced queries, in their order, in ms: the sum is the latency from the intended time. `mean of late`",
    "is over the answers beyond the bound, `late` how many of these a stage made late: it exceeded its median by more",
    "than any other. Where none is beyond it, `slowest` says the same of the slowest hundredth. Of a collection or a",
    "slow round trip, how many of them met one, and beside it the share of the answers in time that did.",
    "`of it …` is what the core says of the waits before.",
    "A canary is two other processes that send each other a byte 100 times a second: what it waits, the machine adds.",
)


WAITING = (
    "",
    "These engines only wait, as long as an H100 works, at any depth alike, so that depths mean little here; server",
    "and client share this machine's cores. `to the frontend` is all before Python sees a call: gRPC, and the",
    "event loop's wait.",
)


@dataclass(frozen=True)
class Served:
    """A server that traces."""

    target: Target
    traces: Path
    pids: tuple[int, ...]


@contextlib.contextmanager
def waiting(given: argparse.Namespace, traces: Path) -> Iterator[Served]:
    """A core and a frontend on engines that wait."""
    here = Path(__file__).parent.parent
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(here, ROLES["two processes"], given.index, folder, given.bound_ms, traces) as server,
    ):
        server.go()
        pids = tuple(process.pid for process in server.processes.values())
        yield Served(Target(f"127.0.0.1:{server.port}", connections=4), traces, pids)


@contextlib.contextmanager
def real(given: argparse.Namespace, traces: Path) -> Iterator[Served]:
    """`millirank serve` with its processes."""
    options = ["--trace", str(traces), "--frontends", str(given.frontends), *given.serve.split()]
    options += ["--engines", str(given.engines)] if given.engines else []
    options += ["--device", given.device] if given.device else []
    with launch(given.index, given.port, given.port + 1, options) as server:
        tree = psutil.Process(server.pid)
        pids = (server.pid, *(child.pid for child in tree.children(recursive=True)))
        target = Target(server.target.address, connections=20 * max(1, given.frontends))
        yield Served(target, traces, pids)


def machine_rows(case: str, before: dict[str, float], after: dict[str, float]) -> Iterator[Row]:
    """What changed in the kernel's counters."""
    for name, value in after.items():
        yield Row(f"{case}/machine", name, value - before.get(name, 0.0), "ms")


def counters(pids: Sequence[int], root: Path = Path("/")) -> dict[str, float]:
    """Milliseconds so far that a hypervisor stole, that a quota held back, and that ready threads waited for a core.

    Args:
        pids: of the processes whose threads are counted.
        root: has /proc and /sys; a kernel that does not count something there leaves it out, or 0.
    """
    found = {"stolen": 1e3 * getattr(psutil.cpu_times(), "steal", 0.0)}
    with contextlib.suppress(OSError, ValueError, KeyError):  # the root group of some kernels has no throttled_usec
        stat = dict(line.split() for line in (root / "sys/fs/cgroup/cpu.stat").read_text().splitlines())
        found["throttled"] = float(stat["throttled_usec"]) / 1e3
    for name, column in (("ran", 0), ("waited for a core", 1)):
        total = 0.0
        for pid in pids:
            for task in (root / f"proc/{pid}/task").glob("*/schedstat"):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    total += int(task.read_text().split()[column]) / 1e6
        found[name] = total
    return found


def load_rows(given: argparse.Namespace, served: Served, messages: list[bytes], rate: float) -> list[Row]:
    """One rate."""
    case = f"{rate:g} QPS"
    before = counters(served.pids)
    with Canary() as beside:
        done = run(drive(served.target, messages, arrivals([Stretch(rate, max(given.seconds, 5 / rate))], seed=1)))
    after = counters(served.pids)
    time.sleep(WRITTEN)
    traces = read_traces(served.traces)
    lines = timelines(done.calls, traces)
    pauses: list[Pause] = [one for one in traces.pauses if done.begin <= one.begin <= done.end] + beside.pauses
    rows = breakdown(case, lines, given.bound_ms / 1e3, pauses)
    answered = [call for call in done.calls if call.answered]
    rows.append(Row(f"{case}/whole", "offered", len(done.calls), "queries"))
    if answered:
        rows.append(Row(f"{case}/whole", "depth mean", sum(c.depth for c in answered) / len(answered), "candidates"))
        rows.append(
            Row(f"{case}/whole", "degraded", 100 * sum(bool(c.degraded) for c in answered) / len(answered), "%")
        )
    rows += canary.rows(f"{case}, canary beside", beside.trips)
    rows += machine_rows(case, before, after)
    return rows


def told(rows: Sequence[Row]) -> None:
    """Prints rows, one line a case."""
    cases: dict[str, list[str]] = {}
    for row in rows:
        cases.setdefault(row.case, []).append(
            f"{row.metric} {row.value:.3g}{' ' + row.unit if row.unit != 'ms' else ''}"
        )
    for case, words in cases.items():
        print(f"{case:48} {', '.join(words)}", flush=True)


def facts() -> str:
    """What this machine is, in a line."""
    version = Path("/proc/version").read_text(encoding="utf-8").strip()
    quota = Path("/sys/fs/cgroup/cpu.max")
    limit = quota.read_text(encoding="utf-8").strip() if quota.exists() else "none"
    bindings = "none"
    with contextlib.suppress(metadata.PackageNotFoundError):
        bindings = metadata.version("cuda-bindings")
    return f"{version[:60]}; quota {limit}; cuda-bindings {bindings}; Python {platform.python_version()}"


def main() -> None:
    """Measures, prints and, asked to, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--engines", type=Path, help="has encoder/ and reranker/")
    parser.add_argument("--device", help="as `nvidia-smi -L` names it")
    parser.add_argument("--frontends", type=int, default=8)
    parser.add_argument("--rates", default="1,100,1000", help="queries/s")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each load")
    parser.add_argument("--bound-ms", type=float, default=10.0)
    parser.add_argument("--serve", default="", help="further options of `millirank serve`")
    parser.add_argument("--waiting", action="store_true", help="engines that only wait")
    parser.add_argument("--port", type=int, default=50191)
    parser.add_argument("--out", type=Path, help=f"gets {NAME}.json and .md, such as {BENCHMARKS}")
    given = parser.parse_args()
    needs.linux("/proc")
    print(facts(), flush=True)
    with Canary() as alone:
        time.sleep(given.seconds / 2)
    rows = canary.rows("canary alone", alone.trips)
    told(rows)
    messages = requests(list(dict.fromkeys(read_queries(given.queries))))
    server = waiting if given.waiting else real
    with tempfile.TemporaryDirectory() as folder, server(given, Path(folder)) as served:
        run(one_by_one(served.target, messages, WARM))
        for rate in given.rates.split(","):
            found = load_rows(given, served, messages, float(rate))
            told(found)
            rows += found
            if given.out:
                notes = (*NOTES, *WAITING) if given.waiting else NOTES
                write(NAME, "Why answers are late", notes, rows, given.out)  # what there is


if __name__ == "__main__":
    main()

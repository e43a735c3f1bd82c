"""The phases of sla_cpu.py that behave: each takes a Bench and yields rows."""

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from launch import Launched, launch

from millirank.loadtest.call import Status
from millirank.loadtest.channel import Target
from millirank.loadtest.client import Run, drive, one_by_one, run
from millirank.loadtest.queries import requests
from millirank.loadtest.results import Row
from millirank.loadtest.sampler import sample
from millirank.loadtest.schedule import Stretch, arrivals
from millirank.loadtest.summary import Summary, quantile, summarize
from millirank.loadtest.watch import Watch
from millirank.v1 import search_pb2

BOUND = 0.010  # seconds
HEALTH = "/grpc.health.v1.Health/Check"
CURVE = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.5, 2.0, 3.0)  # of saturation; the first point is 10 QPS


@dataclass(frozen=True)
class Bench:
    """What all phases share."""

    index: Path
    file: Path  # of queries
    queries: tuple[str, ...]
    seconds: float  # of each load
    soak_seconds: float
    saturation: float  # calls a second where refusals pass 0.1 %
    port: int
    metrics_port: int  # 0 for none
    options: tuple[str, ...]  # of serve

    def server(self, *more: str) -> AbstractContextManager[Launched]:
        """A server with further options."""
        return launch(self.index, self.port, self.metrics_port, (*self.options, *more))

    @property
    def messages(self) -> list[bytes]:
        """The query mix."""
        return requests(list(self.queries))


def load(bench: Bench, target: Target, rate: float, seconds: float, seed: int | None = 1) -> Run:
    """A constant load."""
    return run(drive(target, bench.messages, arrivals([Stretch(rate, seconds)], seed=seed)))


def told(summary: Summary) -> Summary:
    """Prints the gist and passes it on."""
    final = {name: 1e3 * value for name, value in summary.final.items()}
    print(
        f"  {summary.case}: {summary.offered:.1f}/s, {summary.answered}/{summary.sent}, final p50 "
        f"{final.get('p50', math.nan):.2f} p99 {final.get('p99', math.nan):.2f} ms, depth "
        f"{summary.depth.get('mean', 0):.1f}, refused {100 * summary.refused:.2f} %, errors "
        f"{100 * summary.failed:.2f} %, degraded {sum(summary.degraded.values())}",
        flush=True,
    )
    return summary


def warm(bench: Bench, server: Launched) -> None:
    """A few queries that are not counted."""
    run(one_by_one(server.target, bench.messages, 50))


def unloaded(bench: Bench) -> Iterator[Row]:
    """Every query one at a time, then 10 a second at random times."""
    with bench.server() as server:
        warm(bench, server)
        count = max(len(bench.queries), round(10 * bench.seconds))
        done = run(one_by_one(replace(server.target, connections=1), bench.messages, count))
        yield from told(summarize("unloaded/one at a time", done, seconds=done.end - done.begin)).rows()
        with Watch(server.pid, server.metrics) as watch:
            done = load(bench, server.target, 10, 3 * bench.seconds)
            yield from told(summarize("unloaded/10 QPS", done, seconds=3 * bench.seconds)).rows()
            yield from watch.rows("unloaded/10 QPS", done)


def curve(bench: Bench) -> Iterator[Row]:
    """From 10 QPS to three times saturation."""
    yield Row("curve/saturation", "rate", bench.saturation, "queries/s")
    yield from _curve(bench, "curve")


def count(bench: Bench) -> Iterator[Row]:
    """The same rates against batching by count at fixed depth."""
    yield from _curve(bench, "count", "--scheduler", "count")


def _curve(bench: Bench, name: str, *options: str) -> Iterator[Row]:
    with bench.server(*options) as server:
        warm(bench, server)
        rates = sorted({10.0, *(round(share * bench.saturation, 1) for share in CURVE[1:])})
        with Watch(server.pid, server.metrics) as watch:
            for rate in rates:
                done = load(bench, server.target, rate, bench.seconds)
                yield from told(summarize(f"{name}/{rate:g} QPS", done, seconds=bench.seconds)).rows()
                yield from watch.rows(f"{name}/{rate:g} QPS", done)
                time.sleep(1)


def refusal(bench: Bench) -> Iterator[Row]:
    """What a refused Search costs beside an empty RPC, one at a time; medians of rounds in turn."""
    blank = [search_pb2.SearchRequest(query=" ").SerializeToString()]
    calls, rounds = max(50, round(50 * bench.seconds)), 7
    kinds: dict[str, tuple[str, list[bytes], float | None, Status]] = {
        "health check": (HEALTH, [b""], None, Status.OK),
        "blank query": (Target.method, blank, None, Status.INVALID_ARGUMENT),
        "refused query": (Target.method, bench.messages, 0.002, Status.DEADLINE_EXCEEDED),
    }
    latency: dict[str, list[float]] = {kind: [] for kind in kinds}
    cpu: dict[str, list[float]] = {kind: [] for kind in kinds}
    with bench.server() as server:
        warm(bench, server)
        for _ in range(rounds):
            for kind, (method, messages, deadline, status) in kinds.items():
                target = replace(server.target, method=method, connections=1)
                before = sample(server.pid)
                done = run(one_by_one(target, messages, calls, deadline=deadline))
                after = sample(server.pid)
                ended = [call.ended - call.sent for call in done.calls if call.status is status]
                if before is None or after is None or len(ended) < calls / 2:
                    raise RuntimeError(f"{kind}: {len(ended)} of {calls} ended as {status.name}")
                latency[kind].append(quantile(ended, 0.5))
                cpu[kind].append((after.cpu - before.cpu) / calls)
    for what, values in (("latency", latency), ("server cpu", cpu)):
        empty = {kind: quantile(values[kind], 0.5) for kind in kinds}
        for kind, seconds in empty.items():
            yield Row(f"refusal/{kind}", what, 1e3 * seconds, "ms")
            for base in ("health check", "blank query"):
                yield Row(f"refusal/{kind}", f"{what} against {base}", seconds / max(1e-9, empty[base]), "ratio")


def stalls(bench: Bench) -> Iterator[Row]:
    """Five minutes at 70 %: the event loops' lag."""
    seconds = min(300.0, bench.soak_seconds)
    with bench.server() as server:
        warm(bench, server)
        with Watch(server.pid, server.metrics) as watch:
            done = load(bench, server.target, 0.7 * bench.saturation, seconds)
            yield from told(summarize("stalls/70 %", done, seconds=seconds)).rows()
            yield from watch.rows("stalls/70 %", done)

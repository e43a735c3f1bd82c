"""Loads the whole service on a GPU's engines, and the same service on PyTorch, at rising rates.

python loadtest/h100_service.py --index INDEX --engines DIR [DIR…] --device GPU-UUID --queries judgments.csv
    [--rates 1,100,1000,3000] [--frontends 8] [--peers torch-eager] [--reference torch-eager-fp32]

Starts the servers itself, one for each folder of engines, called by their backend, and one for each peer. Each rate is
loaded by our own open-loop client, timed from when a query should have left, and by ghz where it is on the PATH. The
reference ranks every query once, without a limit of time, to compare the first ten hits with.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import psutil
from launch import Launched, launch
from options import some_of
from peers.service import PRECISIONS, served_by
from phases import told
from report import BENCHMARKS, Row, write
from targets import SERVICE

from millirank.loadtest import ghz
from millirank.loadtest.client import drive, one_by_one, run
from millirank.loadtest.queries import read_queries, requests
from millirank.loadtest.schedule import Stretch, arrivals
from millirank.loadtest.summary import summarize
from millirank.loadtest.watch import Watch
from millirank.v1 import search_pb2, search_pb2_grpc
from millirank_engines import read_manifest

NAME = "h100-service"
TOP = 10  # hits that are compared
WARM = 200  # queries that are not counted
SHOWN = (
    "until SERVING", "reranker layers", "offered", "answered", "first p50", "first p99", "final p50", "final p99",
    "depth mean", "depth min", "degraded", "refused", "errors", "client lag p99", "busy corehost", "busy frontend",
    "busy server", f"top-{TOP} overlap with torch-eager-fp32", "queries",
)  # fmt: skip
NOTES = (
    "Server and clients share one machine. `tensorrt/…` and `fused/…` are millirank, the others are the same service",
    "on a peer's engines. Latencies are of answered queries, from the time at which each should have been sent, by a",
    "client of our own; `ghz` counts from the begin of a call. `busy` is the processor time of the busiest process of",
    "a kind, in cores: where it is near 1, that process is the bottleneck. `top-10 overlap` is that of final rankings",
    "with the FP32 reference, over all judged queries, without a limit of time. No result or embedding is cached.",
)


@dataclass(frozen=True)
class Load:
    """What every system is put to."""

    index: Path
    engines: Mapping[str, Path]  # by their backend; a peer takes the place of the first
    queries: tuple[str, ...]
    rates: tuple[float, ...]
    seconds: float
    port: int
    metrics_port: int
    connections: int
    options: tuple[str, ...]  # of serve

    def folder(self, system: str) -> Path:
        """A system's engines; a peer runs the models of the first."""
        return self.engines.get(system, next(iter(self.engines.values())))

    def layers(self, system: str) -> int:
        """Of its reranker."""
        return read_manifest(self.folder(system) / "reranker").model.layers

    @contextmanager
    def server(self, system: str, *more: str) -> Iterator[Launched]:
        """A server on our engines, or on a peer's."""
        options = ("--engines", str(self.folder(system)), *self.options, *more)
        with (
            served_by("" if system in self.engines else system),
            launch(self.index, self.port, self.metrics_port, options) as server,
        ):
            yield replace(server, target=replace(server.target, connections=self.connections))


def processor_time(pid: int) -> dict[str, float]:
    """Seconds of processor time of a server's processes so far, by what they are."""
    spent: dict[str, float] = {}
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        words = " ".join(process.cmdline())
        kind = next((name for name in ("corehost", "frontend") if f"processes.{name}" in words), "server")
        times = process.cpu_times()
        spent[f"{kind} {process.pid}"] = times.user + times.system
    return spent


def busy_rows(case: str, before: dict[str, float], after: dict[str, float], seconds: float) -> Iterator[Row]:
    """The busiest process of each kind, in cores."""
    kinds: dict[str, float] = {}
    for name, spent in after.items():
        kind = name.partition(" ")[0]
        kinds[kind] = max(kinds.get(kind, 0.0), (spent - before.get(name, 0.0)) / seconds)
    for kind, cores in kinds.items():
        yield Row(case, f"busy {kind}", cores, "cores")


def load_rows(load: Load, system: str) -> Iterator[Row]:
    """One system at every rate."""
    messages = requests(list(load.queries))
    start = time.monotonic()
    with load.server(system) as server:
        yield Row(f"{system}/start", "until SERVING", time.monotonic() - start, "s")
        yield Row(f"{system}/start", "reranker layers", load.layers(system), "")
        run(one_by_one(replace(server.target, connections=1), messages, WARM))
        for rate in load.rates:
            case = f"{system}/{rate:g} QPS"
            before = processor_time(server.pid)
            with Watch(server.pid, server.metrics) as watch:
                done = run(drive(server.target, messages, arrivals([Stretch(rate, load.seconds)], seed=1)))
                yield from told(summarize(case, done, seconds=load.seconds)).rows()
                yield from watch.rows(case, done)
            yield from busy_rows(case, before, processor_time(server.pid), load.seconds)
            yield from ghz_rows(load, server, f"{system}/{rate:g} QPS by ghz", rate)


def ghz_rows(load: Load, server: Launched, case: str, rate: float) -> Iterator[Row]:
    """The same load by ghz; says so and yields nothing without it."""
    config = ghz.constant(rate, load.seconds, load.connections)
    try:
        found = ghz.measure(case, config, server.target, load.queries, limit=load.seconds)
    except ghz.NoGhz as error:
        print(f"  {case}: left out: {error}", flush=True)
        return
    yield from (row for row in found.rows() if row.metric != "offered")


def rankings(load: Load, system: str) -> list[list[str]]:
    """The first hits of every query, ranked without a limit of time."""
    with load.server(system, "--sla-ms", "0") as server, grpc.insecure_channel(server.target.address) as channel:
        stub = search_pb2_grpc.SearchServiceStub(channel)
        asked = (search_pb2.SearchRequest(query=query, limit=TOP) for query in load.queries)
        answers = [list(stub.Search(request))[-1] for request in asked]
    if any(answer.degraded for answer in answers):
        raise RuntimeError(f"{system} answered without its models: see its messages above")
    return [[hit.id for hit in answer.hits] for answer in answers]


def overlap_rows(load: Load, reference: str) -> Iterator[Row]:
    """How many of the reference's first hits each of ours has among its own."""
    truth = rankings(load, reference)
    for system in load.engines:
        pairs = zip(rankings(load, system), truth, strict=True)
        shares = [len(set(ours) & set(theirs)) / max(1, len(theirs)) for ours, theirs in pairs]
        yield Row(f"{system}/ranking", f"top-{TOP} overlap with {reference}", sum(shares) / len(shares), "")
        yield Row(f"{system}/ranking", "queries", len(shares), "")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--engines", type=Path, required=True, nargs="+", help="each has encoder/ and reranker/")
    parser.add_argument("--device", required=True, help="as `nvidia-smi -L` names it")
    parser.add_argument("--queries", type=Path, required=True)
    parser.add_argument("--rates", default="1,100,1000,3000", help="queries/s")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--frontends", type=int, default=8)
    parser.add_argument(
        "--peers", type=some_of(PRECISIONS), default="torch-eager", help=f"some of {', '.join(PRECISIONS)}, or nothing"
    )
    parser.add_argument("--reference", default="torch-eager-fp32", help="or nothing, for no comparison")
    parser.add_argument("--serve", default="", help="further options of `millirank serve`")
    parser.add_argument("--port", type=int, default=50091)
    parser.add_argument("--metrics-port", type=int, default=9491)
    parser.add_argument("--out", type=Path, default=BENCHMARKS)
    given = parser.parse_args()
    fixed = ("--device", given.device, "--frontends", str(given.frontends))
    load = Load(
        index=given.index,
        engines={read_manifest(folder / "encoder").backend: folder for folder in given.engines},
        queries=tuple(dict.fromkeys(read_queries(given.queries))),
        rates=tuple(float(rate) for rate in given.rates.split(",")),
        seconds=given.seconds,
        port=given.port,
        metrics_port=given.metrics_port,
        connections=20 * max(1, given.frontends),
        options=(*fixed, *given.serve.split()),
    )
    rows: list[Row] = []
    systems: Sequence[str] = [*load.engines, *given.peers]
    for system in systems:
        print(f"{system} …", flush=True)
        rows.extend(load_rows(load, system))
        write(NAME, "The service on one GPU", NOTES, rows, given.out, shown=SHOWN, targets=SERVICE)  # what there is
    if given.reference:
        rows.extend(overlap_rows(load, given.reference))
        write(NAME, "The service on one GPU", NOTES, rows, given.out, shown=SHOWN, targets=SERVICE)
    print(f"wrote {given.out / NAME}.json and .md", flush=True)


if __name__ == "__main__":
    main()

"""Measures one machine without a GPU: engines by shape, indexing, start-up, memory, and the stages of a query's path.

python loadtest/cpu.py --catalog products.jsonl --judgments judgments.csv --work DIR
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
from interleave import by_turns, drawn
from launch import launch
from report import Row, percentiles, write

from millirank.loadtest.queries import read_queries
from millirank.v1 import search_pb2, search_pb2_grpc
from millirank_engines import open_engine

REFUSED = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.DEADLINE_EXCEEDED)  # too busy, or too slow for the SLA
ROUNDS = 20  # measured runs of each shape, interleaved
STAGES = ("tokens", "encode_queue", "encode", "retrieve", "render", "rerank_queue", "rerank", "total")
NOTES = (
    "One noisy shared machine: neighbours come and go, so compare inside a table only. Shapes run interleaved, in",
    "random order, as a server meets them. The path is measured by one client on the same machine, one query at a",
    "time, which competes with the server for its cores. No result or embedding is cached.",
)


def engines(index: Path) -> Iterator[Row]:
    """Latency of each engine at each of its shapes."""
    random = np.random.default_rng(7)
    for task in ("encoder", "reranker"):
        loaded = open_engine(index / "engines" / task)
        runs = {shape: drawn(loaded, shape, shape.batch, shape.length, random) for shape in loaded.engine.profiles}
        for profile, seconds in sorted(by_turns(runs, ROUNDS, random).items()):
            yield from percentiles(f"{loaded.engine.name}/{task}/{profile}", seconds)
        loaded.engine.close()


def indexing(catalog: Path, index: Path) -> Iterator[Row]:
    """A whole index run in a process of its own, engines included the first time."""
    for case in ("with engines built", "with engines reused"):
        start = time.perf_counter()
        command = [sys.executable, "-m", "millirank", "index", "--catalog", str(catalog), "--out", str(index)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own arguments
        seconds = time.perf_counter() - start
        rate = re.search(r"([\d,.]+) products/s", done.stdout)
        yield Row(f"index/{case}", "wall", seconds, "s")
        if rate:
            yield Row(f"index/{case}", "throughput", float(rate.group(1).replace(",", "")), "products/s")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        yield Row(f"index/{case}", "peak memory", peak, "MiB")


def memory(pid: int) -> Iterator[tuple[str, float]]:
    """Resident and private memory of a process, in MiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    sizes = {name: int(kib) / 1024 for name, kib in re.findall(r"(\w+):\s+(\d+) kB", text)}
    yield "resident", sizes["Rss"]
    yield "private", sizes["Private_Clean"] + sizes["Private_Dirty"]


def path(channel: grpc.Channel, case: str, queries: list[str]) -> Iterator[Row]:
    """Every query once, one after another, if it is answered: stages by the server, messages by the client."""
    stub = search_pb2_grpc.SearchServiceStub(channel)
    first, final, depths, degraded, refused = [], [], [], Counter[str](), 0
    stages: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for query in queries:
        start = time.perf_counter()
        try:
            messages = [(m, time.perf_counter() - start) for m in stub.Search(search_pb2.SearchRequest(query=query))]
        except grpc.RpcError as error:
            if error.code() not in REFUSED:
                raise
            refused += 1
            continue
        first.append(messages[0][1])
        last, seconds = messages[-1]
        final.append(seconds)
        depths.append(last.rerank_depth)
        degraded[last.degraded_reason or "not degraded"] += 1
        for stage, values in stages.items():
            values.append(getattr(last.timings, f"{stage}_us") / 1e6)
    yield Row(f"depth/{case}", "queries", len(queries), "queries")
    yield Row(f"depth/{case}", "refused", 100 * refused / len(queries), "%")
    if not final:
        return
    yield from percentiles(f"path/{case}/client: first message", first)
    yield from percentiles(f"path/{case}/client: final message", final)
    for stage, values in stages.items():
        yield from percentiles(f"path/{case}/server: {stage}", values)
    yield Row(f"depth/{case}", "median", float(np.median(depths)), "candidates")
    yield Row(f"depth/{case}", "least", float(min(depths)), "candidates")
    yield Row(f"depth/{case}", "degraded", 100 * (1 - degraded["not degraded"] / len(final)), "%")


def main() -> None:
    """Measures and writes docs/benchmarks/cpu.json and cpu.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--catalog", type=Path, required=True)
    parser.add_argument("--judgments", type=Path, required=True, help="only its queries are used")
    parser.add_argument("--work", type=Path, required=True, help="an empty folder for the index")
    parser.add_argument("--port", type=int, default=50071)
    arguments = parser.parse_args()
    queries = list(dict.fromkeys(read_queries(arguments.judgments)))
    index = arguments.work / "index"
    rows = [*indexing(arguments.catalog, index), *engines(index)]
    for sla, case in ((10, "10 ms"), (0, "no limit, depth 50")):
        start = time.perf_counter()
        with (
            launch(index, arguments.port, 0, ("--sla-ms", str(sla))) as server,
            grpc.insecure_channel(server.target.address) as channel,
        ):
            if sla:
                rows.append(Row("server/start", "until SERVING", time.perf_counter() - start, "s"))
            for _ in path(channel, case, queries[:20]):
                pass  # the client's own warm-up
            rows += path(channel, case, queries * (4 if sla else 1))
            rows += [Row(f"server/{case}", name, size, "MiB") for name, size in memory(server.pid)]
    write("cpu", "On CPU", NOTES, rows)


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    main()

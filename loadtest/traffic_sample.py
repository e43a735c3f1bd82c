"""Measures what sampling traffic costs a query, and what its thread does, on an index with its engines.

python loadtest/traffic_sample.py --index INDEX --queries FILE
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from report import Row, write

from millirank.config import Settings
from millirank.loadtest.queries import read_queries
from millirank.metrics import Metrics
from millirank.stack import Stack
from millirank.traffic.sampler import RECORDS, Sampler, sampler_of
from millirank.traffic.watch import watch_of
from millirank.types import Query, Rows, Served
from millirank_engines import read_manifest

QUERIES = 1500
DEPTH = 2  # a query is as cheap as one can be that is reranked, so that a cost would show
CANDIDATES = 50
APPENDS = 200_000
Spent = tuple[float, float]  # seconds of the clock, and of all threads' processor time
NOTES = (
    "What `--traffic-sample` costs. `query`: the whole pipeline (encoder, indexes, reranker at depth 2) in one run,",
    "each query with the sample on or off by the toss of a coin, so that both meet the same machine, a shared and busy",
    "one; the last line is the ratio of the others. `append` is the hook alone. `thread` is the processor",
    "time that the sampling thread takes for a query: while the day's reservoir fills (every query is looked up,",
    "scrubbed and kept), and for the next nine times as many. `write` is one write of a full day with its look for",
    "drift, every 30 seconds.",
)


async def searched(stack: Stack, queries: list[str], sample: Callable[[Served], None]) -> dict[bool, list[Spent]]:
    """What each query took, with the sample off and on."""
    coin = np.random.default_rng(1)
    spent: dict[bool, list[Spent]] = {False: [], True: []}
    for number in range(-100, QUERIES):
        on = bool(coin.integers(2))
        stack.pipeline.sample = sample if on else None
        query = Query(queries[number % len(queries)], rerank_depth=DEPTH)
        start, began = time.perf_counter(), time.process_time()
        async for _ in stack.pipeline.search(query):
            pass
        if number >= 0:  # those before warm up
            spent[on].append((time.perf_counter() - start, time.process_time() - began))
    return spent


def appended(sample: Callable[[Served], None], rows: Rows) -> float:
    """Seconds of what a query does for the sample."""
    start = time.perf_counter()
    for _ in range(APPENDS):
        sample(("red running shoe", len(rows), rows))
    return (time.perf_counter() - start) / APPENDS


def drawn(sampler: Sampler, queries: list[str], rows: Rows, count: int) -> float:
    """Seconds of processor time of a query that is drawn from."""
    spent = 0.0
    for start in range(0, count, RECORDS):
        sampler.served.extend((queries[n % len(queries)], 4, rows) for n in range(start, start + RECORDS))
        began = time.thread_time()
        sampler.look()
        spent += time.thread_time() - began
    return spent / count


def measured(index: Path, queries: list[str], folder: Path) -> Iterator[Row]:
    """Every row."""
    stack = Stack(Settings(index=index, sla_ms=0, traffic_sample=folder / "served"))
    try:
        sample = stack.pipeline.sample or sys.exit("the stack does not sample")
        spent = asyncio.run(searched(stack, queries, sample))
        off, on = (
            [
                Row(case, f"{metric} {name}", 1e3 * value, "ms")
                for metric, of in (("p50", np.median), ("mean", np.mean))
                for name, value in zip(("wall", "processor"), of(found, axis=0).tolist(), strict=True)
            ]
            for case, found in (("query/off", spent[False]), ("query/on", spent[True]))
        )
        yield from (*off, *on)
        for a, b in zip(on, off, strict=True):
            yield Row("query/on over off", f"{a.metric} ratio", a.value / b.value, "")
        rows = np.arange(CANDIDATES, dtype=np.uint32)
        yield Row("hook/append", "mean", 1e9 * appended(sample, rows), "ns")
        manifests = [read_manifest(index / "engines" / name) for name in ("encoder", "reranker")]
        watch = watch_of(manifests, (stack.encoder_tokens, stack.pipeline._reranker_tokens), Metrics())  # noqa: SLF001
        alone = sampler_of(stack.snapshot, manifests[1].model, folder / "alone", watch)
        yield Row("thread/fill", "processor", 1e6 * drawn(alone, queries, rows, RECORDS), "µs a query")
        yield Row("thread/after", "processor", 1e6 * drawn(alone, queries, rows, 9 * RECORDS), "µs a query")
        start, began = time.perf_counter(), time.thread_time()
        alone.write()
        yield Row("thread/write", "processor", 1e3 * (time.thread_time() - began), "ms")
        yield Row("thread/write", "wall", 1e3 * (time.perf_counter() - start), "ms")
        size = sum(path.stat().st_size for path in (folder / "alone").glob("*.jsonl"))
        yield Row("thread/write", "size", size / 1e6, "MB")
        alone.close()
    finally:
        stack.close()


def main() -> None:
    """Measures and writes docs/benchmarks/traffic-sample.json and traffic-sample.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measured(given.index, read_queries(given.queries), Path(folder)))
    write("traffic-sample", "What sampling traffic costs", NOTES, rows)


if __name__ == "__main__":
    main()

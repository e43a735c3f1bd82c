"""What the vectors of the dense index may be kept in: time of a search, recall and bytes, by turns on one thread.

python loadtest/dense.py --index INDEX [--rounds 7] [--name dense]

Vectors and links are those of INDEX's products; the queries are rule-made ones of `millirank segments`. An index that
keeps float16 says little of float32's recall: name one of a version before.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray
from options import parser_of
from report import Row, write
from variants import FirstStage

from millirank.catalog.indexes import (
    HNSW_EF_CONSTRUCTION,
    HNSW_EF_SEARCH,
    HNSW_M,
    exact_top,
    read_vectors,
    recall_of,
)
from millirank.catalog.vectors import encode_all
from millirank.segments import segments

FOUND = 100
COUNT, SEED = 40, 11  # queries of each segment
KINDS = ("float32", "float16", "8 bits")
COLD = 10_000_000  # float32 that are read before a search, so that no cache has its vectors
NOTES = (
    "HNSW with the shipped links over the same vectors; one query at a time on one thread. `hot`: search after search;",
    "`cold`: 40 MB of something else are read before each. `ratio` is the median over the rounds of the time by that",
    "of float32 in the same round. `recall@100` is against an exact search of float32.",
)


def made(kind: str, vectors: NDArray[np.float32]) -> Any:  # noqa: ANN401 - FAISS has no types
    """An index of a kind."""
    dim, metric = vectors.shape[1], faiss.METRIC_INNER_PRODUCT
    codes: dict[str, Any] = {"float16": faiss.ScalarQuantizer.QT_fp16, "8 bits": faiss.ScalarQuantizer.QT_8bit}
    index: Any = (
        faiss.IndexHNSWSQ(dim, codes[kind], HNSW_M, metric)
        if kind in codes
        else faiss.IndexHNSWFlat(dim, HNSW_M, metric)
    )
    index.hnsw.efConstruction, index.hnsw.efSearch = HNSW_EF_CONSTRUCTION, HNSW_EF_SEARCH
    index.train(vectors)
    index.add(vectors)
    return index


def seconds(index: Any, queries: NDArray[np.float32], other: NDArray[np.float32] | None) -> float:  # noqa: ANN401
    """The median of a search."""
    taken = []
    for query in queries:
        if other is not None:
            other.sum()
        start = time.perf_counter()
        index.search(query[None], FOUND)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def rows_of(vectors: NDArray[np.float32], queries: NDArray[np.float32], rounds: int) -> list[Row]:
    """All kinds."""
    indexes = {kind: made(kind, vectors) for kind in KINDS}
    faiss.omp_set_num_threads(1)
    best = exact_top(vectors, queries, FOUND)
    other, times = np.ones(COLD, np.float32), dict[tuple[str, str], list[float]]()
    for _ in range(rounds):
        for how in ("hot", "cold"):
            for kind, index in indexes.items():
                some = queries if how == "hot" else queries[::5]
                found = seconds(index, some, None if how == "hot" else other)
                times.setdefault((kind, how), []).append(found)
    rows = []
    for kind, index in indexes.items():
        for how in ("hot", "cold"):
            mine, first = times[kind, how], times[KINDS[0], how]
            ratio = statistics.median(a / b for a, b in zip(mine, first, strict=True))
            rows.append(Row(f"hnsw/{kind}", f"{how} p50", 1e6 * statistics.median(mine), "µs"))
            rows.append(Row(f"hnsw/{kind}", f"{how} ratio", ratio, ""))
        _, rank = index.search(queries, FOUND)
        rows.append(Row(f"hnsw/{kind}", "recall@100", recall_of(rank, best), ""))
        rows.append(Row(f"hnsw/{kind}", "size", faiss.serialize_index(index).nbytes / 2**20, "MiB"))
    return rows


def main() -> None:
    """The command line."""
    parser = parser_of(__doc__, "dense")
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    stage = FirstStage(given.index)
    made_by_rules = segments(stage.snapshot.products(range(len(stage.snapshot))), count=COUNT, seed=SEED)
    asked = [query for segment in made_by_rules.values() for query in segment.judgments]
    queries = encode_all(stage.encoder.engine, stage.encoder.spec, stage.tokens.queries(asked))
    rows = rows_of(read_vectors(stage.snapshot.path / "dense.faiss"), queries, given.rounds)
    rows.append(Row("hnsw", "queries", len(queries), ""))
    write(given.name, "What the dense index keeps", NOTES, rows, given.out)


if __name__ == "__main__":
    main()

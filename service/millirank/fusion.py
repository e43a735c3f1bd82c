"""How much each index counts in the fused order, learned when a catalogue is indexed, from the catalogue alone."""

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .catalog.indexes import LEXICAL_WEIGHT, TEXT_INDEX
from .catalog.ingest import DENSE, Models
from .retrieve import Bm25Index, Fusion
from .segments import segments
from .types import Order, Rows

SEGMENTS = ("type", "long")  # those in which neither index wins by the way the queries are made
QUERIES = 200  # of each segment, at most
LEAST = 40  # and at least: fewer teach nothing
WEIGHTS = tuple(round(0.3 + 0.05 * step, 2) for step in range(11))
EVEN = 0.5
SHARE = 0.5  # of what the best weight gains over even weights
NOISE = 1e-9  # of adding up
PRODUCTS = 100_000  # of a catalogue that is learned from; they are all in memory then, some kB each
FOUND, RANKED = 100, 10


def learned(folder: Path, analyzer: str, products: Iterable[Mapping[str, Any]], models: Models) -> Mapping[str, float]:
    """The lexical index's weight in reciprocal rank fusion, and the number of queries that it was learned from.

    Queries come from rules over the catalogue: types, and types with a brand and two facts. Titles and model numbers
    are left out: their answers are found by their words, so they would only ever ask for more of the lexical index.
    As types lean that way, too, the weight is not the best one but that nearest to even weights with half of its gain.

    Args:
        folder: of a snapshot whose indexes have been written.
        analyzer: of the lexical index.
        products: in the order of rows.
        models: the encoder.

    Returns:
        lexical, in 0.3 to 0.8, and queries; the default and 0 for a catalogue that is too small, or too large to try.
    """
    import faiss

    known = list(islice(products, PRODUCTS + 1))
    made = segments(known, count=QUERIES) if len(known) <= PRODUCTS else {}
    usable = {name: dict(made[name].judgments) for name in SEGMENTS if name in made}
    usable = {name: queries for name, queries in usable.items() if len(queries) >= LEAST}
    if not usable:
        return {"lexical": LEXICAL_WEIGHT, "queries": 0}
    rows = {str(product["id"]): row for row, product in enumerate(known)}
    lexical = Bm25Index(sorted((folder / TEXT_INDEX).iterdir()), analyzer)
    dense = faiss.read_index(str(folder / DENSE))
    gains = np.zeros(len(WEIGHTS))
    for queries in usable.values():
        vectors = models.query_vectors(list(queries))
        _, near = dense.search(vectors, FOUND)
        for (query, grades), found in zip(queries.items(), near, strict=True):
            right = {rows[product]: grade for product, grade in grades.items()}
            words = lexical.search(query, FOUND)
            nearest = found[found >= 0].astype(np.uint32)
            gains += np.array([_ndcg(Fusion(w)(words, nearest), right) for w in WEIGHTS]) / len(queries)
    return {"lexical": chosen(gains), "queries": sum(map(len, usable.values()))}


def chosen(gains: NDArray[np.float64]) -> float:
    """The weight nearest to even ones that has half of what the best one gains over them.

    Args:
        gains: the score of each of WEIGHTS, shape (len(WEIGHTS),).
    """
    even = gains[WEIGHTS.index(EVEN)]
    enough = even + SHARE * (gains.max() - even) - NOISE
    return min((w for w, gain in zip(WEIGHTS, gains, strict=True) if gain >= enough), key=lambda w: abs(w - EVEN))


def _ndcg(order: Order, grades: Mapping[int, int]) -> float:
    """nDCG@10 with grades as gains: Järvelin and Kekäläinen 2002."""
    discounts = 1 / np.log2(np.arange(2, RANKED + 2))
    best = sorted(grades.values(), reverse=True)[:RANKED]
    found = _gains(order.rows[:RANKED], grades)
    return float(found @ discounts[: len(found)] / (np.array(best) @ discounts[: len(best)]))


def _gains(rows: Rows, grades: Mapping[int, int]) -> NDArray[np.float64]:
    return np.array([grades.get(row, 0) for row in rows.tolist()], np.float64)

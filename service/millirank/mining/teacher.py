"""Candidates for a pseudo-query, and the teacher's score of each: a wise mixture of what needs no training.

teacher = z(dense) + 1.5 z(BM25), each over the whole text and each z over the candidates of one query. A third part,
the embedding of the title alone, made the students better on the demo's shop (nDCG@10 .86 against .84) and worse on
Chorus (.73 against .755, raw), whose products and judgments are real: it was left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .lexical import Bm25

EQUAL = 1e-6  # a smaller spread of scores is none
BLOCK = 256  # queries whose dense scores are held at once


@dataclass(frozen=True)
class Recipe:
    """How lists are mined; the defaults are those that the shipped reranker was trained with."""

    queries: int = 9_000  # over all catalogues
    each: int = 16  # candidates from BM25, from dense retrieval and at random
    pool: int = 50  # half of each are the best, half are drawn from the best of so many
    bm25_weight: float = 1.5  # in the teacher, against 1 of dense retrieval
    seed: int = 13

    @property
    def width(self) -> int:
        """Candidates of a query."""
        return 3 * self.each


@dataclass(frozen=True)
class Searchable:
    """A catalogue with all that its products are scored by."""

    bm25: Bm25  # over the whole text
    texts: NDArray[np.float32]  # (products, dim): the whole text of each, of unit length

    def scores(
        self, queries: Sequence[str], vectors: NDArray[np.float32]
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """For each query the scores of every product: BM25 and dense."""
        for start in range(0, len(queries), BLOCK):
            dense = vectors[start : start + BLOCK] @ self.texts.T
            for i, query in enumerate(queries[start : start + BLOCK]):
                yield self.bm25.scores(query), dense[i]


def lists_of(
    catalogue: Searchable,
    queries: Sequence[str],
    vectors: NDArray[np.float32],
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Candidates and teacher's scores.

    Args:
        catalogue: of at least recipe.width products.
        queries: n texts.
        vectors: theirs, (n, dim), of unit length.
        recipe: how many candidates, and the weights of the teacher.
        rng: draws from the pools, and the random candidates.

    Returns:
        Rows of the catalogue (n, width), distinct within a list, and the teacher's scores (n, width).
    """
    rows = np.empty((len(queries), recipe.width), np.int32)
    scores = np.empty((len(queries), recipe.width), np.float32)
    for i, (bm25, dense) in enumerate(catalogue.scores(queries, vectors)):
        rows[i] = candidates(bm25, dense, recipe, rng)
        at = rows[i]
        scores[i] = z(dense[at]) + recipe.bm25_weight * z(bm25[at])
    return rows, scores


def candidates(
    bm25: NDArray[np.float32], dense: NDArray[np.float32], recipe: Recipe, rng: np.random.Generator
) -> NDArray[np.int32]:
    """Distinct rows, shape (width,): from BM25 as far as it found any, from dense retrieval, and at random."""
    lexical = best(bm25, recipe.pool)
    chosen: dict[int, None] = {}
    for pool in (lexical[bm25[lexical] > 0], best(dense, recipe.pool)):
        top = recipe.each // 2
        rest = rng.permutation(pool[top:])[: recipe.each - top]
        chosen.update(dict.fromkeys([*pool[:top].tolist(), *rest.tolist()]))
    while len(chosen) < recipe.width:  # what the two had in common is made up at random
        drawn = rng.integers(0, len(bm25), recipe.width)
        chosen.update(dict.fromkeys(drawn[: recipe.width - len(chosen)].tolist()))
    return np.fromiter(chosen, np.int32, recipe.width)


def best(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The rows of the k highest scores, best first; equal scores in order of row."""
    if k < len(scores):
        among = np.flatnonzero(scores >= -np.partition(-scores, k - 1)[k - 1])
    else:
        among = np.arange(len(scores))
    return among[np.argsort(-scores[among], kind="stable")][:k]


def z(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Standard scores; all 0 where all are equal."""
    spread = scores.std()
    return (scores - scores.mean()) / spread if spread > EQUAL else np.zeros_like(scores)

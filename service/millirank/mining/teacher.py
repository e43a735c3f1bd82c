"""Candidates for a pseudo-query, and the teacher's score of each: a wise mixture of what needs no training.

teacher = z(dense) + 1.5 z(BM25) + 1.5 z(rule), the first two over the whole text, the third the grade of rules.py where
the query has one, and each z over the candidates of one query. A misspelt query is scored as it is spelt right: its
student learns to read mistakes that its teachers cannot. Cross-encoders join later, in millirank_engines.build.teach.

Another part, the embedding of the title alone, made students better on the demo's shop (nDCG@10 .86 against .84) and
worse on Chorus (.73 against .755, raw), whose products and judgments are real: it was left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from .lexical import Bm25
from .queries import KINDS, Pseudo
from .rules import Negatives, grades

EQUAL = 1e-6  # a smaller spread of scores is none
BLOCK = 256  # queries whose dense scores are held at once


@dataclass(frozen=True)
class Recipe:
    """How lists are mined."""

    queries: int = 9_000  # over all catalogues
    kinds: tuple[str, ...] = tuple(KINDS)  # of pseudo-queries, in the proportions of KINDS
    each: int = 16  # candidates from BM25, from dense retrieval and at random
    pool: int = 50  # half of each are the best, half are drawn from the best of so many
    right: int = 4  # candidates at most that a rule calls right
    wrong: int = 8  # and that look right and are not; what a query lacks of both is made up at random
    dense_weight: float = 1.0  # in the teacher
    bm25_weight: float = 1.5
    rule_weight: float = 1.5
    seed: int = 13

    @property
    def weights(self) -> Mapping[str, float]:
        """Of each part of the teacher."""
        return {"dense": self.dense_weight, "bm25": self.bm25_weight, "rule": self.rule_weight}

    @property
    def width(self) -> int:
        """Candidates of a query."""
        return 3 * self.each + self.right + self.wrong


@dataclass(frozen=True)
class Searchable:
    """A catalogue with all that its products are scored by."""

    bm25: Bm25  # over the whole text
    texts: NDArray[np.float32]  # (products, dim): the whole text of each, of unit length
    negatives: Negatives

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
    queries: Sequence[Pseudo],
    vectors: NDArray[np.float32],
    recipe: Recipe,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int32], NDArray[np.float16]]:
    """Candidates and the parts of the teacher's scores.

    Args:
        catalogue: of at least recipe.width products.
        queries: n pseudo-queries.
        vectors: of their texts as spelt right, (n, dim), of unit length.
        recipe: how many candidates.
        rng: draws from the pools, and the random candidates.

    Returns:
        Rows of the catalogue (n, width), distinct within a list, and the parts (n, width, 3) in the order of
        Recipe.weights, 0 where a query has no such part.
    """
    rows = np.empty((len(queries), recipe.width), np.int32)
    parts = np.zeros((len(queries), recipe.width, len(recipe.weights)), np.float16)
    found = catalogue.scores([query.read for query in queries], vectors)
    for i, (query, (bm25, dense)) in enumerate(zip(queries, found, strict=True)):
        at = rows[i] = candidates(bm25, dense, recipe, rng, by_rule(catalogue.negatives, query, recipe, rng))
        parts[i, :, 0], parts[i, :, 1] = z(dense[at]), z(bm25[at])
        if query.wanted is not None:
            parts[i, :, 2] = z(grades(query.wanted, catalogue.negatives.facts, at))
    return rows, parts


def by_rule(negatives: Negatives, query: Pseudo, recipe: Recipe, rng: np.random.Generator) -> list[int]:
    """At most recipe.right right rows and recipe.wrong wrong ones."""
    if query.wanted is None:
        return []
    right = rng.permutation(negatives.right(query.wanted))[: recipe.right].astype(int).tolist()
    return [*right, *islice(negatives.wrong(query.wanted, rng), recipe.wrong)]


def candidates(
    bm25: NDArray[np.float32],
    dense: NDArray[np.float32],
    recipe: Recipe,
    rng: np.random.Generator,
    given: Sequence[int] = (),
) -> NDArray[np.int32]:
    """Distinct rows, (width,): the given, from BM25 as far as it found any, from dense retrieval, and at random."""
    lexical = best(bm25, recipe.pool)
    chosen: dict[int, None] = dict.fromkeys(given)
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
    """Standard scores; 0 where there is none (NaN), and everywhere where all are equal."""
    known = scores[~np.isnan(scores)]
    spread = known.std() if len(known) else 0.0
    return np.nan_to_num((scores - known.mean()) / spread) if spread > EQUAL else np.zeros_like(scores)

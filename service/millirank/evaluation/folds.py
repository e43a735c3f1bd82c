"""Parts of the judged queries, so that what is trained or tuned on some is reported on others."""

import hashlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from millirank.errors import CatalogError

from .judgments import Judgments
from .scores import MEASURES, Run, Scores, score
from .words import normal


def part_of(query: str, parts: int) -> int:
    """Which of so many parts a query belongs to, whatever its spelling of case and plural."""
    return int.from_bytes(hashlib.sha256(normal(query).encode()).digest()[:4]) % parts


def fold(judgments: Judgments, part: int, parts: int) -> dict[str, Mapping[str, int]]:
    """The judgments of one part of the queries; the other parts stay unseen.

    Raises:
        CatalogError: if there is no such part, or no query in it.
    """
    kept = {query: ratings for query, ratings in judgments.items() if part_of(query, parts) == part}
    if not kept:
        raise CatalogError(f"no judged query is in part {part} of {parts}: count parts from 0, and take fewer")
    return kept


def cross_validated(judgments: Judgments, parts: int, run_of: Callable[[int, Judgments, Sequence[str]], Run]) -> Scores:
    """Scores of every query by what was made without it.

    Args:
        judgments: of all queries.
        parts: how many folds.
        run_of: is given a fold's number, the judgments of all other folds and the fold's queries, and orders those.

    Raises:
        CatalogError: if a fold is empty.
    """
    scores = []
    for part in range(parts):
        held = fold(judgments, part, parts)
        rest = {query: grades for query, grades in judgments.items() if query not in held}
        scores.append(score(run_of(part, rest, tuple(held)), held))
    return joined(scores)


def joined(scores: Sequence[Scores]) -> Scores:
    """The scores of different queries as one."""
    queries = tuple(query for one in scores for query in one.queries)
    return Scores(queries, {name: np.concatenate([one.values[name] for one in scores]) for name in MEASURES})

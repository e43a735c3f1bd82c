"""Chooses a model and its weight inside of each fold: what is chosen for a part of the queries never saw that part.

Scores are named MODELi@HEADS for the model that never saw part i of the judged queries, and MODELij@HEADS, i below j,
for the one that saw neither part: it scores the queries of part j when something is chosen for part i, and the other
way round.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from heads import Head, scored
from numpy.typing import NDArray

from millirank.evaluation import part_of

WEIGHTS = (0.0, 0.25, 0.35, 0.5, 0.75, 1.0)  # of the reranker beside the fused order
MEASURES = ("ndcg@10", "ndcg@10 judged")  # what is chosen is the best by their sum
Stored = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Choice:
    """What a fold is ranked with."""

    part: int
    model: str
    weight: float
    score: float  # the mean of MEASURES on the queries of the other parts


def model_of(name: str, part: int, other: int) -> str:
    """The model that saw neither part."""
    return f"{name}{part}" if part == other else f"{name}{min(part, other)}{max(part, other)}"


def complete(name: str, heads: str, stored: Stored, parts: int) -> bool:
    """Whether every model of a name is there that a choice for each part needs."""
    pairs = ((part, other) for part in range(parts) for other in range(part, parts))
    return all(f"{model_of(name, *pair)}@{heads}" in stored for pair in pairs)


def choices(models: Sequence[str], name: str, heads: Sequence[Head], stored: Stored, parts: int) -> Iterator[Choice]:
    """The best model and weight for each part, by all other parts' queries; the first of equals.

    Args:
        models: that are complete.
        name: of the heads.
        heads: of the judged queries.
        stored: scores, (heads, width), by model and heads.
        parts: how many folds.
    """
    places = [part_of(head.query, parts) for head in heads]
    for part in range(parts):
        others = [at for at, place in enumerate(places) if place != part]
        chosen = [heads[at] for at in others]
        tried = []
        for model in models:
            scores = [stored[f"{model_of(model, part, places[at])}@{name}"][at] for at in others]
            for weight in WEIGHTS:
                orders = [head.ranked(one, weight) for head, one in zip(chosen, scores, strict=True)]
                found = scored(chosen, orders)
                tried.append(Choice(part, model, weight, float(np.mean([found.mean(what) for what in MEASURES]))))
        yield max(tried, key=lambda choice: choice.score)


def nested(made: Sequence[Choice], name: str, heads: Sequence[Head], stored: Stored) -> list[list[str]]:
    """The final order of each head, by what was chosen for its part."""
    orders = []
    for at, head in enumerate(heads):
        choice = made[part_of(head.query, len(made))]
        orders.append(head.ranked(stored[f"{choice.model}{choice.part}@{name}"][at], choice.weight))
    return orders

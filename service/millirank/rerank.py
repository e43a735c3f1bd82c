"""The rerank stage: how the reranker's scores and the prior order make the final order."""

import numpy as np
from numpy.typing import NDArray

from .types import Order

PRIOR_WEIGHT = 0.5  # of the prior against the reranker
RANK_OFFSET = 60  # of the reciprocal rank: flattens the prior's head


def blend(prior: Order, scores: NDArray[np.float32]) -> Order:
    """The final order: the reranked head by z(score) + 0.5 z(1 / (60 + rank)), the rest behind it as it was.

    The weights are those of the recipe that the reranker is trained and evaluated with; z is the standard score over
    the head. The rest keeps the prior's distances below the head's last score, so that scores stay descending.

    Args:
        prior: n candidates in fused order.
        scores: the reranker's scores of the first ones, (depth,), depth at most n.
    """
    depth = len(scores)
    if not depth:
        return prior
    final = _standard(scores) + PRIOR_WEIGHT * _standard(1 / (RANK_OFFSET + np.arange(1, depth + 1)))
    best = np.argsort(-final, kind="stable")
    tail = final[best[-1]] + (prior.scores[depth:] - prior.scores[depth - 1])
    return Order(
        np.concatenate([prior.rows[:depth][best], prior.rows[depth:]]),
        np.concatenate([final[best], tail]).astype(np.float32),
    )


def _standard(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Standard scores; zeros where all values are equal."""
    centred = values - values.mean(dtype=np.float64)
    deviation = centred.std()
    return centred / deviation if deviation > 0 else np.zeros_like(centred)

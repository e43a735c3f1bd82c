"""The rerank stage: how the reranker's scores and the prior order make the final order."""

import math

import numpy as np
from numpy.typing import NDArray

from .types import Order


def blend(prior: Order, scores: NDArray[np.float32]) -> Order:
    """The final order: the reranked head by z(score) + z(fused score), the rest behind it as it was.

    z is the standard score over the head. On Chorus and on the demo's shop the fused score itself made a better prior
    than its reciprocal rank, and a weight of 1 was within the noise of the best. The rest keeps the prior's distances
    below the head's last score, so that scores stay descending. Products with the model number that was asked for stay
    where they are, ahead of all: no reranker reads numbers as well as an index does.

    Args:
        prior: n candidates in fused order.
        scores: the reranker's scores of the first ones that are not exact, (depth,), depth at most n - prior.exact.
    """
    if not len(scores):
        return prior
    first, end = prior.exact, prior.exact + len(scores)
    final = _standard(scores) + _standard(prior.scores[first:end])
    best = np.argsort(-final, kind="stable")
    tail = final[best[-1]] + (prior.scores[end:] - prior.scores[end - 1])
    ahead = final[best[0]] + (prior.scores[:first] - prior.scores[first])
    return Order(
        np.concatenate([prior.rows[:first], prior.rows[first:end][best], prior.rows[end:]]),
        np.concatenate([ahead, final[best], tail]).astype(np.float32),
        first,
    )


def _standard(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Standard scores; zeros where all values are equal."""
    centred = values - values.sum(dtype=np.float64) / len(values)
    deviation = math.sqrt(centred @ centred / len(values))
    return centred / deviation if deviation > 0 else np.zeros_like(centred)

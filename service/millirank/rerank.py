"""The rerank stage: how the reranker's scores and the prior order make the final order."""

import math

import numpy as np
from numpy.typing import NDArray

from .types import Order

WEIGHT = 0.5  # of the reranker's standard score beside the fused order's
SPREAD = 10  # candidates whose fused scores tell how far apart those of a shorter head are


def blend(prior: Order, scores: NDArray[np.float32], weight: float = WEIGHT) -> Order:
    """The final order: the reranked head by weight * z(score) + z(fused score), the rest behind it as it was.

    z is the standard score over the head; of the fused score over the first SPREAD candidates where the head is
    shorter, for two candidates alone would have 1 and -1 whatever lies between them, and never change places. On Chorus
    and on the demo's shop the fused score itself made a better prior than its reciprocal rank; a weight of a half lost
    less to products that nobody judged than one of 1. The rest keeps the prior's distances below the head's last score,
    so that scores stay descending. Products with the model number that was asked for stay where they are, ahead of all:
    no reranker reads numbers as well as an index does.

    Args:
        prior: n candidates in fused order.
        scores: the reranker's scores of the first ones that are not exact, (depth,), depth at most n - prior.exact.
        weight: of the reranker's standard score.
    """
    if not len(scores):
        return prior
    first, end = prior.exact, prior.exact + len(scores)
    near = _standard(prior.scores[first : max(end, first + SPREAD)].astype(np.float64))
    final = weight * _standard(scores.astype(np.float64)) + near[: len(scores)]
    best = (-final).argsort(kind="stable")
    rows, blended = prior.rows.copy(), np.empty(len(prior.rows), np.float32)
    rows[first:end] = prior.rows[first:end][best]
    blended[first:end] = final[best]
    if end < len(rows):
        blended[end:] = final[best[-1]] + (prior.scores[end:] - prior.scores[end - 1])
    if first:
        blended[:first] = final[best[0]] + (prior.scores[:first] - prior.scores[first])
    return Order(rows, blended, first)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard scores, in place; zeros where all values are equal."""
    values -= np.add.reduce(values) / len(values)
    deviation = math.sqrt(values.dot(values) / len(values))
    if deviation > 0:
        values /= deviation
    else:
        values[:] = 0.0
    return values

"""What shoppers asked for, as the demands that buckets are proposed for."""

from collections import defaultdict

import numpy as np

from millirank.traffic.lengths import SPECIAL, Traffic
from millirank_engines import Task
from millirank_engines.base import Profile
from millirank_engines.build.demand import Demand, drawn_together
from millirank_engines.build.openvino import INDEXING
from millirank_engines.build.profiles import longest_input

TOGETHER = (1, 2, 4, 8)  # queries that the encoder meets at once; a file of queries does not tell


def demands_of(traffic: Traffic, task: Task) -> tuple[list[Demand], Profile]:
    """The demands of a task, and a shape that its buckets must hold whatever was measured."""
    return _embed(traffic) if task == "embed" else _rerank(traffic)


def _embed(traffic: Traffic) -> tuple[list[Demand], Profile]:
    """Queries alone and together, as they come; texts in batches of an indexing run must fit, too."""
    lengths: defaultdict[int, float] = defaultdict(float)
    for tokens, asked in zip((traffic.queries["embed"] + SPECIAL).tolist(), traffic.asked, strict=True):
        lengths[tokens] += asked.weight
    return drawn_together(lengths, TOGETHER), Profile(INDEXING, longest_input(traffic.specs["embed"]))


def _rerank(traffic: Traffic) -> tuple[list[Demand], Profile]:
    """The pairs of every request, and the longest pair of the template at the largest depth."""
    longest = longest_input(traffic.specs["rerank"])
    weights: defaultdict[tuple[int, ...], float] = defaultdict(float)
    for tokens, asked in zip(traffic.pairs, traffic.asked, strict=True):
        if len(tokens):
            weights[tuple(np.minimum(tokens, longest).tolist())] += asked.weight
    depth = max(map(len, weights), default=1)
    return [Demand(pairs, weight) for pairs, weight in weights.items()], Profile(depth, longest)

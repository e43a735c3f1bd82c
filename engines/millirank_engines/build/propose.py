"""Which buckets cost the fewest padded tokens for the work that was measured: pure, optimal, by dynamic programming.

A bucket set is a ladder: length edges in ascending order, and for each edge its own batch sizes. A sequence belongs to
the smallest edge that holds it, and the sequences of one request at one edge run together, in the smallest batch that
holds them. Under that rule the cost of the edges is a sum over the spans between them, and the cost of a span a sum
over the counts between its batch sizes, so both are one-dimensional quantization problems, solved exactly (Bruce 1965,
Optimum quantization; segmented as in Bellman 1961, On the approximation of curves by line segments). A planner that is
free to run sequences at a longer edge can only do better, so the cost is an upper bound of what serving pays.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError, Profile

from .demand import Demand
from .profiles import OptimizationProfile, Profiles, Range

STEP = 8  # tokens: edges are multiples of it, as tensor cores like them


@dataclass(frozen=True)
class Proposal:
    """Buckets, the optimization profiles that cover them, and what they cost."""

    profiles: Profiles
    padded: float  # tokens that run, all demands together, by their weights
    valid: float  # tokens of them that are no padding
    share: Mapping[Profile, float] = field(default_factory=dict)  # of the padded tokens, by bucket

    @property
    def ratio(self) -> float:
        """Tokens that run for each valid one; 1 would be no padding."""
        return self.padded / self.valid if self.valid else 1.0


def propose(demands: Sequence[Demand], buckets: int, *, holds: Profile, ranges: int = 4, step: int = STEP) -> Proposal:
    """The buckets that run the demands with the fewest padded tokens.

    Args:
        demands: what comes.
        buckets: how many there may be; fewer are proposed if more would save nothing.
        holds: a shape that one bucket must hold, whatever was measured: the longest texts at the largest depth.
        ranges: how many optimization profiles there may be.
        step: edges are multiples of this many tokens, except the last one, which is holds.length.

    Raises:
        EngineError: if there is no demand, no bucket, or a sequence is longer than holds.length.
    """
    if buckets < 1 or ranges < 1:
        raise EngineError("no bucket can run nothing: give --buckets and --ranges of at least 1")
    used = [d for d in demands if d.lengths and d.weight > 0]
    if not used:
        raise EngineError("there is no work to measure: give a traffic file with at least one query")
    longest = max(max(d.lengths) for d in used)
    if longest > holds.length:
        raise EngineError(
            f"a sequence has {longest} tokens, the template ends at {holds.length}: cut the traffic's lengths to it, "
            f"or raise the template's limits"
        )
    ladder = _Ladder([*used, Demand((holds.length,) * holds.batch, 0.0)], _edges(holds.length, step))
    found = ladder.cheapest(buckets)
    padded, share = _used(used, found)
    valid = sum(d.weight * d.tokens for d in used)
    return Proposal(Profiles(found, _ranges(found, share, ranges)), padded, valid, share)


def _edges(last: int, step: int) -> list[int]:
    return sorted({*range(step, last, step), last})


class _Ladder:
    """The groups that each span of edges makes of the demands, and the best batch sizes for them."""

    def __init__(self, demands: Sequence[Demand], edges: list[int]) -> None:
        self.edges = edges
        self.weights = np.array([d.weight for d in demands])
        at = [np.bincount(np.searchsorted(edges, d.lengths), minlength=len(edges)) for d in demands]
        self._below = np.concatenate([np.zeros((len(demands), 1), np.int64), np.cumsum(at, axis=1)], axis=1)

    def cheapest(self, most: int) -> tuple[Profile, ...]:
        """The best bucket set of at most so many; ties go to the fewer."""
        last = len(self.edges)
        best = np.full((last + 1, most + 1), np.inf)
        best[0] = 0.0
        choice: dict[tuple[int, int], tuple[int, tuple[int, ...]]] = {}
        for end in range(1, last + 1):
            for begin in range(end):
                span = self._span(begin, end, most)
                for used in range(most, 0, -1):
                    for sizes in range(1, min(used, len(span.cost) - 1) + 1):
                        cost = best[begin, used - sizes] + span.cost[sizes]
                        if cost < best[end, used]:
                            best[end, used] = cost
                            choice[end, used] = (begin, span.sizes(sizes))
        fewest = int(np.flatnonzero(best[last] <= best[last].min() * (1 + 1e-12) + 1e-12)[0])
        found: list[Profile] = []
        end, used = last, fewest
        while end:
            begin, sizes_ = choice[end, used]
            found += [Profile(size, self.edges[end - 1]) for size in sizes_]
            end, used = begin, used - len(sizes_)
        return tuple(sorted(found))

    def _span(self, begin: int, end: int, most: int) -> "_Span":
        counts = self._below[:, end] - self._below[:, begin]
        present = counts > 0
        weight = np.bincount(counts[present], self.weights[present])
        sizes = np.unique(counts[present])
        return _Span(sizes, weight[sizes] * self.edges[end - 1], most)


class _Span:
    """The counts of sequences between two edges, ascending, and what a slot of each costs.

    Args:
        counts: distinct, ascending, shape (n,).
        slots: padded tokens of one sequence at the upper edge, times how often the count comes, shape (n,).
        most: batch sizes there may be.
    """

    def __init__(self, counts: NDArray[np.integer], slots: NDArray[np.float64], most: int) -> None:
        self.counts, self.slots, self.most = counts, slots, most

    @cached_property
    def _solved(self) -> tuple[list[float], list[NDArray[np.intp]]]:
        """The least cost, by the number of sizes, and for each number and prefix where its last group begins."""
        n = len(self.counts)
        if not n:
            return [math.inf, 0.0], []
        summed = np.concatenate([[0.0], np.cumsum(self.slots)])
        spent = self.counts[None, :] * (summed[None, 1:] - summed[:-1, None])  # of counts begin..end in one size
        spent = np.where(np.arange(n)[:, None] <= np.arange(n)[None, :], spent, np.inf)
        reach = np.full(n + 1, np.inf)
        reach[0] = 0.0
        costs, begins = [math.inf], []
        for _ in range(min(n, self.most)):
            total = reach[:-1, None] + spent
            begin = np.argmin(total, axis=0)
            reach = np.concatenate([[np.inf], total[begin, np.arange(n)]])
            costs.append(float(reach[-1]))
            begins.append(begin)
        return costs, begins

    @property
    def cost(self) -> list[float]:
        """Padded tokens, by the number of batch sizes."""
        return self._solved[0]

    def sizes(self, number: int) -> tuple[int, ...]:
        """The batch sizes that cost[number] stands for; one slot where nothing comes."""
        if not len(self.counts):
            return (1,)
        found, end = [], len(self.counts)
        for begin in reversed(self._solved[1][:number]):
            found.append(int(self.counts[end - 1]))
            end = int(begin[end - 1])
        return tuple(found)


def _used(demands: Sequence[Demand], buckets: Sequence[Profile]) -> tuple[float, dict[Profile, float]]:
    """Padded tokens by the rule of the ladder, and the share of each bucket."""
    edges = sorted({b.length for b in buckets})
    spent = dict.fromkeys(buckets, 0.0)
    for demand in demands:
        at = np.bincount(np.searchsorted(edges, demand.lengths), minlength=len(edges))
        for edge, count in zip(edges, at.tolist(), strict=True):
            if count:
                bucket = min(b for b in buckets if b.length == edge and b.batch >= count)
                spent[bucket] += demand.weight * bucket.tokens
    total = sum(spent.values())
    return total, {bucket: tokens / total for bucket, tokens in spent.items()}


def _ranges(buckets: Sequence[Profile], share: Mapping[Profile, float], most: int) -> tuple[OptimizationProfile, ...]:
    """At most so many boxes over spans of edges.

    The narrower a box, the better its kernels (one narrow profile of MiniLM on an H100 ran 50x32 in 0.30 ms, two wide
    ones in 0.35), so the cuts lie where the least work lies in wide boxes: a box's width is the logarithm of its
    largest shape's tokens over its smallest one's. Its kernels are chosen for the bucket that the rest of its work is
    nearest to, on the same scale.
    """
    edges = sorted({b.length for b in buckets})

    def box(begin: int, end: int) -> tuple[float, OptimizationProfile]:
        inside = [b for b in buckets if edges[begin] <= b.length <= edges[end - 1]]
        far = {b: sum(share[o] * abs(math.log(o.tokens / b.tokens)) for o in inside) for b in inside}
        best = min(inside, key=lambda b: (far[b], -share[b], b))
        batches = [b.batch for b in inside]
        batch = Range(min(batches), best.batch, max(batches))
        length = Range(edges[begin], best.length, edges[end - 1])
        width = math.log(batch.max * length.max / (batch.min * length.min))
        return width * sum(share[b] for b in inside), OptimizationProfile(batch, length)

    boxes = {(b, e): box(b, e) for e in range(1, len(edges) + 1) for b in range(e)}
    plans: list[dict[int, tuple[float, tuple[OptimizationProfile, ...]]]] = [{0: (0.0, ())}]
    for _ in range(most):
        reached: dict[int, tuple[float, tuple[OptimizationProfile, ...]]] = {}
        for (begin, end), (far, range_) in boxes.items():
            if begin in plans[-1]:
                total = plans[-1][begin][0] + far
                if end not in reached or total < reached[end][0]:
                    reached[end] = (total, (*plans[-1][begin][1], range_))
        plans.append(reached)
    complete = [plan[len(edges)] for plan in plans if len(edges) in plan]
    return min(complete, key=lambda plan: (round(plan[0], 9), len(plan[1])))[1]


def padded_tokens(demands: Sequence[Demand], buckets: Sequence[Profile]) -> float:
    """What the demands cost on any buckets, by their weights: each group at its edge in the cheapest that holds it.

    Sequences of one demand at one edge are a group; one that no bucket holds is cut into the largest batches.
    """
    edges = sorted({b.length for b in buckets})
    known: dict[tuple[int, int], float] = {}

    def cheapest(count: int, edge: int) -> float:
        usable = [b for b in buckets if b.length >= edge]
        fitting = [b.tokens for b in usable if b.batch >= count]
        most = max(usable, key=lambda b: (b.batch, -b.length))
        return min(fitting) if fitting else most.tokens + cheapest(count - most.batch, edge)

    total = 0.0
    for demand in demands:
        at = np.searchsorted(edges, np.minimum(demand.lengths, edges[-1]))
        for edge, count in enumerate(np.bincount(at).tolist()):
            if count:
                if (count, edge) not in known:
                    known[count, edge] = cheapest(count, edges[edge])
                total += demand.weight * known[count, edge]
    return total

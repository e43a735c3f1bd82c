"""What work costs and what fits into the time left: a pure policy over measured costs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import Profile

AT_ONCE = 512  # sequences that a new cost table has solved for; more are solved when they come


@dataclass(frozen=True)
class Chunk:
    """Sequences that run in one engine call."""

    profile: Profile
    members: tuple[int, ...]  # positions in the lengths that were planned


class _Cover:
    """The cheapest way to run n sequences of one length, for n from 0 to as many as were asked for.

    Args:
        usable: profiles that hold that length, and their seconds.
    """

    def __init__(self, usable: Mapping[Profile, float]) -> None:
        self._usable = sorted(usable.items(), key=lambda item: item[1])
        self.cost: list[float] = [0.0]  # seconds, by n
        self.first: list[Profile | None] = [None]  # the first call to make, by n

    def solve(self, n: int) -> None:
        """Lets cost and first reach n."""
        for m in range(len(self.cost), n + 1):
            cost, profile = min(
                ((seconds + self.cost[max(0, m - p.batch)], p) for p, seconds in self._usable), key=lambda x: x[0]
            )
            self.cost.append(cost)
            self.first.append(profile)


class Pace:
    """How long work takes now, as a multiple of its measured cost: the quantile of what is observed.

    Each observation moves it up by QUANTILE or down by 1 - QUANTILE steps, so it settles where that share of the
    observations lies below it, and follows a machine that others slow down or leave alone (stochastic approximation of
    a quantile: Robbins and Monro 1951; Tierney 1983). Work that was not tried because it would not fit says nothing:
    the pace is then doubted a little, so that a machine that was slow for a while is tried again.
    """

    QUANTILE = 0.95
    STEP = 0.05  # relative
    LIMITS = (0.2, 5.0)
    LEAST_DOUBTED = 0.5  # a table made on a machine twice as slow is outlived, clients with hopeless deadlines are, too

    def __init__(self) -> None:
        self.value = 1.0

    def observe(self, predicted: float, taken: float) -> None:
        """Learns from one batch; both in seconds."""
        above = taken > self.value * predicted
        self._move(self.QUANTILE if above else self.QUANTILE - 1)

    def doubt(self) -> None:
        """Learns from work that was not tried; never so far that the next tries are hopeless."""
        if self.value > self.LEAST_DOUBTED:
            self._move(self.QUANTILE - 1)

    def _move(self, steps: float) -> None:
        self.value = min(max(self.value * (1 + self.STEP * steps), self.LIMITS[0]), self.LIMITS[1])


class CostTable:
    """Seconds that each profile takes, measured at warm-up, and the cheapest way to cover any number of sequences.

    For one length, covering n sequences is a coin problem over the batch sizes, solved once for every n. A set of mixed
    lengths is cut, longest first, where two calls at two lengths cost less than one at the longer.
    """

    def __init__(self, seconds: Mapping[Profile, float]) -> None:
        self.seconds = dict(seconds)
        self.edges = sorted({profile.length for profile in seconds})  # tokens
        self._covers = [_Cover({p: cost for p, cost in seconds.items() if p.length >= edge}) for edge in self.edges]
        self._solve(AT_ONCE)

    def _solve(self, n: int) -> None:
        for cover in self._covers:
            cover.solve(n)

    def bucket(self, lengths: NDArray[np.integer]) -> NDArray[np.intp]:
        """The edge that each length belongs to, as its position in edges; longer ones are cut to the last."""
        return np.minimum(np.searchsorted(self.edges, lengths), len(self.edges) - 1)

    def _cuts(self, counts: Sequence[int]) -> tuple[float, list[tuple[int, int]]]:
        """The cheapest way to run counts[e] sequences of each edge: its cost, and the spans of edges run as one."""
        last = len(self.edges)
        self._solve(sum(counts))
        best: list[float] = [0.0]
        start: list[int] = [0]
        for end in range(1, last + 1):
            cover = self._covers[end - 1].cost
            total, choice, cost = 0, 0, float("inf")
            for begin in range(end - 1, -1, -1):
                total += counts[begin]
                candidate = best[begin] + cover[total]
                if candidate < cost:
                    cost, choice = candidate, begin
            best.append(cost)
            start.append(choice)
        groups = []
        end = last
        while end:
            groups.append((start[end], end))
            end = start[end]
        return best[last], groups

    def cost(self, counts: Sequence[int]) -> float:
        """Seconds for counts[e] sequences of each edge."""
        return self._cuts(counts)[0]

    def plan(self, lengths: NDArray[np.integer]) -> list[Chunk]:
        """The engine calls that score sequences of these lengths at the least cost.

        Args:
            lengths: tokens of each sequence, shape (n,).

        Returns:
            Chunks whose members are a partition of range(n).
        """
        buckets = self.bucket(lengths)
        counts = np.bincount(buckets, minlength=len(self.edges)).tolist()
        chunks = []
        for begin, end in self._cuts(counts)[1]:
            members = np.flatnonzero((buckets >= begin) & (buckets < end)).tolist()
            first = self._covers[end - 1].first
            while members:
                profile = first[len(members)]
                assert profile is not None  # noqa: S101 - n >= 1 always has a first call
                chunks.append(Chunk(profile, tuple(members[: profile.batch])))
                members = members[profile.batch :]
        return chunks

    def predicted(self, chunks: Sequence[Chunk]) -> float:
        """Seconds that a plan takes at the measured pace."""
        return sum(self.seconds[chunk.profile] for chunk in chunks)

    def depth_that_fits(self, lengths: Sequence[NDArray[np.integer]], budget: float) -> int:
        """How many candidates of each request can be scored, all requests together, within the budget.

        Args:
            lengths: for each request, tokens of its pairs in prior order.
            budget: seconds.

        Returns:
            The largest depth, up to the longest request's own, whose plan fits; 0 if none does.
        """
        deepest = max(map(len, lengths), default=0)
        counts = np.zeros((deepest + 1, len(self.edges)), np.int64)  # by depth and edge
        for request in lengths:
            hot = np.zeros((deepest, len(self.edges)), np.int64)
            hot[np.arange(len(request)), self.bucket(request)] = 1
            counts[1:] += hot.cumsum(axis=0)
        low, high = 0, deepest
        while low < high:
            middle = (low + high + 1) // 2
            fits = self.cost(counts[middle].tolist()) <= budget
            low, high = (middle, high) if fits else (low, middle - 1)
        return low

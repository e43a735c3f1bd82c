"""What engine calls cost, and the cheapest calls that run a set of sequences: pure, over measured seconds."""

import threading
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import Profile

from .pace import Pace, Paces

TINY = 1e-9  # seconds: two depths that differ by less cost the same
AT_ONCE = 512  # sequences that a new cost table has solved for; more are solved when they come


@dataclass(frozen=True, eq=False)
class Chunk:
    """Sequences that run in one engine call."""

    profile: Profile
    members: NDArray[np.intp]  # positions in the lengths that were planned, ascending, (n,)


class _Cover:
    """The cheapest way to run n sequences of one length, for n from 0 to as many as were asked for.

    Args:
        usable: batch and seconds of each profile that holds that length, by its place in the table.
    """

    def __init__(self, usable: Mapping[int, tuple[int, float]]) -> None:
        self._usable = sorted(usable.items(), key=lambda item: item[1][1])
        self.cost: list[float] = [0.0]  # seconds, by n
        self.first: list[int] = [-1]  # the place of the profile of the first call to make, by n

    def solve(self, n: int) -> None:
        """Lets cost and first reach n."""
        for m in range(len(self.cost), n + 1):
            cost, place = min(
                ((seconds + self.cost[max(0, m - batch)], at) for at, (batch, seconds) in self._usable),
                key=lambda x: x[0],
            )
            self.cost.append(cost)
            self.first.append(place)


class CostTable:
    """Seconds that each profile takes, measured at warm-up, and the cheapest way to cover any number of sequences.

    For one length, covering n sequences is a coin problem over the batch sizes, solved once for every n. A set of mixed
    lengths is cut, longest first, where two calls at two lengths cost less than one at the longer.

    The shape of a plan follows the measured seconds; what it is predicted to take at most follows the paces, one for
    each profile. A profile's pace learns from its own calls and, by OTHERS, from those of the others: what slows one
    down mostly slows all, and a shape that has not run yet must not look cheap for it. What work takes as often as not
    follows one pace for all.
    """

    OTHERS = 0.7  # weight of another profile's observation

    def __init__(self, seconds: Mapping[Profile, float]) -> None:
        self.seconds = dict(seconds)
        self.places = {profile: place for place, profile in enumerate(seconds)}
        self.paces = Paces(len(seconds), self.OTHERS)  # by place
        self.median = Pace(0.5)
        self.edges = sorted({profile.length for profile in seconds})  # tokens
        longest = self.edges[-1] if self.edges else 0
        self._bucket_of = np.searchsorted(self.edges, np.arange(longest + 1))  # by tokens, up to the longest
        self._profiles, self._costs = list(seconds), list(seconds.values())
        known = {place: (p.batch, seconds[p], p.length) for p, place in self.places.items()}
        self._covers = [
            _Cover({place: (batch, cost) for place, (batch, cost, length) in known.items() if length >= edge})
            for edge in self.edges
        ]
        self._solved, self._solving = 0, threading.Lock()
        self._cut: tuple[tuple[int, ...], list[tuple[int, int]]] = (), []  # the last counts, and their spans
        self._solve(AT_ONCE)

    def observe(self, profile: Profile, taken: float) -> None:
        """Learns from one engine call of that many seconds."""
        place = self.places[profile]
        ratio = taken / self._costs[place]
        self.paces.observe(place, ratio)
        self.median.observe(ratio)

    def doubt(self, now: float) -> None:
        """Learns from work that was not tried, at monotonic seconds now, because it would not fit."""
        self.median.doubt(now)
        self.paces.doubt(now)

    def predicted(self, sequences: int, length: int) -> float:
        """Seconds at most, at the present pace, of the cheapest calls for so many sequences of so many tokens."""
        if not sequences:
            return 0.0
        edge = self._edge(length)
        self._solve(sequences)
        return self._paced(edge, sequences)

    def typical(self, sequences: int, length: int) -> float:
        """Seconds that the same calls take as often as not."""
        self._solve(sequences)
        return self._covers[self._edge(length)].cost[sequences] * self.median.value

    def cost(self, counts: Sequence[int]) -> float:
        """Seconds, at the present pace, for counts[e] sequences of each edge."""
        total = 0.0
        for begin, end in self._cuts(counts):
            total += self._paced(end - 1, sum(counts[begin:end]))
        return total

    def plan(self, lengths: NDArray[np.integer]) -> list[Chunk]:
        """The engine calls that score sequences of these lengths at the least cost.

        Args:
            lengths: tokens of each sequence, shape (n,).

        Returns:
            Chunks whose members are a partition of range(n).
        """
        if len(lengths) == 1:  # a lone query
            first = self._covers[self._edge(int(lengths[0]))].first
            return [Chunk(self._profiles[first[1]], np.zeros(1, np.intp))]
        buckets = self._bucket(lengths)
        spans = self._cuts(np.bincount(buckets, minlength=len(self.edges)).tolist())
        chunks = []
        for begin, end in spans:
            alone = len(spans) == 1
            members = np.arange(len(lengths)) if alone else np.flatnonzero((buckets >= begin) & (buckets < end))
            while len(members):
                profile = self._profiles[self._covers[end - 1].first[len(members)]]
                chunks.append(Chunk(profile, members[: profile.batch]))
                members = members[profile.batch :]
        return chunks

    def depth_that_fits(
        self, lengths: Sequence[NDArray[np.integer]], budget: float, together: int = 0, most: int | None = None
    ) -> int:
        """How many candidates of each request can be scored, all requests together, within the budget.

        Args:
            lengths: for each request, tokens of its pairs in prior order.
            budget: seconds, at the present pace.
            together: how many requests there are, alike to these and no fewer; 0 means just these.
            most: the depth that is enough; None for the longest request's own.

        Returns:
            The largest depth, up to the most, whose plan fits; 0 if none does.
        """
        deepest = max(map(len, lengths), default=0)
        deepest = deepest if most is None else min(deepest, most)
        if not deepest:
            return 0
        times = together or len(lengths)
        buckets, given = [self._bucket(own[:deepest]) for own in lengths], len(lengths)

        def cost(depth: int) -> float:
            own = buckets[0][:depth] if given == 1 else np.concatenate([own[:depth] for own in buckets])
            counts = np.bincount(own, minlength=len(self.edges)).tolist()
            return self.cost(counts if times == given else [count * times // given for count in counts])

        low, below = 0, min(self._costs)  # fits, or is nothing
        high, above = deepest, cost(deepest)  # does not fit
        if above <= budget:
            return deepest
        halves = False
        while high - low > 1:  # cost grows about evenly with depth; where it does not, every second try halves the rest
            rest = (high - low) // 2 if halves else int((high - low) * (budget - below) / max(above - below, TINY))
            middle = min(max(low + rest, low + 1), high - 1)
            found = cost(middle)
            if found <= budget:
                low, below = middle, found
            else:
                high, above = middle, found
            halves = not halves
        return low

    def _edge(self, length: int) -> int:
        """The position in edges of the shortest that holds so many tokens; of the last for longer ones."""
        return min(bisect_left(self.edges, length), len(self.edges) - 1)

    def _solve(self, n: int) -> None:
        if n > self._solved:
            with self._solving:  # a lane's thread and the event loop may both come
                for cover in self._covers:
                    cover.solve(n)
                self._solved = max(self._solved, n)

    def _paced(self, edge: int, n: int) -> float:
        total, first, paces = 0.0, self._covers[edge].first, self.paces.values
        while n > 0:
            place = first[n]
            total += self._costs[place] * paces[place]
            n -= self._profiles[place].batch
        return total

    def _bucket(self, lengths: NDArray[np.integer]) -> NDArray[np.intp]:
        """The edge that each length belongs to, as its position in edges; longer ones are cut to the last."""
        return self._bucket_of.take(lengths, mode="clip")

    def _cuts(self, counts: Sequence[int]) -> list[tuple[int, int]]:
        """The cheapest way to run counts[e] sequences of each edge: the spans of edges that are run as one."""
        key = tuple(counts)
        if key == self._cut[0]:  # a depth that was found to fit is planned next
            return self._cut[1]
        used = [edge for edge, count in enumerate(counts) if count]
        self._solve(sum(counts))
        best, start = [0.0], [0]  # of the first edges that are used: the least cost, and where the last span begins
        before, total = [0], 0  # sequences of the first edges that are used, and of all until now
        for edge in used:
            total += counts[edge]
            cover = self._covers[edge].cost
            costs = [least + cover[total - ahead] for least, ahead in zip(best, before, strict=True)]
            before.append(total)
            best.append(min(costs))
            start.append(costs.index(best[-1]))
        groups = []
        end = len(used)
        while end:
            groups.append((used[start[end]], used[end - 1] + 1))
            end = start[end]
        self._cut = key, groups
        return groups

"""Who is admitted, and how deep is reranked: the pure policies that keep the promised time."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .costs import AT_ONCE, CostTable
from .pace import Pace


class Rate:
    """Arrivals a second, as an exponentially weighted average.

    Args:
        window: seconds after which an arrival counts 1/e.
    """

    def __init__(self, window: float = 0.5) -> None:
        self._window, self._value, self._last = window, 0.0, -math.inf

    def observe(self, now: float) -> None:
        """Counts one arrival."""
        self._value, self._last = self.at(now) + 1 / self._window, max(now, self._last)

    def at(self, now: float) -> float:
        """Arrivals a second, as of now."""
        return self._value * math.exp(min(0.0, (self._last - now) / self._window))


class Margin:
    """Seconds taken off every deadline, so that of the queries QUANTILE leave in time whatever delays the last steps.

    What ends at its deadline is late by what then still happens: a thread that waits for a processor, a loop that is
    busy. Each query that left late makes the margin longer by QUANTILE of a step, each that left in time shorter by the
    rest, as a Pace does. One that was late by more than it spent on the encoder and the reranker teaches nothing: it
    would have been late without them, and an earlier deadline takes nothing else away.

    Queries that found others ahead have a margin of their own: what a burst taught is no reason to hurry when it is
    over.

    Args:
        promised: seconds from arrival to the final message; None for no limit, and no margin.
    """

    QUANTILE = 0.99
    STEP = 0.2e-3  # seconds
    MOST = 0.3  # of the time promised

    def __init__(self, promised: float | None) -> None:
        self._values = [0.0, 0.0]  # seconds: of queries that found nobody ahead, of the others
        self._most = self.MOST * promised if promised is not None else 0.0

    def of(self, ahead: int) -> float:
        """Seconds for a query that finds so many ahead."""
        return self._values[ahead > 0]

    def observe(self, ahead: int, late: float, spent: float) -> None:
        """Learns from a query.

        Args:
            ahead: queries that it found ahead.
            late: seconds that it left after it should have; less than 0 is in time.
            spent: seconds that it waited for the encoder and the reranker, whatever came of it.
        """
        if late > spent:
            return
        step = self.STEP * (self.QUANTILE if late > 0 else self.QUANTILE - 1)
        self._values[ahead > 0] = min(max(self.of(ahead) + step, 0.0), self._most)


class Depth:
    """How many candidates of each request are reranked: as many as its oldest deadline and its fair share allow.

    The share keeps depth smooth under load. A rerank that used all the time its deadline leaves would let those behind
    it wait for nearly all of theirs; so each request takes at most UTILISATION / rate seconds, and queries that come at
    that rate find the reranker free. The share is reckoned for a batch of as many requests as half the time left
    brings, up to what the cost table has solved for, because what a call costs at all is then paid once for all of
    them. Below LEAST candidates there is no order to change.

    Args:
        costs: the reranker's.
    """

    LEAST = 2  # candidates
    UTILISATION = 0.7  # of the reranker's time, beyond which depth shrinks

    def __init__(self, costs: CostTable) -> None:
        self.costs = costs
        self.rate = Rate()

    def choose(self, pairs: Sequence[NDArray[np.integer]], deadlines: Sequence[float | None], now: float) -> int:
        """The depth of a batch.

        Args:
            pairs: for each request, tokens of its pairs in prior order, (cap,).
            deadlines: of each request, monotonic seconds; None for no limit.
            now: monotonic seconds.

        Returns:
            Candidates of each request, at most the longest cap; 0 if there is no time for LEAST of them.
        """
        cap = max(map(len, pairs))
        due = [deadline for deadline in deadlines if deadline is not None]
        if not due:
            return cap
        least = min(self.LEAST, cap)
        left = min(due) - now
        rate, most = self.rate.at(now), cap
        if rate * left > len(pairs) * self.UTILISATION:
            together = max(len(pairs), min(int(rate * left / 2), AT_ONCE // max(1, cap)))
            most = self.costs.depth_that_fits(pairs, together * self.UTILISATION / rate, together)
        depth = self.costs.depth_that_fits(pairs, left, most=most)  # last: what fits is planned next
        if depth < least:  # a share too small for anything is no reason to do nothing in time that is there
            at_least = self.costs.depth_that_fits([own[:least] for own in pairs], left)
            depth = least if at_least >= least else 0
        return depth


@dataclass
class _Peer:
    """One connection, or whoever else shares the service with others."""

    waiting: int = 0
    seen: float = -math.inf  # monotonic seconds


@dataclass(frozen=True)
class Ticket:
    """An admitted query, until it leaves its first stage."""

    peer: Hashable
    ahead: int  # queries in their first stage when it came
    own: float  # seconds that its own work takes as often as not, with the wait for theirs
    arrived: float  # monotonic seconds


class Admission:
    """Admits a query if at least the lexical index can still answer it in time, by Little's law.

    The encoder is not waited for here: where it has no time for a query, the query does without, and that costs less
    than a refusal. What no query can do without is the frontend's own work. With L queries in their first stage, of
    whose own work the frontend does X a second, a new one waits L / X and then takes what an idle service takes. Both
    are learned from every query, its wait for the encoder left out, as quantiles: the idle time from those that found
    nobody ahead, 1 / X from the others. So the queue has no fixed length: it is as long as can be served in time,
    X (slack - idle). A query that finds nobody ahead, seen or unseen, is always admitted, otherwise a service that was
    slow once would never learn better.

    How much of its time a query may wait for the encoder follows the medians instead: what is rarely needed for the
    steps after it is the margin's to keep.

    Beyond half of what can be served each peer has its share only: that of one who sends little stays free for it.

    Args:
        idle: seconds of the first stage's own work on an idle service, from the rehearsal.
        encode: seconds of an idle encoder.
    """

    QUANTILE = 0.95  # simulated at twice what the encoder bears: 0.2 % late and 0.7 % refused, at 0.8 1.1 % and 0.3 %
    HOPE = 0.25  # of the idle time: what each query ahead adds, until it is known
    ACTIVE = 1.0  # seconds for which a peer that was seen has a share

    def __init__(self, idle: float, encode: float = 0.0) -> None:
        self.waiting = 0  # queries in their first stage
        self._measured, self._encode = idle, encode
        self._idle, self._each = Pace(self.QUANTILE), Pace(self.QUANTILE)  # multiples of the idle time and of HOPE
        self._usual_idle, self._usual_each = Pace(0.5), Pace(0.5)  # of the same
        self._peers: dict[Hashable, _Peer] = {}
        self._active, self._counted = 1, -math.inf

    @property
    def idle(self) -> float:
        """Seconds of a first stage's own work that finds nobody ahead."""
        return self._measured * self._idle.value

    @property
    def each(self) -> float:
        """Seconds that each query ahead adds: 1 / X."""
        return self._measured * self.HOPE * self._each.value

    def wait(self, peer: Hashable, slack: float, now: float, backlog: float = 0.0, *, behind: bool = False) -> float:
        """Seconds after which a query could be admitted that must have its provisional order within slack; 0 for now.

        Args:
            peer: who asks.
            slack: seconds left for the first stage.
            now: monotonic seconds.
            backlog: seconds that the encoder is busy, of a query that must not do without it.
            behind: whether queries wait before they are seen.
        """
        own = self._peers.get(peer)
        if own is None:
            own = self._peers[peer] = _Peer()
        own.seen = now
        if not (self.waiting or backlog or behind):
            return 0.0
        self._count(now)
        room = (slack - self.idle) / self.each  # queries ahead that still leave time
        late = self._own() - slack
        if backlog:
            late = max(late, backlog + self._encode + self.idle - slack)
        if late > 0:
            self._idle.doubt(now)  # what is refused teaches nothing
            self._each.doubt(now)
            return max(late, self.each)
        if self.waiting >= room / 2 and own.waiting >= max(1.0, room / self._active):
            return self.each
        return 0.0

    def enter(self, peer: Hashable, now: float) -> Ticket:
        """Counts an admitted query."""
        usual = self._usual_idle.value + self.waiting * self.HOPE * self._usual_each.value
        ticket = Ticket(peer, self.waiting, self._measured * usual, now)
        self.waiting += 1
        self._peers.setdefault(peer, _Peer()).waiting += 1
        return ticket

    def leave(self, ticket: Ticket, now: float | None, encoding: float = 0.0) -> None:
        """Ends a query's first stage.

        Args:
            ticket: from enter.
            now: monotonic seconds; None if it failed and says nothing of the time that it takes.
            encoding: seconds that it waited for the encoder, whatever came of it.
        """
        self.waiting -= 1
        self._peers[ticket.peer].waiting -= 1
        if now is None:
            return
        took = max(0.0, now - ticket.arrived - encoding)
        if not ticket.ahead:
            self._idle.observe(took / self._measured)
            self._usual_idle.observe(took / self._measured)
        else:
            each = ticket.ahead * self._measured * self.HOPE
            self._each.observe(max(0.0, took - self.idle) / each)
            self._usual_each.observe(max(0.0, took - self._measured * self._usual_idle.value) / each)

    def _own(self) -> float:
        """Seconds that the own work of one more query takes, with the wait for that of those ahead: Little's law."""
        return self.idle + self.waiting * self.each

    def _count(self, now: float) -> None:
        """Forgets peers that are gone, a few times a second."""
        if now - self._counted > self.ACTIVE / 4:
            self._counted = now
            self._peers = {p: own for p, own in self._peers.items() if own.waiting or now - own.seen < self.ACTIVE}
            self._active = max(1, len(self._peers))

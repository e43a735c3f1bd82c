"""Which waiting requests run together: a pure policy, with time as an argument and no I/O.

It counts padded tokens, not requests: requests differ by a factor of four in work, tokens do not.
"""

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Work(Protocol):
    """What a batcher needs to know of a request."""

    @property
    def sequences(self) -> int:
        """How many sequences it brings at least."""

    @property
    def length(self) -> int:
        """Tokens of its longest sequence."""

    @property
    def deadline(self) -> float | None:
        """Monotonic seconds by which it must be done; None means never too late."""

    @property
    def priority(self) -> int:
        """The lower goes first, whatever the deadlines."""

    @property
    def cancelled(self) -> bool:
        """Whether its client has left."""


W = TypeVar("W", bound=Work)
Seconds = Callable[[int, int], float]  # what so many sequences of so many tokens take together


@dataclass
class Batch(Generic[W]):
    """What one pop takes from the queue. Every request pushed leaves in exactly one of these lists, once."""

    ready: list[W] = field(default_factory=list)  # to run together, now
    hopeless: list[W] = field(default_factory=list)  # past their deadline or predicted to be: to be failed
    cancelled: list[W] = field(default_factory=list)  # nobody waits for them


class Batcher(Generic[W]):
    """A queue that hands out batches: by priority, then the earliest deadline first, then in order of arrival.

    Requests join while the engine is busy; an idle engine pops at once, so nothing ever waits for company. A request
    joins a batch only if the whole batch is still done by its oldest deadline; one that is predicted to be late even
    alone is given up. Where nobody else waits, trying takes no time from anyone: then it is enough if it is in time
    as often as not.

    Args:
        max_tokens: padded tokens of a batch; a request that has more runs alone.
        max_requests: requests of a batch; None for any number.
    """

    def __init__(self, max_tokens: int, max_requests: int | None = None) -> None:
        self.max_tokens, self.max_requests = max_tokens, max_requests
        self.sequences = 0  # of all that wait
        self.longest = 0  # tokens, of all that have waited since the queue was last empty
        self._waiting: list[tuple[int, float, int, W]] = []
        self._arrivals = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, work: W) -> None:
        """Lets a request wait."""
        due = math.inf if work.deadline is None else work.deadline
        heapq.heappush(self._waiting, (work.priority, due, self._arrivals, work))
        self._arrivals += 1
        self.longest = max(self.longest, work.length) if self.sequences else work.length
        self.sequences += work.sequences

    def hopeless(self, work: W, now: float, busy: float, seconds: Seconds, typical: Seconds | None = None) -> bool:
        """Whether a request that has not been pushed would come too late behind all that goes before it.

        Args:
            work: the request.
            now: monotonic seconds.
            busy: seconds until the engine is free.
            seconds: predicts how long a batch takes at most.
            typical: predicts how long a batch takes as often as not; by default seconds.
        """
        if work.deadline is None:
            return False
        rank, sequences, longest = (work.priority, work.deadline), work.sequences, work.length
        waits = busy > 0
        for priority, due, _, other in self._waiting:
            if (priority, due) <= rank:
                waits, sequences, longest = True, sequences + other.sequences, max(longest, other.length)
        predicted = seconds if waits else typical or seconds
        return now + busy + predicted(sequences, longest) > work.deadline

    def pop(self, now: float, seconds: Seconds, typical: Seconds | None = None) -> Batch[W]:
        """Takes the next batch, and everything before it that need not run any more.

        Args:
            now: monotonic seconds.
            seconds: predicts how long a batch takes at most.
            typical: predicts how long a batch takes as often as not; by default seconds.
        """
        batch: Batch[W] = Batch()
        sequences = longest = 0
        oldest = math.inf
        while self._waiting:
            _, due, _, work = self._waiting[0]
            if work.cancelled:
                batch.cancelled.append(self._take())
                continue
            alone = not batch.ready and len(self._waiting) == 1
            predicted = typical or seconds if alone else seconds
            if now + predicted(work.sequences, work.length) > due:
                batch.hopeless.append(self._take())
                continue
            if batch.ready:
                together, length = sequences + work.sequences, max(longest, work.length)
                if together * length > self.max_tokens or len(batch.ready) == self.max_requests:
                    break
                if now + seconds(together, length) > min(oldest, due):
                    break
            sequences, longest, oldest = sequences + work.sequences, max(longest, work.length), min(oldest, due)
            batch.ready.append(self._take())
        return batch

    def drain(self) -> list[W]:
        """Takes everything, for a shutdown."""
        return [self._take() for _ in range(len(self._waiting))]

    def _take(self) -> W:
        work = heapq.heappop(self._waiting)[-1]
        self.sequences -= work.sequences
        return work

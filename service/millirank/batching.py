"""Which waiting requests run together: a pure policy, with time as an argument and no I/O.

It counts padded tokens, not requests: requests differ by a factor of four in work, tokens do not.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Work(Protocol):
    """What a batcher needs to know of a request."""

    @property
    def sequences(self) -> int:
        """How many sequences it brings."""

    @property
    def length(self) -> int:
        """Tokens of its longest sequence."""

    @property
    def deadline(self) -> float | None:
        """Monotonic seconds after which nobody waits for it; None means never."""

    @property
    def cancelled(self) -> bool:
        """Whether its client has left."""


W = TypeVar("W", bound=Work)


@dataclass
class Batch(Generic[W]):
    """What one pop takes from the queue. Every request pushed leaves in exactly one of these lists, once."""

    ready: list[W] = field(default_factory=list)  # to run together, now
    expired: list[W] = field(default_factory=list)  # past their deadline: to be failed
    cancelled: list[W] = field(default_factory=list)  # nobody waits for them


class Batcher(Generic[W]):
    """A queue that hands out batches of at most max_tokens padded tokens, oldest first.

    Requests join while the engine is busy; an idle engine pops at once, so nothing ever waits for company.
    """

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._waiting: deque[W] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def push(self, work: W) -> None:
        """Lets a request wait."""
        self._waiting.append(work)

    def pop(self, now: float) -> Batch[W]:
        """Takes the next batch, and everything at the head of the queue that need not run any more.

        A request larger than max_tokens runs alone.
        """
        batch: Batch[W] = Batch()
        sequences = longest = 0
        while self._waiting:
            work = self._waiting[0]
            if work.cancelled:
                batch.cancelled.append(self._waiting.popleft())
                continue
            if work.deadline is not None and work.deadline <= now:
                batch.expired.append(self._waiting.popleft())
                continue
            padded = (sequences + work.sequences) * max(longest, work.length)
            if batch.ready and padded > self.max_tokens:
                break
            sequences, longest = sequences + work.sequences, max(longest, work.length)
            batch.ready.append(self._waiting.popleft())
        return batch

    def drain(self) -> list[W]:
        """Takes everything, for a shutdown."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting

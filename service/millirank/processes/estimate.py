"""How long a core is busy, as one frontend can know it."""

from collections import deque

from millirank.jobs import Backlog, Encoded, Reranked, Result

from . import wire


class Estimate:
    """How long a core is busy, as one frontend can know it: a pure policy.

    It is what the core reported, less the time since, and what was sent that the core had not seen then; but never
    less than the work of our own jobs that are open, so a core that hangs looks busier with each of them.
    """

    def __init__(self) -> None:
        self._load = wire.Load(0.0, 0.0, 0.0, 0.0, 0.0, seen=0)
        self._unseen: deque[tuple[int, type[Result]]] = deque()
        self._waiting: dict[type[Result], int] = {Encoded: 0, Reranked: 0}  # of _unseen
        self._open: dict[type[Result], int] = {Encoded: 0, Reranked: 0}

    def sent(self, job: int, kind: type[Result]) -> None:
        """Learns that a job was sent; jobs grow."""
        self._unseen.append((job, kind))
        self._waiting[kind] += 1
        self._open[kind] += 1

    def ended(self, kind: type[Result]) -> None:
        """Learns that a job was answered."""
        self._open[kind] -= 1

    def reported(self, load: wire.Load) -> None:
        """Learns what the core says."""
        self._load = load
        while self._unseen and self._unseen[0][0] <= load.seen:
            self._waiting[self._unseen.popleft()[1]] -= 1

    @property
    def each(self) -> Backlog:
        """Seconds that one job of each kind takes this core."""
        return Backlog(self._load.encode_each, self._load.rerank_each)

    def backlog(self, now: float) -> Backlog:
        """Seconds of work that are left at now, in seconds of the machine's clock."""
        load = self._load
        return Backlog(
            self._seconds(Encoded, load.encode, load.encode_each, now),
            self._seconds(Reranked, load.rerank, load.rerank_each, now),
        )

    def _seconds(self, kind: type[Result], reported: float, each: float, now: float) -> float:
        left = max(0.0, reported - max(0.0, now - self._load.at))
        return max(left + self._waiting[kind] * each, self._open[kind] * each)

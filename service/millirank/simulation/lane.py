"""A lane of a simulated core: the real queue and the real cost table, around an engine that only takes time."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from millirank.batching import Batcher
from millirank.costs import Chunk, CostTable

from .device import Seconds
from .events import Events
from .outcome import Ran

Factor = Callable[[float], float]  # how many times as long everything takes, by simulated seconds
NO_PAIRS: NDArray[np.uint16] = np.empty(0, np.uint16)


@dataclass(eq=False, slots=True)
class Work:
    """A job of a query. The sender owns cancelled."""

    done: Callable[[int], None]  # called exactly once, with how many sequences were run for it; 0 if none was in time
    deadline: float | None
    length: int  # tokens of the longest sequence that it brings at least
    sequences: int = 1  # that it brings at least
    pairs: NDArray[np.uint16] = field(default_factory=lambda: NO_PAIRS)  # tokens of each, in prior order
    priority: int = 0
    cancelled: bool = False


Planner = Callable[[Sequence[Work], float], tuple[list[Chunk], list[int]]]  # the calls, and the sequences of each job


class Lane:
    """Runs one batch at a time, as the core's lane does.

    Args:
        events: the simulated time.
        seconds: what each shape really takes, as a median.
        costs: what the core believes.
        noise: factors on seconds.
        trouble: a factor that depends on the time.
        slowdown: a factor while the other lane runs.
        around: seconds of each batch outside the engine.
        hopes: whether a job that keeps nobody waiting is run if it is in time as often as not.
        max_requests: of a batch.
    """

    def __init__(
        self,
        events: Events,
        seconds: Seconds,
        costs: CostTable,
        *,
        noise: Iterator[float],
        trouble: Factor,
        slowdown: float,
        around: float,
        hopes: bool,
        max_requests: int | None,
    ) -> None:
        self.costs = costs
        self.queue: Batcher[Work] = Batcher(max(profile.tokens for profile in seconds), max_requests)
        self._predictions = (costs.predicted, costs.typical if hopes else costs.predicted)
        self.planner: Planner
        self.beside: Lane  # the other lane of the core
        self.busy = False
        self.coming = 0  # jobs on their way from a frontend
        self.each = costs.predicted(1, costs.edges[0])  # seconds of one more job, at least
        self._events, self._seconds, self._noise, self._trouble = events, seconds, noise, trouble
        self._slowdown, self._around = slowdown, around
        self._busy_until = 0.0
        self._jobs: list[tuple[Work, int]] = []  # that run, and the sequences of each
        self._calls: deque[Chunk] = deque()  # that are still to be made, the running one first
        self._began = self._since = self._left = self._factor = 0.0  # of the running call
        self._engine = 1.0  # its share that the engine takes
        self._version = 0  # of its end, which moves when the other lane begins or ends
        self._ran: list[tuple[float, float, int, int]] = []

    def submit(self, work: Work) -> None:
        """Lets a job wait, or ends it if it would come too late; an idle lane takes it at once."""
        self.coming -= 1
        now = self._events.now
        if self.queue.hopeless(work, now, self._busy(now), *self._predictions):
            self.costs.doubt(now)
            work.done(0)
            return
        self.queue.push(work)
        if not self.busy:
            self._step()

    def backlog(self) -> float:
        """Seconds of what runs, waits and is on its way."""
        costs, queue = self.costs, self.queue
        waiting = costs.predicted(queue.sequences, queue.longest) if queue.sequences else 0.0
        if self.coming:
            waiting += self.coming * self.each
        return self._busy(self._events.now) + waiting

    def _busy(self, now: float) -> float:
        """Seconds until the batch that runs is done."""
        return max(0.0, self._busy_until - now) if self.busy else 0.0

    @property
    def ran(self) -> Ran:
        """Every batch so far."""
        starts, seconds, requests, sequences = zip(*self._ran, strict=True) if self._ran else ((), (), (), ())
        return Ran(
            np.array(starts, np.float64),
            np.array(seconds, np.float64),
            np.array(requests, np.int64),
            np.array(sequences, np.int64),
        )

    def shift(self) -> None:
        """The other lane has begun or ended: what runs goes on at another speed."""
        if self.busy:
            now = self._events.now
            self._left -= (now - self._since) / self._factor
            self._go(now)

    def _step(self) -> None:
        now = self._events.now
        while self.queue:
            batch = self.queue.pop(now, *self._predictions)
            for work in batch.hopeless:
                self.costs.doubt(now)
                work.done(0)
            for work in batch.cancelled:
                work.done(0)
            if not batch.ready:
                continue
            plan, depths = self.planner(batch.ready, now)
            if not plan:
                self.costs.doubt(now)
                for work in batch.ready:
                    work.done(0)
                continue
            self._jobs, self._calls = list(zip(batch.ready, depths, strict=True)), deque(plan)
            self._busy_until = now + sum(self.costs.predicted(len(c.members), c.profile.length) for c in plan)
            self._ran.append((now, 0.0, len(depths), sum(depths)))
            self.busy = True
            self.beside.shift()
            self._call(now, self._around)
            return

    def _call(self, now: float, around: float) -> None:
        """Begins the next call."""
        engine = self._seconds[self._calls[0].profile] * next(self._noise) * self._trouble(now)
        self._began, self._left, self._engine = now, engine + around, engine / (engine + around)
        self._go(now)

    def _go(self, now: float) -> None:
        self._since, self._factor = now, self._slowdown if self.beside.busy else 1.0
        self._version += 1
        self._events.at(now + self._left * self._factor, self._end, self._version)

    def _end(self, version: int) -> None:
        if version != self._version:
            return  # it ends at another time
        now = self._events.now
        self.costs.observe(self._calls.popleft().profile, (now - self._began) * self._engine)
        self.each = self.costs.predicted(1, self.costs.edges[0])
        if self._calls:
            self._call(now, 0.0)
            return
        self.busy = False
        start, _, requests, sequences = self._ran[-1]
        self._ran[-1] = (start, now - start, requests, sequences)
        self.beside.shift()
        for work, depth in self._jobs:
            work.done(depth)
        self._step()

"""How late an event loop runs what is due."""

import asyncio
import time
from collections.abc import Callable

from .recorder import Metrics

WHILE = 10  # ticks that come often after the latest traffic
TIMER = 0.001  # seconds that a loop on time may run a timer late: epoll and libuv count in milliseconds


class LoopLag:
    """A ticker on an event loop that records how late each tick came: up to TIMER more than the loop really lagged.

    All methods are called from the loop's own thread.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: float | None = None  # monotonic seconds; None while it is stopped
        self._latest = self._worst = self._ticked = 0.0  # seconds; monotonic seconds
        self._every = 0.0  # seconds
        self._next: asyncio.TimerHandle | None = None
        self._schedule: Callable[[], None] | None = None  # None while it is stopped
        self._often, self._resting = 0, False  # ticks without traffic that still come often; whether none does

    @property
    def lag(self) -> float:
        """Seconds that the loop lags for certain: the latest tick's lateness, or the next one's if that is overdue."""
        if self._due is None:
            return 0.0
        now = self._clock()
        return max(0.0, self._found(now) - TIMER, now - self._due - TIMER)

    def _found(self, now: float) -> float:
        """What the latest tick found; a loop at rest has done all that waited then."""
        return 0.0 if self._resting and now - self._ticked > self._every else self._latest

    def worst(self) -> float:
        """Seconds that a tick came late at most since the last call of this method; 0 if none came."""
        worst, self._worst = self._worst, 0.0
        return worst

    def traffic(self) -> None:
        """There is something that a lag would keep waiting: ticks often for a while."""
        self._often = WHILE
        if self._resting and self._schedule is not None:
            self._latest = self._found(self._clock())
            self._schedule()

    def start(self, loop: asyncio.AbstractEventLoop, metrics: Metrics, every: float = 0.002, rest: float = 0.0) -> None:
        """Ticks from now on.

        Args:
            loop: to watch.
            metrics: told of every tick.
            every: seconds from one tick to the next.
            rest: the same without traffic; 0 for no difference.
        """
        self.stop()
        self._every = every

        def tick() -> None:
            assert self._due is not None  # noqa: S101 - stop cancels the tick that it forgets
            self._ticked = self._clock()
            self._latest = max(0.0, self._ticked - self._due)
            self._worst = max(self._worst, self._latest)
            metrics.lagged(self._latest)
            schedule()

        def schedule() -> None:
            if self._next is not None:
                self._next.cancel()
            self._resting, self._often = self._often <= 0 < rest, self._often - 1
            wait = rest if self._resting else every
            self._due = self._clock() + wait
            self._next = loop.call_later(wait, tick)

        self._schedule = schedule
        schedule()

    def stop(self) -> None:
        """Ticks no more; without effect if it does not tick."""
        if self._next is not None:
            self._next.cancel()
        self._next = self._due = self._schedule = None
        self._latest = 0.0

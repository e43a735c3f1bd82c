"""Simulated time: what happens when, and a thread that does one thing after the other."""

import heapq
from collections import deque
from collections.abc import Callable
from typing import Any

Then = Callable[[], None]
Task = Callable[[], tuple[float, Then | None]]  # begins, and says how many seconds it takes and what follows


class Events:
    """A clock that jumps from one event to the next; events of the same time happen in the order they were set."""

    def __init__(self) -> None:
        self.now = 0.0  # simulated seconds
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._set = 0

    def at(self, time: float, action: Callable[..., None], *args: object) -> None:
        """Sets an event; one set for the past happens now."""
        self._set += 1
        heapq.heappush(self._heap, (max(time, self.now), self._set, action, args))

    def run(self) -> None:
        """Lets everything happen, until nothing is left."""
        heap, pop = self._heap, heapq.heappop
        while heap:
            self.now, _, action, args = pop(heap)
            action(*args)


class Worker:
    """A thread: does what it is given, in turn."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._waiting: deque[Task] = deque()
        self._busy = False
        self.worked = 0.0  # seconds

    def post(self, task: Task) -> None:
        """Lets a task wait for its turn."""
        self._waiting.append(task)
        if not self._busy:
            self._begin()

    def _begin(self) -> None:
        self._busy = True
        seconds, then = self._waiting.popleft()()
        self.worked += seconds
        self._events.at(self._events.now + seconds, self._end, then)

    def _end(self, then: Then | None) -> None:
        if then is not None:
            then()
        if self._waiting:
            self._begin()
        else:
            self._busy = False

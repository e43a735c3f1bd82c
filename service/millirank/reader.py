"""Where indexes and products are read: on the event loop while that is short, on a thread where it is not."""

import asyncio
import functools
from collections.abc import Callable
from concurrent.futures import Executor
from typing import ParamSpec, TypeVar

from .pace import Pace

P = ParamSpec("P")
T = TypeVar("T")
SHORT = (
    0.001  # seconds of reading a query on the event loop: two hops to a thread and back cost a third of it, and more
)
# where both want the interpreter
LONG = 10  # times as long: an index that is cold, or a query like no other
WARY = 16  # queries that are read on the thread after one that took so long


class Reader:
    """Runs what reads; a large index that takes long keeps the event loop free, a small one is spared the hops.

    Args:
        executor: of what takes long.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._usual = Pace(0.5)  # of what is read for a query, as a multiple of SHORT
        self._wary = 0  # queries that are still read on the thread, however short the usual ones are

    async def __call__(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What a function gives that reads."""
        if self._usual.value < 1 and not self._wary:
            return function(*args, **kwargs)
        call = functools.partial(function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def took(self, seconds: float) -> None:
        """Learns what was read for one query, in all."""
        self._usual.observe(seconds / SHORT)
        self._wary = WARY if seconds > LONG * SHORT else max(0, self._wary - 1)

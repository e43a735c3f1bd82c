"""When each step of the queries of one process was done, and what stopped it: for whoever asks why answers are late.

Off unless `millirank serve --trace DIR` names a folder. Each process writes DIR/PID.jsonl, a line an event, once a
second; every time is in seconds of CLOCK_MONOTONIC, which all processes of a Linux machine share, so that a client on
the same machine can lay its own times beside them:

    {"query": id, "at": {"seen": s, "admitted": s, …}, "took": {"encode_queue": s, …}}
    {"gc": generation, "at": s, "seconds": s}        a garbage collection, which stops every thread
"""

import asyncio
import gc
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from .errors import ConfigError

EVERY = 1.0  # seconds between two writes
MOST = 100_000  # events that wait for one: beyond that the oldest are dropped


class Trace:
    """Collects the events of one process; all methods but the collector's are called from its event loop.

    Args:
        folder: gets the file; made if it is missing.
        clock: monotonic seconds.

    Raises:
        ConfigError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / f"{os.getpid()}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.write_bytes(b"")
        except OSError as error:
            raise ConfigError(f"--trace {folder} cannot be written ({error}): name another folder") from error
        self._clock = clock
        self._events: list[dict[str, Any]] = []
        self._collecting = 0.0  # since when the collector runs, monotonic seconds
        self._next: asyncio.TimerHandle | None = None
        self._encode = msgspec.json.Encoder().encode_lines

    def start(self) -> None:
        """Watches the collector, and writes once a second, on the running event loop."""
        gc.callbacks.append(self._collected)
        self._schedule()

    def query(self, name: str, at: Mapping[str, float], took: Mapping[str, float]) -> None:
        """Tells of one query.

        Args:
            name: its id.
            at: when each step was done, monotonic seconds.
            took: seconds that others say they took.
        """
        self._events.append({"query": name, "at": dict(at), "took": dict(took)})

    def close(self) -> None:
        """Writes what is left, and watches no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
            gc.callbacks.remove(self._collected)
        self.flush()

    def flush(self) -> None:
        """Writes what was collected; a microsecond an event."""
        events, self._events = self._events[-MOST:], []
        if events:
            with self.path.open("ab") as file:
                file.write(self._encode(events))

    def _schedule(self) -> None:
        self._next = asyncio.get_running_loop().call_later(EVERY, self._tick)

    def _tick(self) -> None:
        self.flush()
        self._schedule()

    def _collected(self, phase: str, info: Mapping[str, int]) -> None:
        """What gc calls before and after each collection, in whatever thread it runs."""
        now = self._clock()
        if phase == "start":
            self._collecting = now
        else:
            self._events.append({"gc": info["generation"], "at": self._collecting, "seconds": now - self._collecting})

"""When each step of the queries of one process was done, and what stopped it: for whoever asks why answers are late.

Off unless `millirank serve --trace DIR` names a folder. Each process writes DIR/PID-STARTED.jsonl, a line an event,
once a second; every time is in seconds of CLOCK_MONOTONIC, which all processes of a Linux machine share, so that a
client on the same machine can lay its own times beside them:

    {"query": id, "at": {"seen": s, "admitted": s, …}, "took": {"encode_queue": s, …}}
                                                     a Search call that was answered: refused, failed and cancelled
                                                     ones and BatchSearch are not written
    {"gc": generation, "at": s, "seconds": s}        a garbage collection, which stops every thread
"""

import gc
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from .errors import ConfigError

EVERY = 1.0  # seconds between two writes
MOST = 100_000  # events that wait for one: beyond that the oldest are dropped
TURN = 32  # events that are encoded before the event loop gets its turn: some 100 µs
LIMIT = 1 << 30  # bytes of a file, after which nothing more is written
LAST = 5.0  # seconds that the last write may take when the process ends
log = logging.getLogger(__name__)


class Trace:
    """Collects the events of one process; a thread writes them.

    An event is appended, and no more, on the event loop: about a microsecond. A file that cannot be written is logged
    once, tried again each second, and never hurts a query.

    Args:
        folder: gets the file; made if it is missing.
        clock: monotonic seconds.

    Raises:
        ConfigError: if the folder cannot be written.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / f"{os.getpid()}-{datetime.now(UTC):%Y%m%dT%H%M%S.%f}.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.path.open("xb").close()
        except OSError as error:
            raise ConfigError(f"--trace {folder} cannot be written ({error}): name another folder") from error
        self._clock = clock
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._collecting = 0.0  # since when the collector runs, monotonic seconds
        self._size, self._full, self._failing = 0, False, False
        self._encode = msgspec.json.Encoder().encode_lines
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millirank-trace", daemon=True)

    def start(self) -> None:
        """Watches the collector, and starts the thread."""
        gc.callbacks.append(self._collected)
        self._thread.start()

    def query(self, name: str, at: Mapping[str, float], took: Mapping[str, float]) -> None:
        """Tells of one query; what it is told must not change any more.

        Args:
            name: its id.
            at: when each step was done, monotonic seconds.
            took: seconds that others say they took.
        """
        if not self._full:
            self._events.append({"query": name, "at": at, "took": took})

    def close(self) -> None:
        """Watches no more, and waits until what is left is written, for a few seconds at most."""
        if self._collected in gc.callbacks:
            gc.callbacks.remove(self._collected)
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(LAST)

    def _run(self) -> None:
        while not self._stop.wait(EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        """Writes what was collected; a disk that is full, or a folder that is gone, is only logged."""
        if self._full or not self._events:
            return
        try:
            with self.path.open("ab") as file:
                if self._failing:
                    file.write(b"\n")  # ends the line that was cut off
                while self._events and self._size < LIMIT:
                    turn = min(TURN, len(self._events))
                    self._size += file.write(self._encode([self._events.popleft() for _ in range(turn)]))
                    file.flush()
        except OSError as error:
            if not self._failing:
                log.warning("traces are not written (%s): make room in %s, or mend it", error, self.path.parent)
            self._failing = True
            return
        self._failing = False
        if self._size >= LIMIT:
            self._full = True
            self._events.clear()
            log.warning("%s has %d MiB and ends here: start `millirank serve` again for more", self.path, LIMIT >> 20)

    def _collected(self, phase: str, info: Mapping[str, int]) -> None:
        """What gc calls before and after each collection, in whatever thread it runs."""
        now = self._clock()
        if phase == "start":
            self._collecting = now
        elif not self._full:
            self._events.append({"gc": info["generation"], "at": self._collecting, "seconds": now - self._collecting})

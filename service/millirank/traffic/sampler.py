"""Samples what a server really serves, off its hot path."""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millirank.catalog.snapshot import Snapshot
from millirank.types import Rows, Served
from millirank_engines import ModelSpec, pair_length

from .part import Part
from .records import Asked
from .reservoir import Reservoir
from .scrub import scrub
from .watch import Watch

RECORDS = 1000  # of a day and process: with RECORD_BYTES each, 8 MB at most
WAITING = 4096  # served queries that the thread may be behind by; of more, the oldest are not sampled
EVERY = 1.0  # seconds from one look at what was served to the next
WRITTEN = 30  # looks from one write to the next: what a killed process has not written is not in the sample
PAUSE = 0.0002  # seconds after each record that is made, in which the event loop gets its turn
log = logging.getLogger(__name__)


def sampler_of(snapshot: Snapshot, reranker: ModelSpec, directory: Path, watch: Watch) -> "Sampler":
    """A sampler of queries that are answered from a snapshot, which stays open until the sampler is closed.

    Raises:
        ConfigError: if the directory cannot be used.
    """

    def lengths(tokens: int, rows: Rows) -> NDArray[np.int64]:
        return snapshot.tokens.lengths(rows) + pair_length(tokens, 0, reranker)

    return Sampler(directory, ids=snapshot.ids, lengths=lengths, watch=watch)


class Sampler:
    """A uniform sample of each day's (UTC) queries, in a folder that several processes may share.

    The event loop appends what it has at hand to `served`, and no more. A thread draws from that, looks up product ids
    and lengths of what it keeps, scrubs it, writes it, and begins anew each day.

    Args:
        directory: of the sample.
        ids: the product ids of rows; called from the thread until close.
        lengths: the tokens of the pairs of a query of so many tokens with the products of rows, shape (n,); likewise.
        watch: is shown the sample after each write.
        clock: seconds since 1970.
        dice: of the draw.

    Raises:
        ConfigError: if the folder cannot be used, or holds something else under the sample's names.
    """

    def __init__(
        self,
        directory: Path,
        *,
        ids: Callable[[Rows], Sequence[str]],
        lengths: Callable[[int, Rows], NDArray[np.integer]],
        watch: Watch | None = None,
        clock: Callable[[], float] = time.time,
        dice: random.Random | None = None,
    ) -> None:
        self.served: deque[Served] = deque(maxlen=WAITING)  # the event loop's end; append is all that it calls
        self._ids, self._lengths, self._watch, self._clock = ids, lengths, watch, clock
        self._dice = dice or random.Random()  # noqa: S311 - draws a sample, no secret
        self._part = Part(directory)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="millirank-traffic", daemon=True)
        self._looks, self._written, self._failing = 0, 0, False
        try:
            self._begin(self._today())
        except BaseException:
            self._part.close()
            raise

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def close(self) -> None:
        """Writes what was served until now, and ends the thread."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._part.close()

    def look(self) -> None:
        """Draws from what was served since the last look; at midnight the sample of the day is written, and ends."""
        for _ in range(len(self.served)):
            text, tokens, rows = self.served.popleft()
            if self._sample.offer(lambda: self._made(text, tokens, rows)):  # noqa: B023 - called before the next turn
                time.sleep(PAUSE)
        if (today := self._today()) != self._day:
            self.write()
            self._begin(today)
            if self._watch is not None:
                self._watch.forget()

    def write(self) -> None:
        """Writes the sample of the day, if it has changed, and shows it to the watch; a full disk is only logged."""
        sample = self._sample
        if sample.seen == self._written:
            return
        try:
            self._part.write(self._day, sample.kept, sample.weight)
        except OSError as error:
            if not self._failing:
                log.warning("traffic is not written (%s): make room in %s", error.strerror, self._part.directory)
            self._failing = True
            return
        self._written, self._failing = sample.seen, False
        if self._watch is not None:
            self._watch.look(sample.kept, sample.seen)

    def _run(self) -> None:
        try:
            while not self._stop.wait(EVERY):
                self.look()
                self._looks += 1
                if self._looks % WRITTEN == 0:
                    self.write()
            self.look()
            self.write()
        except Exception:  # whatever it is, queries are served without it
            log.exception("traffic is not sampled any more: start `millirank serve` again once this is mended")

    def _begin(self, day: date) -> None:
        """Goes on with what a process that held the part before has written of the day."""
        kept = self._part.read(day)
        self._day = day
        alike = [replace(asked, weight=1.0) for asked in kept]  # as new ones are: the part writes what each stands for
        self._sample = Reservoir(RECORDS, self._dice, alike, round(sum(asked.weight for asked in kept)))
        self._written = self._sample.seen
        try:
            self._part.prune(day)
        except OSError as error:
            log.warning("old traffic is not removed (%s): remove it from %s", error.strerror, self._part.directory)

    def _today(self) -> date:
        return datetime.fromtimestamp(self._clock(), UTC).date()

    def _made(self, text: str, tokens: int, rows: Rows) -> Asked:
        lengths = tuple(self._lengths(tokens, rows).tolist())
        return Asked(scrub(text), len(rows), lengths, tuple(self._ids(rows)))

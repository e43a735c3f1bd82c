"""A process's own files in a folder of sampled traffic.

    DIR/2026-11-25.part-0.jsonl    a day (UTC) of one process; replaced at once, so that a reader sees a whole one
    DIR/part-0.lock                held by the process that writes the files of part 0

A process takes the first part that nobody holds. The lock ends with its holder, whatever ended that, so the process
that is started in its place goes on with its files. Everything is for its owner's eyes only: people typed it.
"""

import fcntl
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from typing import BinaryIO

from millirank.errors import ConfigError

from .records import SUFFIX, Asked, line_of, read_records

PARTS = 256  # processes that may write into one folder
DAYS = 14  # that are kept, today included
_DAY = re.compile(rf"(\d{{4}}-\d\d-\d\d)\.part-\d+{re.escape(SUFFIX)}")


class Part:
    """The files of one part, as long as it is open. Used from one thread at a time.

    Args:
        directory: of the sample; made if it is missing.

    Raises:
        ConfigError: if others may look into the folder, or it cannot be used.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = stat.S_IMODE(directory.stat().st_mode)
            if mode & 0o077:
                raise ConfigError(
                    f"{directory} has mode {mode:04o}, and what people typed is nobody else's: `chmod 700` it, or name "
                    f"a folder that is not there yet with --traffic-sample"
                )
            self.number, self._lock = self._taken()
            self._draft.unlink(missing_ok=True)  # of a process that died
        except OSError as error:
            raise ConfigError(
                f"{directory} cannot hold sampled traffic ({error.strerror}): name another folder with --traffic-sample"
            ) from error

    def _taken(self) -> tuple[int, BinaryIO]:
        for number in range(PARTS):
            lock = os.fdopen(os.open(self.directory / f"part-{number}.lock", os.O_RDWR | os.O_CREAT, 0o600), "r+b")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
            else:
                return number, lock
        raise ConfigError(f"{PARTS} processes write into {self.directory}: name another folder with --traffic-sample")

    @property
    def _draft(self) -> Path:
        return self.directory / f".part-{self.number}.draft"

    def path(self, day: date) -> Path:
        """The file of a day."""
        return self.directory / f"{day.isoformat()}.part-{self.number}{SUFFIX}"

    def read(self, day: date) -> list[Asked]:
        """What was written of a day; nothing if there is no file.

        Raises:
            ConfigError: if the file is none that was written here.
        """
        path = self.path(day)
        return read_records(path, 0) if path.exists() else []

    def write(self, day: date, records: Iterable[Asked], weight: float) -> None:
        """Replaces the file of a day, at once and durably.

        Args:
            day: UTC.
            records: all of that day.
            weight: served requests that each stands for.

        Raises:
            OSError: if it cannot be written; the file is as it was.
        """
        draft = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(draft, "wb") as file:
            for record in records:
                file.write(line_of(record, weight))
            file.flush()
            os.fsync(file.fileno())
        self._draft.replace(self.path(day))

    def prune(self, today: date) -> None:
        """Removes the files of days that are too long ago, of every part: some may have no writer any more.

        Raises:
            OSError: if one cannot be removed.
        """
        oldest = (today - timedelta(days=DAYS - 1)).isoformat()
        for path in self.directory.iterdir():
            named = _DAY.fullmatch(path.name)
            if named and named[1] < oldest:
                path.unlink(missing_ok=True)  # another process may be faster

    def close(self) -> None:
        """Lets another process take the part."""
        with suppress(OSError):
            self._lock.close()

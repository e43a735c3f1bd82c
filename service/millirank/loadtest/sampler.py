"""Processor time and memory of a process and its descendants, sampled by a process of its own.

Reading /proc takes milliseconds under the interpreter's lock, which an open-loop client cannot spare.
"""

import argparse
import json
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from millirank.errors import ConfigError
from millirank_engines.base import BackendUnavailable

FIX = "`pip install millirank[loadtest]`"


@dataclass(frozen=True)
class Sample:
    """A tree of processes at one time."""

    at: float  # monotonic seconds
    cpu: float  # seconds since they were started, those that have died and been reaped included
    rss: int  # bytes, summed: pages that processes share count for each
    processes: int


def sample(pid: int) -> Sample | None:
    """The tree below pid now; None if it is gone.

    Raises:
        BackendUnavailable: without psutil.
    """
    try:
        import psutil
    except ModuleNotFoundError as error:
        raise BackendUnavailable("psutil", FIX) from error

    cpu, rss, count = 0.0, 0, 0
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    for process in members:
        try:
            times, memory = process.cpu_times(), process.memory_info()
        except psutil.NoSuchProcess:
            continue
        cpu += times.user + times.system + times.children_user + times.children_system
        rss, count = rss + memory.rss, count + 1
    return Sample(time.monotonic(), cpu, rss, count) if count else None


class Sampler:
    """Samples a tree of processes inside a with block.

    Args:
        pid: the root.
        every: seconds between two samples.

    Raises:
        BackendUnavailable: on entry, without psutil.
        ConfigError: on entry, if no process has that pid.
    """

    def __init__(self, pid: int, every: float = 1.0) -> None:
        self.samples: list[Sample] = []
        self._pid = pid
        self._command = [sys.executable, "-m", __name__, str(pid), "--every", str(every)]

    def __enter__(self) -> Self:
        if sample(self._pid) is None:
            raise ConfigError(f"no process has the id {self._pid}: name the server's with --pid, as `pgrep` tells it")
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)  # noqa: S603
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()
        self._reader.join()

    def between(self, begin: float, end: float) -> list[Sample]:
        """The samples of a time, in monotonic seconds."""
        return [one for one in self.samples if begin <= one.at <= end]

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - asked for
        with self._process.stdout as lines:
            for line in lines:
                self.samples.append(Sample(**json.loads(line)))


def main() -> None:
    """Prints samples as JSON Lines until the process is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pid", type=int)
    parser.add_argument("--every", type=float, default=1.0)
    arguments = parser.parse_args()
    while (one := sample(arguments.pid)) is not None:
        sys.stdout.write(json.dumps(vars(one)) + "\n")
        sys.stdout.flush()
        time.sleep(arguments.every)


if __name__ == "__main__":
    main()

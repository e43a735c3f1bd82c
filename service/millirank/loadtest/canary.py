"""What the machine itself adds: two processes that send each other a byte, on event loops like the service's.

A round trip wakes each of them once. Where it is as late as the answers are, nobody's code is to blame; beside a load
it shows whether the answers were late at the same moments.

    echo | python -m millirank.loadtest.canary --rate 100

sends until there is a line to read. One trip at a time: what would have begun while one is waited for is left out, so
that a stop counts once, however long it is; percentiles are those of the trips, not of the time.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from millirank.errors import MillirankError

from .results import Row
from .stages import Pause
from .summary import quantile

STALL = 0.002  # seconds: a round trip that long is a pause of the machine
LINGER = 1.0  # seconds that a reply is waited for: a trip that takes longer counts as that long
BEGUN = "begun\n"
NUMBERS = 256  # of the trips: what a byte can say


@dataclass(frozen=True)
class Trip:
    """A byte there and back."""

    at: float  # monotonic seconds
    seconds: float
    late: float  # seconds that its timer came late


class Canary:
    """Sends trips from two processes of its own inside a with block.

    Args:
        rate: trips a second.

    Raises:
        MillirankError: at either end of the block, if its processes have failed; the block's own error goes first.
    """

    def __init__(self, rate: float = 100.0) -> None:
        self.trips: list[Trip] = []  # after the block
        self._command = [sys.executable, "-m", __name__, "--rate", str(rate)]

    def __enter__(self) -> Self:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdout=pipe, stdin=pipe, stderr=pipe, text=True)  # noqa: S603
        assert self._process.stdout is not None  # noqa: S101 - asked for
        if self._process.stdout.readline() != BEGUN:
            self._end()
            raise self._failed("did not begin")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        told = self._end()
        if self._process.returncode == 0:
            self.trips = [Trip(*trip) for trip in json.loads(told)]
        elif error is None:
            raise self._failed("ended early")

    def _end(self) -> str:
        """What it tells at the end."""
        told, self._errors = self._process.communicate("\n")  # that is enough
        return told

    def _failed(self, how: str) -> MillirankError:
        status = f"the canary {how} (status {self._process.returncode})"
        fix = f"run `python -m {__name__}` by itself to see why"
        return MillirankError(f"{status}: {self._errors.strip() or 'it said nothing'}: {fix}")

    @property
    def pauses(self) -> list[Pause]:
        """The trips that took too long."""
        return [
            Pause(one.at, one.seconds, "slow round trip of the canary") for one in self.trips if one.seconds > STALL
        ]


def rows(case: str, trips: Sequence[Trip]) -> list[Row]:
    """Percentiles of the round trips, and of the lateness of their timers."""
    found = []
    for name, q in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)):
        found.append(Row(f"{case}/round trip", name, 1e3 * quantile([one.seconds for one in trips], q), "ms"))
        found.append(Row(f"{case}/timer late by", name, 1e3 * quantile([one.late for one in trips], q), "ms"))
    return found


class _Echo(asyncio.Protocol):
    """Sends back what comes, or tells which byte came when."""

    def __init__(self, back: "asyncio.Queue[tuple[int, float]] | None") -> None:
        self._back = back

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._back is None:
            self._transport.write(data)  # type: ignore[attr-defined] # uvloop's is no subclass of asyncio's
            return
        now = time.monotonic()
        for number in data:
            self._back.put_nowait((number, now))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._back is None:
            asyncio.get_running_loop().stop()


async def _send(end: socket.socket, rate: float, enough: asyncio.Event) -> list[Trip]:
    back: asyncio.Queue[tuple[int, float]] = asyncio.Queue()
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: _Echo(back), sock=end)
    trips: list[Trip] = []
    due = time.monotonic()
    while not enough.is_set():
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        if transport.is_closing():
            sys.exit("the process that sends the bytes back has ended")
        number, start = len(trips) % NUMBERS, time.monotonic()
        transport.write(bytes([number]))
        try:
            async with asyncio.timeout(LINGER):
                came = await _back(back, number)
        except TimeoutError:
            came = time.monotonic()
        trips.append(Trip(start, came - start, max(0.0, start - due)))
        due = max(due + 1 / rate, came)
    transport.close()
    return trips


async def _back(back: "asyncio.Queue[tuple[int, float]]", number: int) -> float:
    """When a byte came back, monotonic seconds; those of trips that were given up are passed over."""
    while True:
        found, came = await back.get()
        if found == number:
            return came


def _echo(end: socket.socket) -> None:
    import uvloop

    loop = uvloop.new_event_loop()
    loop.run_until_complete(loop.create_connection(lambda: _Echo(None), sock=end))
    loop.run_forever()


async def _main(end: socket.socket, rate: float) -> list[Trip]:
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), enough.set)
    try:
        return await _send(end, rate, enough)
    finally:
        loop.remove_reader(sys.stdin.fileno())


def main() -> None:
    """Prints a line when it begins, and all trips as a line of JSON: [at, seconds, late] each."""
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100.0)
    given = parser.parse_args()
    ours, theirs = socket.socketpair()
    child = os.fork()  # before any thread or loop is made
    if child == 0:
        ours.close()
        _echo(theirs)
        os._exit(0)
    theirs.close()
    sys.stdout.write(BEGUN)
    sys.stdout.flush()
    trips = uvloop.run(_main(ours, given.rate))
    os.waitpid(child, 0)
    sys.stdout.write(json.dumps([[one.at, one.seconds, one.late] for one in trips]) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Clients that no server wishes for: slow readers, those that hang up at once, connections opened and dropped."""

import argparse
import asyncio
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .call import Call, Status
from .channel import Channel, Target
from .client import run
from .http2 import PREFACE, SETTINGS, frame
from .queries import read_queries, requests

TRICKLE = 64  # bytes a second that a slow reader takes
TICK = 0.02  # seconds between two looks at what is due


@dataclass(frozen=True)
class Hostility:
    """How bad it gets."""

    streams: int = 2000  # open at once, each read slowly
    slow_rate: float = 20.0  # slow readers begun a second, until there are so many
    cancel_rate: float = 10.0  # calls a second that are cancelled as soon as they are sent
    dropped: int = 1000  # connections opened and dropped, evenly over the time
    seconds: float = 600.0


@dataclass
class Slow:
    """A reader that takes a trickle; Connection's receiver."""

    owner: "Tally"

    def received(self, data: bytes, _now: float) -> None:
        """Takes what came."""
        self.owner.bytes += len(data)

    def end(self, status: Status, _now: float) -> None:
        """The server has ended it, or the connection was lost."""
        self.owner.open -= 1
        self.owner.ended[status.name] += 1


@dataclass
class Tally:
    """What became of them."""

    open: int = 0
    most_open: int = 0
    begun: int = 0
    cancelled: int = 0
    dropped: int = 0
    bytes: int = 0
    ended: Counter[str] = field(default_factory=Counter)  # slow readers by status


async def harass(target: Target, messages: Sequence[bytes], hostility: Hostility) -> Tally:
    """Plays all three at once.

    Raises:
        NoServer: if nothing answers at the target.
    """
    tally = Tally()
    slow = [Channel(target, stream_window=1) for _ in range(target.connections)]
    fickle = [Channel(target) for _ in range(target.connections)]
    try:
        await asyncio.gather(*(channel.ready() for channel in [*slow, *fickle]))
        begin = granted = time.monotonic()
        due = 0.0  # slow readers, as a fraction
        while (gone := time.monotonic() - begin) < hostility.seconds:
            due += TICK * hostility.slow_rate
            while due >= 1:
                due -= 1
                if tally.open < hostility.streams:
                    tally.begun, tally.open = tally.begun + 1, tally.open + 1
                    slow[tally.begun % len(slow)].open(Slow(tally), messages[tally.begun % len(messages)])
            tally.most_open = max(tally.most_open, tally.open)
            while tally.cancelled < gone * hostility.cancel_rate:
                channel, call = fickle[tally.cancelled % len(fickle)], Call(time.monotonic())
                channel.open(call, messages[tally.cancelled % len(messages)])
                channel.cancel(call)
                tally.cancelled += 1
            while tally.dropped < min(hostility.dropped, hostility.dropped * gone / hostility.seconds):
                await _drop(target, greet=tally.dropped % 2 == 0)
                tally.dropped += 1
            if time.monotonic() - granted >= 1:
                granted = time.monotonic()
                for channel in slow:
                    if channel.connection is not None and channel.connection.usable:
                        channel.connection.grant(TRICKLE)
            await asyncio.sleep(TICK)
    finally:
        for channel in [*slow, *fickle]:
            channel.close()
    return tally


async def _drop(target: Target, *, greet: bool) -> None:
    """Opens a connection and drops it, silent or in mid-greeting."""
    host, _, port = target.address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host.strip("[]"), int(port), family=socket.AF_UNSPEC)
    except OSError:
        return  # the server is being killed, or full: so be it
    if greet:
        writer.write(PREFACE + frame(SETTINGS, 0, 0))
    writer.transport.abort()


def main() -> None:
    """Harasses a server and prints what became of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="127.0.0.1:50051")
    parser.add_argument("--queries", type=Path, required=True)
    for name, kind in (("streams", int), ("slow-rate", float), ("cancel-rate", float), ("dropped", int)):
        parser.add_argument(f"--{name}", type=kind, default=getattr(Hostility, name.replace("-", "_")))
    parser.add_argument("--seconds", type=float, default=Hostility.seconds)
    given = parser.parse_args()
    hostility = Hostility(given.streams, given.slow_rate, given.cancel_rate, given.dropped, given.seconds)
    tally = run(harass(Target(given.target), requests(read_queries(given.queries)), hostility))
    sys.stdout.write(json.dumps(vars(tally)) + "\n")


if __name__ == "__main__":
    main()

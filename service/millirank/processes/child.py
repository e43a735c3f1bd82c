"""The life of a supervised process: it starts, serves, reports, and ends when its supervisor says so or is dead."""

import asyncio
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, Protocol

from millirank.errors import MillirankError
from millirank.interpreter import settle
from millirank.metrics import Metrics
from millirank_engines.base import EngineError

from .control import Assignment, Channel, Cores, Deltas, Fatal, Message, Ready, Stop

REPORT = 1.0  # seconds between two reports of metrics
log = logging.getLogger(__name__)


class Role(Protocol):
    """What a supervised process is for; used on one event loop."""

    async def start(self) -> int:
        """Loads what is needed; returns the version of the snapshot."""

    def heard(self, cores: Cores) -> None:
        """Takes an announcement; possibly before start has ended."""

    async def serve(self, tell: Callable[[Message], None]) -> None:
        """Serves until it is cancelled; raises if it cannot go on.

        Args:
            tell: sends a message to the supervisor.
        """

    async def stop(self) -> None:
        """Finishes what was accepted and frees everything."""


def log_as(name: str) -> None:
    """Lets every line that this process logs name it."""
    logging.basicConfig(level=logging.WARNING, format=f"%(asctime)s %(levelname)s {name} %(name)s: %(message)s")
    logging.getLogger("millirank").setLevel(logging.INFO)


def run(control: int, assignment: Assignment, role: Role, metrics: Metrics) -> NoReturn:
    """Lives until the supervisor says stop, or something goes wrong.

    Args:
        control: file descriptor of this end of the control socket.
        assignment: what the supervisor told.
        role: what this process is for.
        metrics: of this process.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(Child(assignment, role, metrics).live(control))
    sys.exit(status)


class Child:
    """A role and its way to the supervisor.

    SIGTERM and SIGINT are left to the supervisor, who gets them, too, where a whole group is told: cores must outlive
    the frontends that drain.
    """

    def __init__(self, assignment: Assignment, role: Role, metrics: Metrics) -> None:
        self._assignment, self._role, self._metrics = assignment, role, metrics
        self._stop = asyncio.Event()
        self._started = False

    async def live(self, control: int) -> int:
        """The whole life; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, lambda: None)
        channel = await Channel.open(socket.socket(fileno=control))
        hearing = asyncio.create_task(self._hear(channel))
        try:
            snapshot = await self._role.start()
            settle()
            self._started = True
            channel.send(Ready(snapshot))
            await _first(hearing, self._role.serve(channel.send), self._stop.wait(), self._report(channel))
            await self._role.stop()
            channel.send(Deltas(self._metrics.deltas()))
        except (MillirankError, EngineError) as error:
            channel.send(Fatal(str(error), foreseen=True))
        except Exception as error:  # whatever it is, the supervisor is told
            log.exception("this process cannot go on")
            channel.send(Fatal(f"{type(error).__name__}: {error}", foreseen=False))
        hearing.cancel()
        await channel.close()
        return 0 if self._stop.is_set() else 1

    async def _hear(self, channel: Channel) -> None:
        while (message := await channel.receive()) is not None:
            if isinstance(message, Cores):
                self._role.heard(message)
            elif isinstance(message, Stop):
                self._stop.set()
                if not self._started:
                    os._exit(0)  # nothing was accepted yet, and a thread that loads engines cannot be stopped
        log.error("the supervisor is dead, so this process ends: start `millirank serve` again")
        shutil.rmtree(self._assignment.directory, ignore_errors=True)
        os._exit(1)  # whatever this process does at the moment

    async def _report(self, channel: Channel) -> None:
        while True:
            await asyncio.sleep(REPORT)
            if deltas := self._metrics.deltas():
                channel.send(Deltas(deltas))


async def _first(hearing: "asyncio.Task[None]", *work: Coroutine[Any, Any, object]) -> None:
    """Waits until some work has ended, cancels the rest but for hearing, and raises what went wrong."""
    tasks = [asyncio.create_task(one) for one in work]
    ended, running = await asyncio.wait({hearing, *tasks}, return_when=asyncio.FIRST_COMPLETED)
    for task in running - {hearing}:
        task.cancel()
    for task in ended:
        task.result()

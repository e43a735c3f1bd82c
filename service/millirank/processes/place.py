"""A place for one child: the process that fills it may die and be replaced, the place stays."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from typing import Any

from .control import Assignment, Channel, Message, to_json
from .restarts import Restarts

LAST_WORDS = 1.0  # seconds: to read what a dead process has sent, and for one that has said all to end


class Place:
    """One child of the supervisor: its process, its control channel, and how its restarts went.

    Args:
        name: in logs and metrics.
        module: of this package, whose main fills the place.
    """

    def __init__(self, name: str, module: str) -> None:
        self.name = name
        self.epoch = 0  # how often it was started
        self.restarts = Restarts()
        self.snapshot: int | None = None  # that it serves; None while it is not ready; the supervisor's
        self.serving = False  # since it was started; the supervisor's
        self.words = ""  # why it ended
        self.foreseen = False  # whether it said so itself, and that it would end so again
        self._module = f"{__package__}.{module}"
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._dead: asyncio.Future[None]  # ends with the process

    @property
    def pid(self) -> int:
        """Of the process, or of the last one."""
        assert self._process is not None  # noqa: S101 - asked of a process that has spoken
        return self._process.pid

    async def start(self, assignment: Assignment) -> None:
        """Executes a process that inherits nothing but its end of the control socket and the standard streams."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", self._module, str(theirs.fileno()), to_json(assignment)]
            self._process = subprocess.Popen(  # noqa: ASYNC220, S603 - takes a millisecond; our own arguments
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # an interrupt from the terminal is the supervisor's alone
            )
        self.epoch += 1
        self.words, self.foreseen = "", False
        self._dead = _death(self._process.pid)
        self._channel = await Channel.open(ours)

    async def receive(self) -> Message | None:
        """What the process says next; None when it is dead, or has closed its end."""
        assert self._channel is not None  # noqa: S101 - start has made it
        message = asyncio.create_task(self._channel.receive())
        either: list[asyncio.Future[Any]] = [message, self._dead]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        try:
            return await asyncio.wait_for(message, LAST_WORDS)
        except TimeoutError:
            return None

    async def ended(self) -> None:
        """Waits for the end of a process that has closed its end of the socket; one that does not end is killed."""
        assert self._process is not None  # noqa: S101 - start has made both
        assert self._channel is not None  # noqa: S101
        channel, self._channel = self._channel, None
        await channel.close()
        _, running = await asyncio.wait({self._dead}, timeout=LAST_WORDS)
        if running:
            self._process.kill()
            await asyncio.wait(running)
        status = self._process.wait()
        if not self.words:
            how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}, its words stand above"
            self.words = f"it ended {how}"

    def send(self, message: Message) -> None:
        """Tells the process something, if there is one."""
        if self._channel is not None:
            self._channel.send(message)

    def kill(self) -> None:
        """Ends the process at once, if there is one."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


def _death(pid: int) -> "asyncio.Future[None]":
    """Ends when the process does; a pidfd says so without SIGCHLD, and of this very process only."""
    loop = asyncio.get_running_loop()
    dead = loop.create_future()
    fd = os.pidfd_open(pid)

    def died() -> None:
        loop.remove_reader(fd)
        os.close(fd)
        dead.set_result(None)

    loop.add_reader(fd, died)
    return dead

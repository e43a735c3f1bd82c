"""What the supervisor and its children say to each other, over a Unix socket that a child inherits.

Each message is four bytes of length (big endian), then a tagged record in MessagePack. When the socket ends the other
side is dead.

    child → supervisor    Ready, Serving, Deltas, Fatal
    supervisor → child    Cores, Stop
"""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from millirank.config import Settings

HEADER = 4  # bytes of a message's length


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The child has loaded what it needs: a core takes jobs from now on, a frontend rehearses."""

    snapshot: int  # that it has opened


class Serving(msgspec.Struct, frozen=True, tag=True):
    """The frontend listens and answers queries from now on: its health is SERVING."""


class Deltas(msgspec.Struct, frozen=True, tag=True):
    """What the child has counted since it last said so."""

    data: bytes  # Metrics.deltas()


class Fatal(msgspec.Struct, frozen=True, tag=True):
    """Why the child ends."""

    words: str
    foreseen: bool  # an error that names its fix, which somebody must apply


class Address(msgspec.Struct, frozen=True):
    """One life of a core, and where it takes jobs."""

    index: int
    epoch: int  # grows with each restart
    endpoint: str  # ipc:///PATH, a Unix socket


class Cores(msgspec.Struct, frozen=True, tag=True):
    """All cores that are alive; jobs of those that are missing have failed."""

    alive: tuple[Address, ...]


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Finish what was accepted, then end."""


Message = Ready | Serving | Deltas | Fatal | Cores | Stop
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


class Channel:
    """One end of the socket between the supervisor and a child; used on one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, end: socket.socket) -> Self:
        """Takes over a connected Unix socket."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def receive(self) -> Message | None:
        """The next message; None when the other side is dead."""
        try:
            length = int.from_bytes(await self._reader.readexactly(HEADER))
            message: Message = _decode(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return message

    def send(self, message: Message) -> None:
        """Sends a message as soon as the other side takes it; to a dead one it is lost."""
        data = _encode(message)
        if not self._writer.is_closing():
            self._writer.write(len(data).to_bytes(HEADER) + data)

    async def close(self) -> None:
        """Sends what is left, then ends the socket."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):  # the other side may be faster
            await self._writer.wait_closed()


class Assignment(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is told when it is started; handed over as JSON on its command line, after its control socket."""

    name: str  # in logs and metrics
    directory: Path  # private to the service while it runs
    settings: Settings
    snapshot: int | None  # the one that its siblings serve; None means the current one


class CoreAssignment(Assignment, frozen=True, kw_only=True):
    """What a core is told besides."""

    device: str
    endpoint: str


T = TypeVar("T")


def to_json(value: object) -> str:
    """Settings or an assignment as text."""
    return msgspec.json.encode(value, enc_hook=str).decode()


def from_json(text: str, kind: type[T]) -> T:
    """Reads what to_json wrote."""
    return msgspec.json.decode(text, type=kind, dec_hook=_path)


def _path(kind: type[Any], value: str) -> Path:
    if kind is not Path:
        raise NotImplementedError(kind)
    return Path(value)

"""One end of a connection between a frontend and a core: a Unix socket that carries whole messages.

A thread that sends wakes the one that reads, and no other: a library with I/O threads of its own, such as ZeroMQ, wakes
two more each way. Linux keeps messages of SOCK_SEQPACKET apart and in order, and ends the connection when either side
does, however it ends.
"""

import contextlib
import errno
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import wire

BACKLOG = 128  # frontends that wait to be accepted
BUFFER = 1 << 20  # bytes that wait in the kernel, as far as net.core.wmem_max allows
BUSY = {errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM}  # of a message that can leave later
LARGEST = 1 << 16  # bytes of a message of several records; one record may have as many as the buffer takes


class Ended(ConnectionError):
    """The other side has ended the connection."""


class TooLarge(ValueError):
    """A record that no message can carry; it is dropped, and what was sent with it may be."""


def listening(endpoint: str) -> socket.socket:
    """A socket that accepts connections there; whoever listened there before does so no more.

    Raises:
        ConfigError: if the endpoint cannot be one.
        OSError: if it cannot be bound.
    """
    path = wire.path_of(endpoint)
    listener = _socket()
    try:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def connected(endpoint: str) -> socket.socket:
    """A socket that is connected to whoever listens there.

    Raises:
        OSError: if nobody does.
    """
    ours = _socket()
    try:
        ours.connect(wire.path_of(endpoint))
    except OSError:
        ours.close()
        raise
    return ours


def _socket() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made.settimeout(0)
    return made


class Post:
    """One end of a connection.

    Args:
        own: the socket; owned and closed by the post.
    """

    def __init__(self, own: socket.socket) -> None:
        own.settimeout(0)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        self._own, self._waiting = own, list[bytes]()
        self._buffer = bytearray(BUFFER)
        self._view = memoryview(self._buffer)

    def fileno(self) -> int:
        """The descriptor; -1 once it is closed."""
        return self._own.fileno()

    @property
    def waiting(self) -> int:
        """Messages that the other side has not taken yet."""
        return len(self._waiting)

    def send(self, records: Sequence[wire.Request | wire.Answer] = ()) -> None:
        """Sends records, in as few messages as may be; what the other side does not take waits for the next send.

        Raises:
            Ended: if the other side is gone.
            TooLarge: if a record is larger than any message may be; what waits behind it leaves with the next send.
        """
        self._waiting += _messages(records)
        sent = 0
        try:
            for message in self._waiting:
                self._own.send(message)
                sent += 1
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                sent += 1  # it would be in the way of all that follows
                raise TooLarge(f"{len(self._waiting[sent - 1])} bytes") from error
            if error.errno not in BUSY:
                raise Ended from error
        finally:
            del self._waiting[:sent]

    def receive(self) -> memoryview | None:
        """The next message, which is there until the next call; None if there is none yet.

        Raises:
            Ended: if the other side is gone, and all that it sent has been read.
        """
        while True:
            try:
                size = self._own.recv_into(self._buffer)
            except BlockingIOError:
                return None
            except ConnectionResetError:  # said once, before what it sent
                continue
            if not size:
                raise Ended
            return self._view[:size]

    def close(self) -> None:
        """Ends the connection."""
        self._own.close()


def _messages(records: Sequence[wire.Request | wire.Answer]) -> Iterator[bytes]:
    """Records as messages that are not too large."""
    if not records:
        return
    data = wire.packed(records)
    if len(data) <= LARGEST or len(records) == 1:
        yield data
        return
    half = len(records) // 2
    yield from _messages(records[:half])
    yield from _messages(records[half:])

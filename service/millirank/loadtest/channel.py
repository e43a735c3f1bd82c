"""A gRPC channel of one connection."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from millirank.errors import MillirankError

from .call import Status
from .http2 import WIDE, Connection, Receiver

SEARCH = "/millirank.v1.SearchService/Search"
GREETING = 1.0  # seconds that a server may take to greet
RETRY = 0.05  # seconds after a failed connection, before the next try


class NoServer(MillirankError):
    """Nothing answers at the target."""


@dataclass(frozen=True)
class Target:
    """Where calls go."""

    address: str = "127.0.0.1:50051"  # HOST:PORT, plaintext
    method: str = SEARCH
    connections: int = 20  # SO_REUSEPORT balances connections, not calls


class Channel:
    """One connection to the server, renewed when it is lost.

    A call waits while the first try of a connection lasts; after a failed try calls end as UNAVAILABLE until one
    succeeds, as gRPC's do that are not wait_for_ready. Made inside a running event loop.

    Args:
        target: where to.
        stream_window: bytes that the server may send on a stream before Connection.grant allows more.

    Raises:
        NoServer: if the target is no address.
    """

    def __init__(self, target: Target, stream_window: int = WIDE) -> None:
        host, _, port = target.address.rpartition(":")
        if not host or not port.isdigit():
            raise NoServer(f"{target.address!r} is no address: give HOST:PORT, such as 127.0.0.1:50051, with --target")
        self._host, self._port = host.strip("[]"), int(port)
        self._target, self._stream_window = target, stream_window
        self.connection: Connection | None = None  # the present one
        self._waiting: list[tuple[Receiver, bytes, float | None]] = []
        self._failed = False
        self._connecting = asyncio.create_task(self._connect())

    async def ready(self) -> None:
        """Returns when the server has greeted.

        Raises:
            NoServer: if it has not in time.
        """
        try:
            async with asyncio.timeout(GREETING):
                await asyncio.shield(self._connecting)
        except TimeoutError as error:
            fix = "start one with `millirank serve --index DIR` or name it with --target HOST:PORT"
            raise NoServer(f"no gRPC server answers at {self._target.address}: {fix}") from error

    def open(self, receiver: Receiver, message: bytes, timeout: float | None = None) -> None:
        """Sends a request; timeout in seconds is told to the server."""
        connection = self.connection
        if connection is not None and connection.usable:
            connection.open(receiver, message, timeout)
            return
        if self._connecting.done():
            self._connecting = asyncio.create_task(self._connect())
        if self._failed:
            receiver.end(Status.UNAVAILABLE, time.monotonic())
        else:
            self._waiting.append((receiver, message, timeout))

    def cancel(self, receiver: Receiver, status: Status = Status.CANCELLED) -> None:
        """Ends a call that is in flight as a client that went away does; any other is left alone."""
        if self.connection is not None:
            self.connection.cancel(receiver, status)

    def close(self) -> None:
        """Cuts the connection and stops renewing it; calls in flight are left as they are."""
        self._connecting.cancel()
        self._waiting = []
        if self.connection is not None:
            self.connection.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            made = Connection(self._target.method, self._target.address, time.monotonic, self._stream_window)
            transport = None
            try:
                async with asyncio.timeout(GREETING):
                    transport, _ = await loop.create_connection(itself(made), self._host, self._port)
                    await made.ready
            except (OSError, TimeoutError):
                if transport is not None:
                    transport.abort()
                self._failed = True
                for receiver, _, _ in self._taken():
                    receiver.end(Status.UNAVAILABLE, time.monotonic())
                await asyncio.sleep(RETRY)
                continue
            self.connection, self._failed = made, False
            for receiver, message, timeout in self._taken():
                made.open(receiver, message, timeout)
            return

    def _taken(self) -> list[tuple[Receiver, bytes, float | None]]:
        waiting, self._waiting = self._waiting, []
        return waiting


def itself(made: Connection) -> Callable[[], Connection]:
    """A factory of what is already made, as create_connection wants."""
    return lambda: made

"""How long a call waits inside gRPC before Python sees it: the queue that an event loop's lag does not show.

grpc.aio accepts one call a turn of the event loop; what comes faster waits in gRPC's core, for as long as it takes, and
no interface tells how long. So the server calls itself: the probe waits in the same queue as every other call.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc

METHOD = ("millirank.Probe", "Probe")
LOOPBACK = "127.0.0.1"
EVERY = 0.01  # seconds between two probes at least, and none without a crowd
CROWD = 3  # calls that are seen while a probe waits; with fewer it waited for a busy processor, and not in a queue
PATIENCE = 5.0  # seconds


async def _empty(_request: bytes, _context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return b""


class Probe:
    """Calls its own server while there is traffic; all methods belong to the event loop of the server.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.usual = 0.001  # seconds that a probe of a server that is not behind takes; set after the rehearsal
        self._clock = clock
        self._sent = self._latest = 0.0  # monotonic seconds; seconds in a queue
        self._seen = 0  # calls since the latest probe was sent
        self._running: asyncio.Task[None] | None = None
        self._call: Any = None  # makes a call

    def attach(self, server: grpc.aio.Server) -> None:
        """Adds the probe's method, and a port that no other process shares, to a server that has not started."""
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            METHOD[1]: grpc.unary_unary_rpc_method_handler(_empty)
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(METHOD[0], handlers),))
        self._port = server.add_insecure_port(f"{LOOPBACK}:0")

    def start(self) -> None:
        """Connects, once the server has started."""
        self._channel = grpc.aio.insecure_channel(f"{LOOPBACK}:{self._port}")
        self._call = self._channel.unary_unary("/" + "/".join(METHOD))

    @property
    def wait(self) -> float:
        """Seconds that a call waits in a queue: as the latest probe did, or as the present one does already."""
        return max(self._latest, self._waited() if self._running is not None else 0.0)

    def nudge(self, ahead: int) -> None:
        """There is traffic: sends a probe, unless one runs or has just ended.

        A probe costs as much of the loop as half a query, so none is sent where nothing can queue: not before a crowd
        is in flight, unless the latest probe found one.

        Args:
            ahead: calls that are in flight.
        """
        now = self._clock()
        self._seen += 1
        crowd = ahead >= CROWD - 1 or self._latest > 0
        if crowd and self._call is not None and self._running is None and now - self._sent >= EVERY:
            self._sent, self._seen = now, 0
            self._running = asyncio.get_running_loop().create_task(self._probe())

    async def _probe(self) -> None:
        try:
            await self._call(b"", timeout=PATIENCE)
        except grpc.aio.AioRpcError:  # the server stops; or it is so far behind that its wait says all
            pass
        finally:
            self._latest, self._running = self._waited(), None

    def _waited(self) -> float:
        """Seconds beyond the usual ones that the probe has waited in a queue."""
        return max(0.0, self._clock() - self._sent - self.usual) if self._seen >= CROWD else 0.0

    async def stop(self) -> None:
        """Sends none any more."""
        if self._call is not None:
            self._call = None
            await self._channel.close()

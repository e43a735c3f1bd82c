"""Puts everything together and keeps it running: engines, core, snapshot, pipeline, gRPC, health, reflection."""

import asyncio
import logging
import signal
import time
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from .config import Settings
from .errors import ConfigError
from .rpc import SERVICE, Promise, SearchService, handler
from .stack import Stack
from .types import Query

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"  # on the wire the same as v1alpha, which grpcio ships
REHEARSALS = 10  # queries before the first real one: indexes and products are mapped, code paths warm
LAST_CALLS = 0.1  # seconds for calls that raced with the drain to be told UNAVAILABLE, then for statuses to leave
log = logging.getLogger(__name__)


class Server:
    """A server from bind to drain: `async with Server(settings) as server: …` is SERVING inside the block.

    Raises:
        ConfigError: if the address cannot be bound.
        ArtifactRefused: if an engine must not be loaded here.
        CatalogError: if the snapshot must not be.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.port = settings.port  # the real one once the server is entered
        self.stack: Stack | None = None
        self._service = SearchService()
        self._health = health.aio.HealthServicer()
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))

    async def __aenter__(self) -> Self:
        self._bind()
        await self._tell(serving=False)
        await self._server.start()
        try:
            stack = await asyncio.to_thread(self._load)
            for _ in range(REHEARSALS):
                async for _ in stack.pipeline.search(Query("a rehearsal", arrived=time.monotonic())):
                    pass
            self._service.pipeline = stack.pipeline
        except BaseException:
            await self._stop()
            raise
        await self._tell(serving=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._tell(serving=False)
        self._service.drain()
        await asyncio.sleep(LAST_CALLS)
        try:
            async with asyncio.timeout(self.settings.drain_seconds):
                await self._service.idle()
        except TimeoutError:
            log.warning("calls were cut off after %g s: raise drain_seconds", self.settings.drain_seconds)
        await self._stop()

    def _bind(self) -> None:
        self._server.add_generic_rpc_handlers((handler(self._service),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflector = reflection.aio.ReflectionServicer((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME))
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflector, self._server)  # type: ignore[no-untyped-call]
        self._server.add_generic_rpc_handlers((_reflection_v1(reflector),))
        host = self.settings.host
        address = f"[{host}]:{self.settings.port}" if ":" in host else f"{host}:{self.settings.port}"  # IPv6
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            fix = "stop what listens there, choose another --port, or name an address of this machine with --host"
            raise ConfigError(f"{address} cannot be bound: {fix}") from error

    def _load(self) -> Stack:
        """Loads and warms everything below gRPC."""
        settings, service = self.settings, self._service
        stack = self.stack = Stack(settings)
        fastest = min(stack.core.encode_costs.seconds.values())
        promise = service.promise = Promise(
            sla=settings.sla_ms / 1e3 or None,
            least=fastest + 2 * settings.reply_reserve_ms / 1e3,
            max_inflight=settings.max_inflight,
        )
        if promise.sla is not None and promise.sla < promise.least:
            log.error(
                "every query will be refused: this machine needs %.1f ms without reranking, --sla-ms is %g: raise it, "
                "or start again when the machine is less busy",
                promise.least * 1e3,
                settings.sla_ms,
            )
        return stack

    async def _tell(self, *, serving: bool) -> None:
        for service in ("", SERVICE, health.SERVICE_NAME):
            await self._health.set(service, SERVING if serving else NOT_SERVING)

    async def _stop(self) -> None:
        await self._server.stop(LAST_CALLS)
        if self.stack is not None:
            await asyncio.to_thread(self.stack.close)


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what was accepted."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    start = time.monotonic()
    async with Server(settings) as server:
        log.info("serving on %s:%d after %.1f s", settings.host, server.port, time.monotonic() - start)
        await stop.wait()
        log.info("draining")


def _reflection_v1(servicer: reflection_pb2_grpc.ServerReflectionServicer) -> grpc.GenericRpcHandler:
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(REFLECTION_V1, {"ServerReflectionInfo": method})

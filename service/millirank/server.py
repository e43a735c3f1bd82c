"""gRPC from bind to drain, and the server that does everything in one process."""

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import replace
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from millirank_engines.base import DeviceLost

from .config import Settings
from .errors import ConfigError
from .interpreter import settle
from .metrics import Exposition, LoopLag, Metrics
from .pipeline import Pipeline
from .probe import Probe
from .rehearsal import rehearsed
from .rpc import SERVICE, Promise, SearchService, handler
from .stack import Stack
from .trace import Trace

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
REFLECTION_V1 = "grpc.reflection.v1.ServerReflection"  # on the wire the same as v1alpha, which grpcio ships
LAST_CALLS = 0.1  # seconds for calls that raced with the drain to be told UNAVAILABLE, then for statuses to leave
STREAMS = 10_000  # of one connection at once; admission refuses sooner, and says so
CONNECTION_AGE = 300_000  # ms, ±10 % by gRPC, after which a client connects anew, perhaps to a less busy frontend
LAST_STREAMS = 10_000  # ms that the streams of such a connection have to end: a client that never reads ends here
RESTING = 0.02  # seconds between two looks at the event loop without traffic: each takes 30 µs
COUNTED_QUERIES = 256  # accepted at once where batches count requests
log = logging.getLogger(__name__)


class Listener:
    """The gRPC side of a process: its port, the search service, health and reflection.

    Args:
        settings: of the service.
        shared: whether other frontends listen on the same port.
        metrics: of this process.
    """

    def __init__(self, settings: Settings, *, shared: bool, metrics: Metrics) -> None:
        self.port = settings.port  # the real one once it is started
        self._settings, self._metrics, self._lag = settings, metrics, LoopLag()
        self._probe = Probe()
        self._trace = Trace(settings.trace) if settings.trace is not None else None
        self.service = SearchService(metrics=metrics, lag=self._behind, trace=self._trace)
        self._health = health.aio.HealthServicer()
        options = [("grpc.so_reuseport", int(shared)), ("grpc.max_concurrent_streams", STREAMS)]
        options += [("grpc.max_connection_age_ms", CONNECTION_AGE), ("grpc.max_connection_age_grace_ms", LAST_STREAMS)]
        self._server = grpc.aio.server(options=options)

    async def start(self) -> None:
        """Listens; answers that it does not serve yet, unless it was resumed before.

        Raises:
            ConfigError: if the address cannot be bound.
        """
        self._bind()
        self._probe.attach(self._server)
        await self._tell(serving=self.service.pipeline is not None)
        await self._server.start()
        if self._trace is not None:
            self._trace.start()
        self._probe.start()
        self._lag.start(asyncio.get_running_loop(), self._metrics, rest=RESTING)

    async def rehearse(self, pipeline: Pipeline) -> None:
        """Runs some queries before the first real one, and promises what they showed.

        Raises:
            MillirankError: if one fails.
        """
        settings = self._settings
        by_count = settings.scheduler == "count"
        sla = None if by_count else settings.sla_ms / 1e3 or None
        found = await rehearsed(pipeline, sla)
        reply = max(settings.reply_reserve_ms / 1e3, found.outside)
        pipeline.limits = replace(pipeline.limits, reply_reserve=reply)
        self._probe.usual = found.outside
        promise = self.service.promise = Promise(
            sla=sla,
            idle=found.own,
            encode=found.encode,
            reply=reply,
            max_inflight=COUNTED_QUERIES if by_count else None,
        )
        if promise.sla is not None and promise.sla < promise.least:
            log.error(
                "every query will be refused: this machine needs %.1f ms for the lexical index alone, --sla-ms is %g: "
                "raise it, or start again when the machine is less busy",
                promise.least * 1e3,
                settings.sla_ms,
            )
        elif promise.sla is not None and promise.sla < promise.least + promise.encode:
            log.error(
                "only the lexical index will answer: this machine needs %.1f ms to search with an embedded query, "
                "--sla-ms is %g: raise it, or start again when the machine is less busy",
                (promise.least + promise.encode) * 1e3,
                settings.sla_ms,
            )

    async def resume(self, pipeline: Pipeline) -> None:
        """Serves from now on."""
        self.service.pipeline = pipeline
        await self._tell(serving=True)

    async def pause(self) -> None:
        """Tells every new query UNAVAILABLE from now on."""
        self.service.pipeline = None
        await self._tell(serving=False)

    async def drain(self) -> None:
        """Refuses new queries and finishes those that were accepted, for at most drain_seconds."""
        await self._tell(serving=False)
        self.service.drain()
        await asyncio.sleep(LAST_CALLS)
        try:
            async with asyncio.timeout(self._settings.drain_seconds):
                await self.service.idle()
        except TimeoutError:
            log.warning("calls were cut off after %g s: raise drain_seconds", self._settings.drain_seconds)

    async def stop(self) -> None:
        """Closes every connection."""
        if self._trace is not None:
            await asyncio.to_thread(self._trace.close)
        self._lag.stop()
        await self._probe.stop()
        await self._server.stop(LAST_CALLS)

    def _behind(self) -> float:
        """Seconds for which a call has waited that Python sees now: in gRPC or in the event loop."""
        self._probe.nudge(self.service.inflight)
        behind = max(self._lag.lag, self._probe.wait)
        self._lag.traffic()
        return behind

    def _bind(self) -> None:
        self._server.add_generic_rpc_handlers((handler(self.service),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflector = reflection.aio.ReflectionServicer((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME))
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflector, self._server)  # type: ignore[no-untyped-call]
        self._server.add_generic_rpc_handlers((_reflection_v1(reflector),))
        host = self._settings.host
        address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"  # IPv6
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            fix = "stop what listens there, choose another --port, or name an address of this machine with --host"
            raise ConfigError(f"{address} cannot be bound: {fix}") from error

    async def _tell(self, *, serving: bool) -> None:
        for service in ("", SERVICE, health.SERVICE_NAME):
            await self._health.set(service, SERVING if serving else NOT_SERVING)


class Server:
    """Everything in one process: `async with Server(settings) as server: …` is SERVING inside the block.

    Raises:
        ConfigError: if the address cannot be bound.
        ArtifactRefused: if an engine must not be loaded here.
        CatalogError: if the snapshot must not be.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self.settings = settings
        self.stack: Stack | None = None
        self._metrics = metrics or Metrics()
        self._listener = Listener(settings, shared=False, metrics=self._metrics)

    @property
    def port(self) -> int:
        """The real one once the server is entered."""
        return self._listener.port

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._loss: asyncio.Future[DeviceLost] = loop.create_future()
        await self._listener.start()
        try:
            self.stack = await asyncio.to_thread(Stack, self.settings, self._metrics)
            self.stack.core.on_lost = lambda error: loop.call_soon_threadsafe(self._lose, error)
            await self._listener.rehearse(self.stack.pipeline)
            await self._listener.resume(self.stack.pipeline)
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.drain()
        await self._stop()

    def _lose(self, error: DeviceLost) -> None:
        if not self._loss.done():  # both engines may tell
            self._loss.set_result(error)

    async def wait(self, stop: asyncio.Event) -> None:
        """Returns when it is told to stop.

        Raises:
            DeviceLost: if the device is: the process must end.
        """
        self._loss.add_done_callback(lambda _: stop.set())
        await stop.wait()
        if self._loss.done():
            raise self._loss.result()

    async def _stop(self) -> None:
        await self._listener.stop()
        if self.stack is not None:
            await asyncio.to_thread(self.stack.close)


async def serve(settings: Settings) -> None:
    """Serves from this process until SIGTERM or SIGINT, then finishes what was accepted.

    Raises:
        DeviceLost: if the device is; health said NOT_SERVING before, and what was accepted has ended.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    start = time.monotonic()
    metrics = Metrics()
    with contextlib.ExitStack() as opened:
        if settings.metrics_port:
            opened.enter_context(Exposition(metrics).serve(settings.metrics_port, settings.host))
        async with Server(settings, metrics) as server:
            settle()
            log.info("serving on %s:%d after %.1f s", settings.host, server.port, time.monotonic() - start)
            await server.wait(stop)
            log.info("draining")


def _reflection_v1(servicer: reflection_pb2_grpc.ServerReflectionServicer) -> grpc.GenericRpcHandler:
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return grpc.method_handlers_generic_handler(REFLECTION_V1, {"ServerReflectionInfo": method})

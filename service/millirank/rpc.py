"""The methods of the service: what is admitted, when it must be answered, and how it ends.

Handlers take raw bytes and parse them here, because grpc.aio itself would call bytes that are no message UNKNOWN; they
send raw bytes, because products are serialized already.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import grpc

from .errors import DeadlineExceeded, MillirankError, NotServedYet, Overloaded, Unavailable
from .messages import (
    answer_of_batch,
    error_of_batch,
    parsed,
    queries_from_bytes,
    query_from_proto,
    response_from_ranking,
)
from .meter import Meter
from .metrics import Metrics
from .pipeline import Pipeline
from .sla import Admission, Margin, Ticket
from .statuses import Context, abort, query_error
from .trace import Trace
from .types import Phase, Priority, Query
from .v1 import search_pb2

SERVICE = "millirank.v1.SearchService"
STUCK = 1.0  # seconds past its deadline after which a call whose client does not read is ended
BEHIND = 0.001  # seconds that a query has waited before it was seen, beyond which it did not find an idle server
PATIENCE = 10.0  # seconds that a query without a deadline may wait for its first stage


_MESSAGES = {Phase.RETRIEVED: "first", Phase.RANKED: "final"}


@dataclass(frozen=True)
class Promise:
    """What the service promises; from the settings and the warm-up."""

    sla: float | None = None  # seconds from arrival to the final message; None for no limit
    idle: float = 0.001  # seconds that an idle server needs for the provisional order, besides embedding the query
    encode: float = 0.002  # seconds that an idle server needs to embed a query
    reply: float = 0.0  # seconds kept back for sending the final message
    max_inflight: int | None = None  # accepted queries at once; None for as many as can be served in time

    @property
    def least(self) -> float:
        """Seconds in which an idle server answers from the lexical index alone: less is refused at once."""
        return self.idle + self.reply


class SearchService:
    """The methods of millirank.v1.SearchService.

    The server sets pipeline and promise when it is warm; until then every query is told UNAVAILABLE.

    Args:
        clock: monotonic seconds, the pipeline's.
        metrics: of this process.
        lag: seconds for which a request has waited before it is seen.
        trace: is told when each step of a Search call that was answered was done.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        metrics: Metrics | None = None,
        lag: Callable[[], float] = lambda: 0.0,
        trace: Trace | None = None,
    ) -> None:
        self.pipeline: Pipeline | None = None
        self.promise = Promise()
        self.inflight = 0  # accepted queries that have not ended
        self._calls = 0  # whose answers are not all written
        self._draining = False
        self._ended = asyncio.Event()  # set whenever a call ends
        self._clock, self._metrics, self._lag = clock, metrics or Metrics(), lag
        self._trace = trace

    @property
    def promise(self) -> Promise:
        """What is promised."""
        return self._promise

    @promise.setter
    def promise(self, promise: Promise) -> None:
        self._promise, self._admission = promise, Admission(promise.idle, promise.encode)
        self._margin = Margin(promise.sla)

    def drain(self) -> None:
        """Refuses every query from now on."""
        self._draining = True

    async def idle(self) -> None:
        """Returns when no accepted query runs and every answer is written."""
        while self._calls:
            self._ended.clear()
            await self._ended.wait()

    @contextlib.contextmanager
    def _call(self) -> Iterator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._ended.set()

    async def search(self, data: bytes, context: Context) -> None:
        """Serves Search."""
        seen = self._clock()
        arrived = seen - self._lag()
        meter = Meter(self._metrics, "Search", arrived, self._clock)
        stuck: asyncio.Timeout | None = None
        try:
            asked = query_from_proto(
                parsed(data, search_pb2.SearchRequest), arrived, self._due(arrived, context.time_remaining())
            )
            query, pipeline, ticket = self._admitted(asked, context.peer())
            if self._trace is not None:
                query = replace(query, marks={"seen": seen, "admitted": self._clock()})
            with self._call():
                async with asyncio.timeout(self._stuck(query)) as stuck:
                    await self._answer(pipeline, query, ticket, context.write, meter)
        except asyncio.CancelledError:
            meter.ended("CANCELLED")
            raise
        except Exception as error:  # whatever it is, the client gets a status
            if context.done():  # nobody is there to get it
                meter.ended("CANCELLED")
                return
            if stuck is not None and stuck.expired():  # it cannot be told: its last message is still being written
                meter.ended("DEADLINE_EXCEEDED")
                raise asyncio.CancelledError from error
            meter.failed(error)
            await abort(context, error)

    async def batch_search(self, data: bytes, context: Context) -> None:
        """Serves BatchSearch: every query as its own, side by side, as many at once as can be served in time."""
        arrived = self._clock() - self._lag()
        try:
            requests = queries_from_bytes(data)
            self._ready()
            left = context.time_remaining()
        except MillirankError as error:
            await abort(context, error)
        end = None if left is None else arrived + left
        answers: asyncio.Queue[bytes | None] = asyncio.Queue()  # one writer: a call has one pen

        async def one(index: int, request: search_pb2.SearchRequest) -> None:
            async def send(response: bytes) -> None:
                answers.put_nowait(answer_of_batch(index, response))

            meter = Meter(self._metrics, "BatchSearch", self._clock(), self._clock)
            try:
                asked = query_from_proto(request, arrived, end)
                query, pipeline, ticket = await self._in_turn(replace(asked, priority=Priority.BATCH), context.peer())
                meter = Meter(self._metrics, "BatchSearch", query.arrived, self._clock)
                await self._answer(pipeline, query, ticket, send, meter)
            except Exception as error:  # noqa: BLE001 - the other queries are not touched by it
                meter.failed(error)
                answers.put_nowait(error_of_batch(index, query_error(error)))

        async def every() -> None:
            await asyncio.gather(*(one(index, request) for index, request in enumerate(requests)))
            answers.put_nowait(None)

        with self._call():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(every())
                while (answer := await answers.get()) is not None:
                    await context.write(answer)

    async def _in_turn(self, asked: Query, peer: str) -> tuple[Query, Pipeline, Ticket]:
        """Admits a query of a batch as soon as there is room for it: its own time begins then.

        Raises:
            DeadlineExceeded: if the client's deadline passed meanwhile.
            Unavailable: if the server is not serving.
        """
        end = asked.deadline
        while True:
            now = self._clock()
            query = replace(asked, arrived=now, deadline=self._due(now, None if end is None else end - now))
            try:
                return self._admitted(query, peer)
            except Overloaded as error:
                if end is not None and now + error.retry_after >= end:
                    raise
                await asyncio.sleep(error.retry_after)

    async def rerank(self, _data: bytes, context: Context) -> NoReturn:
        """Will serve Rerank."""
        await abort(context, NotServedYet(f"{SERVICE}.Rerank"))

    def _due(self, arrived: float, left: float | None) -> float | None:
        """The earlier of the client's deadline, in left seconds, and the service's own, in monotonic seconds."""
        limits = [limit for limit in (left, self.promise.sla) if limit is not None]
        return arrived + min(limits) if limits else None

    def _stuck(self, query: Query) -> float | None:
        """Seconds after which a client that does not read is given up."""
        return None if query.deadline is None else query.deadline - self._clock() + STUCK

    async def _answer(
        self,
        pipeline: Pipeline,
        query: Query,
        ticket: Ticket,
        send: Callable[[bytes], Awaitable[None]],
        meter: Meter,
    ) -> None:
        """Sends the answers of an admitted query."""
        self.inflight += 1
        self._metrics.inflight(self.inflight)
        waits = True  # in the first stage
        try:
            async with contextlib.aclosing(pipeline.search(query)) as rankings:
                async for ranking in rankings:
                    spent = ranking.timings
                    if waits:
                        waits = False
                        self._admission.leave(ticket, self._clock(), (spent.encode_queue + spent.encode) / 1e6)
                    answer, message = response_from_ranking(ranking, query.id), _MESSAGES[ranking.phase]
                    query.mark(f"{message}_made", self._clock)
                    await send(answer)
                    query.mark(f"{message}_sent", self._clock)
                    meter.sent(ranking)
            if query.deadline is not None:
                late = self._clock() - (query.deadline + query.margin - self.promise.reply)
                self._margin.observe(ticket.ahead, late, spent.engines / 1e6)
            if self._trace is not None and query.marks is not None:
                self._trace.query(query.id, query.marks, spent.seconds)
        finally:
            if waits:
                self._admission.leave(ticket, None)
            self.inflight -= 1
            self._metrics.inflight(self.inflight)

    def _ready(self) -> Pipeline:
        if self._draining:
            raise Unavailable("the server is shutting down: retry on another one")
        if self.pipeline is None:
            raise Unavailable("the server is starting: retry when its health is SERVING")
        return self.pipeline

    def _admitted(self, query: Query, peer: str) -> tuple[Query, Pipeline, Ticket]:
        """Counts a query in, or refuses it.

        Raises:
            Unavailable: if the server is not serving.
            DeadlineExceeded: if even an idle server could not meet the deadline.
            Overloaded: if it cannot be met now.
        """
        pipeline, promise = self._ready(), self.promise
        left = math.inf if query.deadline is None else query.deadline - query.arrived
        if left < promise.least:
            raise DeadlineExceeded(
                f"the deadline leaves {max(0.0, left) * 1e3:.1f} ms, an idle server needs "
                f"{promise.least * 1e3:.1f} ms for the lexical index alone: allow more time"
            )
        now = self._clock()
        margin = self._margin.of(self._admission.waiting)
        slack = min(PATIENCE, left - promise.reply - margin) - (now - query.arrived)
        if query.priority is Priority.BATCH:  # nobody looks at a screen: it leaves room, and waits for the encoder
            wait = self._admission.wait(peer, slack / 2, now, pipeline.transport.backlog().encode)
        else:
            wait = self._admission.wait(peer, slack, now, behind=now - query.arrived > BEHIND)
        if promise.max_inflight is not None and self.inflight >= promise.max_inflight:
            wait = max(wait, promise.least)
        if wait:
            raise Overloaded(
                "more queries wait than can be served in time: retry after the delay in RetryInfo, or add servers",
                retry_after=wait,
            )
        ticket = self._admission.enter(peer, now)
        due = None if query.deadline is None else query.deadline - margin
        return replace(query, own=ticket.own, deadline=due, margin=margin), pipeline, ticket


def handler(service: SearchService) -> grpc.GenericRpcHandler:
    """The service's methods for grpc.aio.Server.add_generic_rpc_handlers; requests and answers stay raw bytes."""
    methods: dict[str, grpc.RpcMethodHandler[bytes, Any]] = {
        "Search": grpc.unary_stream_rpc_method_handler(service.search),
        "BatchSearch": grpc.unary_stream_rpc_method_handler(service.batch_search),
        "Rerank": grpc.unary_unary_rpc_method_handler(service.rerank),
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)

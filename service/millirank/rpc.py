"""Proto to types and back, deadlines, statuses; no logic. The one place where an exception becomes a status.

Handlers take raw bytes and parse them here, because grpc.aio itself would call bytes that are no message UNKNOWN.
"""

import asyncio
import contextlib
import logging
import time
import unicodedata
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from .config import MAX_BATCH_QUERIES, MAX_LIMIT, MAX_QUERY_CHARACTERS
from .errors import DeadlineExceeded, InvalidRequest, MillirankError, NotServedYet, Overloaded, Unavailable
from .pipeline import Pipeline
from .types import Phase, Query, Ranking
from .v1 import search_pb2

SERVICE = "millirank.v1.SearchService"
DOMAIN = "millirank"  # of google.rpc.ErrorInfo
log = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[bytes, Any]
M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Promise:
    """What the service promises; from the settings and the warm-up."""

    sla: float | None = None  # seconds from arrival to the final message; None for no limit
    least: float = 0.0  # seconds that an idle server needs without reranking: less is refused at once
    max_inflight: int = 256  # accepted queries at once; more are refused


class SearchService:
    """The methods of millirank.v1.SearchService.

    The server sets pipeline and promise when it is warm; until then every query is told UNAVAILABLE.

    Args:
        clock: monotonic seconds, the pipeline's.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.pipeline: Pipeline | None = None
        self.promise = Promise()
        self.inflight = 0  # accepted queries that have not ended
        self._calls = 0  # whose answers are not all written
        self._draining = False
        self._ended = asyncio.Event()  # set whenever a call ends
        self._clock = clock

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
        arrived = self._clock()
        try:
            query = query_from_proto(_parsed(data, search_pb2.SearchRequest), arrived, self._deadline(arrived, context))
            with self._call():
                await self._answer(query, context.write)
        except Exception as error:  # noqa: BLE001 - whatever it is, the client gets a status
            await abort(context, error)

    async def batch_search(self, data: bytes, context: Context) -> None:
        """Serves BatchSearch: every query as its own, side by side."""
        arrived = self._clock()
        try:
            requests = _queries(data)
            deadline = self._deadline(arrived, context)
        except MillirankError as error:
            await abort(context, error)

        answers: asyncio.Queue[search_pb2.BatchSearchResponse | None] = (
            asyncio.Queue()
        )  # one writer: a call has one pen

        async def one(index: int, request: search_pb2.SearchRequest) -> None:
            async def send(response: search_pb2.SearchResponse) -> None:
                answers.put_nowait(search_pb2.BatchSearchResponse(index=index, response=response))

            try:
                await self._answer(query_from_proto(request, arrived, deadline), send)
            except Exception as error:  # noqa: BLE001 - the other queries are not touched by it
                answers.put_nowait(search_pb2.BatchSearchResponse(index=index, error=_query_error(error)))

        async def every() -> None:
            await asyncio.gather(*(one(index, request) for index, request in enumerate(requests)))
            answers.put_nowait(None)

        with self._call():
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(every())
                while (answer := await answers.get()) is not None:
                    await context.write(answer)

    async def rerank(self, _data: bytes, context: Context) -> NoReturn:
        """Will serve Rerank."""
        await abort(context, NotServedYet(f"{SERVICE}.Rerank"))

    def _deadline(self, arrived: float, context: Context) -> float | None:
        """The earlier of the client's deadline and the service's own, in monotonic seconds."""
        left = context.time_remaining()
        limits = [limit for limit in (left, self.promise.sla) if limit is not None]
        return arrived + min(limits) if limits else None

    async def _answer(self, query: Query, send: Callable[[search_pb2.SearchResponse], Awaitable[None]]) -> None:
        """Admits a query and sends its answers."""
        pipeline = self._admitted(query)
        self.inflight += 1
        try:
            async with contextlib.aclosing(pipeline.search(query)) as rankings:
                async for ranking in rankings:
                    await send(proto_from_ranking(ranking, query.id))
        finally:
            self.inflight -= 1

    def _admitted(self, query: Query) -> Pipeline:
        if self._draining:
            raise Unavailable("the server is shutting down: retry on another one")
        if self.pipeline is None:
            raise Unavailable("the server is starting: retry when its health is SERVING")
        promise = self.promise
        if query.deadline is not None and query.deadline - query.arrived < promise.least:
            raise DeadlineExceeded(
                f"the deadline leaves {max(0.0, query.deadline - query.arrived) * 1e3:.1f} ms, an idle server needs "
                f"{promise.least * 1e3:.1f} ms without reranking: allow more time"
            )
        if self.inflight >= promise.max_inflight:
            wait = promise.sla or promise.least
            raise Overloaded(f"{self.inflight} queries are being answered: retry later", retry_after=wait)
        return self.pipeline


def query_from_proto(request: search_pb2.SearchRequest, arrived: float, deadline: float | None) -> Query:
    """A query as the pipeline takes it.

    Raises:
        NotServedYet: if a field is set that this version does not serve.
        InvalidRequest: if a field is wrong.
    """
    for name in ("catalog", "filter", "facets", "page_token", "explain"):
        present = request.HasField("filter") if name == "filter" else getattr(request, name)
        if present:
            raise NotServedYet(name)
    if len(request.query) > MAX_QUERY_CHARACTERS:
        raise InvalidRequest("query", f"has {len(request.query)} characters: send at most {MAX_QUERY_CHARACTERS}")
    text = " ".join("".join(" " if unicodedata.category(c) == "Cc" else c for c in request.query).split())
    if not text:
        raise InvalidRequest("query", "is empty or blank: send what the shopper typed")
    if request.limit > MAX_LIMIT:
        raise InvalidRequest("limit", f"is {request.limit}: ask for at most {MAX_LIMIT} hits")
    return Query(
        text=text,
        limit=request.limit or 10,
        rerank_depth=request.rerank_depth or None,
        arrived=arrived,
        deadline=deadline,
        id=uuid.uuid4().hex,
    )


def proto_from_ranking(ranking: Ranking, query_id: str) -> search_pb2.SearchResponse:
    """One answer as the client gets it."""
    times = ranking.timings
    response = search_pb2.SearchResponse(
        phase=search_pb2.PHASE_RANKED if ranking.phase is Phase.RANKED else search_pb2.PHASE_RETRIEVED,
        timings=search_pb2.Timings(
            tokens_us=times.tokens,
            encode_queue_us=times.encode_queue,
            encode_us=times.encode,
            retrieve_us=times.retrieve,
            render_us=times.render,
            rerank_queue_us=times.rerank_queue,
            rerank_us=times.rerank,
            total_us=times.total,
        ),
        rerank_depth=ranking.rerank_depth,
        degraded=ranking.degraded is not None,
        degraded_reason=ranking.degraded.name if ranking.degraded else "",
        query_id=query_id,
        index_version=ranking.index_version,
        query_truncated=ranking.query_truncated,
    )
    for hit in ranking.hits:
        message = response.hits.add(rank=hit.rank, id=hit.id, score=hit.score)
        message.product.MergeFromString(hit.product)
    return response


def _queries(data: bytes) -> Sequence[search_pb2.SearchRequest]:
    requests = _parsed(data, search_pb2.BatchSearchRequest).requests
    if not 1 <= len(requests) <= MAX_BATCH_QUERIES:
        raise InvalidRequest("requests", f"holds {len(requests)} queries: send 1 to {MAX_BATCH_QUERIES}")
    return requests


def _parsed(data: bytes, kind: type[M]) -> M:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidRequest("message", f"these bytes are no {kind.DESCRIPTOR.full_name}: use its stubs") from error


async def abort(context: Context, error: Exception) -> NoReturn:
    """Ends a call with the status that belongs to an exception, and google.rpc details: always ErrorInfo."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    known = _known(error)
    code = grpc.StatusCode[known.status]
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=known.reason, domain=DOMAIN)]
    if isinstance(known, NotServedYet):
        details[0] = error_details_pb2.ErrorInfo(reason=known.reason, domain=DOMAIN, metadata={"field": known.field})
    if isinstance(known, InvalidRequest):
        violation = error_details_pb2.BadRequest.FieldViolation(field=known.field, description=known.message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(known, Overloaded):
        wait = Duration()
        wait.FromMilliseconds(max(1, round(known.retry_after * 1e3)))
        details.append(error_details_pb2.RetryInfo(retry_delay=wait))
    status = status_pb2.Status(code=code.value[0], message=str(known))
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    await context.abort(code, str(known), (("grpc-status-details-bin", status.SerializeToString()),))


def _known(error: Exception) -> MillirankError:
    """The error itself, or an INTERNAL one that tells a client nothing of an exception that we did not foresee."""
    if isinstance(error, MillirankError) and error.status != "INTERNAL":
        return error
    log.error("a query failed", exc_info=error)
    return MillirankError("the query could not be answered: the server's log says why")


def _query_error(error: Exception) -> search_pb2.QueryError:
    known = _known(error)
    return search_pb2.QueryError(code=grpc.StatusCode[known.status].value[0], message=str(known), reason=known.reason)


def handler(service: SearchService) -> grpc.GenericRpcHandler:
    """The service's methods for grpc.aio.Server.add_generic_rpc_handlers; requests stay raw bytes."""
    methods: dict[str, grpc.RpcMethodHandler[bytes, Any]] = {
        "Search": grpc.unary_stream_rpc_method_handler(
            service.search, response_serializer=search_pb2.SearchResponse.SerializeToString
        ),
        "BatchSearch": grpc.unary_stream_rpc_method_handler(
            service.batch_search, response_serializer=search_pb2.BatchSearchResponse.SerializeToString
        ),
        "Rerank": grpc.unary_unary_rpc_method_handler(
            service.rerank, response_serializer=search_pb2.RerankResponse.SerializeToString
        ),
    }
    return grpc.method_handlers_generic_handler(SERVICE, methods)

"""Proto to types and back."""

import struct
import unicodedata
import uuid
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from .config import MAX_BATCH_QUERIES, MAX_LIMIT, MAX_QUERY_CHARACTERS
from .errors import InvalidRequest, NotServedYet
from .types import Phase, Query, Ranking
from .v1 import search_pb2

M = TypeVar("M", bound=Message)


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


def response_from_ranking(ranking: Ranking, query_id: str) -> bytes:
    """One answer as the client gets it: a serialized SearchResponse.

    Products are serialized already, so they are put where they belong and not parsed: a repeated field may follow all
    others on the wire (protobuf.dev/programming-guides/encoding).
    """
    times = ranking.timings
    head = search_pb2.SearchResponse(
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
    parts = [head.SerializeToString()]
    for hit in ranking.hits:
        name = hit.id.encode()
        place = b"".join((_SCORED.pack(_RANK, hit.rank, _SCORE, hit.score), _field(_ID, len(name)), name))
        product = _field(_PRODUCT, len(hit.product))
        parts += (_field(_HITS, len(place) + len(product) + len(hit.product)), place, product, hit.product)
    return b"".join(parts)


def answer_of_batch(index: int, response: bytes) -> bytes:
    """A serialized BatchSearchResponse with the answer of the query at that place."""
    head = search_pb2.BatchSearchResponse(index=index).SerializeToString()
    return b"".join((head, _field(_RESPONSE, len(response)), response))


def error_of_batch(index: int, error: search_pb2.QueryError) -> bytes:
    """A serialized BatchSearchResponse with the error of the query at that place."""
    return search_pb2.BatchSearchResponse(index=index, error=error).SerializeToString()


@lru_cache(maxsize=1 << 16)  # of a few numbers and sizes: asked for thirty times an answer
def _field(number: int, size: int) -> bytes:
    """What stands before a message field of so many bytes: its tag and its size, as varints."""
    head = bytearray((number << 3 | 2,))
    while size > 0x7F:  # noqa: PLR2004 - seven bits a byte
        head.append(size & 0x7F | 0x80)
        size >>= 7
    head.append(size)
    return bytes(head)


_HITS = search_pb2.SearchResponse.HITS_FIELD_NUMBER
_PRODUCT = search_pb2.Hit.PRODUCT_FIELD_NUMBER
_ID = search_pb2.Hit.ID_FIELD_NUMBER
_RANK = search_pb2.Hit.RANK_FIELD_NUMBER << 3  # of wire type 0; at most 100, so one byte
_SCORE = search_pb2.Hit.SCORE_FIELD_NUMBER << 3 | 5  # of wire type 5
_SCORED = struct.Struct("<BBBf")  # tag and rank, tag and score
_RESPONSE = search_pb2.BatchSearchResponse.RESPONSE_FIELD_NUMBER


def queries_from_bytes(data: bytes) -> Sequence[search_pb2.SearchRequest]:
    """The queries of a BatchSearchRequest.

    Raises:
        InvalidRequest: if there are none, or too many, or the bytes are no such message.
    """
    requests = parsed(data, search_pb2.BatchSearchRequest).requests
    if not 1 <= len(requests) <= MAX_BATCH_QUERIES:
        raise InvalidRequest("requests", f"holds {len(requests)} queries: send 1 to {MAX_BATCH_QUERIES}")
    return requests


def parsed(data: bytes, kind: type[M]) -> M:
    """A message from its bytes.

    Raises:
        InvalidRequest: if the bytes are no such message.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise InvalidRequest("message", f"these bytes are no {kind.DESCRIPTOR.full_name}: use its stubs") from error

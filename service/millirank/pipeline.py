"""The whole path of a query: tokens, encode, retrieve, PHASE_RETRIEVED, rerank, PHASE_RANKED."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError
from millirank_engines.pack import Ids

from .deadline import before, by, leave
from .errors import DeadlineExceeded, Overloaded, Unavailable
from .jobs import Encoded, Reranked
from .reader import Reader
from .rerank import blend
from .retrieve import Retriever
from .tokens import Tokenizer
from .transport import Transport
from .types import Degraded, Hit, Order, Phase, Query, Ranking, Served, Timings

HANDOVER = 0.0005  # seconds from the end of an engine's work until what it found is here
log = logging.getLogger(__name__)


class Catalog(Protocol):
    """The products of one snapshot."""

    @property
    def version(self) -> int:
        """Which snapshot."""

    def rendered(self, rows: Sequence[int]) -> Sequence[tuple[str, bytes]]:
        """The id and the serialized millirank.v1.Product of each row; from any thread."""


@dataclass(frozen=True)
class Limits:
    """How far a query may go; from the settings."""

    candidates: int = 100  # from each of the two indexes
    rerank_depth: int = 50  # candidates, at most
    reply_reserve: float = 0.001  # seconds kept back from the deadline for sending the final message


@dataclass(frozen=True)
class Found:
    """What the first stage found."""

    order: Order
    products: dict[int, tuple[str, bytes]]  # id and serialized Product, by row
    retrieving: float  # seconds
    rendering: float  # seconds


class Pipeline:
    """Answers queries. Everything it needs is handed to it, so it runs on fakes as on engines.

    Args:
        transport: the way to the core.
        catalog: the products.
        retriever: the lexical and the dense index.
        encoder_tokens: the encoder's tokenizer.
        reranker_tokens: the reranker's tokenizer.
        executor: reads indexes and products where that takes too long for the event loop.
        limits: how far a query may go; replaced, if at all, before the first real query.
        clock: monotonic seconds, the same that Query.arrived and Query.deadline were read from.
    """

    def __init__(
        self,
        *,
        transport: Transport,
        catalog: Catalog,
        retriever: Retriever,
        encoder_tokens: Tokenizer,
        reranker_tokens: Tokenizer,
        executor: Executor,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.transport, self._catalog, self._retriever = transport, catalog, retriever
        self._encoder_tokens, self._reranker_tokens = encoder_tokens, reranker_tokens
        self._same_queries = reranker_tokens.same_queries(encoder_tokens)
        self.limits = limits or Limits()
        self._read, self._clock = Reader(executor), clock
        self.sample: Callable[[Served], None] | None = None  # told what is served; set by its owner

    async def search(self, query: Query) -> AsyncGenerator[Ranking, None]:
        """Yields the provisional order, then the final one.

        Raises:
            DeadlineExceeded: if there was no time even for the provisional order.
            Unavailable: if there is no core that could embed the query.
        """
        text = self._retriever.corrected(query.text)  # a third of a millisecond for each word that nobody knows
        tokens, truncated = self._encoder_tokens.query(text)
        if self._same_queries:
            pair_tokens, pair_truncated = tokens, truncated
        else:
            pair_tokens, pair_truncated = self._reranker_tokens.query(text)
        asked = self._clock()
        spent = {"tokens": _micros(asked - query.arrived)}

        encoding, degraded = self._ask_encoder(tokens, query, asked)
        try:
            await asyncio.sleep(0)  # it leaves before we begin
            words = await self._read(self._words, query, text)
            encoded = None
            if encoding is not None:
                encoded, degraded = await self._encoded(encoding, query)
        finally:
            leave(encoding)
        waited, ran = (encoded.queued, encoded.ran) if encoded else (self._clock() - asked, 0.0)
        found = await self._read(self._find, query, words, encoded.vector if encoded else None)
        self._read.took(found.retrieving + found.rendering)
        spent |= {"encode_queue": _micros(waited), "encode": _micros(ran), "retrieve": _micros(found.retrieving)}
        answer = Ranking(
            phase=Phase.RETRIEVED,
            hits=_hits(found.order.head(query.limit), found.products),
            timings=Timings(**spent, render=_micros(found.rendering), total=self._since(query)),
            degraded=degraded,
            index_version=str(self._catalog.version),
            query_truncated=truncated or pair_truncated,
        )
        asked, ended = self._clock(), list[float]()
        reranking, reason = self._ask_reranker(pair_tokens, found.order, query, text, asked)
        try:
            if reranking is not None:
                reranking.add_done_callback(lambda _: ended.append(self._clock()))
                await asyncio.sleep(0)  # it leaves before the answer is written
            query.mark("rerank_sent", self._clock)
            yield answer
            reranked = None
            if reranking is not None:
                reranked, reason = await self._reranked(reranking, query)
        finally:
            leave(reranking)
        query.mark("reranked", self._clock)
        waited = ended[0] - asked if ended else 0.0  # however slowly the answer was read meanwhile
        waited, ran = (reranked.queued, reranked.ran) if reranked else (waited, 0.0)
        order = blend(found.order, reranked.scores) if reranked else found.order
        head, rendering = order.head(query.limit), found.rendering
        missing = [row for row in head.rows.tolist() if row not in found.products]
        if missing:
            start = self._clock()
            found.products.update(await self._read(self._products, missing))
            rendering += self._clock() - start
        spent |= {"render": _micros(rendering), "rerank_queue": _micros(waited), "rerank": _micros(ran)}
        yield Ranking(
            phase=Phase.RANKED,
            hits=_hits(head, found.products),
            timings=Timings(**spent, total=self._since(query)),
            rerank_depth=len(reranked.scores) if reranked else 0,
            degraded=degraded or reason,
            index_version=answer.index_version,
            query_truncated=answer.query_truncated,
        )

    def _ask_encoder(
        self, tokens: Ids, query: Query, now: float
    ) -> tuple["asyncio.Future[Encoded] | None", Degraded | None]:
        """Asks for the query's embedding; or why the lexical index must answer alone.

        Raises:
            DeadlineExceeded: if the deadline is spent.
        """
        query.mark("tokens", self._clock)
        if query.deadline is not None and query.deadline <= now:
            raise DeadlineExceeded("the deadline left no time to answer: allow more time or send less at once")
        deadline = self._encoded_by(query)
        if deadline is not None and deadline <= now:
            return None, Degraded.ENCODER_OVERRUN
        return asyncio.ensure_future(self.transport.encode(tokens, before(deadline, HANDOVER), query.priority)), None

    async def _encoded(
        self, encoding: "asyncio.Future[Encoded]", query: Query
    ) -> tuple[Encoded | None, Degraded | None]:
        """The query's embedding, or why there is none and the lexical index must answer alone."""
        try:
            return await by(self._encoded_by(query), encoding, self._clock), None
        except EngineError as error:
            log.warning("encoder: %s", error)
            return None, Degraded.ENCODER_FAULT
        except (TimeoutError, DeadlineExceeded, Overloaded):
            return None, Degraded.ENCODER_OVERRUN

    def _words(self, query: Query, text: str) -> tuple[Order, float]:
        """What the lexical index finds, and the seconds it took."""
        query.mark("encode_sent", self._clock)
        start = self._clock()
        found = self._retriever.lexical(text, self.limits.candidates)
        query.mark("words", self._clock)
        return found, self._clock() - start

    def _find(self, query: Query, words: tuple[Order, float], vector: NDArray[np.float32] | None) -> Found:
        """Candidates and the products of the first ones."""
        query.mark("encoded", self._clock)
        start = self._clock()
        lexical, seconds = words
        dense = None if vector is None else self._retriever.dense(vector, self.limits.candidates)
        fused = self._retriever.fused(lexical, dense)
        retrieved = self._clock()
        products = self._products(fused.rows[: query.limit].tolist())
        return Found(fused, products, seconds + retrieved - start, self._clock() - retrieved)

    def _ask_reranker(
        self, tokens: Ids, order: Order, query: Query, text: str, now: float
    ) -> tuple["asyncio.Future[Reranked] | None", Degraded | None]:
        """Asks for the scores of the first candidates whose place is not certain; or why not, if there is a reason."""
        query.mark("found", self._clock)
        cap = self.limits.rerank_depth
        rows = order.rows[: cap if query.rerank_depth is None else min(cap, query.rerank_depth)]
        if self.sample is not None:
            self.sample((text, len(tokens), rows))
        rows = rows[order.exact :]
        if not len(rows):
            return None, None
        deadline = before(query.deadline, self.limits.reply_reserve)
        if deadline is not None and deadline <= now:
            return None, Degraded.DEADLINE
        scores_by = before(deadline, HANDOVER)
        return asyncio.ensure_future(
            self.transport.rerank(tokens, rows, self._catalog.version, scores_by, query.priority)
        ), None

    async def _reranked(
        self, reranking: "asyncio.Future[Reranked]", query: Query
    ) -> tuple[Reranked | None, Degraded | None]:
        """The reranker's scores, or why there are none: whatever the engine does, the final order leaves in time."""
        try:
            reranked = await by(before(query.deadline, self.limits.reply_reserve), reranking, self._clock)
        except (EngineError, Unavailable) as error:  # the core may have died since it embedded the query
            log.warning("reranker: %s", error)
            return None, Degraded.RERANKER_FAULT
        except TimeoutError:
            return None, Degraded.RERANKER_OVERRUN
        except (DeadlineExceeded, Overloaded):
            return None, Degraded.DEADLINE
        return (reranked, None) if len(reranked.scores) else (None, Degraded.DEADLINE)

    def _products(self, rows: Sequence[int]) -> dict[int, tuple[str, bytes]]:
        return dict(zip(rows, self._catalog.rendered(rows), strict=True))

    def _encoded_by(self, query: Query) -> float | None:
        return before(query.deadline, self.limits.reply_reserve + query.own)

    def _since(self, query: Query) -> int:
        return _micros(self._clock() - query.arrived)


def _hits(order: Order, products: Mapping[int, tuple[str, bytes]]) -> tuple[Hit, ...]:
    """The hits of as much of the order as there are products for, from its head."""
    hits: list[Hit] = []
    for row, score in zip(order.rows.tolist(), order.scores.tolist(), strict=True):
        product = products.get(row)
        if product is None:
            break
        hits.append(Hit(len(hits) + 1, product[0], score, product[1]))
    return tuple(hits)


def _micros(seconds: float) -> int:
    return max(0, round(seconds * 1e6))

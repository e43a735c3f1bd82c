"""The whole path of a query: tokens, encode, retrieve, PHASE_RETRIEVED, rerank, PHASE_RANKED."""

import asyncio
import functools
import itertools
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError
from millirank_engines.pack import Ids

from .errors import DeadlineExceeded, Overloaded, Unavailable
from .jobs import Encoded, Reranked
from .rerank import blend
from .retrieve import Retriever
from .tokens import Tokenizer
from .transport import Transport
from .types import Degraded, Hit, Order, Phase, Query, Ranking, Rows, Served, Timings

P = ParamSpec("P")
T = TypeVar("T")
HANDOVER = 0.0005  # seconds from the end of an engine's work until what it found is here
log = logging.getLogger(__name__)


class Catalog(Protocol):
    """The products of one snapshot."""

    @property
    def version(self) -> int:
        """Which snapshot."""

    def rendered(self, rows: Sequence[int]) -> Sequence[tuple[str, bytes]]:
        """The id and the serialized millirank.v1.Product of each row; called from the executor's thread only."""


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
        executor: one thread, which alone reads indexes and products; the event loop reads the dictionaries that
            words are corrected with, and nothing else.
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
        self._executor, self._clock = executor, clock
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
        timings = Timings(tokens=_micros(self._clock() - query.arrived))

        asked = self._clock()
        words = self._on_executor(self._words, text)  # while the encoder runs
        try:
            encoded, degraded = await self._encode(tokens, query)
        except BaseException:
            words.cancel()
            raise
        waited, ran = (encoded.queued, encoded.ran) if encoded else (self._clock() - asked, 0.0)
        timings = replace(timings, encode_queue=_micros(waited), encode=_micros(ran))
        found = await self._on_executor(self._find, query, await words, encoded.vector if encoded else None)
        timings = replace(timings, retrieve=_micros(found.retrieving), render=_micros(found.rendering))
        answer = Ranking(
            phase=Phase.RETRIEVED,
            hits=_hits(found.order, found.products),
            timings=replace(timings, total=self._since(query)),
            degraded=degraded,
            index_version=str(self._catalog.version),
            query_truncated=truncated or pair_truncated,
        )
        reranking = asyncio.ensure_future(
            self._rerank(pair_tokens, found.order, query, text)
        )  # while the answer leaves
        try:
            yield answer
            reranked, reason, waited = await reranking
        finally:
            reranking.cancel()  # without effect once it has ended
        waited, ran = (reranked.queued, reranked.ran) if reranked else (waited, 0.0)
        timings = replace(timings, rerank_queue=_micros(waited), rerank=_micros(ran))
        order = blend(found.order, reranked.scores) if reranked else found.order
        missing = [row for row in order.rows[: query.limit].tolist() if row not in found.products]
        if missing:
            start = self._clock()
            found.products.update(await self._on_executor(self._products, missing))
            timings = replace(timings, render=timings.render + _micros(self._clock() - start))
        yield replace(
            answer,
            phase=Phase.RANKED,
            hits=_hits(order.head(query.limit), found.products),
            timings=replace(timings, total=self._since(query)),
            rerank_depth=len(reranked.scores) if reranked else 0,
            degraded=degraded or reason,
        )

    async def _encode(self, tokens: Ids, query: Query) -> tuple[Encoded | None, Degraded | None]:
        """The query's embedding, or why there is none and the lexical index must answer alone.

        Raises:
            DeadlineExceeded: if the deadline is spent.
        """
        now = self._clock()
        if query.deadline is not None and query.deadline <= now:
            raise DeadlineExceeded("the deadline left no time to answer: allow more time or send less at once")
        deadline = self._before(query.deadline, self.limits.reply_reserve + query.own)
        if deadline is not None and deadline <= now:
            return None, Degraded.ENCODER_OVERRUN
        try:
            async with asyncio.timeout(self._left(deadline)):
                return await self.transport.encode(tokens, self._before(deadline, HANDOVER), query.priority), None
        except EngineError as error:
            log.warning("encoder: %s", error)
            return None, Degraded.ENCODER_FAULT
        except (TimeoutError, DeadlineExceeded, Overloaded):
            return None, Degraded.ENCODER_OVERRUN

    def _words(self, text: str) -> tuple[Order, float]:
        """What the lexical index finds, and the seconds it took; on the executor's thread."""
        start = self._clock()
        return self._retriever.lexical(text, self.limits.candidates), self._clock() - start

    def _find(self, query: Query, words: tuple[Order, float], vector: NDArray[np.float32] | None) -> Found:
        """Candidates and the products of the first ones; on the executor's thread."""
        start = self._clock()
        lexical, seconds = words
        dense = None if vector is None else self._retriever.dense(vector, self.limits.candidates)
        fused = self._retriever.fused(lexical, dense)
        retrieved = self._clock()
        products = self._products(fused.rows[: query.limit].tolist())
        return Found(fused, products, seconds + retrieved - start, self._clock() - retrieved)

    async def _rerank(
        self, tokens: Ids, order: Order, query: Query, text: str
    ) -> tuple[Reranked | None, Degraded | None, float]:
        """The reranker's scores of the first candidates whose place is not certain, and the seconds it took.

        Or why there are none: whatever the engine does, the final order leaves in time.
        """
        cap = self.limits.rerank_depth
        rows = order.rows[: cap if query.rerank_depth is None else min(cap, query.rerank_depth)]
        if self.sample is not None:
            self.sample((text, len(tokens), rows))
        rows = rows[order.exact :]
        if not len(rows):
            return None, None, 0.0
        asked = self._clock()
        deadline = self._before(query.deadline, self.limits.reply_reserve)
        if deadline is not None and deadline <= asked:
            return None, Degraded.DEADLINE, 0.0
        reranked, reason = await self._scores(tokens, rows, query, deadline)
        return reranked, reason, self._clock() - asked

    async def _scores(
        self, tokens: Ids, rows: Rows, query: Query, deadline: float | None
    ) -> tuple[Reranked | None, Degraded | None]:
        try:
            async with asyncio.timeout(self._left(deadline)):
                scores_by = self._before(deadline, HANDOVER)
                reranked = await self.transport.rerank(tokens, rows, self._catalog.version, scores_by, query.priority)
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

    def _on_executor(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> "asyncio.Future[T]":
        call = functools.partial(function, *args, **kwargs)
        return asyncio.get_running_loop().run_in_executor(self._executor, call)

    def _before(self, deadline: float | None, reserve: float) -> float | None:
        """The deadline less the time of what is still to be done."""
        return None if deadline is None else deadline - reserve

    def _left(self, deadline: float | None) -> float | None:
        return None if deadline is None else deadline - self._clock()

    def _since(self, query: Query) -> int:
        return _micros(self._clock() - query.arrived)


def _hits(order: Order, products: Mapping[int, tuple[str, bytes]]) -> tuple[Hit, ...]:
    """The hits of as much of the order as there are products for, from its head."""
    placed = zip(order.rows.tolist(), order.scores.tolist(), strict=True)
    shown = itertools.takewhile(lambda hit: hit[0] in products, placed)
    return tuple(Hit(rank, products[row][0], score, products[row][1]) for rank, (row, score) in enumerate(shown, 1))


def _micros(seconds: float) -> int:
    return max(0, round(seconds * 1e6))

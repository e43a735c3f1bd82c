"""The way from a frontend to a core. In-process here; the interface is the same whatever carries the records."""

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from millirank_engines.pack import Ids

from .core import Core
from .jobs import Backlog, Encoded, EncodeJob, Reranked, RerankJob
from .types import Priority

R = TypeVar("R", Encoded, Reranked)


class Transport(Protocol):
    """What the stages ask of a core. A cancelled call is dropped before its batch."""

    async def encode(self, ids: Ids, deadline: float | None, priority: Priority = Priority.INTERACTIVE) -> Encoded:
        """The embedding of a query.

        Args:
            ids: token ids, (n,), without special tokens.
            deadline: monotonic seconds; None for no limit.
            priority: who goes first.

        Raises:
            EngineError: if the engine failed.
            DeadlineExceeded: if the deadline is too near for the work.
            Unavailable: if the core has stopped.
        """

    async def rerank(
        self,
        query: Ids,
        rows: NDArray[np.uint32],
        snapshot: int,
        deadline: float | None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Reranked:
        """Scores of as many of the first rows as the deadline allows.

        Args:
            query: token ids, (n,), without special tokens.
            rows: products of the snapshot in prior order, (cap,).
            snapshot: which one.
            deadline: monotonic seconds by which the scores must be there; None for no limit.
            priority: who goes first.

        Raises:
            EngineError: if the engine failed.
            DeadlineExceeded: if the deadline is too near for the work.
            Unavailable: if the core has stopped.
        """

    def backlog(self) -> Backlog:
        """How long the core that is free first is busy with what it has accepted, from anywhere."""


class InProcess:
    """A core in the same process, on its own thread. Called from one event loop."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def encode(self, ids: Ids, deadline: float | None, priority: Priority = Priority.INTERACTIVE) -> Encoded:
        """See Transport."""
        return await self._call(Encoded, lambda done: EncodeJob(done, deadline, ids, priority=priority))

    async def rerank(
        self,
        query: Ids,
        rows: NDArray[np.uint32],
        snapshot: int,
        deadline: float | None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Reranked:
        """See Transport."""
        return await self._call(
            Reranked, lambda done: RerankJob(done, deadline, query, rows, snapshot, priority=priority)
        )

    def backlog(self) -> Backlog:
        """See Transport."""
        return self._core.backlog()

    async def _call(
        self,
        kind: type[R],
        make: Callable[[Callable[[Encoded | Reranked | Exception], None]], EncodeJob | RerankJob],
    ) -> R:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Encoded | Reranked] = loop.create_future()

        def settle(result: Encoded | Reranked | Exception) -> None:
            if future.done():  # cancelled meanwhile
                return
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)

        job = make(lambda result: _post(loop, settle, result))
        try:
            self._core.submit(job)
            result = await future
        finally:
            job.cancelled = True  # without effect once the job has ended
        assert isinstance(result, kind)  # noqa: S101 - the core answers a job with its own kind
        return result


def _post(
    loop: asyncio.AbstractEventLoop,
    settle: Callable[[Encoded | Reranked | Exception], None],
    result: Encoded | Reranked | Exception,
) -> None:
    if not loop.is_closed():  # a server that is torn down has nobody left to tell
        loop.call_soon_threadsafe(settle, result)

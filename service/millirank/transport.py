"""The way from a frontend to a core. In-process here; the interface is the same whatever carries the records."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from millirank_engines.pack import Ids

from .core import Core
from .jobs import Backlog, Encoded, EncodeJob, Reranked, RerankJob, Result
from .types import Priority

R = TypeVar("R", Encoded, Reranked)


class Transport(Protocol):
    """What the stages ask of a core. A job that is cancelled is dropped before its batch.

    Both methods return at once, and what they return raises:

    Raises:
        EngineError: if the engine failed.
        DeadlineExceeded: if the deadline is too near for the work.
        Unavailable: if the core has stopped.
    """

    def encode(self, ids: Ids, deadline: float | None, priority: Priority = Priority.INTERACTIVE) -> Awaitable[Encoded]:
        """The embedding of a query.

        Args:
            ids: token ids, (n,), without special tokens.
            deadline: monotonic seconds; None for no limit.
            priority: who goes first.
        """

    def rerank(
        self,
        query: Ids,
        rows: NDArray[np.uint32],
        snapshot: int,
        deadline: float | None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> Awaitable[Reranked]:
        """Scores of as many of the first rows as the deadline allows.

        Args:
            query: token ids, (n,), without special tokens.
            rows: products of the snapshot in prior order, (cap,).
            snapshot: which one.
            deadline: monotonic seconds by which the scores must be there; None for no limit.
            priority: who goes first.
        """

    def backlog(self) -> Backlog:
        """How long the core that is free first is busy with what it has accepted, from anywhere."""


class InProcess:
    """A core in the same process, on its own thread. Called from one event loop."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def encode(
        self, ids: Ids, deadline: float | None, priority: Priority = Priority.INTERACTIVE
    ) -> "asyncio.Future[Encoded]":
        """See Transport."""
        call = _Call[Encoded]()
        return self._submit(call, EncodeJob(call.done, deadline, ids, priority=priority))

    def rerank(
        self,
        query: Ids,
        rows: NDArray[np.uint32],
        snapshot: int,
        deadline: float | None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> "asyncio.Future[Reranked]":
        """See Transport."""
        call = _Call[Reranked]()
        return self._submit(call, RerankJob(call.done, deadline, query, rows, snapshot, priority=priority))

    def backlog(self) -> Backlog:
        """See Transport."""
        return self._core.backlog()

    def _submit(self, call: "_Call[R]", job: EncodeJob | RerankJob) -> "asyncio.Future[R]":
        call.future.add_done_callback(partial(_leave, job))
        try:
            self._core.submit(job)
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited, as all others
            call.future.set_exception(error)
        return call.future


class _Call(Generic[R]):
    """A job that an event loop waits for."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[R] = self._loop.create_future()

    def done(self, result: Result | Exception) -> None:
        """Takes the end of the job, from any thread."""
        if not self._loop.is_closed():  # a server that is torn down has nobody left to tell
            self._loop.call_soon_threadsafe(self._settle, result)

    def _settle(self, result: Any) -> None:  # noqa: ANN401 - the core answers a job with its own kind
        if self.future.done():  # cancelled meanwhile
            return
        if isinstance(result, Exception):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


def _leave(job: EncodeJob | RerankJob, _: "asyncio.Future[Any]") -> None:
    job.cancelled = True  # without effect once the job has ended

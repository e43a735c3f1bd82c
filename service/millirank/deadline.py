"""Waiting for a job no longer than its deadline."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


def before(deadline: float | None, reserve: float) -> float | None:
    """The deadline less the time of what is still to be done, in seconds; None for no limit."""
    return None if deadline is None else deadline - reserve


async def by(deadline: float | None, job: "asyncio.Future[R]", clock: Callable[[], float]) -> R:
    """What a job gives, which is cancelled at the deadline; in half the time of an asyncio.timeout.

    Raises:
        TimeoutError: if it was.
    """
    if deadline is None or job.done():
        return await job
    timer = asyncio.get_running_loop().call_later(max(0.0, deadline - clock()), job.cancel)
    try:
        return await job
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise TimeoutError from error
    finally:
        timer.cancel()


def leave(job: "asyncio.Future[Any] | None") -> None:
    """Cancels a job, if it has not ended; nobody asks what became of it."""
    if job is not None and not job.cancel() and not job.cancelled():
        job.exception()  # else asyncio would complain that nobody did

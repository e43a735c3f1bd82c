import asyncio
import gc
import time

import pytest

from millirank.deadline import before, by, leave


async def test_a_job_is_cancelled_at_its_deadline_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    job: asyncio.Future[int] = loop.create_future()
    with pytest.raises(TimeoutError):
        await by(time.monotonic() + 0.01, job, time.monotonic)
    assert job.cancelled()
    done: asyncio.Future[int] = loop.create_future()
    loop.call_soon(done.set_result, 7)
    assert await by(time.monotonic() + 60, done, time.monotonic) == 7
    assert await by(time.monotonic() - 1, done, time.monotonic) == 7  # what is there is taken, however late
    assert await by(None, done, time.monotonic) == 7


async def test_who_waits_can_be_cancelled_itself() -> None:
    job: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(by(time.monotonic() + 60, job, time.monotonic))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert job.cancelled()


async def test_a_job_that_is_left_is_nobodys_complaint() -> None:
    loop, complaints = asyncio.get_running_loop(), list[object]()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    failed, open_ = loop.create_future(), loop.create_future()
    failed.set_exception(ValueError("nobody asks"))
    for job in (failed, open_, None):
        leave(job)
    assert open_.cancelled()
    leave(open_)
    del failed, open_, job
    gc.collect()
    assert complaints == []


def test_before() -> None:
    assert before(None, 1.0) is None
    assert before(3.0, 1.0) == 2.0

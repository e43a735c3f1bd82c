"""An open-loop client: calls leave when the schedule says, however long earlier ones take.

A call's latency counts from its intended time, so a client or a server that falls behind cannot hide it
(no coordinated omission, as wrk2 calls it); how late the client itself was is reported beside it.
"""

import asyncio
import contextlib
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from .call import Call, Status
from .channel import Channel, Target

LEAD = 0.1  # seconds from the connections' being ready to the begin of the schedule
NAP = 0.1  # seconds after which the pacing thread looks whether it should stop
LOOK = 0.01  # seconds between two looks whether the last calls have ended
T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """What became of a schedule."""

    calls: tuple[Call, ...]  # in the order of their intended times
    begin: float  # monotonic seconds: the schedule's 0
    end: float  # monotonic seconds, when the last call ended or was given up
    cpu: float  # seconds of processor time that this process took meanwhile


@contextlib.asynccontextmanager
async def channels(target: Target) -> AsyncIterator[list[Channel]]:
    """The target's connections, all of them greeted.

    Raises:
        NoServer: if nothing answers there.
    """
    opened = [Channel(target) for _ in range(target.connections)]
    try:
        await asyncio.gather(*(channel.ready() for channel in opened))
        yield opened
    finally:
        for channel in opened:
            channel.close()


async def drive(
    target: Target,
    messages: Sequence[bytes],
    arrivals: Sequence[float],
    *,
    deadline: float | None = None,
    settle: float = 10.0,
) -> Run:
    """Sends a schedule and records every call.

    Args:
        target: where to; calls take its connections in turn.
        messages: serialized requests, taken in turn, from the first again after the last.
        arrivals: intended times in seconds from the begin, ascending.
        deadline: of each call, in seconds; None for no limit.
        settle: seconds after the last arrival until calls that have not ended are given up, with status None.

    Raises:
        NoServer: if nothing answers at the target.
    """
    async with channels(target) as opened:
        loop = asyncio.get_running_loop()
        begin, cpu = time.monotonic() + LEAD, time.process_time()
        calls = tuple(Call(begin + at) for at in arrivals)

        def send(place: int) -> None:
            call, channel = calls[place], opened[place % len(opened)]
            call.sent = time.monotonic()
            channel.open(call, messages[place % len(messages)], deadline)
            if deadline is not None:
                loop.call_later(deadline, _expire, channel, call)

        stop = threading.Event()
        try:
            await asyncio.to_thread(_pace, calls, lambda place: loop.call_soon_threadsafe(send, place), stop)
        finally:
            stop.set()
        given_up = time.monotonic() + settle
        while any(call.status is None for call in calls) and time.monotonic() < given_up:  # noqa: ASYNC110 - an event costs every call
            await asyncio.sleep(LOOK)
        return Run(calls, begin, time.monotonic(), time.process_time() - cpu)


async def one_by_one(
    target: Target, messages: Sequence[bytes], count: int, *, deadline: float | None = None, patience: float = 10.0
) -> Run:
    """A closed loop: each call is sent when the one before has ended, for latency without load.

    Args:
        target: where to.
        messages: serialized requests, taken in turn.
        count: calls.
        deadline: told to the server, in seconds; None for no limit.
        patience: seconds after which a call that has not ended is left alone.

    Raises:
        NoServer: if nothing answers at the target.
    """
    async with channels(target) as opened:
        begin, cpu = time.monotonic(), time.process_time()
        calls = []
        for place in range(count):
            call = Awaited(time.monotonic())
            call.sent = call.intended
            calls.append(call)
            opened[place % len(opened)].open(call, messages[place % len(messages)], deadline)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await call.over.wait()
        return Run(tuple(calls), begin, time.monotonic(), time.process_time() - cpu)


class Awaited(Call):
    """A call that says when it has ended."""

    __slots__ = ("over",)

    def __init__(self, intended: float) -> None:
        super().__init__(intended)
        self.over = asyncio.Event()

    def end(self, status: Status, now: float) -> None:
        """Closes the record."""
        super().end(status, now)
        self.over.set()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Runs a load on uvloop, without garbage collection: a full one takes longer than a query."""
    import uvloop

    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)
    finally:
        gc.enable()
        gc.unfreeze()


def _pace(calls: Sequence[Call], send: Callable[[int], object], stop: threading.Event) -> None:
    """Sends each call in its time; on a thread, because event loops count in milliseconds and sleep() does not."""
    for place, call in enumerate(calls):
        while (wait := call.intended - time.monotonic()) > 0:
            time.sleep(min(wait, NAP))
        if stop.is_set():
            return
        send(place)


def _expire(channel: Channel, call: Call) -> None:
    if call.status is None:
        channel.cancel(call, Status.DEADLINE_EXCEEDED)

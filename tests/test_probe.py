import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from millirank.probe import CROWD, EVERY, Probe

STALL = 0.3  # seconds


@asynccontextmanager
async def open_probe() -> AsyncIterator[Probe]:
    probe, server = Probe(), grpc.aio.server()
    probe.attach(server)
    await server.start()
    probe.start()
    try:
        yield probe
    finally:
        await probe.stop()
        await server.stop(None)


async def ended(probe: Probe) -> None:
    async with asyncio.timeout(10):
        while probe._running is not None:
            await asyncio.sleep(0.001)


async def test_a_crowd_that_waits_is_seen_while_it_waits_and_after() -> None:
    async with open_probe() as probe:
        assert probe.wait == 0
        probe.nudge(CROWD - 1)
        await asyncio.sleep(0)  # the probe leaves
        for _ in range(CROWD):
            probe.nudge(0)
        time.sleep(STALL)  # noqa: ASYNC251 - nothing is accepted meanwhile
        assert probe.wait > STALL / 2
        await ended(probe)
        assert probe.wait > STALL / 2
        await asyncio.sleep(EVERY)
        probe.nudge(0)  # a queue that was there is looked for again
        await ended(probe)
        assert probe.wait == 0


async def test_a_lone_call_that_waits_is_no_queue() -> None:
    async with open_probe() as probe:
        probe.nudge(CROWD - 1)
        await asyncio.sleep(0)
        time.sleep(STALL)  # noqa: ASYNC251 - as above
        assert probe.wait == 0
        await ended(probe)
        assert probe.wait == 0


async def test_without_a_crowd_no_probe_is_sent() -> None:
    async with open_probe() as probe:
        for _ in range(10):
            probe.nudge(CROWD - 2)
            assert probe._running is None


async def test_a_probe_that_is_stopped_sends_nothing_more() -> None:
    async with open_probe() as probe:
        await probe.stop()
        probe.nudge(CROWD)
        assert probe._running is None

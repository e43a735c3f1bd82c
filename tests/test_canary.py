"""What the machine adds: the canary."""

import asyncio
import socket
import time

import pytest

from millirank.errors import MillirankError
from millirank.loadtest import canary
from millirank.loadtest.canary import STALL, Canary, Trip, rows


def test_a_canary_tells_what_the_machine_adds() -> None:
    with Canary(rate=200) as beside:
        time.sleep(0.2)
    assert len(beside.trips) > 5
    assert all(trip.seconds > 0 and trip.late >= 0 for trip in beside.trips)
    beside.trips = [Trip(1.0, STALL / 2, 0.0), Trip(2.0, 2 * STALL, 0.0)]
    assert [pause.begin for pause in beside.pauses] == [2.0]
    found = {(row.case, row.metric): row.value for row in rows("x", beside.trips)}
    assert found["x/round trip", "max"] == pytest.approx(2e3 * STALL)


async def test_a_trip_that_was_given_up_does_not_shift_those_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "LINGER", 0.03)
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    enough, loop = asyncio.Event(), asyncio.get_running_loop()

    async def echoes() -> None:
        first = await loop.sock_recv(theirs, 1)
        await asyncio.sleep(0.05)  # longer than it is waited for
        await loop.sock_sendall(theirs, first)
        for _ in range(6):
            data = await loop.sock_recv(theirs, 1)
            await asyncio.sleep(0.01)
            await loop.sock_sendall(theirs, data)
        enough.set()

    echo = asyncio.create_task(echoes())
    trips = await canary._send(ours, 50.0, enough)
    await echo
    theirs.close()
    assert trips[0].seconds >= 0.03
    assert all(trip.seconds >= 0.009 for trip in trips[2:-1])


async def test_a_canary_ends_when_nobody_sends_back() -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(SystemExit, match="has ended"):
        await canary._send(ours, 200.0, asyncio.Event())


def test_a_canary_that_fails_is_told_and_hides_no_other_error() -> None:
    with pytest.raises(MillirankError, match=r"did not begin(.|\n)*invalid float value"), Canary(rate="none"):  # type: ignore[arg-type]
        pass
    with pytest.raises(MillirankError, match="ended early"), Canary() as beside:
        beside._process.kill()
    beside = Canary()
    with pytest.raises(KeyError), beside:
        raise KeyError(beside._process.kill())  # type: ignore[func-returns-value]
    assert beside._process.returncode

import asyncio
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st
from shop import Gate
from test_core import PROFILES, Tokens, rows

from millirank.core import Core
from millirank.errors import ConfigError, DeadlineExceeded, MillirankError, Overloaded, Unavailable
from millirank.jobs import Backlog, Encoded, Job, Reranked
from millirank.lane import Model
from millirank.processes import wire
from millirank.processes.fleet import CoreAddress, Fleet
from millirank.processes.host import CoreHost
from millirank.processes.post import connected, listening
from millirank.transport import InProcess
from millirank.types import Priority
from millirank_engines.base import EngineError, EngineFailed
from millirank_engines.fake import FakeEngine

SOON = 20.0  # seconds that a test waits for what must come


class Watched(Core):
    """A core that keeps what it was given."""

    jobs: list[Job]

    def submit(self, job: Job) -> None:
        self.jobs.append(job)
        super().submit(job)


def a_core(**encoder: Any) -> Watched:
    """A core on fakes, on the machine's clock."""
    embed, rank = FakeEngine(task="embed", profiles=PROFILES), FakeEngine(task="rerank", profiles=PROFILES)
    core = Watched(Model(embed, embed.spec), Model(rank, rank.spec))
    core.warm_up(rounds=1, idle=0)
    core.snapshots[1] = Tokens()
    core.jobs = []
    for name, value in encoder.items():
        setattr(embed, f"_{name}", value)
    return core


@contextmanager
def serving(endpoint: str, core: Core | None = None) -> Iterator[CoreHost]:
    """A host on its own thread, over a core that runs."""
    core = core or a_core()
    host = CoreHost(core, endpoint)
    core.start()
    thread = threading.Thread(target=host.run)
    thread.start()
    try:
        yield host
    finally:
        host.stop()
        thread.join(SOON)
        core.close()
        assert not thread.is_alive()


class Bare:
    """A bare peer, that waits for what must come."""

    def __init__(self, own: socket.socket) -> None:
        own.settimeout(SOON)
        self.send, self._own = own.send, own

    def recv(self) -> bytes:
        return self._own.recv(1 << 20)

    def nothing(self) -> bool:
        return not select.select([self._own], [], [], 0)[0]


@contextmanager
def a_frontend(endpoint: str) -> Iterator[Bare]:
    """A bare peer that plays a frontend."""
    with closing(connected(endpoint)) as own:
        yield Bare(own)


class BareCore:
    """A bare peer that plays a core."""

    def __init__(self, listener: socket.socket) -> None:
        listener.settimeout(SOON)
        self._listener, self._opened = listener, ExitStack()

    def accept(self) -> Bare:
        return Bare(self._opened.enter_context(self._listener.accept()[0]))

    def close(self) -> None:
        self._opened.close()


@contextmanager
def a_listener(endpoint: str) -> Iterator[BareCore]:
    with closing(listening(endpoint)) as listener, closing(BareCore(listener)) as core:
        yield core


@pytest.fixture
def endpoints(tmp_path: Path) -> list[str]:
    return [f"ipc://{tmp_path}/c{i}" for i in range(4)]


@contextmanager
def a_fleet(*endpoints: str, **settings: Any) -> Iterator[Fleet]:
    with closing(Fleet(**settings)) as fleet:
        fleet.announce([CoreAddress(i, 1, endpoint) for i, endpoint in enumerate(endpoints)])
        yield fleet


def ids(*tokens: int) -> np.ndarray[Any, Any]:
    return np.array(tokens, np.uint16)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SOON):
        while not condition():
            await asyncio.sleep(0.001)


async def test_answers_are_those_of_the_core_in_the_process(endpoints: list[str]) -> None:
    core = a_core()
    with serving(endpoints[0], core), a_fleet(endpoints[0]) as fleet:
        near = InProcess(core)
        for query in (ids(5, 6), np.array([119_547], np.uint32), ids()):
            ours, theirs = await fleet.encode(query, None), await near.encode(query, None)
            assert np.array_equal(ours.vector, theirs.vector)
            assert ours.vector.dtype == np.float32
            assert ours.queued >= 0
            assert ours.ran > 0
        for query, count in ((ids(1003, 1017), 40), (ids(1001), 1), (ids(7), 3)):
            scored, known = (
                await fleet.rerank(query, rows(count), 1, None),
                await near.rerank(query, rows(count), 1, None),
            )
            assert np.array_equal(scored.scores, known.scores)
            assert len(scored.scores) == count
        job = core.jobs[-2]
        assert job.deadline is None
        assert job.priority is Priority.INTERACTIVE
        far = time.monotonic() + 1000
        await fleet.rerank(ids(7), rows(2), 1, far, Priority.BATCH)
        assert (core.jobs[-1].deadline, core.jobs[-1].priority) == (far, Priority.BATCH)


def test_it_runs_on_uvloop(endpoints: list[str]) -> None:
    async def calls() -> list[Encoded]:
        with a_fleet(endpoints[0]) as fleet:
            return [
                answer
                for _ in range(5)
                for answer in await asyncio.gather(*(fleet.encode(ids(i), None) for i in range(40)))
            ]

    with serving(endpoints[0]), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answers = runner.run(asyncio.wait_for(calls(), SOON))
    assert len(answers) == 200
    for i in range(40):
        assert np.array_equal(answers[i].vector, answers[160 + i].vector)


async def test_a_tick_of_calls_is_one_message(endpoints: list[str]) -> None:
    with a_listener(endpoints[0]) as core, a_fleet(endpoints[0]) as fleet:
        calls = asyncio.gather(*(fleet.encode(ids(i), None) for i in range(100)))
        await asyncio.sleep(0)  # starts them
        await asyncio.sleep(0)  # their tick ends
        frontend = core.accept()
        hello = frontend.recv()
        assert wire.requests_from(hello)[0] == wire.Hello(wire.VERSION, wire.requests_from(hello)[0].who)  # type: ignore[union-attr]
        message = frontend.recv()
        requests = wire.requests_from(message)
        assert [request.id for request in requests if isinstance(request, wire.Encode)] == list(range(1, 101))
        vector = np.ones(2, np.float32).tobytes()
        answers = [wire.Encoded(i, vector, 0.0, 0.0) for i in range(1, 101)]
        frontend.send(wire.packed(answers))
        assert len(await asyncio.wait_for(calls, SOON)) == 100


def test_a_batch_of_answers_is_one_message_with_the_load(endpoints: list[str]) -> None:
    core = a_core()
    host = CoreHost(core, endpoints[0])
    try:
        with a_frontend(endpoints[0]) as frontend:
            frontend.send(wire.packed([wire.Hello(wire.VERSION, "a test")]))
            host._turn()
            host._turn()
            assert [type(answer) for answer in wire.answers_from(frontend.recv())] == [wire.Hello]
            assert [type(answer) for answer in wire.answers_from(frontend.recv())] == [wire.Load]
            frontend.send(wire.packed([wire.Encode(i, b"\5\0", 2, None, 0) for i in range(1, 17)]))
            host._turn()
            core.step()
            answers = wire.answers_from(frontend.recv())
            assert [answer.id for answer in answers if isinstance(answer, wire.Encoded)] == list(range(1, 17))
            ran = answers[0].ran if isinstance(answers[0], wire.Encoded) else 0.0
            load = answers[-1]
            assert isinstance(load, wire.Load)
            assert load.seen == 16
            assert load.encode_each == ran / 16
            assert abs(load.at - time.monotonic()) < SOON  # seconds of the machine's clock
            assert frontend.nothing()
    finally:
        host.stop()
        host.run()
        core.close()


async def test_a_call_that_is_given_up_reaches_the_core(endpoints: list[str]) -> None:
    gate = Gate()
    core = a_core(delay=gate)
    with serving(endpoints[0], core), a_fleet(endpoints[0]) as fleet:
        try:
            first = asyncio.ensure_future(fleet.encode(ids(1), None))
            await asyncio.to_thread(gate.entered.wait, SOON)
            second = asyncio.ensure_future(fleet.encode(ids(2), None))
            await until(lambda: len(core.jobs) == 2)
            second.cancel()
            with pytest.raises(asyncio.CancelledError):
                await second
            await until(lambda: core.jobs[1].cancelled)
            assert not core.jobs[0].cancelled
            link = fleet._links[CoreAddress(0, 1, endpoints[0])]
            assert len(link.calls) == 2  # it keeps its credit until the core has answered
        finally:
            gate.opened.set()
        assert isinstance(await first, Encoded)
        await until(lambda: not link.calls)


async def test_a_core_announced_dead_fails_its_calls_at_once_and_the_next_serves(endpoints: list[str]) -> None:
    gate = Gate()
    with serving(endpoints[1]), serving(endpoints[0], a_core(delay=gate)), a_fleet(endpoints[0]) as fleet:
        try:
            calls = [asyncio.ensure_future(fleet.encode(ids(i), None)) for i in range(5)]
            await asyncio.to_thread(gate.entered.wait, SOON)
            assert fleet.available
            fleet.announce([])
            assert not fleet.available
            ends = await asyncio.gather(*calls, return_exceptions=True)  # while the core still hangs
            assert [type(end) for end in ends] == [EngineFailed] * 5
            assert "the core 0 died (epoch 1)" in str(ends[0])
            with pytest.raises(Unavailable, match="no core is running"):
                await fleet.encode(ids(1), None)
            fleet.announce([CoreAddress(0, 2, endpoints[1])])
            assert isinstance(await fleet.encode(ids(1), None), Encoded)
        finally:
            gate.opened.set()


async def test_the_next_life_may_have_the_endpoint_of_the_last(endpoints: list[str]) -> None:
    with closing(Fleet()) as fleet:
        for epoch in range(1, 4):
            with serving(endpoints[0]):
                fleet.announce([CoreAddress(0, epoch, endpoints[0])])
                assert isinstance(await asyncio.wait_for(fleet.encode(ids(1), None), SOON), Encoded)


async def test_a_core_may_be_announced_before_it_listens(endpoints: list[str]) -> None:
    with a_fleet(endpoints[0]) as fleet:
        call = asyncio.ensure_future(fleet.encode(ids(1), None))
        await asyncio.sleep(0.01)
        with serving(endpoints[0]):
            assert isinstance(await asyncio.wait_for(call, SOON), Encoded)


async def test_a_core_that_hangs_up_fails_its_calls_at_once_and_is_connected_to_again(endpoints: list[str]) -> None:
    with a_listener(endpoints[0]) as core, a_fleet(endpoints[0]) as fleet:
        first = core.accept()
        call = fleet.encode(ids(1), None)
        await asyncio.sleep(0)
        assert [type(wire.requests_from(first.recv())[0]) for _ in range(2)] == [wire.Hello, wire.Encode]
        core.close()
        with pytest.raises(EngineFailed, match="the core 0 has hung up"):
            await asyncio.wait_for(call, SOON)
        assert fleet.available
        call = fleet.encode(ids(1), None)  # waits until somebody listens
        second = await asyncio.to_thread(core.accept)
        hello, asked = [wire.requests_from(await asyncio.to_thread(second.recv))[0] for _ in range(2)]
        assert isinstance(hello, wire.Hello)
        assert isinstance(asked, wire.Encode)
        second.send(wire.packed([wire.Encoded(asked.id, np.ones(2, np.float32).tobytes(), 0.0, 0.0)]))
        assert isinstance(await asyncio.wait_for(call, SOON), Encoded)


async def test_a_job_that_is_too_large_for_a_message_is_not_in_the_way(endpoints: list[str]) -> None:
    with serving(endpoints[0]), a_fleet(endpoints[0]) as fleet:
        with pytest.raises(EngineFailed, match=r"a message to the core 0 is too large .* ask for less"):
            await asyncio.wait_for(fleet.encode(np.zeros(1 << 23, np.uint16), None), SOON)
        assert isinstance(await asyncio.wait_for(fleet.encode(ids(5), None), SOON), Encoded)


async def test_an_answer_that_is_too_large_for_a_message_fails_the_job(endpoints: list[str]) -> None:
    def fail(_call: int) -> float:
        raise EngineFailed("x" * (1 << 24))

    core = a_core()
    with serving(endpoints[0], core), a_fleet(endpoints[0]) as fleet:
        core._encodes.model.engine._delay = fail  # type: ignore[attr-defined]
        with pytest.raises(EngineFailed, match="an answer of this core is too large"):
            await asyncio.wait_for(fleet.encode(ids(5), None), SOON)
        core._encodes.model.engine._delay = lambda _call: 0.0  # type: ignore[attr-defined]
        assert isinstance(await asyncio.wait_for(fleet.encode(ids(5), None), SOON), Encoded)


async def test_a_core_that_has_hung_up_gets_no_work_while_another_listens(endpoints: list[str]) -> None:
    with a_listener(endpoints[0]) as gone, serving(endpoints[1]), a_fleet(*endpoints[:2]) as fleet:
        gone.accept()
        gone.close()
        link = next(iter(fleet._links.values()))
        await until(lambda: not link.connected)
        link._closed = True  # it finds nobody again
        for i in range(10):
            assert isinstance(await asyncio.wait_for(fleet.encode(ids(i), None), SOON), Encoded)


async def test_without_credits_a_call_is_refused(endpoints: list[str]) -> None:
    gate = Gate()
    core = a_core(delay=gate)
    with serving(endpoints[0], core), a_fleet(endpoints[0], credits=3) as fleet:
        try:
            calls = [asyncio.ensure_future(fleet.encode(ids(i), None)) for i in range(3)]
            await until(lambda: len(core.jobs) == 3)
            with pytest.raises(Overloaded, match="3 jobs of this frontend") as caught:
                await fleet.encode(ids(9), None)
            assert caught.value.retry_after > 0
            calls[2].cancel()
            with pytest.raises(asyncio.CancelledError):
                await calls[2]
            with pytest.raises(Overloaded):  # the core still has the job
                await fleet.encode(ids(9), None)
        finally:
            gate.opened.set()
        await asyncio.gather(*calls[:2])
        await until(lambda: next(iter(fleet._links.values())).free)
        assert isinstance(await fleet.encode(ids(9), None), Encoded)


@pytest.mark.parametrize("credit", [0, wire.MAX_CREDITS + 1])
def test_credits_stay_below_what_a_core_grants(credit: int) -> None:
    with pytest.raises(ConfigError, match="between 1 and 1024"):
        Fleet(credits=credit)


async def test_refusal_says_how_long_the_backlog_is(endpoints: list[str]) -> None:
    with a_listener(endpoints[0]) as core, a_fleet(endpoints[0], credits=1, clock=lambda: 50.0) as fleet:
        call = asyncio.ensure_future(fleet.encode(ids(1), None))
        frontend = core.accept()
        frontend.send(wire.packed([wire.Load(50.0, 0.5, 2.0, 0.0, 0.0, 1)]))
        await until(lambda: fleet.backlog() == Backlog(0.5, 2.0))
        with pytest.raises(Overloaded) as caught:
            await fleet.encode(ids(1), None)
        assert caught.value.retry_after == 2.0
        call.cancel()


async def test_work_goes_to_the_core_that_promises_the_earliest_finish(endpoints: list[str]) -> None:
    with (
        a_listener(endpoints[0]) as busy,
        a_listener(endpoints[1]) as idle,
        a_fleet(*endpoints[:2], clock=lambda: 50.0) as fleet,
    ):
        for core, seconds in ((busy, 0.045), (idle, 0.0)):
            frontend = core.accept()
            frontend.send(wire.packed([wire.Load(50.0, seconds, seconds, 0.01, 0.01, 0)]))
        await until(lambda: all(link.estimate._load.encode_each for link in fleet._links.values()))
        calls = [asyncio.ensure_future(fleet.encode(ids(i), None)) for i in range(6)]
        await asyncio.sleep(0.01)
        assert [len(link.calls) for link in fleet._links.values()] == [1, 5]  # the last one finds 45 ms against 50
        for call in calls:
            call.cancel()


async def test_cores_that_promise_about_the_same_all_get_work(endpoints: list[str]) -> None:
    cores = [a_core() for _ in range(3)]
    with ExitStack() as stack:
        for endpoint, core in zip(endpoints[:3], cores, strict=True):
            stack.enter_context(serving(endpoint, core))
        fleet = stack.enter_context(a_fleet(*endpoints[:3], clock=lambda: time.monotonic() + 1000))  # no backlog lasts
        for _ in range(30):
            await fleet.encode(ids(1), None)
    assert sum(len(core.jobs) for core in cores) == 30
    assert all(core.jobs for core in cores)


async def test_a_core_that_hangs_gets_no_more_work(endpoints: list[str]) -> None:
    gate = Gate()
    stuck, well = a_core(delay=gate), a_core()
    with serving(endpoints[0], stuck), serving(endpoints[1], well), a_fleet(*endpoints[:2]) as fleet:
        try:
            first = [asyncio.ensure_future(fleet.encode(ids(i), None)) for i in range(2)]
            await until(lambda: stuck.jobs and well.jobs)
            await until(lambda: any(call.done() for call in first))
            for _ in range(20):
                await fleet.encode(ids(1), None)
            assert len(stuck.jobs) == 1
        finally:
            gate.opened.set()
        await asyncio.gather(*first)


async def test_garbage_is_dropped_and_the_others_are_served(
    endpoints: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(endpoints[0]), a_fleet(endpoints[0]) as fleet, a_frontend(endpoints[0]) as vandal:
        hello = wire.packed([wire.Hello(wire.VERSION, "vandal")])
        for message in (
            b"\x90",
            b"\xff" * 100,
            wire.packed([wire.Cancel(1)]),  # without a hello
            hello,
            wire.packed([wire.Encode(1, b"\5", 2, None, 0), wire.Encode(2, b"\5\0", 2, None, 0)]),
            hello[:-1],
        ):
            vandal.send(message)
            assert isinstance(await fleet.encode(ids(5), None), Encoded)
        told: list[wire.Answer] = []
        while sum(isinstance(answer, wire.Failed) and answer.id == wire.EVERY_JOB for answer in told) < 4:
            told += wire.answers_from(await asyncio.to_thread(vandal.recv))
        failed = [answer for answer in told if isinstance(answer, wire.Failed) and answer.id == 1]
        assert [answer.kind for answer in failed] == ["EngineFailed"]
        assert [answer.id for answer in told if isinstance(answer, wire.Encoded)] in ([2], [])
    assert "no message of wire version 1" in caplog.text


@pytest.mark.parametrize("bad", [b"\xff", wire.packed([wire.Failed(wire.EVERY_JOB, "EngineFailed", "lost")])])
async def test_answers_that_cannot_be_read_end_what_waits(endpoints: list[str], bad: bytes) -> None:
    with a_listener(endpoints[0]) as core, a_fleet(endpoints[0]) as fleet:
        calls = [asyncio.ensure_future(fleet.encode(ids(i), None)) for i in range(3)]
        frontend = core.accept()
        frontend.send(bad)
        ends = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), SOON)
        assert [type(end) for end in ends] == [EngineFailed] * 3
        assert fleet.available


async def test_a_core_of_another_version_is_refused(endpoints: list[str], caplog: pytest.LogCaptureFixture) -> None:
    with a_listener(endpoints[0]) as core, a_fleet(endpoints[0]) as fleet:
        call = asyncio.ensure_future(fleet.encode(ids(1), None))
        frontend = core.accept()
        frontend.send(wire.packed([wire.Hello(9, "core with pid 8")]))
        why = r"core with pid 8 speaks wire version 9, this frontend with pid \d+ speaks 1"
        with pytest.raises(EngineFailed, match=why):
            await asyncio.wait_for(call, SOON)
        assert not fleet.available
        with pytest.raises(Unavailable, match=why):
            await fleet.encode(ids(1), None)
    assert "run both from one installation" in caplog.text


def test_a_frontend_of_another_version_is_refused(endpoints: list[str], caplog: pytest.LogCaptureFixture) -> None:
    core = a_core()
    with serving(endpoints[0], core), a_frontend(endpoints[0]) as frontend:
        frontend.send(wire.packed([wire.Hello(9, "frontend with pid 7")]))
        frontend.send(wire.packed([wire.Encode(1, b"\5\0", 2, None, 0)]))
        (hello,) = wire.answers_from(frontend.recv())
        assert isinstance(hello, wire.Hello)
        assert hello.version == wire.VERSION
        (refusal,) = wire.answers_from(frontend.recv())
        assert isinstance(refusal, wire.Failed)
        assert refusal.id == wire.EVERY_JOB
    assert core.jobs == []
    assert "the frontend with pid 7 speaks wire version 9, this core with pid" in caplog.text


def test_a_frontend_that_vanished_is_dropped_and_its_jobs_cancelled(endpoints: list[str]) -> None:
    core = a_core()
    host = CoreHost(core, endpoints[0])
    try:
        with a_frontend(endpoints[0]) as frontend:
            frontend.send(wire.packed([wire.Hello(wire.VERSION, "a test")]))
            frontend.send(wire.packed([wire.Encode(i, b"\5\0", 2, None, 0) for i in range(1, 1001)]))
            while len(core.jobs) < 1000:
                host._turn()
        while host._peers:
            core._encodes.step()
            host._turn(0.001)
        left = [job for job in core.jobs if job.cancelled]
        assert left
        core._encodes.model.engine.calls = 0  # type: ignore[attr-defined]
        core.step()
        assert core._encodes.model.engine.calls == 0  # type: ignore[attr-defined]
    finally:
        host.stop()
        host.run()
        core.close()


async def test_a_host_that_stops_fails_what_waits(endpoints: list[str]) -> None:
    gate = Gate()
    core = a_core(delay=gate)
    with serving(endpoints[0], core) as host, a_fleet(endpoints[0]) as fleet:
        try:
            calls = [asyncio.ensure_future(fleet.encode(ids(i), None)) for i in range(5)]
            await until(lambda: len(core.jobs) == 5)
            host.stop()
            ends = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), SOON)
            assert {type(end) for end in ends} == {Unavailable}
            assert all(job.cancelled for job in core.jobs)
        finally:
            gate.opened.set()


async def test_errors_of_the_core_arrive_as_their_kinds(endpoints: list[str]) -> None:
    core = a_core()
    with serving(endpoints[0], core), a_fleet(endpoints[0]) as fleet:
        with pytest.raises(EngineFailed, match="KeyError: 99"):
            await fleet.rerank(ids(1), rows(3), 99, None)
        with pytest.raises(DeadlineExceeded):
            await fleet.encode(ids(1), time.monotonic() - 1)
        core._encodes.model.engine._fail = lambda _call: True  # type: ignore[attr-defined]
        with pytest.raises(EngineFailed, match="as it was told to"):
            await fleet.encode(ids(1), None)
        core.close()
        with pytest.raises(Unavailable, match="the core has stopped"):
            await fleet.encode(ids(1), None)
        assert not next(iter(fleet._links.values())).calls


async def test_a_frontend_beyond_its_credits_is_refused_by_the_core(
    endpoints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()
    core = a_core(delay=gate)
    with serving(endpoints[0], core), a_fleet(endpoints[0], credits=10) as fleet:
        monkeypatch.setattr(wire, "MAX_CREDITS", 4)
        try:
            calls = [asyncio.ensure_future(fleet.encode(ids(i), None)) for i in range(6)]
            await until(lambda: sum(call.done() for call in calls) == 2)
        finally:
            gate.opened.set()
        ends = await asyncio.gather(*calls, return_exceptions=True)
        assert Counter(type(end) for end in ends) == {Encoded: 4, Overloaded: 2}


async def test_a_path_too_long_or_closed_to_us_says_so(tmp_path: Path) -> None:
    with closing(Fleet()) as fleet, pytest.raises(ConfigError, match="TMPDIR"):
        fleet.announce([CoreAddress(0, 1, f"ipc://{tmp_path}/{'x' * 120}")])
    with pytest.raises(ConfigError, match="TMPDIR"):
        CoreHost(a_core(), f"ipc://{tmp_path}/{'x' * 120}")
    with pytest.raises(ConfigError, match="folder that can be written"):
        CoreHost(a_core(), f"ipc://{tmp_path}/none/core")


steps = st.lists(
    st.one_of(
        st.tuples(st.just("encode"), st.none() | st.floats(-0.01, 0.05)),
        st.tuples(st.just("rerank"), st.none() | st.floats(-0.01, 0.05)),
        st.tuples(st.sampled_from(["cancel", "die", "fail", "hang", "garbage"]), st.integers(0, 20)),
        st.tuples(st.just("tick"), st.none()),
    ),
    max_size=40,
)


class Life:
    """One life of a core, driven by the test's own thread."""

    def __init__(self, folder: str, index: int, epoch: int) -> None:
        self.address = CoreAddress(index, epoch, f"ipc://{folder}/{index}.{epoch}")
        self.core, self.hangs = a_core(), False
        self.host = CoreHost(self.core, self.address.endpoint)

    def work(self) -> None:
        if not self.hangs:
            self.host._turn(0)
            self.core.step()

    def next(self, folder: str) -> "Life":
        return Life(folder, self.address.index, self.address.epoch + 1)

    def close(self) -> None:
        self.host._close()  # as a killed process does: without a farewell
        self.core.close()


async def play(script: list[tuple[str, Any]], credit: int, folder: str, stack: ExitStack) -> None:
    ended: Counter[int] = Counter()
    tasks: list[asyncio.Task[None]] = []
    lives = [stack.enter_context(closing(Life(folder, index, 1))) for index in range(2)]
    fleet = stack.enter_context(closing(Fleet(credits=credit)))
    fleet.announce([life.address for life in lives])

    async def one(call: Awaitable[Encoded | Reranked], number: int) -> None:
        with suppress(EngineError, MillirankError):
            assert isinstance(await call, Encoded | Reranked)
        ended[number] += 1

    for what, value in script:
        if what in {"encode", "rerank"}:
            deadline = None if value is None else time.monotonic() + value
            call = (
                fleet.encode(ids(5), deadline) if what == "encode" else fleet.rerank(ids(1003), rows(20), 1, deadline)
            )
            tasks.append(asyncio.create_task(one(call, len(tasks))))
        elif what == "cancel" and value < len(tasks):
            tasks[value].cancel()
        elif what == "tick":
            for life in lives:
                life.work()
        elif what != "cancel":
            life = lives[value % 2]
            if what == "die":
                lives[value % 2] = stack.enter_context(closing(life.next(folder)))
                fleet.announce([life.address for life in lives])
            elif what == "fail":
                life.core._encodes.model.engine._fail = lambda _call: True  # type: ignore[attr-defined]
            elif what == "hang":
                life.hangs = not life.hangs
            elif what == "garbage":
                link = fleet._links[life.address]
                assert link._post is not None
                link._post._own.send(b"\xff")
        await asyncio.sleep(0)
    async with asyncio.timeout(SOON):
        while not all(task.done() for task in tasks) or any(link.calls for link in fleet._links.values()):
            for life in lives:
                life.hangs = False
                life.work()
            await asyncio.sleep(0.0005)
    for number, task in enumerate(tasks):
        assert task.cancelled() or task.exception() is None
        assert ended[number] == (not task.cancelled())
    for link in fleet._links.values():  # every credit has come back
        assert link.estimate._open == {Encoded: 0, Reranked: 0}


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 8))
def test_every_call_ends_exactly_once(script: list[tuple[str, Any]], credit: int) -> None:
    with TemporaryDirectory(prefix="w") as folder, ExitStack() as stack:
        asyncio.run(play(script, credit, folder, stack))

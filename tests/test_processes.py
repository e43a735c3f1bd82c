"""Real processes on a tiny index: what they promise when one of them dies."""

import asyncio
import contextlib
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from millirank.commands.demo import free_port
from millirank.config import Settings
from millirank.errors import ConfigError
from millirank.processes.service import serve
from millirank.v1 import search_pb2, search_pb2_grpc

PATIENCE = 60.0  # seconds for what takes one or two on a machine that does nothing else
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200))
Outcome = int | grpc.StatusCode  # the last phase, or the status


@dataclass
class Service:
    """A supervisor that runs."""

    process: subprocess.Popen[bytes]
    log: Path
    metrics_port: int

    @property
    def target(self) -> str:
        [port] = re.findall(r"serving on 127\.0\.0\.1:(\d+)", self.log.read_text())
        return f"127.0.0.1:{port}"

    def children(self, module: str = "") -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just died
                if f"millirank.processes.{module}" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def metrics(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as response:
            return str(response.read().decode())


def command(index: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "millirank", "serve", "--index", str(index), "--sla-ms", "0", *options]


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextlib.contextmanager
def running(index: Path, folder: Path, *options: str) -> Iterator[Service]:
    folder.mkdir(exist_ok=True)
    log, metrics_port = folder / "log", free_port()
    options = ("--port", "0", "--metrics-port", str(metrics_port), *options)
    with log.open("wb") as stderr:
        process = subprocess.Popen(command(index, *options), stderr=stderr, env={**os.environ, "TMPDIR": str(folder)})
    try:
        yield Service(process, log, metrics_port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short one: the path of a Unix socket has 107 bytes at most."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="mr-") as path:
        yield Path(path)


@pytest.fixture(scope="module")
def service(tiny_index: Path, folder: Path) -> Iterator[Service]:
    with running(tiny_index, folder / "a", "--frontends", "2", "--device", "cpu", "--device", "cpu") as started:
        until(lambda: "serving on" in started.log.read_text())
        until(lambda: len(up(started)) == 4)
        yield started


def up(service: Service) -> set[str]:
    return set(re.findall(r'millirank_process_up\{process="([^"]+)"\} 1', service.metrics()))


@contextlib.asynccontextmanager
async def channels(target: str, n: int = 8) -> AsyncIterator[list[grpc.aio.Channel]]:
    opened = [grpc.aio.insecure_channel(target, options=OWN_CONNECTION) for _ in range(n)]
    try:
        yield opened
    finally:
        for channel in opened:
            await channel.close()


async def search(channel: grpc.aio.Channel) -> Outcome:
    stub = search_pb2_grpc.SearchServiceStub(channel)
    try:
        call = stub.Search(search_pb2.SearchRequest(query="red kettle", rerank_depth=5), timeout=PATIENCE)
        return int([response async for response in call][-1].phase)
    except grpc.aio.AioRpcError as error:
        return error.code()


def listening(service: Service) -> set[int]:
    """The frontends that take connections."""
    port, found = int(service.target.rpartition(":")[2]), set[int]()
    for child in service.children("frontend"):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in child.net_connections("tcp")):
                found.add(child.pid)
    return found


async def health(channel: grpc.aio.Channel) -> int:
    try:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    except grpc.aio.AioRpcError:
        return NOT_SERVING
    return int(answer.status)


class Trickle:
    """A few queries at a time, over several connections, until the block ends."""

    def __init__(self, opened: list[grpc.aio.Channel]) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self._opened, self._stopped = opened, False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask(channel)) for channel in self._opened]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopped = True
        async with asyncio.timeout(PATIENCE):  # every call ends
            await asyncio.gather(*self._tasks)

    async def _ask(self, channel: grpc.aio.Channel) -> None:
        while not self._stopped:
            self.outcomes[await search(channel)] += 1
            await asyncio.sleep(0.02)


async def eventually(condition: Callable[[], "asyncio.Future[bool]"] | Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = condition()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(0.01)


async def test_both_frontends_answer_and_one_page_counts_for_all(service: Service) -> None:
    async with channels(service.target, 24) as opened:
        assert set(await asyncio.gather(*map(search, opened))) == {search_pb2.PHASE_RANKED}

        async def healthy() -> bool:
            return {await health(channel) for channel in opened} == {SERVING}

        await eventually(healthy)
    assert up(service) == {"frontend-0", "frontend-1", "core-0", "core-1"}

    def answered() -> bool:
        counted = re.findall(r'millirank_requests_total\{method="Search",status="OK"\} (\S+)', service.metrics())
        return [float(count) for count in counted] == [24.0]

    await eventually(answered)  # reports come once a second
    assert {child.status() for child in service.children()} <= {psutil.STATUS_SLEEPING, psutil.STATUS_RUNNING}
    assert len(service.children()) == 4


async def test_a_frontend_that_is_killed_is_replaced_and_every_call_ends(service: Service) -> None:
    first = {child.pid for child in service.children("frontend")}
    async with channels(service.target) as opened, Trickle(opened) as trickle:
        await eventually(lambda: trickle.outcomes[search_pb2.PHASE_RANKED] > 16)
        os.kill(min(first), signal.SIGKILL)
        await eventually(lambda: len({child.pid for child in service.children("frontend")} - first) == 1)
        await eventually(lambda: len(up(service)) == 4)
    assert set(trickle.outcomes) <= {search_pb2.PHASE_RANKED, grpc.StatusCode.UNAVAILABLE}
    assert 'millirank_process_restarts_total{process="frontend-' in service.metrics()


async def test_a_frontend_takes_no_connection_before_it_answers(service: Service) -> None:
    await eventually(lambda: len(listening(service)) == 2)
    first = listening(service)
    os.kill(min(first), signal.SIGKILL)
    await eventually(lambda: len(listening(service)) == 1)
    outcomes: Counter[Outcome] = Counter()
    async with asyncio.timeout(PATIENCE):
        while len(listening(service)) == 1 or len(outcomes) < 1:
            async with channels(service.target) as opened:  # the kernel shares them out among those that listen
                outcomes.update(await asyncio.gather(*map(search, opened)))
        async with channels(service.target, 24) as opened:
            outcomes.update(await asyncio.gather(*map(search, opened)))
    assert set(outcomes) == {search_pb2.PHASE_RANKED}
    assert listening(service) != first


async def test_with_every_core_killed_health_says_so_until_they_are_back(service: Service) -> None:
    first = {child.pid for child in service.children("corehost")}
    async with channels(service.target) as opened, Trickle(opened) as trickle:
        await eventually(lambda: trickle.outcomes[search_pb2.PHASE_RANKED] > 16)
        killed = -math.inf

        async def down() -> bool:
            nonlocal killed
            if time.monotonic() > killed + 5:  # on a busy machine one may be back before the other is dead
                killed = time.monotonic()
                for child in service.children("corehost"):
                    child.kill()
            return await health(opened[0]) == NOT_SERVING

        async def back() -> bool:
            return {await health(channel) for channel in opened} == {SERVING}

        await eventually(down)
        await eventually(back)
        served = trickle.outcomes[search_pb2.PHASE_RANKED]
        await eventually(lambda: trickle.outcomes[search_pb2.PHASE_RANKED] > served + 16)
    assert set(trickle.outcomes) <= {search_pb2.PHASE_RANKED, grpc.StatusCode.UNAVAILABLE}
    assert first.isdisjoint(child.pid for child in service.children("corehost"))


async def test_sigterm_finishes_what_was_accepted_and_leaves_nothing(service: Service, folder: Path) -> None:
    assert [path for path in (folder / "a").iterdir() if path.is_dir() and path.stat().st_mode & 0o777 == 0o700]
    children = service.children()
    async with channels(service.target) as opened:
        await asyncio.gather(*(channel.channel_ready() for channel in opened))
        calls = [asyncio.create_task(search(channel)) for channel in opened for _ in range(8)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)  # by now others were accepted, too
        service.process.send_signal(signal.SIGTERM)
        outcomes = set(await asyncio.gather(*calls))
    assert outcomes <= {search_pb2.PHASE_RANKED, grpc.StatusCode.UNAVAILABLE}
    assert search_pb2.PHASE_RANKED in outcomes
    assert service.process.wait(PATIENCE) == 0
    assert not any(child.is_running() for child in children)
    assert [path.name for path in (folder / "a").iterdir()] == ["log"]
    assert "Traceback" not in service.log.read_text()


def test_children_end_with_their_supervisor(tiny_index: Path, folder: Path) -> None:
    with running(tiny_index, folder / "b", "--frontends", "2") as started:
        until(lambda: len(started.children()) == 3)
        children = started.children()
        started.process.kill()
        started.process.wait(PATIENCE)
        until(lambda: not any(child.is_running() for child in children))
    assert [path.name for path in (folder / "b").iterdir()] == ["log"]


def test_a_second_signal_ends_at_once(tiny_index: Path, folder: Path) -> None:
    with running(tiny_index, folder / "c", "--frontends", "1") as started:
        until(lambda: len(started.children()) == 2)
        children = started.children()
        started.process.send_signal(signal.SIGINT)
        started.process.send_signal(signal.SIGTERM)
        assert started.process.wait(PATIENCE) is not None
        until(lambda: not any(child.is_running() for child in children))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--device", "GPU-0a1b"), "is for a cpu"),
        (("--engines", "no/such"), "no/such/"),
    ],
)
def test_what_cannot_be_started_is_one_line_that_names_the_fix(
    tiny_index: Path, options: tuple[str, ...], words: str
) -> None:
    arguments = command(tiny_index, "--frontends", "1", "--port", "0", "--metrics-port", "0", *options)
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert words in line
    assert "Traceback" not in done.stderr


async def test_settings_that_are_wrong_are_refused_before_any_process_is_started(tmp_path: Path) -> None:
    settings = Settings(index=tmp_path, frontends=1, port=0, metrics_port=0)
    with pytest.raises(ConfigError, match="device 'tpu' is none"):
        await serve(replace(settings, devices=("cpu", "tpu")))
    with pytest.raises(ConfigError, match="cpu:4096 is not there"):
        await serve(replace(settings, devices=("cpu:4096",)))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="choose another --port"):
            await serve(replace(settings, port=other.getsockname()[1]))


async def test_a_folder_whose_path_is_too_long_for_sockets_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(ConfigError, match="TMPDIR"):
        await serve(Settings(index=tmp_path, frontends=1, port=0, metrics_port=0))
    assert not list(deep.iterdir())

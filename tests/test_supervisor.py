import asyncio
import os
import socket
from pathlib import Path

import pytest

from millirank.config import Settings
from millirank.costs import CostTable
from millirank.device import device_from_name
from millirank.errors import ConfigError, Unavailable
from millirank.metrics import Metrics
from millirank.processes.control import (
    Address,
    Channel,
    CoreAssignment,
    Cores,
    Deltas,
    Fatal,
    Message,
    Ready,
    Stop,
    from_json,
    to_json,
)
from millirank.processes.measured import save_costs, saved_costs
from millirank.processes.port import hold_port
from millirank.processes.restarts import Restarts
from millirank.processes.supervisor import Supervisor
from millirank_engines.base import Profile


def test_a_child_that_was_ready_is_started_again_at_once_however_often_it_dies() -> None:
    restarts = Restarts()
    for second in range(20):
        restarts.ready()
        assert restarts.died(float(second)) == 0.0


def test_failures_in_a_row_wait_longer_and_longer_until_the_fifth_within_a_minute_gives_up() -> None:
    restarts = Restarts()
    assert [restarts.died(float(second)) for second in range(5)] == [0.0, 0.25, 0.5, 1.0, None]


def test_a_start_that_succeeds_ends_the_row_of_failures() -> None:
    restarts = Restarts()
    assert [restarts.died(1.0) for _ in range(4)] == [0.0, 0.25, 0.5, 1.0]
    restarts.ready()
    assert [restarts.died(2.0) for _ in range(3)] == [0.0, 0.0, 0.25]
    assert restarts.was_ready


def test_slow_failures_never_give_up_and_never_wait_longer_than_the_longest() -> None:
    restarts = Restarts()
    waits = [restarts.died(20.0 * n) for n in range(12)]
    assert waits[-1] == Restarts.LONGEST
    assert None not in waits


def test_a_held_port_is_nobody_elses_but_those_that_share_it(unused: int) -> None:
    with hold_port("127.0.0.1", unused) as held:
        assert held.getsockname() == ("127.0.0.1", unused)
        with pytest.raises(ConfigError, match="choose another --port"):
            hold_port("127.0.0.1", unused)
        with socket.socket() as frontend:
            frontend.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            frontend.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            frontend.bind(("127.0.0.1", unused))
            frontend.listen()
            socket.create_connection(("127.0.0.1", unused), 5).close()
            with pytest.raises(ConfigError, match="cannot be bound"):
                hold_port("127.0.0.1", unused)


def test_a_port_that_somebody_listens_on_is_refused_even_if_he_would_share_it() -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(ConfigError, match="stop what listens there"):
            hold_port("127.0.0.1", other.getsockname()[1])


def test_a_port_with_lingering_connections_of_a_server_that_did_not_share_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), 5) as client:
            server.accept()[0].close()  # the server closes first, so its side lingers
            assert client.recv(1) == b""
    hold_port("127.0.0.1", port).close()


def test_the_system_chooses_a_port_where_none_is_set() -> None:
    with hold_port("127.0.0.1", 0) as held:
        assert held.getsockname()[1] > 0


def test_an_address_of_no_interface_is_refused() -> None:
    with pytest.raises(ConfigError, match="--host"):
        hold_port("192.0.2.1", 50051)  # TEST-NET-1


@pytest.fixture
def unused() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_cpu_is_all_that_the_process_has() -> None:
    device = device_from_name("cpu")
    assert (device.kind, device.cores, dict(device.environment)) == ("cpu", None, {})


def test_a_node_is_those_of_its_cores_that_the_process_may_use(tmp_path: Path) -> None:
    mine = min(os.sched_getaffinity(0))
    for node, cores in ((0, "4094-4095"), (1, f"{mine},4090-4093")):
        (tmp_path / f"node{node}").mkdir()
        (tmp_path / f"node{node}" / "cpulist").write_text(cores + "\n")
    (tmp_path / "has_cpu").write_text("0-1\n")
    assert device_from_name("cpu:1", tmp_path).cores == {mine}
    with pytest.raises(ConfigError, match=r"cpu:0 is not there for this process: choose of cpu:1, or write cpu"):
        device_from_name("cpu:0", tmp_path)  # its cores are not ours
    with pytest.raises(ConfigError, match=r"choose of cpu:1"):
        device_from_name("cpu:7", tmp_path)
    with pytest.raises(ConfigError, match="lists no NUMA nodes"):
        device_from_name("cpu:0", tmp_path / "none")


@pytest.mark.parametrize(
    "name", ["GPU-8f6d0b2e-3c4a-11ee-be56-0242ac120002", "MIG-5f6d0b2e-3c4a-11ee-be56-0242ac120002"]
)
def test_a_gpu_or_slice_is_all_that_its_process_sees(name: str) -> None:
    device = device_from_name(name)
    assert (device.kind, device.cores) == ("gpu", None)
    assert device.environment == {"CUDA_VISIBLE_DEVICES": name}


@pytest.mark.parametrize("name", ["", "gpu", "cuda:0", "cpu:", "cpu:x", "cpu:-1", "GPU-", "GPU-a,GPU-b", "0", "CPU"])
def test_any_other_device_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="nvidia-smi -L"):
        device_from_name(name)


async def test_messages_arrive_whole_and_in_order_and_the_end_is_told() -> None:
    ours, theirs = [await Channel.open(end) for end in socket.socketpair()]
    messages: list[Message] = [
        Ready(7),
        Deltas(bytes(300_000)),
        Fatal("käputt", foreseen=True),
        Cores((Address(0, 3, "ipc:///a"), Address(1, 1, "ipc:///b"))),
        Stop(),
    ]
    for message in messages:
        ours.send(message)
    await asyncio.gather(ours.close(), received(theirs, messages))
    assert await theirs.receive() is None
    theirs.send(Stop())  # to nobody
    await theirs.close()


async def received(channel: Channel, messages: list[Message]) -> None:
    assert [await channel.receive() for _ in messages] == messages


def test_an_assignment_is_read_as_it_was_written(tmp_path: Path) -> None:
    settings = Settings(index=tmp_path, devices=("cpu:0", "GPU-1"), frontends=3, sla_ms=12.5)
    assignment = CoreAssignment(
        name="core-0", directory=tmp_path, settings=settings, snapshot=None, device="cpu:0", endpoint="ipc:///a"
    )
    assert from_json(to_json(assignment), CoreAssignment) == assignment
    assert from_json(to_json(settings), Settings) == settings


def test_measured_costs_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    assert saved_costs(path) is None
    tables = CostTable({Profile(1, 8): 0.001, Profile(4, 16): 0.0025}), CostTable({Profile(50, 32): 0.03})
    save_costs(path, tables)
    read = saved_costs(path)
    assert read is not None
    assert [table.seconds for table in read] == [table.seconds for table in tables]


CHILD = """
import asyncio, socket, sys
from millirank.processes.control import *

async def live(control, told):
    channel = await Channel.open(socket.socket(fileno=control))
    runs = told.directory / (told.name + ".runs")
    run = len(runs.read_text()) if runs.exists() else 0
    runs.write_text("x" * (run + 1))
    if told.name == "core-0" and run and (told.directory / "broken").exists():
        channel.send(Fatal("the disk is gone", foreseen=True))
        return await channel.close()
    broken = (told.directory / "broken").exists()
    own = 1 if broken or told.name == "core-0" else 2  # the current snapshot changed between the two starts
    channel.send(Ready(told.snapshot or own))
    if told.name == "core-0" and broken:
        await asyncio.sleep(0.5)
        return
    channel.send(Serving())
    while (message := await channel.receive()) is not None:
        with (told.directory / (told.name + ".heard")).open("a") as heard:
            print(message, file=heard)
        if isinstance(message, Stop):
            return await channel.close()

asyncio.run(live(int(sys.argv[1]), from_json(sys.argv[2], Assignment)))
"""


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    """Of children that only play their parts."""
    (tmp_path / "a_child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = Supervisor(Settings(index=tmp_path, frontends=1, drain_seconds=1), tmp_path, Metrics())
    for place in (*made.frontends, *made.cores):
        place._module = "a_child"
    return made


async def test_a_core_that_cannot_be_started_again_ends_the_service_with_its_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(Unavailable, match="core-0 cannot be started: the disk is gone"):
        await supervisor.run()
    assert (tmp_path / "core-0.runs").read_text() == "x" * (1 + Restarts.GIVE_UP)
    heard = (tmp_path / "frontend-0.heard").read_text().splitlines()
    endpoint = f"ipc://{tmp_path}/core-0-1"
    assert f"Cores(alive=(Address(index=0, epoch=1, endpoint='{endpoint}'),))" in heard
    assert heard[-1] == "Cores(alive=())"


async def test_all_serve_the_snapshot_of_the_first_and_end_when_told(supervisor: Supervisor, tmp_path: Path) -> None:
    running, places = asyncio.create_task(supervisor.run()), (*supervisor.cores, *supervisor.frontends)
    async with asyncio.timeout(60):
        while not all(place.snapshot for place in places):
            await asyncio.sleep(0.01)
        assert len({place.snapshot for place in places}) == 1
        starts = [(tmp_path / f"{name}.runs").read_text() for name in ("core-0", "frontend-0")]
        assert sorted(starts) == ["x", "xx"]  # the second one to be ready was started again
        supervisor.stop()
        await running
    assert (tmp_path / "core-0.heard").read_text() == "Stop()\n"
    assert (tmp_path / "frontend-0.heard").read_text().endswith("Stop()\n")

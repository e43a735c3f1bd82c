"""Why answers are late: the server's trace, and the stages that a client makes of it."""

import asyncio
import gc
import importlib
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
from shop import open_shop

from millirank.config import Settings
from millirank.errors import ConfigError
from millirank.loadtest.call import Call, Status
from millirank.loadtest.channel import Channel, Target
from millirank.loadtest.stages import STEPS, Pause, Timeline, breakdown, late_ones, read_traces, timelines
from millirank.metrics import Metrics
from millirank.processes import wire
from millirank.processes.control import CoreAssignment
from millirank.processes.corehost import CoreRole
from millirank.rpc import SearchService, handler
from millirank.trace import Trace
from millirank.types import Query
from millirank.v1 import search_pb2

REQUEST = search_pb2.SearchRequest(query="red running shoe").SerializeToString()


async def test_a_query_is_traced_step_by_step_and_laid_beside_the_client(tmp_path: Path) -> None:
    grpc = pytest.importorskip("grpc")
    trace = Trace(tmp_path / "traces")
    trace.start()
    with open_shop(tmp_path) as shop:
        service = SearchService(trace=trace)
        service.pipeline = shop.pipeline
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handler(service),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        channel = Channel(Target(f"127.0.0.1:{port}"))
        await channel.ready()
        call = Call(time.monotonic())
        call.sent = time.monotonic()
        channel.open(call, REQUEST)
        while call.status is None:
            await asyncio.sleep(0.01)
        await service.idle()
        gc.collect()
        trace.close()
        channel.close()
        await server.stop(None)
    assert call.status is Status.OK
    traces = read_traces(tmp_path / "traces")
    assert list(traces.queries) == [call.query]
    assert [pause.what.partition(" in ")[0] for pause in traces.pauses][-1] == "collection of generation 2"
    (line,) = timelines([call], traces)
    assert set(line.stages) == set(STEPS.values()) - {""}
    assert min(line.stages.values()) >= 0
    assert sum(line.stages.values()) == pytest.approx(line.latency) == pytest.approx(call.final - call.intended)
    assert line.within["of it rerank"] > 0


def test_a_closed_trace_watches_no_more(tmp_path: Path) -> None:
    async def lives() -> Trace:
        trace = Trace(tmp_path)
        trace.start()
        trace.query("a", {"seen": 1.0}, {})
        trace.close()
        return trace

    before = list(gc.callbacks)
    trace = asyncio.run(lives())
    assert gc.callbacks == before
    (event,) = map(json.loads, trace.path.read_text().splitlines())
    assert event == {"query": "a", "at": {"seen": 1.0}, "took": {}}


async def test_a_trace_is_written_while_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millirank.trace.EVERY", 0.01)
    trace = Trace(tmp_path)
    trace.start()
    trace.query("a", {}, {})
    while not trace.path.read_bytes():
        await asyncio.sleep(0.005)
    with trace.path.open("ab") as file:
        file.write(b'{"query": "b", "at"')  # not whole yet
    assert list(read_traces(tmp_path).queries) == ["a"]
    trace.close()


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="name another folder"):
        Trace(tmp_path / "file")
    assert Settings.from_mapping({"index": "shop", "trace": "t"}).trace == Path("t")


def test_a_full_disk_is_logged_once_and_tracing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("millirank.trace.EVERY", 0.005)
    monkeypatch.setattr("millirank.trace.MOST", 3)
    trace = Trace(tmp_path / "traces")
    (tmp_path / "traces").rename(tmp_path / "away")
    trace.start()
    for name in "abcdef":
        trace.query(name, {}, {})
    while "not written" not in caplog.text:
        time.sleep(0.005)
    for name in "uvwxyz":
        trace.query(name, {}, {})
    time.sleep(0.02)
    assert caplog.text.count("traces are not written") == 1
    assert f"make room in {tmp_path / 'traces'}" in caplog.text
    (tmp_path / "away").rename(tmp_path / "traces")
    while not (found := read_traces(tmp_path / "traces").queries):
        time.sleep(0.005)
    assert list(found) == ["x", "y", "z"]  # the rest was dropped
    trace.close()


def test_a_trace_that_cannot_be_written_does_not_hinder_the_end(tmp_path: Path) -> None:
    trace = Trace(tmp_path / "traces")
    trace.start()
    trace.query("a", {}, {})
    shutil.rmtree(tmp_path / "traces")
    trace.close()
    assert trace._collected not in gc.callbacks


def test_a_trace_is_not_written_by_the_thread_that_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[int] = []
    real = Path.open
    trace = Trace(tmp_path)
    monkeypatch.setattr(Path, "open", lambda *given: (opened.append(threading.get_ident()), real(*given))[1])
    trace.start()
    trace.query("a", {}, {})
    trace.close()
    assert opened
    assert threading.get_ident() not in opened


def test_a_trace_ends_at_a_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("millirank.trace.EVERY", 0.005)
    monkeypatch.setattr("millirank.trace.LIMIT", 200)
    monkeypatch.setattr("millirank.trace.TURN", 1)
    trace = Trace(tmp_path)
    trace.start()
    for number in range(100):
        trace.query(str(number), {}, {})
    while "ends here" not in caplog.text:
        time.sleep(0.005)
    trace.query("later", {}, {})
    time.sleep(0.01)
    trace.close()
    assert 200 <= trace.path.stat().st_size < 300
    assert caplog.text.count("ends here") == 1


def test_an_earlier_trace_of_the_same_process_number_stays(tmp_path: Path) -> None:
    for name in "ab":
        trace = Trace(tmp_path)
        trace.start()
        trace.query(name, {}, {})
        trace.close()
    assert set(read_traces(tmp_path).queries) == {"a", "b"}


async def test_a_core_refuses_the_folder_before_it_loads_engines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(index=tmp_path, trace=tmp_path / "file")
    assignment = CoreAssignment(
        name="core", directory=tmp_path, settings=settings, snapshot=None, device="cpu", endpoint="ipc:///nowhere"
    )
    monkeypatch.setattr(CoreRole, "_load", lambda _: pytest.fail("engines were loaded"))
    with pytest.raises(ConfigError, match="name another folder"):
        await CoreRole(assignment, Metrics()).start()


def test_a_query_that_is_not_traced_remembers_nothing() -> None:
    query = Query("shoe")
    query.mark("words", lambda: 1.0)
    assert query.marks is None
    assert Query("shoe", marks={}) == query


def line(begin: float, **stages: float) -> Timeline:
    named = {name.replace("_", " "): seconds for name, seconds in stages.items()}
    return Timeline(begin, begin + sum(stages.values()), named, {})


def test_the_stage_that_exceeds_its_median_most_has_made_an_answer_late() -> None:
    usual = [line(second, lexical=0.001, wait_for_the_reranker=0.004) for second in range(8)]
    slow = [line(8, lexical=0.007, wait_for_the_reranker=0.0045), line(9, lexical=0.001, wait_for_the_reranker=0.02)]
    pauses = [Pause(8.001, 0.005, "stop in 7"), Pause(9.5, 0.1, "stop in 8"), Pause(3.0, 0.1, "stop in 7")]
    found = {(row.case, row.metric): row.value for row in breakdown("x", usual + slow, 0.010, pauses)}
    assert (found["x/whole", "late"], found["x/whole", "answers"]) == (2, 10)
    assert (found["x/lexical", "late"], found["x/wait for the reranker", "late"]) == (1, 1)
    assert found["x/lexical", "mean of late"] == pytest.approx(4)
    assert found["x/whole", "p50"] == pytest.approx(5)
    assert found["x/stop", "late"] == 1
    assert found["x/stop", "of those in time"] == pytest.approx(100 / 8)
    assert not breakdown("x", [], 0.01)


def test_nobody_is_called_late_who_was_in_time() -> None:
    lines = [line(second, lexical=second / 1e6) for second in range(200)]
    found = {(row.case, row.metric): row.value for row in breakdown("x", lines, 1.0, [Pause(198.0, 0.1, "stop")])}
    assert found["x/whole", "late"] == 0
    assert found["x/lexical", "slowest"] == 2
    assert found["x/whole", "mean of slowest"] == pytest.approx(0.1985)
    assert found["x/stop", "slowest"] == 1
    assert ("x/lexical", "late") not in found


def test_without_late_answers_the_slowest_are_looked_at() -> None:
    lines = [line(second, lexical=second / 1e6) for second in range(200)]
    assert late_ones(lines, 1.0) == lines[:-3:-1]
    assert late_ones(lines, 1.905e-4) == lines[191:]


def test_a_step_that_was_skipped_has_no_time(tmp_path: Path) -> None:
    call = Call(1.0)
    call.sent, call.final, call.status, call.query = 1.1, 1.5, Status.OK, "a"
    event = {"query": "a", "at": {"seen": 1.2, "final_made": 1.4}, "took": {}}
    (tmp_path / "1.jsonl").write_text(json.dumps(event))
    traces = read_traces(tmp_path)
    other = Call(1.0)
    (found,) = timelines([call, other], traces)
    assert list(found.stages) == [STEPS[step] for step in ("sent", "seen", "final_made", "final")]
    assert found.stages["to the client"] == pytest.approx(0.1)


def test_the_kernels_counters_are_those_of_the_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    late = importlib.import_module("late")
    counted = late.counters([os.getpid(), 10**9])
    if Path("/proc/self/schedstat").is_file():  # a kernel may be built without
        assert counted["ran"] > 0
    for task, spent in ((7, "3000000 1000000 9"), (8, "2000000 500000 9")):
        (tmp_path / f"proc/7/task/{task}").mkdir(parents=True)
        (tmp_path / f"proc/7/task/{task}/schedstat").write_text(spent)
    stat = tmp_path / "sys/fs/cgroup/cpu.stat"
    stat.parent.mkdir(parents=True)
    stat.write_text("usage_usec 5\n")
    counted = late.counters([7], tmp_path)
    assert counted == {"stolen": counted["stolen"], "ran": 5.0, "waited for a core": 1.5}
    stat.write_text("usage_usec 5\nthrottled_usec 2000\n")
    assert late.counters([7], tmp_path)["throttled"] == 2.0
    changed = list(late.machine_rows("x", {"ran": 1.0}, {"ran": 3.0}))
    assert [(row.case, row.metric, row.value) for row in changed] == [("x/machine", "ran", 2.0)]


def test_a_query_of_a_core_that_is_served_ends_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    core_served = importlib.import_module("core_served")
    load = core_served.Load(asked=2, open={1: 1.0, 2: 1.0})
    assert load.answered(wire.Encoded(1, b"", 0.0, 0.0), 1.5)
    load.open[3] = 1.5
    assert not load.answered(wire.Failed(3, "EngineFailed", "gone"), 2.0)
    assert not load.answered(wire.Encoded(9, b"", 0.0, 0.0), 2.0)  # of the round before
    assert load.answered(wire.Encoded(2, b"", 0.0, 0.0), 2.0)
    load.open[4] = 2.0
    assert not load.answered(wire.Reranked(4, bytes(8), 0.0, 0.0), 2.25)
    found = dict(core_served.figures(load, 1e-3))
    assert found["failed (%)"] == 50
    assert found["processor time (µs a query)"] == pytest.approx(500)
    assert (load.encoded, load.reranked, load.depths, load.open) == ([0.5, 1.0], [0.25], [2], {})

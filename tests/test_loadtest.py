import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import grpc
import pytest
import typer
from typer.testing import CliRunner

from millirank.commands.loadtest import loadtest
from millirank.errors import ConfigError, MillirankError
from millirank.loadtest import ghz, hpack, http2, plots, report
from millirank.loadtest.call import Call, Status
from millirank.loadtest.channel import NoServer, Target
from millirank.loadtest.client import Run, drive, one_by_one
from millirank.loadtest.hostile import Hostility, harass
from millirank.loadtest.queries import read_queries, requests
from millirank.loadtest.results import Row, published, read_rows, result
from millirank.loadtest.sampler import Sample, Sampler, sample
from millirank.loadtest.schedule import Stretch, arrivals
from millirank.loadtest.scrape import bucket_quantile, buckets, less, samples, total
from millirank.loadtest.summary import quantile, summarize
from millirank.loadtest.sweep import highest_rate
from millirank.loadtest.watch import spent
from millirank.v1 import search_pb2

EXPOSITION = """# HELP millirank_event_loop_lag_seconds How late the event loop ran a timer.
# TYPE millirank_event_loop_lag_seconds histogram
millirank_event_loop_lag_seconds_bucket{process="frontend-0",le="0.001"} 90
millirank_event_loop_lag_seconds_bucket{process="frontend-0",le="0.005"} 99
millirank_event_loop_lag_seconds_bucket{process="frontend-0",le="+Inf"} 100
millirank_event_loop_lag_seconds_bucket{process="core-0",le="0.001"} 100
millirank_event_loop_lag_seconds_bucket{process="core-0",le="0.005"} 100
millirank_event_loop_lag_seconds_bucket{process="core-0",le="+Inf"} 100
millirank_inflight{process="frontend-0"} 2
millirank_inflight{process="core-0"} 1
millirank_inflightish 7
"""


def answer(phase: Any = search_pb2.PHASE_RANKED, **fields: Any) -> bytes:
    return search_pb2.SearchResponse(phase=phase, **fields).SerializeToString()


class Shop:
    """A server whose queries say what becomes of them."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended = 0
        self.deadlines: list[float | None] = []
        self.release, self.arrived = asyncio.Event(), asyncio.Event()

    async def search(self, data: bytes, context: Any) -> None:
        try:
            await self.answer(data, context)
        finally:
            self.ended += 1

    async def answer(self, data: bytes, context: Any) -> None:
        query = search_pb2.SearchRequest.FromString(data).query
        self.begun.append(query)
        self.arrived.set()
        self.deadlines.append(context.time_remaining())
        if query == "refuse":
            details = (("grpc-status-details-bin", bytes(range(256))),)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy: später 50 %", details)
        await context.write(answer(search_pb2.PHASE_RETRIEVED))
        if query == "provisional only":
            return
        if query == "hang":
            await self.release.wait()
        fields = {"degraded": True, "degraded_reason": "DEADLINE"} if query == "degraded" else {"rerank_depth": 9}
        hits = [search_pb2.Hit(id="x" * 50_000) for _ in range(3)] if query == "large" else []
        await context.write(answer(hits=hits, **fields))


@asynccontextmanager
async def serving(method: str = "Search", **options: int) -> AsyncIterator[tuple[Shop, Target]]:
    shop = Shop()
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0), *((f"grpc.{k}", v) for k, v in options.items())))
    handlers = {method: grpc.unary_stream_rpc_method_handler(shop.search)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("millirank.v1.SearchService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield shop, Target(f"127.0.0.1:{port}", connections=2)
    finally:
        shop.release.set()
        await server.stop(None)


def asked(*queries: str) -> list[bytes]:
    return requests(list(queries), seed=None)


def made(
    final: float, *, lag: float = 0.0, status: Status | None = Status.OK, depth: int = 4, degraded: str = ""
) -> Call:
    call = Call(100.0)
    call.sent, call.status = 100.0 + lag, status
    if status is Status.OK:
        call.first, call.final, call.depth, call.degraded = 100.0 + final / 2, 100.0 + final, depth, degraded
    call.ended = 100.0 + final
    return call


# schedules


def test_even_calls_are_spaced_by_the_rate_and_steps_follow_one_another() -> None:
    assert arrivals([Stretch(4, 1)], seed=None) == [0, 0.25, 0.5, 0.75]
    assert arrivals([Stretch(2, 1), Stretch(0, 3), Stretch(4, 0.5)], seed=None) == [0, 0.5, 4, 4.25]
    assert len(arrivals([Stretch(0.3, 10)], seed=None)) == 3


def test_random_calls_come_at_the_rate_in_the_same_order_for_the_same_seed() -> None:
    burst = [Stretch(100, 20), Stretch(1000, 2)]
    times = arrivals(burst, seed=7)
    assert times == arrivals(burst, seed=7) == sorted(times)
    assert times != arrivals(burst, seed=8)
    assert abs(sum(at < 20 for at in times) - 2000) < 5 * math.sqrt(2000)
    assert abs(sum(at >= 20 for at in times) - 2000) < 5 * math.sqrt(2000)
    gaps = [b - a for a, b in pairwise(times) if b < 20]
    assert (
        0.8 < (sum((gap - 0.01) ** 2 for gap in gaps) / len(gaps)) ** 0.5 / 0.01 < 1.2
    )  # exponential: as wide as long


@pytest.mark.parametrize(("rate", "seconds"), [(-1, 1), (math.nan, 1), (1, 0), (1, math.inf)])
def test_a_load_that_no_clock_can_follow_is_refused(rate: float, seconds: float) -> None:
    with pytest.raises(ConfigError, match="give a number above 0"):
        Stretch(rate, seconds)


# queries


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("log.csv", "docid,query\n1,red shoe\n2,red shoe\n3, \n4,mug\n"),
        ("log.jsonl", '{"query": "red shoe"}\n"red shoe"\n\n{"query": "mug", "n": 1}\n'),
        ("log.txt", "\ufeffred shoe\r\nred shoe\r\n\r\nmug"),
    ],
)
def test_queries_are_read_as_often_as_they_stand_there(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert read_queries(tmp_path / name) == ["red shoe", "red shoe", "mug"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "no column `query`"),
        ("a.csv", b"query\n", "holds no query"),
        ("a.jsonl", b'{"q": 1}', "line 1"),
        ("a.txt", b"\xff\xfe", "cannot be read"),
        ("missing/a.txt", None, "cannot be read"),
    ],
)
def test_a_file_without_queries_is_refused(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_queries(tmp_path / name)


def test_requests_are_shuffled_the_same_for_the_same_seed() -> None:
    queries = [f"q{place}" for place in range(50)]
    assert requests(queries) == requests(queries) != requests(queries, seed=2)
    assert sorted(requests(queries)) == sorted(requests(queries, seed=None))
    first = search_pb2.SearchRequest.FromString(requests(queries, seed=None, limit=5, depth=7, most=1)[0])
    assert (first.query, first.limit, first.rerank_depth) == ("q0", 5, 7)


# the wire


@pytest.mark.parametrize(
    ("block", "status"),
    [
        (b"\x20@\x0bgrpc-status\x010@\x0cgrpc-message\x00", Status.OK),
        (b"\x00\x0bgrpc-status\x028\x30"[:13] + b"\x018", Status.RESOURCE_EXHAUSTED),
        (b"\x88\x10\x0bgrpc-status\x0214", Status.UNAVAILABLE),
        (b"\x40" + b"\x88" + bytes.fromhex("9acac8b21234da8f") + b"\x014", Status.DEADLINE_EXCEEDED),
        (b"\x0f\x0d\x03200\x00\x0bgrpc-status\x015", Status.NOT_FOUND),
        (b"\x00\x04skip\x7f\x80\x01" + b"x" * 255 + b"\x00\x0bgrpc-status\x011", Status.CANCELLED),
        (b"\x00\x0bgrpc-status\x0299", Status.UNKNOWN),
        (b"\x88", Status.UNKNOWN),
    ],
)
def test_the_status_is_read_from_trailers(block: bytes, status: Status) -> None:
    assert hpack.status_of(block) is status


def test_messages_are_put_together_from_pieces() -> None:
    message = answer(rerank_depth=3)
    data = b"".join(b"\0" + len(one).to_bytes(4, "big") + one for one in (answer(1), message))
    for size in range(1, len(data) + 1):
        call = Call(0.0)
        for place in range(0, len(data), size):
            call.received(data[place : place + size], 1.0 + place)
        call.end(Status.OK, 99.0)
        assert (call.answered, call.depth) == (True, 3)
        assert 1.0 <= call.first <= call.final < 99.0


# the client, against grpc's own server


async def test_every_call_ends_with_what_the_server_said() -> None:
    queries = asked("plain", "refuse", "degraded", "provisional only", "large")
    async with serving() as (shop, target):
        run = await drive(target, queries, arrivals([Stretch(200, 0.1)], seed=None))
    assert len(shop.begun) == len(run.calls) == 20
    plain, refused, degraded, provisional, large = run.calls[:5]
    assert (plain.status, plain.answered, plain.depth, plain.degraded) == (Status.OK, True, 9, "")
    assert (refused.status, refused.answered, refused.first) == (Status.RESOURCE_EXHAUSTED, False, 0.0)
    assert (degraded.answered, degraded.depth, degraded.degraded) == (True, 0, "DEADLINE")
    assert (provisional.status, provisional.answered) == (Status.OK, False)
    assert (large.answered, large.depth) == (True, 9)
    assert all(
        call.intended <= call.sent <= call.first <= call.final <= call.ended for call in run.calls if call.answered
    )
    assert [call.intended - run.begin for call in run.calls] == pytest.approx([place / 200 for place in range(20)])


async def test_calls_take_the_connections_in_turn_and_large_answers_do_not_stall_them() -> None:
    async with serving() as (_, target):
        run = await drive(target, asked("large"), arrivals([Stretch(400, 0.2)], seed=None))  # 12 MB a connection
        assert all(call.answered for call in run.calls)


async def test_latency_counts_from_the_intended_time_when_the_sender_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    late = 0.2

    def pace(calls: Sequence[Call], send: Any, _stop: Any) -> None:
        import time

        time.sleep(calls[0].intended - time.monotonic() + late)
        for place in range(len(calls)):
            send(place)

    monkeypatch.setattr("millirank.loadtest.client._pace", pace)
    async with serving() as (_, target):
        run = await drive(target, asked("plain"), [0.0, 0.0])
    summary = summarize("late", run, seconds=1)
    assert summary.final["p50"] >= summary.lag["p50"] >= late
    assert summary.lag["p50"] == pytest.approx(run.calls[0].sent - run.calls[0].intended)


async def test_a_deadline_is_told_and_kept_and_what_never_ends_is_given_up() -> None:
    async with serving() as (shop, target):
        run = await drive(target, asked("hang"), [0.0, 0.0], deadline=0.2)
        assert [call.status for call in run.calls] == [Status.DEADLINE_EXCEEDED] * 2
        assert all(left is not None and 0 < left <= 0.2 for left in shop.deadlines)
        stuck = await drive(target, asked("hang"), [0.0], settle=0.1)
        assert [call.status for call in stuck.calls] == [None]
    assert summarize("stuck", stuck, seconds=1).statuses == {"UNFINISHED": 1}


async def test_one_by_one_waits_for_each_and_not_for_ever() -> None:
    async with serving() as (shop, target):
        run = await one_by_one(target, asked("plain", "refuse", "hang"), 3, patience=0.2)
        assert shop.begun == ["plain", "refuse", "hang"]
    assert [call.status for call in run.calls] == [Status.OK, Status.RESOURCE_EXHAUSTED, None]
    assert run.calls[0].ended <= run.calls[1].sent


async def test_more_calls_than_streams_are_allowed_wait_their_turn() -> None:
    async with serving(max_concurrent_streams=1) as (shop, target):
        going = asyncio.create_task(drive(replace(target, connections=1), asked("hang"), [0.0] * 3))
        await shop.arrived.wait()
        await asyncio.sleep(0.1)
        assert len(shop.begun) == 1
        shop.release.set()
        assert all(call.answered for call in (await going).calls)


async def test_a_connection_that_the_server_ends_is_renewed() -> None:
    async with serving(max_connection_age_ms=150, max_connection_age_grace_ms=1000) as (_, target):
        run = await drive(replace(target, connections=1), asked("plain"), arrivals([Stretch(50, 1)], seed=None))
    assert [call.status for call in run.calls] == [Status.OK] * 50


async def test_calls_to_a_server_that_goes_end_as_unavailable() -> None:
    async with serving() as (shop, target):
        going = asyncio.create_task(drive(target, asked("hang"), [0.0, 0.0, 0.6, 0.7]))
        await shop.arrived.wait()
    ended = (await going).calls
    assert {call.status for call in ended[:2]} <= {Status.UNAVAILABLE, Status.CANCELLED, Status.OK}
    assert [call.status for call in ended[2:]] == [Status.UNAVAILABLE] * 2


async def test_no_server_and_no_address_are_named_with_the_fix(unused_port: int) -> None:
    with pytest.raises(NoServer, match=r"no gRPC server answers at .*`millirank serve --index DIR`.*--target"):
        await drive(Target(f"127.0.0.1:{unused_port}", connections=2), asked("a"), [0.0])
    with pytest.raises(NoServer, match="give HOST:PORT"):
        await drive(Target("here"), asked("a"), [0.0])


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def test_hostile_clients_read_slowly_hang_up_and_drop_connections() -> None:
    async with serving() as (shop, target):
        tally = await harass(target, asked("hang"), Hostility(8, 100, 100, 10, 0.6))
        await asyncio.sleep(0.2)
        assert tally.most_open == tally.begun == 8
        assert tally.cancelled >= 30
        assert tally.dropped >= 9
        assert shop.ended == len(shop.begun) >= 8  # whoever was let in was let go


# summaries


def test_quantiles_are_of_the_nearest_rank() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert [quantile(values, q) for q in (0, 0.5, 0.99, 0.999, 1)] == [1, 50, 99, 100, 100]
    assert math.isnan(quantile([], 0.5))


def test_a_summary_counts_answers_refusals_and_errors_apart() -> None:
    calls = [made(0.001 * ms, lag=0.0001 * ms, depth=ms % 5) for ms in range(1, 97)]
    calls += [made(0.009, degraded="DEADLINE", depth=0), made(0.5, status=Status.RESOURCE_EXHAUSTED)]
    calls += [made(0.5, status=Status.INTERNAL), made(0.5, status=None)]
    summary = summarize("100 QPS", Run(tuple(calls), 100.0, 101.0, cpu=0.02), seconds=1)
    assert (summary.offered, summary.sent, summary.answered) == (100, 100, 97)
    assert summary.final["p50"] == pytest.approx(0.048)
    assert summary.first["max"] == pytest.approx(0.048)
    assert summary.refusal["p99"] == pytest.approx(0.5)
    assert (summary.refused, summary.failed) == (pytest.approx(0.01), pytest.approx(0.02))
    assert summary.statuses == {"OK": 97, "RESOURCE_EXHAUSTED": 1, "INTERNAL": 1, "UNFINISHED": 1}
    assert (summary.depth["min"], summary.depth["median"], summary.degraded) == (0, 2, {"DEADLINE": 1})
    rows = {row.metric: row for row in summary.rows()}
    assert {row.case for row in rows.values()} == {"100 QPS"}
    assert rows["final p99-p95"].value == pytest.approx(rows["final p99"].value - rows["final p95"].value)
    assert rows["degraded DEADLINE"].value == pytest.approx(100 / 97)
    assert rows["client cpu"] == Row("100 QPS", "client cpu", pytest.approx(0.2), "ms/call")
    assert not summary.meets(0.095, 0.02)
    assert not summary.meets(0.010, 0.04)
    assert summary.meets(0.097, 0.04)


def test_a_summary_of_refusals_alone_has_no_latency() -> None:
    summary = summarize("x", Run((made(1, status=Status.RESOURCE_EXHAUSTED),), 100, 101, 0), seconds=1)
    assert (summary.final, summary.depth, summary.refused) == ({}, {}, 1.0)
    assert not summary.meets(10, 1)
    assert not [row for row in summary.rows() if math.isnan(row.value)]


# the sweep


@pytest.mark.parametrize("limit", [0.9, 7, 10, 137, 5000])
def test_the_sweep_finds_the_highest_rate_and_asks_once_about_each(limit: float) -> None:
    tried: list[float] = []

    def bears(rate: float) -> bool:
        tried.append(rate)
        return rate <= limit

    found = highest_rate(bears)
    assert found <= limit < found * 1.06
    assert len(tried) == len(set(tried)) <= 16


def test_the_sweep_ends_where_nothing_or_everything_is_borne() -> None:
    assert highest_rate(lambda _: False) == 0.0
    assert highest_rate(lambda _: True, most=1000) == 640


# the server's side


def test_metrics_are_read_subtracted_and_summed_over_their_labels() -> None:
    found = samples(EXPOSITION)
    assert total(found, "millirank_inflight") == 3
    assert buckets(found, "millirank_event_loop_lag_seconds") == [(0.001, 190), (0.005, 199), (math.inf, 200)]
    assert bucket_quantile(buckets(found, "millirank_event_loop_lag_seconds"), 0.99) == 0.005
    assert math.isnan(bucket_quantile([], 0.5))
    assert total(less(found, {'millirank_inflight{process="core-0"}': 1.0}), "millirank_inflight") == 2


def test_a_process_is_sampled_by_another() -> None:
    import os
    import time

    here = sample(os.getpid())
    assert here is not None
    assert here.rss > 2**20
    assert here.processes >= 1
    with Sampler(os.getpid(), every=0.05) as sampler:
        until = time.monotonic() + 20
        while len(sampler.samples) < 3 and time.monotonic() < until:
            time.sleep(0.05)
        first, *_, last = sampler.samples
        assert sampler.between(first.at, last.at)[0] == first
    assert last.cpu >= first.cpu


def test_what_a_server_spent_is_the_difference_of_samples() -> None:
    rows = spent("x", [Sample(10, 5.0, 2**20, 1), Sample(11, 5.5, 3 * 2**20, 3), Sample(12, 6.0, 2**21, 2)])
    assert [(row.metric, row.value) for row in rows] == [
        ("server cpu", 0.5),
        ("server memory", 3),
        ("server processes", 3),
    ]
    assert spent("x", [Sample(10, 5.0, 1, 1)]) == []


# ghz

ROOT = Path(__file__).parent.parent
GHZ = ROOT / "tests" / "data" / "ghz.json"


def test_what_ghz_found_becomes_a_summary() -> None:
    found = json.loads(GHZ.read_text(encoding="utf-8"))
    summary = ghz.summarize("ghz/20 QPS", found)
    assert summary.sent == found["count"] == sum(summary.statuses.values())
    assert summary.answered == found["statusCodeDistribution"]["OK"]
    assert set(summary.statuses) == {"OK", "RESOURCE_EXHAUSTED"}
    ok = [call["latency"] / 1e9 for call in found["details"] if call["status"] == "OK"]
    assert summary.final["max"] == pytest.approx(max(ok))
    assert summary.refusal["max"] > 0
    assert summary.seconds == pytest.approx(found["total"] / 1e9)


def test_without_ghz_the_command_to_install_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ghz.NoGhz, match=r"go install github\.com/bojand/ghz"):
        ghz.find()


def test_ghz_is_given_the_contract_the_queries_and_an_open_loop(tmp_path: Path) -> None:
    fake = tmp_path / "ghz"
    kept = tmp_path / "kept.json"
    script = f"""#!/bin/sh
python3 - "$2" <<'END'
import json, shutil, sys
config = json.load(open(sys.argv[1]))
config["queries"] = json.load(open(config["data-file"]))
config["contract"] = len(open(config["protoset"], "rb").read())
json.dump(config, open({str(kept)!r}, "w"))
shutil.copy({str(GHZ)!r}, config["output"])
END
"""
    fake.write_text(script, encoding="utf-8")
    fake.chmod(0o755)
    summary = ghz.measure("x", ghz.constant(20, 3, 20), Target("127.0.0.1:1"), ["mug"], limit=3, ghz=str(fake))
    given = json.loads(kept.read_text(encoding="utf-8"))
    assert summary.answered > 0
    assert (given["host"], given["async"], given["rps"], given["connections"]) == ("127.0.0.1:1", True, 20, 20)
    assert given["queries"] == [{"query": "mug"}]
    assert given["contract"] > 1000
    fake.write_text("#!/bin/sh\necho no such flag >&2; exit 1\n", encoding="utf-8")
    with pytest.raises(ghz.NoGhz, match="no such flag"):
        ghz.measure("x", {}, Target("127.0.0.1:1"), ["mug"], limit=3, ghz=str(fake))


@pytest.mark.parametrize("path", sorted((ROOT / "loadtest" / "ghz").glob("*.json")), ids=lambda path: path.stem)
def test_the_ghz_configurations_are_open_loops_that_count_errors(path: Path) -> None:
    config = ghz.read(path)
    assert config["async"] is config["count-errors"] is config["insecure"] is True
    assert config["connections"] >= 20
    assert config["concurrency"] % config["connections"] == 0
    assert config["duration-stop"] == "wait"
    assert (ROOT / config["proto"]).exists()
    assert "skipFirst" in config


# the report and the command


def figures(case: str, offered: float) -> list[Row]:
    named = {"offered": offered, "answered": offered, "final p99": 9.0, "depth mean": 3.0, "refused": 0.5}
    return [Row(case, metric, value, "ms") for metric, value in named.items()]


def test_a_report_stands_alone_and_can_be_read_back(tmp_path: Path) -> None:
    rows = [*figures("<10> QPS", 10), *figures("50 QPS", 50), Row("50 QPS", "status OK", 500, "calls")]
    report.write(tmp_path / "out", result(rows), {"before": figures("10 QPS", 10)}, label="now & here", bound_ms=10)
    found = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    assert set(found) == {"machine", "commit", "date", "command", "rows"}
    assert read_rows(tmp_path / "out" / "report.json") == rows
    html = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert html.count("<svg") == 1
    for text in (
        "now &amp; here",
        "before",
        "&lt;10&gt; QPS",
        "status OK",
        "now &amp; here: final p99",
        "offered queries/s",
    ):
        assert text in html
    assert not re.search(r"(?:src|href)=\"(?!#)", html.replace("xlink:href", "href"))
    assert "<script" not in html


def test_a_plot_of_nothing_is_empty_axes() -> None:
    assert plots.svg({"now": []}, 10).startswith("<svg")
    assert (
        plots.curves([*figures("b", 50), *figures("a", 10), Row("c", "answered", 1, "")], "answered") == ([10, 50],) * 2
    )


def test_a_command_is_published_without_the_folders_of_a_machine() -> None:
    words = ["/usr/bin/python", "a.py", "--out", "/home/me/a b", "x/y", "10"]
    assert published(words) == "python a.py --out 'a b' x/y 10"


def test_another_file_is_no_result(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"report\.json that `millirank loadtest` wrote"):
        read_rows(tmp_path / "x.json")


def command(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(loadtest)
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log.txt").write_text("plain\n", encoding="utf-8")
    return tmp_path / "log.txt"


async def test_the_command_measures_and_writes_its_report(log: Path, tmp_path: Path) -> None:
    async with serving() as (shop, target):
        arguments = ("--queries", str(log), "--target", target.address, "--rates", "20,40", "--seconds", "0.5")
        output = await asyncio.to_thread(command, *arguments, "--even", "--connections", "2", "--out", str(tmp_path))
    assert len(shop.begun) == 30
    assert "20 QPS: 10 of 10 answered" in output
    assert {row.case for row in read_rows(tmp_path / "report.json")} == {"20 QPS", "40 QPS"}
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rates", "0"], "every rate must be above 0"),
        (["--rates", "ten"], "give numbers such as"),
        (["--seconds", "0"], "give a number above 0"),
        (["--compare", "missing.json"], "no result of a load test"),
        (["--target", "127.0.0.1:1"], "no gRPC server answers"),
        (["--pid", "999999999"], "no process has the id 999999999"),
        (["--metrics", "http://127.0.0.1:1/metrics"], "cannot be scraped"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_fix(log: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(MillirankError, match=message):
        command("--queries", str(log), "--out", str(log.parent), *arguments)


@pytest.mark.parametrize(("library", "arguments"), [("matplotlib", []), ("psutil", ["--pid", "1"])])
def test_a_missing_library_is_named_with_its_extra(
    log: Path, monkeypatch: pytest.MonkeyPatch, library: str, arguments: list[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, library, None)
    from millirank_engines.base import BackendUnavailable

    with pytest.raises(BackendUnavailable, match=rf"{library}.*pip install millirank\[loadtest\]"):
        command("--queries", str(log), *arguments)


def test_frames_are_as_the_rfc_says() -> None:
    assert http2.frame(http2.DATA, http2.END_STREAM, 3, b"ab") == b"\x00\x00\x02\x00\x01\x00\x00\x00\x03ab"
    assert len(http2.frame(0, 0, 1, b"x" * 70_000)) == 70_009
    assert http2.frame(0, 0, 1, b"x" * 70_000)[:3] == (70_000).to_bytes(3, "big")

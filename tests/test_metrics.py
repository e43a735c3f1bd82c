import asyncio
import contextlib
import http.client
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from millirank.errors import ConfigError, MillirankError
from millirank.metrics import FAMILIES, TIME_BOUNDS, Exposition, LoopLag, Metrics
from millirank.metrics.lag import WHILE
from millirank.types import Degraded

DEPLOY = Path(__file__).parent.parent / "deploy" / "prometheus"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Page:
    """What Prometheus reads from a Metrics."""

    def __init__(self, metrics: Metrics) -> None:
        registry = CollectorRegistry()
        registry.register(Exposition(metrics))
        self.text = generate_latest(registry).decode()
        self.families = {family.name: family for family in text_string_to_metric_families(self.text)}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        return self.samples.get((f"millirank_{name}", frozenset(labels.items())))


def everything(metrics: Metrics) -> None:
    """Touches every instrument."""
    metrics.answered("Search", "OK", 0.002, 0.0074)
    metrics.answered("Search", "RESOURCE_EXHAUSTED", None, 0.0001)
    metrics.ranked(24, None)
    metrics.ranked(0, Degraded.DEADLINE.name)
    metrics.refused("OVERLOADED")
    metrics.queued("encode", 0.0003)
    metrics.ran("rerank", requests=2, sequences=40, tokens=750, padded=1000, seconds=0.0051)
    metrics.overran("rerank")
    metrics.lagged(0.0002)
    metrics.lagged(0.0051)
    metrics.restarted("core-0")
    metrics.alive("core-0", up=True)
    metrics.inflight(3)
    metrics.drifted("query", 0.125)
    metrics.sampled(640)


def test_every_instrument_is_read_as_it_was_recorded() -> None:
    metrics = Metrics("frontend-0")
    everything(metrics)
    page = Page(metrics)
    ok = {"method": "Search", "status": "OK"}
    assert page("first_message_seconds_count", **ok) == 1
    assert page("first_message_seconds_count", method="Search", status="RESOURCE_EXHAUSTED") is None
    assert page("final_message_seconds_sum", **ok) == 0.0074
    assert page("final_message_seconds_bucket", **ok, le="0.007") == 0
    assert page("final_message_seconds_bucket", **ok, le="0.008") == 1
    assert page("final_message_seconds_bucket", **ok, le="+Inf") == 1
    assert page("requests_total", method="Search", status="RESOURCE_EXHAUSTED") == 1
    assert page("rerank_depth_bucket", le="0.0") == 1
    assert page("rerank_depth_sum") == 24
    assert page("degraded_total", reason="DEADLINE") == 1
    assert page("refused_total", reason="OVERLOADED") == 1
    assert page("queue_seconds_count", lane="encode") == 1
    assert page("engine_seconds_sum", lane="rerank") == 0.0051
    assert page("batch_requests_sum", lane="rerank") == 2
    assert page("batch_sequences_sum", lane="rerank") == 40
    assert page("batch_tokens_sum", lane="rerank") == 1000
    assert page("valid_tokens_total", lane="rerank") == 750
    assert page("padding_ratio", lane="rerank") == 0.25
    assert page("overruns_total", lane="rerank") == 1
    assert page("event_loop_lag_seconds_count", process="frontend-0") == 2
    assert page("event_loop_stalls_total", process="frontend-0") == 1
    assert page("process_restarts_total", process="core-0") == 1
    assert page("process_up", process="core-0") == 1
    assert page("inflight", process="frontend-0") == 3
    assert page("traffic_drift_index", lengths="query", process="frontend-0") == 0.125
    assert page("traffic_population", process="frontend-0") == 640
    assert {f"{n}_total" if f.type == "counter" else n for n, f in page.families.items()} == set(FAMILIES)


def test_the_bounds_are_those_of_the_design_and_hold_their_upper_edge() -> None:
    design = ".0005 .001 .002 .003 .004 .005 .006 .007 .008 .009 .010 .012 .015 .02 .05 .1 1"
    assert tuple(map(float, design.split())) == TIME_BOUNDS
    timed = {name for name, family in FAMILIES.items() if name.endswith("_seconds")}
    assert len(timed) == 5
    assert all(FAMILIES[name].bounds == TIME_BOUNDS for name in timed)
    metrics = Metrics()
    metrics.queued("encode", 0.010)
    metrics.queued("encode", 0.0100001)
    metrics.queued("encode", 30.0)
    page = Page(metrics)
    read = [page("queue_seconds_bucket", lane="encode", le=le) for le in ("0.009", "0.01", "0.012", "1.0", "+Inf")]
    assert read == [0, 1, 2, 2, 3]


def test_counters_that_alerts_watch_stand_at_zero_from_the_start() -> None:
    metrics = Metrics()
    metrics.alive("core-0", up=True)
    metrics.lagged(0.0)
    page = Page(metrics)
    assert [page("degraded_total", reason=reason.name) for reason in Degraded] == [0] * len(Degraded)
    assert page("refused_total", reason="OVERLOADED") == 0
    assert page("overruns_total", lane="rerank") == 0
    assert page("process_restarts_total", process="core-0") == 0
    assert page("event_loop_stalls_total", process="server") == 0


def test_deltas_hold_what_changed_and_nothing_twice() -> None:
    child, parent = Metrics(), Metrics("supervisor")
    everything(child)
    parent.merge("frontend-0", child.deltas())
    assert child.deltas() == b""
    child.inflight(3)  # the value that was sent
    assert child.deltas() == b""
    child.queued("encode", 0.5)
    child.inflight(4)
    small = child.deltas()
    assert len(msgspec.msgpack.decode(small, type=dict[tuple[str, ...], list[float]])) == 2
    parent.merge("frontend-0", small)
    parent.merge("frontend-0", b"")
    expected = Metrics("frontend-0")
    everything(expected)
    expected.queued("encode", 0.5)
    expected.inflight(4)
    assert Page(parent).samples == pytest.approx(Page(expected).samples)


def test_a_dead_process_leaves_its_counts_and_takes_its_gauges() -> None:
    parent = Metrics("supervisor")
    first, other = Metrics(), Metrics()
    for name, metrics, n in (("frontend-0", first, 5), ("frontend-1", other, 7)):
        parent.alive(name, up=True)
        metrics.answered("Search", "OK", 0.001, 0.004)
        metrics.lagged(0.02)
        metrics.inflight(n)
        parent.merge(name, metrics.deltas())
    parent.forget("frontend-0")
    parent.alive("frontend-0", up=False)
    page = Page(parent)
    assert page("inflight", process="frontend-0") is None
    assert page("inflight", process="frontend-1") == 7
    assert page("process_up", process="frontend-0") == 0
    assert page("event_loop_stalls_total", process="frontend-0") == 1

    again = Metrics()  # a new process starts from nothing, its slot does not
    parent.restarted("frontend-0")
    parent.alive("frontend-0", up=True)
    again.answered("Search", "OK", 0.001, 0.006)
    again.lagged(0.03)
    again.inflight(1)
    parent.merge("frontend-0", again.deltas())
    page = Page(parent)
    assert page("requests_total", method="Search", status="OK") == 3
    assert page("final_message_seconds_sum", method="Search", status="OK") == pytest.approx(0.014)
    assert page("event_loop_stalls_total", process="frontend-0") == 2
    assert page("process_restarts_total", process="frontend-0") == 1
    assert page("process_up", process="frontend-0") == 1
    assert page("inflight", process="frontend-0") == 1


@pytest.mark.parametrize(
    ("deltas", "says"),
    [
        (b"\xc1", "are none"),
        (msgspec.msgpack.encode({("millirank_inflight", ""): ["many"]}), "are none"),
        (msgspec.msgpack.encode({(): [1]}), "are none"),
        (msgspec.msgpack.encode({("millirank_new_total",): [1]}), r"another version \(millirank_new_total\)"),
        (msgspec.msgpack.encode({("millirank_inflight",): [1]}), "another version"),
        (msgspec.msgpack.encode({("millirank_rerank_depth",): [1, 2]}), "another version"),
    ],
)
def test_what_is_no_delta_is_refused_whole(deltas: bytes, says: str) -> None:
    parent = Metrics()
    before = parent.read()
    with pytest.raises(MillirankError, match=rf"frontend-2 sent metrics .*{says}.*restart `millirank serve`"):
        parent.merge("frontend-2", deltas)
    assert parent.read() == before


def test_threads_lose_no_event_and_none_is_read_in_part() -> None:
    child, parent = Metrics(), Metrics("supervisor")
    rounds, threads = 3000, 4

    def record() -> None:
        for _ in range(rounds):
            child.answered("Search", "OK", 0.001, 0.004)
            child.ran("rerank", 1, 3, 60, 64, 0.002)

    workers = [threading.Thread(target=record) for _ in range(threads)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for worker in workers:
            worker.start()
        while any(worker.is_alive() for worker in workers):
            parent.merge("frontend-0", child.deltas())
            series = child.read()
            [ended] = series.get(("millirank_requests_total", "Search", "OK"), [0])
            timed = series.get(("millirank_final_message_seconds", "Search", "OK"), [0])[:-1]
            assert sum(timed) == ended  # an event is read whole or not at all
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(interval)
    parent.merge("frontend-0", child.deltas())
    page = Page(parent)
    n = rounds * threads
    assert page("requests_total", method="Search", status="OK") == n
    assert page("final_message_seconds_count", method="Search", status="OK") == n
    assert page("final_message_seconds_sum", method="Search", status="OK") == pytest.approx(0.004 * n)
    assert page("valid_tokens_total", lane="rerank") == 60 * n


def fetch(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()


def test_metrics_are_served_with_nothing_else_and_the_port_is_freed() -> None:
    metrics = Metrics()
    everything(metrics)
    before = set(threading.enumerate())
    with Exposition(metrics).serve(0) as endpoint:
        text = fetch(endpoint.port)
        metrics.ranked(24, None)
        later = fetch(endpoint.port)
    assert {family.name.split("_")[0] for family in text_string_to_metric_families(text)} == {"millirank"}
    assert "millirank_rerank_depth_count 2.0" in text
    assert "millirank_rerank_depth_count 3.0" in later
    with socket.create_server(("127.0.0.1", endpoint.port)):
        assert {thread for thread in threading.enumerate() if "serve_forever" in thread.name} <= before


def test_an_address_that_cannot_be_bound_names_the_setting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port} .*--metrics-port, or --metrics-port 0 for none"):
            Exposition(Metrics()).serve(port)
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:0 cannot be bound"):
        Exposition(Metrics()).serve(0, "192.0.2.1")  # an address of nobody, RFC 5737


def test_recording_needs_no_prometheus_client() -> None:
    script = (
        "import sys; from millirank.metrics import Exposition, Metrics; m = Metrics(); m.ranked(3, None); m.deltas();"
        "Exposition(m); sys.exit('prometheus_client' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


class Clock:
    """Monotonic seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Loop(asyncio.AbstractEventLoop):
    """An event loop of which only call_later works, when a test says so."""

    def __init__(self) -> None:
        self.scheduled: list[tuple[float, asyncio.TimerHandle]] = []

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: object = None
    ) -> asyncio.TimerHandle:
        assert context is None
        handle = asyncio.TimerHandle(delay, callback, args, self)
        self.scheduled.append((delay, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing counts them."""

    def get_debug(self) -> bool:
        return False

    def tick(self) -> None:
        _, handle = self.scheduled.pop()
        assert not handle.cancelled()
        handle._run()


def test_lag_is_what_a_tick_comes_too_late_beyond_the_timers_millisecond() -> None:
    clock, loop, metrics = Clock(), Loop(), Metrics()
    lag = LoopLag(clock=clock)
    assert lag.lag == 0
    lag.start(loop, metrics, every=0.002)
    assert [delay for delay, _ in loop.scheduled] == [0.002]
    clock.now += 0.0015  # uvloop may be early
    loop.tick()
    assert lag.lag == 0
    clock.now += 0.002 + 0.008
    assert lag.lag == pytest.approx(0.007)  # the tick is overdue
    loop.tick()
    assert lag.lag == pytest.approx(0.007)
    clock.now += 0.0021
    loop.tick()
    assert lag.lag == 0
    assert lag.worst() == pytest.approx(0.008)
    assert lag.worst() == 0
    page = Page(metrics)
    assert page("event_loop_lag_seconds_count", process="server") == 3
    assert page("event_loop_stalls_total", process="server") == 1


def test_a_ticker_that_is_stopped_ticks_no_more_and_one_that_is_started_again_ticks_once() -> None:
    clock, loop = Clock(), Loop()
    lag = LoopLag(clock=clock)
    lag.stop()
    lag.start(loop, Metrics())
    lag.start(loop, Metrics())
    assert [handle.cancelled() for _, handle in loop.scheduled] == [True, False]
    lag.stop()
    clock.now += 60
    assert [handle.cancelled() for _, handle in loop.scheduled] == [True, True]
    assert lag.lag == 0


async def test_a_blocked_loop_is_seen() -> None:
    metrics, lag = Metrics(), LoopLag()
    lag.start(asyncio.get_running_loop(), metrics)
    await asyncio.sleep(0.01)
    time.sleep(0.05)  # noqa: ASYNC251 - the stall
    assert lag.lag > 0.04
    await asyncio.sleep(0.01)
    lag.stop()
    assert lag.worst() > 0.04
    stalls = Page(metrics)("event_loop_stalls_total", process="server")
    assert stalls is not None
    assert stalls >= 1


def test_rules_name_only_metrics_that_exist() -> None:
    rules = (DEPLOY / "millirank.rules.yml").read_text(encoding="utf-8")
    recorded = set(re.findall(r"record: (\S+)", rules))
    used = set(re.findall(r"(?<![\w:])millirank_[a-z_]+", rules))
    families = {name: (f"{name}_bucket", f"{name}_sum", f"{name}_count") for name in FAMILIES}
    assert used <= {series for name, parts in families.items() for series in (name, *parts)}
    assert set(re.findall(r"instance\w*:[\w:]+", rules)) == recorded


@pytest.fixture
def promtool() -> str:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is missing: install prometheus (Debian: apt-get install prometheus)")
    return tool


def test_promtool_accepts_the_rules_the_configuration_and_the_page(promtool: str) -> None:
    metrics = Metrics()
    everything(metrics)
    for arguments, text in (
        (["check", "rules", "--lint-fatal", str(DEPLOY / "millirank.rules.yml")], ""),
        (["check", "config", "--lint-fatal", str(DEPLOY / "prometheus.yml")], ""),
        (["check", "metrics"], Page(metrics).text),
    ):
        done = subprocess.run(
            [promtool, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


ALERTS = """\
rule_files: [{rules}]
evaluation_interval: 5s
tests:
  - interval: 5s
    input_series:
      - {{series: 'millirank_final_message_seconds_bucket{{instance="a",status="OK",le="0.01"}}', values: '0+98x120'}}
      - {{series: 'millirank_final_message_seconds_bucket{{instance="a",status="OK",le="0.012"}}', values: '0+100x120'}}
      - {{series: 'millirank_final_message_seconds_bucket{{instance="a",status="OK",le="+Inf"}}', values: '0+100x120'}}
      - {{series: 'millirank_final_message_seconds_bucket{{instance="b",status="OK",le="0.01"}}', values: '0+100x120'}}
      - {{series: 'millirank_final_message_seconds_bucket{{instance="b",status="OK",le="+Inf"}}', values: '0+100x120'}}
      - {{series: 'millirank_final_message_seconds_count{{instance="a",status="OK"}}', values: '0+100x120'}}
      - {{series: 'millirank_requests_total{{instance="a",status="OK"}}', values: '0+98x120'}}
      - {{series: 'millirank_requests_total{{instance="a",status="RESOURCE_EXHAUSTED"}}', values: '0+2x120'}}
      - {{series: 'millirank_refused_total{{instance="a",reason="OVERLOADED"}}', values: '0+2x120'}}
      - {{series: 'millirank_process_restarts_total{{instance="a",process="core-0"}}', values: '0x60 1x60'}}
      - {{series: 'up{{instance="a",job="millirank"}}', values: '1x120'}}
    promql_expr_test:
      - expr: 'round(instance:millirank_late:ratio_1m, 0.001)'
        eval_time: 5m
        exp_samples: [{{labels: '{{instance="a"}}', value: 0.02}}]
      - expr: 'round(instance:millirank_refused:ratio_1m, 0.001)'
        eval_time: 5m
        exp_samples: [{{labels: '{{instance="a"}}', value: 0.02}}]
      - {{expr: 'ALERTS{{alertname="MillirankLate",alertstate="firing",instance="b"}}', eval_time: 5m, exp_samples: []}}
      - expr: 'count by (alertname) (ALERTS{{alertstate="firing"}})'
        eval_time: 4m
        exp_samples:
          - {{labels: '{{alertname="MillirankLate"}}', value: 1}}
          - {{labels: '{{alertname="MillirankRefusing"}}', value: 1}}
      - expr: 'count by (alertname) (ALERTS{{alertstate="firing"}})'
        eval_time: 6m
        exp_samples:
          - {{labels: '{{alertname="MillirankLate"}}', value: 1}}
          - {{labels: '{{alertname="MillirankRefusing"}}', value: 1}}
          - {{labels: '{{alertname="MillirankProcessRestarted"}}', value: 1}}
"""


def test_promtool_sees_the_alerts_fire(promtool: str, tmp_path: Path) -> None:
    test = tmp_path / "alerts.yml"
    test.write_text(ALERTS.format(rules=DEPLOY / "millirank.rules.yml"), encoding="utf-8")
    done = subprocess.run(
        [promtool, "test", "rules", str(test)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_late_tick_counts_until_the_next_one_where_there_is_traffic() -> None:
    clock, loop = Clock(), Loop()
    lag = LoopLag(clock=clock)
    lag.start(loop, Metrics(), every=0.002, rest=0.02)
    lag.traffic()
    clock.now += 0.002 + 0.03
    loop.tick()
    assert lag.lag == pytest.approx(0.029)
    clock.now += 0.0025  # the loop works on what has waited, so the next tick is late, too
    assert lag.lag == pytest.approx(0.029)
    loop.tick()
    assert lag.lag == 0


def test_what_a_tick_found_at_rest_is_past_when_traffic_comes() -> None:
    clock, loop = Clock(), Loop()
    lag = LoopLag(clock=clock)
    lag.start(loop, Metrics(), every=0.002, rest=0.02)
    clock.now += 0.02 + 0.005
    loop.tick()
    assert lag.lag == pytest.approx(0.004)
    clock.now += 0.01
    assert lag.lag == 0
    lag.traffic()
    assert lag.lag == 0


def test_a_loop_without_traffic_is_looked_at_less_often() -> None:
    clock, loop = Clock(), Loop()
    lag = LoopLag(clock=clock)
    lag.start(loop, Metrics(), every=0.002, rest=0.02)
    lag.traffic()
    lag.traffic()  # the next look is near already
    for _ in range(2 * WHILE):
        wait, handle = loop.scheduled[-1]
        clock.now += wait
        handle._run()
    waits = [wait for wait, _ in loop.scheduled]
    assert waits[0] == 0.02
    assert waits[1 : WHILE + 2] == [0.002] * (WHILE + 1)  # one for the first call, the rest from the second on
    assert set(waits[WHILE + 2 :]) == {0.02}
    assert loop.scheduled[0][1].cancelled()
    clock.now += 1
    assert lag.lag > 0.9

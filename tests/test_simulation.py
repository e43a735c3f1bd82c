import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millirank.costs import CostTable
from millirank.errors import ConfigError
from millirank.simulation import Device, Ended, Outcome, Scenario, Summary, Trace, simulate
from millirank.simulation.compare import compare, markdown
from millirank.simulation.device import Around, Fit, Slowdown
from millirank.simulation.events import Events, Worker
from millirank.simulation.noise import Empirical, Lognormal
from millirank.simulation.outcome import REASONS
from millirank.simulation.traces import burst, diurnal, from_file, poisson, steps
from millirank.types import Degraded
from millirank_engines.base import Profile

QUIET = Lognormal(sigma=0.05, stalls=0.0)
GPU = Device.named("h100")
CPU = Device(  # a pair takes half a millisecond, and what is around the engines next to nothing
    "test",
    encode={Profile(n, 8): 0.4e-3 + 0.2e-3 * n for n in (1, 2, 4, 8)},
    rerank={Profile(n, 32): 0.3e-3 + 0.5e-3 * n for n in (1, 2, 3, 4, 6, 8, 12)},
    noise=QUIET,
    around=Around(accept=5e-5, refuse=2e-5, retrieve=2e-4, reply=5e-5, hop=2e-5, batch=5e-5),
    slowdown=Slowdown(rerank=1.5),
)
ONE = Scenario(CPU)
TICK = 1e-9  # seconds, of rounding


def at(rate: float, seconds: float = 4.0, seed: int = 0) -> Trace:
    return Trace.of(poisson(rate, seconds, seed), cap=12)


def ran(rate: float, scenario: Scenario = ONE, seconds: float = 4.0) -> Summary:
    return simulate(scenario, at(rate, seconds)).summary(1.0)


def deepest(outcome: Outcome) -> int:
    return int(outcome.depth.max())


def test_events_happen_in_order_and_a_worker_does_one_thing_after_the_other() -> None:
    events, seen = Events(), []
    worker = Worker(events)

    def task(name: str, seconds: float) -> None:
        worker.post(lambda: (seconds, lambda: seen.append((name, round(events.now, 3)))))

    events.at(2.0, task, "second", 0.5)
    events.at(1.0, task, "first", 1.5)
    events.at(2.6, task, "third", 0.25)
    events.run()
    assert seen == [("first", 2.5), ("second", 3.0), ("third", 3.25)]
    assert worker.worked == 2.25
    events.at(1.0, lambda: seen.append(("late", events.now)))  # an event of the past happens now
    events.run()
    assert seen[-1] == ("late", 3.25)


@given(
    st.lists(st.tuples(st.floats(0.01, 0.1), st.floats(0, 6000)), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.floats(0.001, 0.03),
    st.floats(0.1, 8),
    st.integers(0, 12),
)
@settings(max_examples=40, deadline=None)
def test_every_arrival_ends_exactly_once(
    plan: list[tuple[float, float]], cores: int, frontends: int, sla: float, trouble: float, cap: int
) -> None:
    scenario = Scenario(CPU, cores=cores, frontends=frontends, sla=sla, trouble=lambda _core, _now: trouble)
    outcome = simulate(scenario, Trace.of(steps(plan), cap=cap))  # a second end raises
    answered = outcome.ended == Ended.ANSWERED
    assert (outcome.ended != Ended.OPEN).all()
    assert (np.isfinite(outcome.final) == answered).all()
    assert (np.isfinite(outcome.first) == answered).all()
    assert (outcome.first[answered] <= outcome.final[answered]).all()
    assert ((outcome.depth >= 0) == answered).all()
    assert (outcome.depth <= cap).all()
    assert sum(lane.requests.sum() for lane in outcome.encodes) <= len(outcome.arrivals)


def test_an_idle_service_reranks_as_deep_as_fits_and_refuses_nobody() -> None:
    still = replace(ONE, device=replace(CPU, noise=Lognormal(0.0, 0.0)), sla=0.0085)
    summary = simulate(still, Trace.of(np.arange(100) / 5, cap=12)).summary(5.0)
    assert summary.refused == summary.late == 0
    assert not summary.degraded
    left = still.sla - still.reply - (summary.first_p50 - CPU.around.reply) - CPU.around.hop
    fits = CostTable(CPU.rerank).depth_that_fits([np.full(12, 32)], left)
    assert 2 < fits == summary.depth_p50 < 12
    assert summary.final_p99 < still.sla - still.reply + CPU.around.reply + CPU.around.hop + TICK
    assert summary.encode_batch == summary.rerank_batch == 1
    deeper = simulate(replace(ONE, sla=0.02), Trace.of(np.arange(100) / 5, cap=12))
    assert deeper.summary(5.0).depth_p50 == 12


def test_depth_shrinks_as_the_rate_grows_and_p99_holds() -> None:
    summaries = [ran(rate) for rate in (10, 50, 100, 200, 400)]
    depths = [summary.depth_mean for summary in summaries]
    assert all(later <= earlier + 0.2 for earlier, later in pairwise(depths))
    assert depths[0] > 3 * depths[-1]
    assert all(summary.final_p99 <= ONE.sla for summary in summaries)


def test_more_than_the_encoder_bears_costs_the_dense_index_and_refuses_nobody() -> None:
    summary = ran(4000, seconds=2.5)  # the encoder carries some 2,000 a second
    assert summary.degraded[Degraded.ENCODER_OVERRUN] > 0.1
    assert summary.refused < 0.01
    assert summary.final_p99 <= ONE.sla
    assert ran(50).refused == 0


def test_more_than_the_frontend_bears_is_refused_and_not_late() -> None:
    slow = replace(ONE, device=replace(CPU, around=replace(CPU.around, accept=2e-4, retrieve=4e-4)))
    summary = ran(6000, slow, seconds=2.5)  # its index thread does 2,500 a second
    assert summary.refused > 0.4
    assert summary.final_p99 <= ONE.sla
    assert summary.late < 0.01


def test_after_a_burst_the_queue_drains_and_p99_is_back() -> None:
    trace = Trace.of(burst(50, 5000, begin=3, lasts=1, seconds=8), cap=12)
    outcome = simulate(ONE, trace)
    before, during, after = (outcome.summary(*span) for span in ((1, 3), (3, 4), (6, 8)))
    assert during.degraded[Degraded.ENCODER_OVERRUN] > 0.2
    assert during.depth_mean < before.depth_mean / 2
    assert during.final_p99 <= ONE.sla * 1.1
    assert after.refused <= 0.02
    assert after.final_p99 <= before.final_p99 * 1.05
    assert after.depth_mean > 0.7 * before.depth_mean


def test_through_a_day_depth_follows_the_load() -> None:
    outcome = simulate(ONE, Trace.of(diurnal(120, 0.9, period=8, seconds=16), cap=12))
    noon, night = outcome.summary(9, 11), outcome.summary(13, 15)  # of the second day
    assert night.queries < noon.queries / 4
    assert night.depth_mean > 1.5 * noon.depth_mean
    assert max(noon.final_p99, night.final_p99) <= ONE.sla


def slow_from(begin: float, factor: float, core: int = 0) -> Callable[[int, float], float]:
    return lambda place, now: factor if now >= begin and place == core else 1.0


def test_an_engine_that_slows_down_costs_depth_and_not_the_promise() -> None:
    outcome = simulate(replace(ONE, trouble=slow_from(4, 3)), at(30, seconds=12))
    before, learning, after = (outcome.summary(*span) for span in ((1, 4), (4, 6), (6, 12)))
    assert after.depth_mean < before.depth_mean / 2
    answered = outcome.ended == Ended.ANSWERED
    assert outcome.final[answered].max() <= ONE.sla + TICK
    overran = [summary.degraded.get(Degraded.RERANKER_OVERRUN, 0.0) for summary in (learning, after)]
    assert overran[1] < overran[0]  # the pace has learnt


def test_two_cores_share_the_work() -> None:
    one, two = simulate(ONE, at(400)), simulate(replace(ONE, cores=2), at(400))
    jobs = [len(e.starts) + len(r.starts) for e, r in zip(two.encodes, two.reranks, strict=True)]
    assert max(jobs) / sum(jobs) < 0.6
    assert two.summary(1.0).depth_mean > 1.5 * one.summary(1.0).depth_mean


def test_a_dead_slow_core_gets_less_and_harms_nobody() -> None:
    outcome = simulate(replace(ONE, cores=2, trouble=slow_from(0, 10, core=1)), at(400))
    fast, slow = np.bincount(outcome.core[outcome.core >= 0])
    assert slow < fast / 3
    assert outcome.reranks[1].requests.sum() < outcome.reranks[0].requests.sum() / 3
    summary = outcome.summary(1.0)
    assert summary.refused < 0.01
    assert summary.final_p99 <= ONE.sla


def test_frontends_share_the_load_and_one_that_is_too_few_refuses() -> None:
    slow = replace(CPU, around=replace(CPU.around, accept=1.2e-3, refuse=1e-4))
    one, three = (ran(900, Scenario(slow, cores=2, frontends=n), seconds=3) for n in (1, 3))
    assert one.refused > three.refused
    assert one.frontend_busy > 0.75 > three.frontend_busy


def test_the_reranker_is_slower_beside_the_encoder() -> None:
    alone = ran(150, replace(ONE, device=replace(CPU, slowdown=Slowdown())))
    beside = ran(150, replace(ONE, device=replace(CPU, slowdown=Slowdown(rerank=4))))
    assert beside.depth_mean < alone.depth_mean


def test_the_same_seed_gives_the_same_outcome() -> None:
    one, same, other = (simulate(replace(ONE, seed=seed), at(200)) for seed in (1, 1, 2))
    for name in ("ended", "first", "final", "depth", "degraded", "core"):
        assert np.array_equal(getattr(one, name), getattr(same, name), equal_nan=name in {"first", "final"})
    assert not np.array_equal(one.final, other.final, equal_nan=True)


def test_a_promise_that_nobody_can_keep_is_told_at_once() -> None:
    outcome = simulate(replace(ONE, sla=0.0021), at(50, seconds=1))
    assert (outcome.ended == Ended.TOO_LATE).all()
    summary = outcome.summary()
    assert summary.refused == 1
    assert np.isnan(summary.final_p99)
    assert np.isnan(summary.depth_p50)


def test_no_query_is_no_trouble() -> None:
    summary = simulate(ONE, Trace.of(np.empty(0))).summary()
    assert summary.queries == 0
    assert summary.refused == summary.encode_busy == summary.rerank_batch == 0


def test_losses_are_counted_by_reason() -> None:
    outcome = simulate(replace(ONE, trouble=lambda _core, now: 30.0 if now > 1 else 1.0), at(50, seconds=2))
    summary = outcome.summary(1.1)
    assert summary.degraded[Degraded.ENCODER_OVERRUN] > 0.5
    assert sum(summary.degraded.values()) == pytest.approx((outcome.degraded[outcome.arrivals > 1.1] > 0).mean(), 0.1)
    assert outcome.degraded.max() <= len(REASONS)


def test_a_scenario_without_a_server_is_refused() -> None:
    with pytest.raises(ConfigError, match="cores is 0: set it to 1 or more"):
        Scenario(CPU, cores=0)
    with pytest.raises(ConfigError, match="sla is 0"):
        Scenario(CPU, sla=0)


def test_a_shallow_gpu_is_one_that_is_busy() -> None:
    calm, busy = (simulate(Scenario(GPU, frontends=n), Trace.of(poisson(r, 1.5))) for r, n in ((300, 1), (9000, 10)))
    assert calm.summary(0.5).depth_p50 == deepest(calm) == 50
    summary = busy.summary(0.5)
    assert summary.depth_p50 < 50
    assert summary.refused == summary.late == 0
    assert summary.rerank_batch > 2


def test_arrivals_follow_their_rates() -> None:
    assert len(poisson(1000, 10)) == pytest.approx(10_000, rel=0.05)
    spike = burst(100, 1000, begin=2, lasts=1, seconds=6)
    assert ((spike >= 2) & (spike < 3)).sum() == pytest.approx(1000, rel=0.15)
    stopped = steps([(1, 500), (2, 0), (1, 500)])
    assert not ((stopped > 1) & (stopped < 3)).any()
    assert (stopped >= 3).sum() == pytest.approx(500, rel=0.2)
    day = diurnal(1000, 0.8, period=10, seconds=10)
    assert (day < 5).sum() / len(day) == pytest.approx((0.5 + 0.8 / np.pi), rel=0.05)
    assert np.allclose(poisson(100, 10)[:500], 2 * poisson(200, 10)[:500])  # common draws


def test_arrivals_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "times"
    path.write_text("1700000000.5\n1700000003\n1700000001.5\n")
    assert from_file(path).tolist() == [0, 1, 2.5]
    path.write_text("soon\n")
    with pytest.raises(ConfigError, match="write one number of seconds a line"):
        from_file(path)
    path.write_text("nan\n")
    with pytest.raises(ConfigError, match="finite"):
        from_file(path)
    with pytest.raises(ConfigError, match="no list of timestamps"):
        from_file(tmp_path / "missing")


def test_lengths_are_sampled_up_to_where_products_are_cut() -> None:
    trace = Trace.of(poisson(500, 1), cap=20, pair_tokens=40, spread=0.5, query_tokens=6)
    assert trace.pairs.shape == (len(trace), 20)
    assert trace.pairs.max() == 40
    assert np.median(trace.pairs) >= 39
    assert trace.pairs.min() >= 9


def test_noise_has_its_quantiles() -> None:
    rng = np.random.default_rng(0)
    body = Lognormal(sigma=0.1, stalls=0.0)
    assert np.quantile(body.factors(rng, 50_000), 0.9) == pytest.approx(body.quantile(0.9), rel=0.01)
    assert Lognormal(sigma=0.1, stalls=0.01, stall=3).factors(rng, 50_000).max() > 5
    measured = Empirical(np.array([2.0, 4.0, 4.0, 8.0]))
    assert set(measured.factors(rng, 100).tolist()) == {0.5, 1.0, 2.0}
    assert measured.quantile(1.0) == 2


def test_shapes_that_were_not_measured_are_fitted() -> None:
    fit = Fit({Profile(1, 10): 0.3, Profile(3, 10): 0.5})
    assert fit(Profile(5, 10)) == pytest.approx(0.7)
    assert Fit({Profile(1, 10): 0.3})(Profile(9, 10)) == pytest.approx(0.3)
    wire = GPU.around.sequence
    measured = {Profile(32, 32): 0.278e-3, Profile(50, 64): 0.415e-3, Profile(512, 32): 1.424e-3}
    assert {p: GPU.rerank[p] - wire * p.batch for p in measured} == pytest.approx(measured)
    lane = {p: GPU.rerank[p] - wire * p.batch for p in GPU.rerank}
    assert lane[Profile(32, 32)] < lane[Profile(100, 32)] < lane[Profile(256, 64)]


@pytest.mark.parametrize("name", ["h100", "cpu-2"])
def test_devices_that_ship_are_whole(name: str) -> None:
    device = Device.named(name)
    assert device.source
    assert 0 < device.idle < 0.005
    assert min(device.encode.values()) > 0 < min(device.rerank.values())


def test_a_device_that_nobody_knows_names_those_there() -> None:
    with pytest.raises(ConfigError, match="'abacus': choose cpu-2, h100"):
        Device.named("abacus")


def test_a_measured_table_takes_the_place_of_the_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    table = {"device": "mine", "encode": {"1x8": 0.001}, "rerank": {"1x32": 0.002, "4x32": 0.004}}
    path.write_text(json.dumps(table))
    device = CPU.measured(path)
    assert device.name == "mine"
    assert device.rerank == {Profile(1, 32): 0.002, Profile(4, 32): 0.004}
    assert device.around == CPU.around
    path.write_text(json.dumps(table | {"quantile": 0.9}))
    assert CPU.measured(path).encode[Profile(1, 8)] == pytest.approx(0.001 / QUIET.quantile(0.9))
    for wrong in (table | {"encode": {}}, table | {"encode": {"x": 1.0}}, table | {"rerank": {"1x8": -1.0}}, {"a": 1}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(ConfigError, match="is no cost table"):
            CPU.measured(path)
    with pytest.raises(ConfigError, match="is no cost table"):
        CPU.measured(tmp_path / "missing")


def test_a_slice_is_slower_where_there_is_work() -> None:
    part = GPU.slice(7)
    ratio = {profile: part.rerank[profile] / cost for profile, cost in GPU.rerank.items()}
    assert all(1 <= times < 7 for times in ratio.values())
    assert ratio[Profile(512, 32)] > ratio[Profile(32, 32)]
    assert GPU.slice(1) is GPU
    with pytest.raises(ConfigError, match="--slices 1"):
        GPU.slice(0)


def test_predictions_stand_beside_measurements(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    rows = [
        {"case": f"{rate} queries/s", "metric": metric, "value": value, "unit": unit}
        for rate in (200, 50)
        for metric, value, unit in (
            ("offered", rate, "queries/s"),
            ("final p99", 9.0, "ms"),
            ("depth mean", 4.0, "candidates"),
            ("client cpu", 1.0, "ms/call"),
        )
    ]
    path.write_text(json.dumps({"machine": "any", "rows": rows}))
    pairs = compare(path, ONE, seconds=2, cap=12)
    assert [(pair.qps, pair.metric) for pair in pairs] == [
        (50, "final p99"), (50, "depth mean"), (200, "final p99"), (200, "depth mean"),
    ]  # fmt: skip
    assert all(pair.measured in {9.0, 4.0} and pair.predicted > 0 for pair in pairs)
    assert pairs[1].predicted > pairs[3].predicted
    assert markdown(pairs).count("\n") == 5
    path.write_text(json.dumps({"rows": []}))
    with pytest.raises(ConfigError, match="no row with the metric offered"):
        compare(path, ONE)
    with pytest.raises(ConfigError, match="is no benchmark"):
        compare(tmp_path / "missing", ONE)

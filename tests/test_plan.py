import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from millirank.commands.plan import plan as command
from millirank.errors import ConfigError
from millirank.simulation import Device
from millirank.simulation.sizing import GROUP, Goal, expected, plan

GPU, CPU = Device.named("h100"), Device.named("cpu-2")
QUERIES = 600  # of a simulation
quick = partial(plan, queries=QUERIES)
app = typer.Typer()
app.command()(command)


def run(arguments: Sequence[str]) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    return result.output


def test_the_fleet_grows_with_the_load_and_keeps_its_goal() -> None:
    goals = [Goal(qps, depth=20) for qps in (500, 3000, 6000)]
    plans = [quick(goal, GPU) for goal in goals]
    cores = [one.cores for one in plans]
    assert cores == sorted(cores)
    assert cores[0] == 1 < cores[-1]
    assert all(goal.met(one.summary) for goal, one in zip(goals, plans, strict=True))
    assert [one.frontends for one in plans] == sorted(one.frontends for one in plans)


def test_a_plan_is_the_smallest_that_keeps_the_goal() -> None:
    goal = Goal(4000, depth=30)
    one = quick(goal, GPU)
    assert one.cores > 1
    assert not goal.met(expected(goal, GPU, one.cores - 1, queries=QUERIES).summary)


def test_headroom_takes_more_cores_and_gives_more_depth() -> None:
    goal = Goal(3000, depth=30)
    full, spare = quick(goal, GPU), quick(goal, GPU, load=0.6)
    assert spare.cores > full.cores
    assert spare.summary.rerank_busy < full.summary.rerank_busy
    assert spare.summary.depth_mean >= full.summary.depth_mean


def test_a_deeper_rerank_and_a_smaller_slice_take_more() -> None:
    whole = quick(Goal(2000, depth=30), GPU).cores
    assert quick(Goal(2000, depth=50), GPU).cores >= whole
    assert quick(Goal(2000, depth=30), GPU.slice(7)).cores >= whole


def test_a_large_fleet_is_groups_behind_a_balancer() -> None:
    one = expected(Goal(20_000, depth=10), GPU, 2 * GROUP + 1, queries=QUERIES)
    assert one.groups == 3
    assert one.summary.frontend_busy < 0.6


def test_what_no_fleet_can_do_names_its_floor() -> None:
    with pytest.raises(
        ConfigError, match=r"even when idle, so no fleet can: use --depth [2-6], or --sla-ms \d+"
    ) as told:
        plan(Goal(100, depth=50), CPU)
    sla = float(str(told.value).rpartition(" ")[2])
    assert quick(Goal(1, depth=50, sla=sla / 1e3), CPU).cores == 1  # the advice holds
    with pytest.raises(ConfigError, match=r"within 3 ms even when idle, so no fleet can: use --sla-ms [4-9]"):
        plan(Goal(100, depth=2, sla=0.003), GPU)
    with pytest.raises(ConfigError, match="set --pairs-length to 64"):
        plan(Goal(100, pair_tokens=100), GPU)


@pytest.mark.parametrize("wrong", [{"qps": 0}, {"qps": float("nan")}, {"depth": 0}, {"sla": -1}])
def test_what_is_no_goal_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="set it above 0"):
        replace(Goal(100), **wrong)


def test_the_command_prints_both_fleets_and_their_cost() -> None:
    printed = run(["--qps", "1000", "--depth", "20", "--price", "2.5"])
    for words in ("at 100 % load", "at 75 % load", "devices", "final message p50 / p99", "cost a million queries"):
        assert words in printed
    assert "0.694" in printed  # 2.5 an hour for 3.6 million queries
    assert "TensorRT 10.6" in printed
    assert "slices" not in printed


def test_the_command_counts_slices_in_devices() -> None:
    printed = run(["--qps", "300", "--depth", "5", "--slices", "7"])
    assert "slices" in printed
    assert "assumed: in a slice" in printed
    assert "cost" not in printed


def test_the_command_takes_a_measured_table(tmp_path: Path) -> None:
    costs = tmp_path / "costs.json"
    table = {"device": "mine", "encode": {"1x8": 1e-4, "8x8": 2e-4}, "rerank": {"1x32": 1e-4, "50x32": 5e-4}}
    costs.write_text(json.dumps(table))
    printed = run(["--qps", "200", "--depth", "10", "--costs", str(costs)])
    assert "queries/s on mine" in printed
    assert str(costs) in printed


def test_the_command_refuses_what_it_cannot_plan() -> None:
    with pytest.raises(ConfigError, match="no device is called 'abacus'"):
        run(["--qps", "100", "--device", "abacus"])
    with pytest.raises(ConfigError, match="price is -1"):
        run(["--qps", "100", "--price", "-1"])

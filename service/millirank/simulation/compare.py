"""What the simulation predicts beside what a load test measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from millirank.errors import ConfigError

from .outcome import Summary
from .simulate import Scenario, simulate
from .traces import Trace, poisson

METRICS = ("first p50", "first p99", "final p50", "final p99", "depth mean", "refused", "degraded")


class Row(msgspec.Struct, frozen=True):
    """A figure of a benchmark."""

    case: str
    metric: str
    value: float
    unit: str


class _Report(msgspec.Struct, frozen=True):
    rows: list[Row]


@dataclass(frozen=True)
class Pair:
    """One figure, twice; in the unit of the measurement."""

    case: str
    qps: float
    metric: str
    unit: str
    measured: float
    predicted: float


def compare(
    report: Path,
    scenario: Scenario,
    *,
    seconds: float = 10.0,
    cap: int = 50,
    pair_tokens: int = 32,
    spread: float = 0.0,
) -> list[Pair]:
    """Plays every load of a report on a simulated service.

    Args:
        report: JSON in the form of docs/benchmarks; a case is a load if it has the metric offered, in queries/s.
        scenario: what served.
        seconds: of each simulation, a tenth of which is not counted.
        cap: candidates of each query.
        pair_tokens: see Trace.of.
        spread: see Trace.of.

    Returns:
        A pair for each of METRICS that a load has, by offered rate.

    Raises:
        ConfigError: if the file holds no load.
    """
    try:
        rows = msgspec.json.decode(report.read_bytes(), type=_Report).rows
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{report} is no benchmark ({error}): give the JSON of `millirank loadtest`") from error
    loads: dict[str, dict[str, Row]] = {}
    for row in rows:
        loads.setdefault(row.case, {})[row.metric] = row
    offered = sorted((load["offered"].value, case) for case, load in loads.items() if "offered" in load)
    if not offered:
        raise ConfigError(f"{report} has no row with the metric offered: give the JSON of `millirank loadtest`")
    pairs = []
    for qps, case in offered:
        arrivals = poisson(qps, seconds, scenario.seed)
        trace = Trace.of(arrivals, cap=cap, pair_tokens=pair_tokens, spread=spread, seed=scenario.seed)
        summary = simulate(scenario, trace).summary(seconds / 10)
        load = loads[case]
        pairs += [
            Pair(case, qps, metric, load[metric].unit, load[metric].value, _predicted(summary, metric))
            for metric in METRICS
            if metric in load
        ]
    return pairs


def markdown(pairs: Sequence[Pair]) -> str:
    """A table for a page, one line a figure."""
    lines = ["| case | metric | measured | predicted |", "| --- | --- | --- | --- |"]
    lines += [f"| {p.case} | {p.metric} ({p.unit}) | {p.measured:.3g} | {p.predicted:.3g} |" for p in pairs]
    return "\n".join(lines)


def _predicted(summary: Summary, metric: str) -> float:
    """In milliseconds, candidates or percent, as a load test writes them."""
    return {
        "first p50": 1e3 * summary.first_p50,
        "first p99": 1e3 * summary.first_p99,
        "final p50": 1e3 * summary.final_p50,
        "final p99": 1e3 * summary.final_p99,
        "depth mean": summary.depth_mean,
        "refused": 100 * summary.refused,
        "degraded": 100 * sum(summary.degraded.values()),
    }[metric]

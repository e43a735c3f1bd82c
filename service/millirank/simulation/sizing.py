"""How large a fleet must be: simulations of more and more cores until the promise is kept."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from millirank.costs import CostTable
from millirank.errors import ConfigError
from millirank.types import Degraded

from .device import Device
from .outcome import Summary
from .simulate import Scenario, simulate
from .traces import Trace, poisson

GROUP = 8  # cores at most behind one set of frontends; groups stand behind a load balancer
FRONTEND_BUSY = 0.5  # share of a frontend's event loop that is planned for: beyond it queries wait for Python
WARM = 0.1  # simulated seconds, and at least so many queries a core, before anything counts
WARM_QUERIES = 300
MEASURED = 5000  # queries; p99 is then of the fifty slowest
IDLE_QUERIES = 120
IDLE_RATE = 2.0  # queries a second
MOST = 4096  # cores
GUESSED_BUSY = 0.75  # share of the reranker's time, where the search begins
SLA_STEP = 1.1  # by which an SLA is raised until it can be kept


@dataclass(frozen=True)
class Goal:
    """What the fleet must do.

    Attributes:
        qps: queries a second.
        depth: candidates that at least half of the queries must have reranked.
        sla: seconds to the final message, for 99 % of the answered.
        refused: share of queries at most, with those that the lexical index alone answered.
        pair_tokens: of a query with a product, special ones included.
    """

    qps: float
    depth: int = 50
    sla: float = 0.010
    refused: float = 0.001
    pair_tokens: int = 32

    def __post_init__(self) -> None:
        """Refuses what is no goal."""
        for name in ("qps", "depth", "sla", "pair_tokens"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value}: set it above 0")

    def met(self, summary: Summary) -> bool:
        """Whether what was simulated keeps it; not, if nothing was answered."""
        lost = summary.refused + summary.degraded.get(Degraded.ENCODER_OVERRUN, 0.0)
        return summary.final_p99 <= self.sla and lost <= self.refused and summary.depth_p50 >= self.depth


@dataclass(frozen=True)
class Plan:
    """A fleet and what is expected of it.

    Attributes:
        cores: one a device, slice or CPU.
        groups: of cores with their own frontends.
        frontends: processes, in all groups.
        summary: of one group at its share of the load.
    """

    cores: int
    groups: int
    frontends: int
    summary: Summary


def plan(
    goal: Goal, device: Device, *, load: float = 1.0, least: int = 1, queries: int = MEASURED, seed: int = 0
) -> Plan:
    """The smallest fleet that keeps the goal at goal.qps / load, and what it does at goal.qps.

    Args:
        goal: what is asked for.
        device: of every core.
        load: of the fleet's capacity that goal.qps may take; 1 is all of it.
        least: cores that are known to be needed.
        queries: of each simulation.
        seed: of the draws, which are common to all sizes.

    Raises:
        ConfigError: if no number of cores keeps it; says what an idle one does.
    """
    refuse_impossible(goal, device)
    full = replace(goal, qps=goal.qps / load)
    tried: dict[int, Plan] = {}

    def enough(cores: int) -> bool:
        tried[cores] = expected(full, device, cores, queries=queries, seed=seed)
        return full.met(tried[cores].summary)

    few = least - 1  # not enough
    many = max(least, round(full.qps * _alone(goal, device) / GUESSED_BUSY))
    step = 1
    while not enough(many):
        few, many, step = many, many + step, 2 * step
        if many > MOST:
            raise ConfigError(
                f"more than {MOST} cores of {device.name} are needed for {full.qps:g} queries/s: lower --qps or --depth"
            )
    step = 1
    while many - few > 1:  # the answer is mostly near: steps that double, then halves
        middle = many - step if many - step > few else (few + many) // 2
        few, many, step = (few, middle, 2 * step) if enough(middle) else (middle, many, many)
    return tried[many] if full == goal else expected(goal, device, many, queries=queries, seed=seed)


def expected(goal: Goal, device: Device, cores: int, *, queries: int = MEASURED, seed: int = 0) -> Plan:
    """What a fleet of so many cores does at the goal's rate: its smallest group is simulated, at its share."""
    groups = math.ceil(cores / GROUP)
    own = cores // groups
    rate = goal.qps * own / cores
    frontends = max(1, math.ceil(rate * device.around.loop / FRONTEND_BUSY))
    warm = max(WARM, WARM_QUERIES * own / rate)
    arrivals = poisson(rate, warm + queries / rate, seed)
    scenario = Scenario(
        device,
        cores=own,
        frontends=frontends,
        sla=goal.sla,
        connections=32 * frontends,
        rate_before=rate,
        seed=seed,
    )
    summary = simulate(scenario, _trace(goal, arrivals)).summary(warm)
    return Plan(cores, groups, frontends * groups, summary)


def refuse_impossible(goal: Goal, device: Device) -> None:
    """Refuses what not even an idle core does.

    Raises:
        ConfigError: with the depth that fits the SLA and the SLA that fits the depth.
    """
    longest = max(profile.length for profile in device.rerank)
    if goal.pair_tokens > longest:
        raise ConfigError(
            f"pairs of {goal.pair_tokens} tokens are longer than any shape of {device.name}: "
            f"set --pairs-length to {longest} or less, or give --costs FILE with longer ones"
        )
    alone = _idle(goal, device)
    if goal.met(alone):
        return
    able = alone.depth_p50
    instead = f"--depth {able:.0f}, or " if 1 <= able < goal.depth else ""
    sla = goal.sla
    while not replace(goal, sla=sla).met(alone):
        sla *= SLA_STEP
        alone = _idle(replace(goal, sla=sla), device)
    raise ConfigError(
        f"{device.name} cannot rerank {goal.depth} candidates of {goal.pair_tokens} tokens within {goal.sla * 1e3:g} "
        f"ms even when idle, so no fleet can: use {instead}--sla-ms {math.ceil(sla * 1e3)}"
    )


def _alone(goal: Goal, device: Device) -> float:
    """Seconds of a core's reranker for one query."""
    costs = CostTable(device.rerank)
    return device.around.batch + costs.predicted(goal.depth, goal.pair_tokens)


def _idle(goal: Goal, device: Device) -> Summary:
    """What one core does with one query at a time."""
    arrivals = np.arange(IDLE_QUERIES) / IDLE_RATE
    scenario = Scenario(device, sla=goal.sla)
    return simulate(scenario, _trace(goal, arrivals)).summary(IDLE_QUERIES / IDLE_RATE / 4)


def _trace(goal: Goal, arrivals: NDArray[np.float64]) -> Trace:
    return Trace.of(arrivals, cap=goal.depth, pair_tokens=goal.pair_tokens)

"""The simulation: a scenario and a trace in, the end of every query out."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from millirank.costs import CostTable
from millirank.errors import ConfigError
from millirank.sla import Depth

from .core import Core, Fleet
from .device import Device
from .events import Events
from .frontend import Frontend, Records
from .outcome import Outcome
from .traces import Trace


def _no_trouble(_core: int, _now: float) -> float:
    return 1.0


@dataclass(frozen=True)
class Scenario:
    """What serves.

    Attributes:
        device: of every core.
        cores: one a device.
        frontends: processes; the connections are spread over them evenly.
        sla: seconds from arrival to the final message.
        reply: seconds kept back for sending the final message.
        connections: of the clients; each query comes over one of them, at random.
        trouble: how many times as long a core's engines take, by core and simulated seconds.
        depth: makes the policy of the depth.
        max_requests: of a batch; None for as many as fit.
        rate_before: queries a second until the trace begins; 0 for a service that was just started.
        seed: of noise and connections.
    """

    device: Device
    cores: int = 1
    frontends: int = 1
    sla: float = 0.010
    reply: float = 0.002
    connections: int = 64
    trouble: Callable[[int, float], float] = _no_trouble
    depth: Callable[[CostTable], Depth] = Depth
    max_requests: int | None = None
    rate_before: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what cannot serve."""
        for name in ("cores", "frontends", "connections"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}: set it to 1 or more")
        if self.sla <= 0 or self.reply < 0:
            raise ConfigError(f"sla is {self.sla}, reply {self.reply}: set the sla above 0, the reply to 0 or more")


def simulate(scenario: Scenario, trace: Trace) -> Outcome:
    """Plays a trace until every query has ended. The same scenario and trace give the same outcome.

    Left out: batch requests, clients that leave, filters, credits of the wire, faults, and what frontends and engines
    on the same processor take from each other; a core's load is known to the frontends without delay.
    """
    device = scenario.device
    events, records = Events(), Records(len(trace))
    rng = np.random.default_rng(scenario.seed)
    cores = [
        Core(
            events,
            device,
            rng=rng.spawn(1)[0],
            trouble=lambda now, place=place: scenario.trouble(place, now),  # type: ignore[misc]
            depth=scenario.depth,
            max_requests=scenario.max_requests,
            rate_before=scenario.rate_before / scenario.cores,
        )
        for place in range(scenario.cores)
    ]
    peers = rng.integers(0, scenario.connections, len(trace))
    fleet = Fleet(cores)
    frontends = [
        Frontend(
            events,
            fleet,
            around=device.around,
            idle=device.idle,
            sla=scenario.sla,
            reply=scenario.reply,
            trace=trace,
            peers=peers,
            records=records,
        )
        for _ in range(scenario.frontends)
    ]
    arrivals, doors = trace.arrivals.tolist(), (peers % scenario.frontends).tolist()

    def arrive(index: int) -> None:
        if index + 1 < len(arrivals):
            events.at(arrivals[index + 1], arrive, index + 1)
        frontends[doors[index]].arrive(index)

    if arrivals:
        events.at(arrivals[0], arrive, 0)
    events.run()
    return Outcome(
        arrivals=trace.arrivals,
        ended=records.ended,
        first=records.first,
        final=records.final,
        depth=records.depth,
        degraded=records.degraded,
        core=records.core,
        encodes=tuple(core.encodes.ran for core in cores),
        reranks=tuple(core.reranks.ran for core in cores),
        loops=tuple(frontend.loop.worked for frontend in frontends),
        sla=scenario.sla,
    )

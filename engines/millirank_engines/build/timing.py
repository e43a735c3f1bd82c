"""How long an engine takes, profile by profile."""

import time
from collections.abc import Sequence

import numpy as np

from millirank_engines.base import Engine, Profile
from millirank_engines.figures import Latency

from .parity import Case

ROUNDS = 5  # at least


def latencies(engine: Engine, cases: Sequence[Case], *, seconds: float) -> tuple[Latency, ...]:
    """Times all profiles in a shuffled order, at least ROUNDS times, for about that many seconds."""
    rng = np.random.default_rng(0)
    times: dict[Profile, list[float]] = {case.profile: [] for case in cases}
    for case in cases:
        engine.infer(case.feeds)
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < ROUNDS or time.perf_counter() < end:
        for index in rng.permutation(len(cases)):
            begin = time.perf_counter()
            engine.infer(cases[index].feeds)
            times[cases[index].profile].append((time.perf_counter() - begin) * 1e3)
        rounds += 1
    return tuple(
        Latency(p, float(np.quantile(t, 0.5)), float(np.quantile(t, 0.99)), rounds) for p, t in sorted(times.items())
    )

"""Holds a sealed artifact to its sealed reference, on the machine at hand, and times it."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millirank_engines.artifact import Check
from millirank_engines.base import Engine, Profile
from millirank_engines.load import open_engine

from .parity import PARITY, Case, parity, read_cases


@dataclass(frozen=True)
class Latency:
    """One profile's inference, its calls interleaved with those of the others."""

    profile: Profile
    p50: float  # ms
    p99: float  # ms
    calls: int


@dataclass(frozen=True)
class Report:
    """What verify found."""

    checks: tuple[Check, ...]
    latencies: tuple[Latency, ...]

    @property
    def passed(self) -> bool:
        """Whether every check is within its bound."""
        return all(check.passed for check in self.checks)


def latencies(engine: Engine, cases: Sequence[Case], *, seconds: float) -> tuple[Latency, ...]:
    """Times all profiles in a shuffled order, at least five rounds, for about that many seconds."""
    rng = np.random.default_rng(0)
    times: dict[Profile, list[float]] = {case.profile: [] for case in cases}
    for case in cases:
        engine.infer(case.feeds)
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 5 or time.perf_counter() < end:  # noqa: PLR2004 - said above
        for index in rng.permutation(len(cases)):
            begin = time.perf_counter()
            engine.infer(cases[index].feeds)
            times[cases[index].profile].append((time.perf_counter() - begin) * 1e3)
        rounds += 1
    return tuple(
        Latency(p, float(np.quantile(t, 0.5)), float(np.quantile(t, 0.99)), rounds) for p, t in sorted(times.items())
    )


def verify_engine(path: Path, *, seconds: float = 5.0) -> Report:
    """Loads a sealed artifact, holds it to its sealed reference again, here, and times it.

    Args:
        path: the artifact's folder.
        seconds: about how long to time.

    Raises:
        ArtifactRefused: if it may not be loaded.
    """
    loaded = open_engine(path)
    manifest = loaded.manifest
    cases = read_cases(path / PARITY, manifest.profiles)
    try:
        checks = parity(loaded.engine, cases, manifest.model.task, manifest.precision)
        return Report(checks, latencies(loaded.engine, cases, seconds=seconds))
    finally:
        loaded.engine.close()

"""Figures that an artifact is sealed with: what it was held to, and how long it took."""

from dataclasses import dataclass

from .base import Profile


@dataclass(frozen=True)
class Check:
    """One figure that an engine is held to."""

    metric: str
    value: float
    bound: float
    at_least: bool = False  # otherwise at most

    @property
    def passed(self) -> bool:
        """Whether the value is within the bound; never for a NaN."""
        return self.value >= self.bound if self.at_least else self.value <= self.bound

    def __str__(self) -> str:
        return f"{self.metric} {self.value:.3g} ({'≥' if self.at_least else '≤'} {self.bound:g})"


@dataclass(frozen=True)
class Latency:
    """What one profile's inference took, its calls interleaved with those of the others."""

    profile: Profile
    p50: float  # ms
    p99: float  # ms
    calls: int

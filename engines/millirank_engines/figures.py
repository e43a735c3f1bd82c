"""Figures that an artifact is sealed with: what it was held to, and how long it took."""

from dataclasses import dataclass

from .base import Profile

_ROUNDING = 1e-9


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


@dataclass(frozen=True)
class Figure:
    """How good INT8 is beside FP32 on the same inputs, and what it may lose."""

    name: str  # such as top1
    fp32: float
    int8: float
    limit: float  # of the loss, fp32 - int8, in the figure's own unit
    agreement: float | None = None  # share of inputs that both answer alike, where that can be said
    count: int = 0  # inputs that it was measured on

    @property
    def loss(self) -> float:
        """What INT8 loses; negative where it gains."""
        return self.fp32 - self.int8

    @property
    def passed(self) -> bool:
        """Whether it loses no more than it may; never for a NaN."""
        return self.loss <= self.limit + _ROUNDING

    def __str__(self) -> str:
        return f"{self.name} {self.fp32:.4g} → {self.int8:.4g} (loses {self.loss:.3g}, may lose {self.limit:g})"


@dataclass(frozen=True)
class Choice:
    """Which precision a profile runs at, and why."""

    profile: Profile
    precision: str
    times: dict[str, float]  # ms, the median, by precision

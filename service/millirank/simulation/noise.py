"""How far a run is from its median: factors, drawn in blocks because one draw at a time is slow."""

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096  # factors a draw


class Noise(Protocol):
    """Factors on a median time."""

    def factors(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """So many of them, shape (n,)."""

    def quantile(self, q: float) -> float:
        """The factor that a share q of runs stays below."""


@dataclass(frozen=True)
class Lognormal:
    """Most runs near the median, some stalled: a lognormal body and, now and then, an exponential stall upon it.

    Args:
        sigma: of the logarithm; the body's 99th percentile is exp(2.33 sigma).
        stalls: share of runs that stall.
        stall: mean of what a stall adds, as a multiple of the median.
    """

    sigma: float = 0.08
    stalls: float = 0.002
    stall: float = 1.0

    def factors(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """See Noise."""
        body: NDArray[np.float64] = np.exp(self.sigma * rng.standard_normal(n))
        return body + np.where(rng.random(n) < self.stalls, rng.exponential(self.stall, n), 0.0)

    def quantile(self, q: float) -> float:
        """See Noise; of the body, which is exact for q well below 1 - stalls."""
        return float(np.exp(self.sigma * NormalDist().inv_cdf(q)))


class Empirical:
    """What was measured, drawn again.

    Args:
        seconds: of runs of one shape, at least one.
    """

    def __init__(self, seconds: NDArray[np.float64]) -> None:
        self._factors = seconds / np.median(seconds)

    def factors(self, rng: np.random.Generator, n: int) -> NDArray[np.float64]:
        """See Noise."""
        return rng.choice(self._factors, n)

    def quantile(self, q: float) -> float:
        """See Noise."""
        return float(np.quantile(self._factors, q))


def stream(noise: Noise, rng: np.random.Generator) -> Iterator[float]:
    """Factors without end."""
    while True:
        yield from noise.factors(rng, BLOCK).tolist()

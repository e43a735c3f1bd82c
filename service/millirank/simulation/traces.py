"""What arrives: when, how long the queries are, and how long the pairs of their candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from millirank.errors import ConfigError

SPECIAL = 3  # tokens of a pair that are neither query nor product: [CLS] and two [SEP]
GRID = 1000  # points on which a smooth rate is taken


@dataclass(frozen=True)
class Trace:
    """Queries in order of arrival.

    Attributes:
        arrivals: simulated seconds, ascending, (n,), float64.
        tokens: of each query, special ones included, (n,).
        pairs: tokens of each query's pairs in prior order, (n, cap), uint16.
    """

    arrivals: NDArray[np.float64]
    tokens: NDArray[np.integer]
    pairs: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.arrivals)

    @classmethod
    def of(
        cls,
        arrivals: NDArray[np.float64],
        *,
        cap: int = 50,
        pair_tokens: int = 32,
        spread: float = 0.0,
        query_tokens: int = 6,
        seed: int = 0,
    ) -> Self:
        """Queries with sampled lengths.

        Args:
            arrivals: simulated seconds, (n,).
            cap: candidates of each query.
            pair_tokens: of a pair, special ones included: the median, and the most, because products are cut there.
            spread: sigma of the lognormal that the lengths of pairs are drawn from; 0 means all have pair_tokens.
            query_tokens: of a query, special ones included.
            seed: of the lengths.
        """
        arrivals = np.sort(np.asarray(arrivals, np.float64))
        shape = (len(arrivals), cap)
        if spread:
            drawn = pair_tokens * np.exp(spread * np.random.default_rng(seed).standard_normal(shape))
            pairs = np.clip(drawn, min(pair_tokens, query_tokens + SPECIAL), pair_tokens).astype(np.uint16)
        else:
            pairs = np.full(shape, pair_tokens, np.uint16)
        return cls(arrivals, np.full(len(arrivals), query_tokens), pairs)


def poisson(rate: float, seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Arrivals at a constant rate a second."""
    return steps([(seconds, rate)], seed)


def steps(plan: Sequence[tuple[float, float]], seed: int = 0) -> NDArray[np.float64]:
    """Arrivals at one rate after the other.

    Args:
        plan: of each step, its seconds and its arrivals a second.
        seed: of the draw.
    """
    spans, rates = np.array(plan, np.float64).reshape(-1, 2).T
    return _arrivals(np.concatenate([[0.0], spans.cumsum()]), np.concatenate([[0.0], (spans * rates).cumsum()]), seed)


def burst(
    rate: float, peak: float, *, begin: float, lasts: float, seconds: float, seed: int = 0
) -> NDArray[np.float64]:
    """Arrivals at a rate that is higher for a while."""
    return steps([(begin, rate), (lasts, peak), (seconds - begin - lasts, rate)], seed)


def diurnal(mean: float, swing: float, *, period: float, seconds: float, seed: int = 0) -> NDArray[np.float64]:
    """Arrivals at a rate that follows a day: mean (1 + swing sin), from its mean upwards.

    Args:
        mean: arrivals a second.
        swing: from 0, constant, to 1, nothing at night.
        period: simulated seconds of a day.
        seconds: of the trace.
        seed: of the draw.
    """
    times = np.linspace(0, seconds, GRID + 1)
    phase = 2 * np.pi * times / period
    return _arrivals(times, mean * (times + swing * (1 - np.cos(phase)) * period / (2 * np.pi)), seed)


def from_file(path: Path) -> NDArray[np.float64]:
    """Arrivals from a text file with a timestamp in seconds on each line; the first becomes 0.

    Raises:
        ConfigError: if the file cannot be read or holds anything else.
    """
    try:
        times = np.array([float(line) for line in path.read_text(encoding="utf-8").split()], np.float64)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no list of timestamps ({error}): write one number of seconds a line") from error
    if not len(times) or not np.isfinite(times).all():
        raise ConfigError(f"{path} is no list of timestamps: write one finite number of seconds a line")
    times.sort()
    since: NDArray[np.float64] = times - times[0]
    return since


def _arrivals(times: NDArray[np.float64], expected: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """A Poisson process by time change: unit-rate arrivals, sent back through the expected count.

    The same seed gives the same queries at any rate, only closer together; so rates are compared on common draws.

    Args:
        times: ascending, (k,).
        expected: arrivals until each time, (k,), not descending.
        seed: of the draw.
    """
    total = float(expected[-1])
    gaps = np.random.default_rng(seed).exponential(size=int(total + 6 * np.sqrt(total) + 20))
    units = gaps.cumsum()
    arrivals: NDArray[np.float64] = np.interp(units[units < total], expected, times)
    return arrivals

"""One order against another on the same queries: difference, interval, and how likely chance alone makes as much."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millirank.errors import ConfigError

from .scores import RESAMPLES, Scores, interval

EXACT = 16  # differences up to which every assignment of signs is tried
DRAWS = 20_000  # of random assignments beyond
BLOCK = 1 << 22  # signs that are held at a time


@dataclass(frozen=True)
class Comparison:
    """One configuration against another, query by query."""

    difference: float  # of the means, first minus second
    interval: tuple[float, float]  # 95 %, paired bootstrap over queries
    p: float  # two-sided, of Fisher's randomization test
    queries: int  # that both scored
    wins: tuple[tuple[str, float], ...]  # query and difference, largest first
    losses: tuple[tuple[str, float], ...]  # query and difference, largest loss first

    @property
    def fell(self) -> bool:
        """Whether the first is worse by more than the noise: the whole interval lies below 0."""
        return self.interval[1] < 0


def compare(first: Scores, second: Scores, measure: str, *, resamples: int = RESAMPLES, seed: int = 7) -> Comparison:
    """Compares two configurations on the queries that both have scored.

    Raises:
        ConfigError: if there is none.
    """
    both = [query for query in first.queries if query in set(second.queries)]
    if not both:
        raise ConfigError("the two orders share no scored query: score both on the same judgments")
    differences = first.of(both).values[measure] - second.of(both).values[measure]
    ranked = sorted(zip(both, differences.tolist(), strict=True), key=lambda pair: -pair[1])
    return Comparison(
        difference=float(differences.mean()),
        interval=interval(differences, resamples, seed),
        p=randomization(differences, seed=seed),
        queries=len(both),
        wins=tuple(pair for pair in ranked if pair[1] > 0),
        losses=tuple(pair for pair in reversed(ranked) if pair[1] < 0),
    )


def compare_spellings(scores: Scores, correct: Scores, meant: Mapping[str, str], measure: str) -> Comparison:
    """Misspelled queries against the correct ones that they mean, pair by pair.

    Raises:
        ConfigError: if there is no pair.
    """
    return compare(*paired(scores, correct, meant), measure)


def paired(scores: Scores, correct: Scores, meant: Mapping[str, str]) -> tuple[Scores, Scores]:
    """Misspelled queries whose correct ones were scored, and the scores of those under the misspelled names."""
    known = set(correct.queries)
    pairs = [query for query in scores.queries if meant.get(query) in known]
    right = correct.of([meant[query] for query in pairs])
    return scores.of(pairs), Scores(tuple(pairs), right.values)


def randomization(differences: NDArray[np.float64], *, draws: int = DRAWS, seed: int = 7) -> float:
    """The two-sided p of Fisher's paired randomization test of the mean (Smucker, Allan and Carterette, CIKM 2007).

    Were the orders alike, each difference could as well have the other sign: p is the share of assignments of signs
    that make the sum at least as large. All of them are tried up to EXACT differences other than 0; beyond, so many
    random ones, of which the true one is counted as one more.

    Args:
        differences: shape (n,); zeros change nothing.
        draws: how many random assignments.
        seed: of them.
    """
    moved = differences[differences != 0]
    least = abs(float(moved.sum())) - 1e-12 * len(moved)  # sums of the same numbers in other orders count as equal
    if len(moved) <= EXACT:
        bits = np.arange(1 << len(moved))[:, None] >> np.arange(len(moved)) & 1
        return float(np.mean(np.abs((2 * bits - 1) @ moved) >= least))
    rng = np.random.default_rng(seed)
    extreme, left = 0, draws
    while left:
        many = min(left, max(1, BLOCK // len(moved)))
        signs = 2 * rng.integers(0, 2, (many, len(moved)), np.int8) - 1
        extreme += int(np.sum(np.abs(signs @ moved) >= least))
        left -= many
    return (extreme + 1) / (draws + 1)

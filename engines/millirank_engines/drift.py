"""How far the lengths that come have drifted from those that an engine was calibrated and profiled for.

What is compared are shares of length buckets, by the population stability index

    PSI = sum over buckets of (now - then) * ln(now / then),

the symmetrized Kullback-Leibler divergence of both. Below 0.10 it is read as no change, above 0.25 as one that wants
action: E. M. Lewis, An Introduction to Credit Scoring, 1994; N. Siddiqi, Credit Risk Scorecards, 2006. That convention
knows no sample size: where nothing has changed, the index of B buckets is about (B - 1) (1/N + 1/M) for N requests
against M (B. Yurdakul and J. Naranjo, Statistical Properties of the Population Stability Index, Journal of Risk Model
Validation 14, 2020). So fewer than LEAST requests tell nothing: 300 against 1,000 in 15 used buckets leave 0.06.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import EngineError
from .model import Task

THRESHOLD = 0.25  # of the index, past which an engine should be calibrated and profiled anew
LEAST = 300  # requests
EDGES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 50, 64, 80, 100, 128, 192, 256, 512)
CATALOGUE = "catalogue"  # the source of what was counted in a catalogue's own text, before there was any traffic
EMPTY = 0.5  # requests that each bucket is given on both sides: one that is empty on one side is not infinitely far
BUCKETS = (*map(str, EDGES), "more")  # their names: the most that each holds

Shares = tuple[float, ...]  # of each bucket: the first holds up to EDGES[0], the last more than EDGES[-1]; sums to 1


@dataclass(frozen=True)
class LengthProfile:
    """The lengths of the work that comes to an engine."""

    source: str  # what was counted: the path of the traffic, or CATALOGUE
    requests: int  # that were counted, of however many they are the sample
    lengths: Shares  # of the sequences, by their tokens, special ones included; all zero if there was none
    depths: Shares = ()  # of the requests, by their sequences; empty if that is not known, or always one

    def to_json(self) -> dict[str, Any]:
        """Plain data, a few hundred bytes of it."""
        data: dict[str, Any] = {"source": self.source, "requests": self.requests}
        for name, shares in (("lengths", self.lengths), ("depths", self.depths)):
            named = zip(BUCKETS, shares, strict=bool(shares))
            data[name] = {bucket: round(share, 6) for bucket, share in named if share}
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "LengthProfile":
        """Reads what to_json wrote.

        Raises:
            EngineError: if it is of another version's buckets.
        """
        for name in ("lengths", "depths"):
            if unknown := sorted(data[name].keys() - set(BUCKETS)):
                raise EngineError(
                    f"its {name} are counted in buckets of another version ({', '.join(unknown)}): build it anew"
                )
        lengths, depths = (
            tuple(float(data[name].get(bucket, 0.0)) for bucket in BUCKETS) if data[name] else ()
            for name in ("lengths", "depths")
        )
        return cls(str(data["source"]), int(data["requests"]), lengths or (0.0,) * len(BUCKETS), depths)


def length_profile(
    task: Task,
    requests: Iterable[Sequence[int] | NDArray[np.integer[Any]]],
    *,
    source: str,
    weights: Sequence[float] | None = None,
    depths: bool = True,
) -> LengthProfile:
    """Counts the lengths of requests.

    Args:
        task: embed or rerank.
        requests: each the tokens of its sequences, special ones included: one query, or its pairs, (n,).
        source: what they come from.
        weights: how many served requests each stands for; one by default.
        depths: whether the number of a request's pairs means anything; that of an encoder's request never does.

    Raises:
        EngineError: if there is no request.
    """
    by_length, by_depth, counted = np.zeros(len(BUCKETS)), np.zeros(len(BUCKETS)), 0
    for place, tokens in enumerate(requests):
        weight = 1.0 if weights is None else weights[place]
        by_length += weight * np.bincount(np.searchsorted(EDGES, tokens), minlength=len(BUCKETS))
        by_depth[np.searchsorted(EDGES, len(tokens))] += weight
        counted += 1
    if not counted:
        raise EngineError("there is no request to count lengths in: give traffic with at least one query")
    knows_depths = depths and task == "rerank"
    return LengthProfile(source, counted, _shares(by_length), _shares(by_depth) if knows_depths else ())


def _shares(counts: NDArray[np.float64]) -> Shares:
    return tuple((counts / (counts.sum() or 1.0)).tolist())


def stability_index(then: Shares, now: Shares, requests_then: int, requests_now: int) -> float:
    """The population stability index of two distributions over the buckets; 0 if they are the same.

    Each bucket that either side uses is given EMPTY requests on both, which an index of counts needs to be finite.

    Args:
        then: the reference.
        now: what is compared with it.
        requests_then: that the reference was counted in.
        requests_now: likewise of now.
    """
    p, q = np.array(then), np.array(now)
    used = (p > 0) | (q > 0)
    smoothed = [
        (shares[used] * n + EMPTY) / (n + EMPTY * used.sum()) for shares, n in ((p, requests_then), (q, requests_now))
    ]
    return float(np.sum((smoothed[1] - smoothed[0]) * np.log(smoothed[1] / smoothed[0])))


def drift(then: LengthProfile, now: LengthProfile) -> dict[str, float]:
    """The stability index of `lengths` and of `depths`, as far as both sides know them."""
    pairs = {"lengths": (then.lengths, now.lengths), "depths": (then.depths, now.depths)}
    return {
        name: stability_index(a, b, then.requests, now.requests)
        for name, (a, b) in pairs.items()
        if math.fsum(a) and math.fsum(b)
    }

"""Which precision runs a profile: the fastest, by times of this machine; pure but for the measuring at its end."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from millirank_engines.base import Engine, EngineError, Profile, Tensors
from millirank_engines.figures import Choice

MARGIN = 1.03  # how many times as fast INT8 must be to be worth what it loses; less is noise
ROUNDS, MOST = 7, 500  # that a call is timed, at least and at most
ENOUGH = 0.05  # seconds that a call is timed in all, if MOST allows: by seven calls of 0.16 ms a GPU chose wrongly
LONG, ROUNDS_OF_LONG = 0.03, 3  # seconds of a call that is timed less often, and how often
Times = Mapping[Profile, Mapping[str, float]]  # ms, by profile and precision


def chosen(times: Times, base: str, other: str, *, together: bool) -> tuple[Choice, ...]:
    """The precision of every profile: other where it is faster by MARGIN, else base.

    Args:
        times: medians.
        base: the float precision.
        other: int8.
        together: whether all profiles share one precision, as a reranker's must: a request's pairs are cut into several
            calls, and scores of two precisions are no one order. It is other if that is faster by MARGIN in the
            geometric mean and slower in no profile.

    Raises:
        EngineError: if there are no times.
    """
    if not times:
        raise EngineError("there is no profile to choose a precision for: name one with --profiles")
    ratios = {profile: both[base] / both[other] for profile, both in times.items()}
    if together:
        mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
        one = other if mean >= MARGIN and min(ratios.values()) >= 1 else base
        return tuple(Choice(profile, one, dict(both)) for profile, both in sorted(times.items()))
    return tuple(
        Choice(profile, other if ratios[profile] >= MARGIN else base, dict(both))
        for profile, both in sorted(times.items())
    )


def spread(profiles: Sequence[Profile], most: int | None) -> tuple[Profile, ...]:
    """Some of the profiles, evenly from the smallest to the largest; all if there are no more than that."""
    ordered = sorted(profiles, key=lambda profile: (profile.tokens, profile))
    if most is None or len(ordered) <= most:
        return tuple(ordered)
    return tuple(ordered[round(place)] for place in np.linspace(0, len(ordered) - 1, most))


def medians(
    engines: Mapping[str, Engine], feeds: Mapping[Profile, Tensors], clock: Callable[[], float], rounds: int = ROUNDS
) -> dict[Profile, dict[str, float]]:
    """The median of every profile on every engine in ms, all interleaved, as a server would meet them.

    What takes LONG is run ROUNDS_OF_LONG times at most: it takes nearly all of the time, and varies little. What is
    short is run until it has taken ENOUGH.
    """
    calls: Sequence[tuple[Profile, str]] = [(profile, name) for profile in sorted(feeds) for name in engines]
    taken: dict[tuple[Profile, str], list[float]] = {call: [] for call in calls}
    long = set()
    for profile, name in calls:
        begin = clock()
        engines[name].infer(feeds[profile])
        if clock() - begin >= LONG:
            long.add((profile, name))

    def goes_on(call: tuple[Profile, str]) -> bool:
        times = taken[call]
        if call in long:
            return len(times) < min(rounds, ROUNDS_OF_LONG)
        return len(times) < rounds or (len(times) < MOST and sum(times) < ENOUGH * 1e3)

    dice = np.random.default_rng(0)
    while left := [call for call in calls if goes_on(call)]:
        for place in dice.permutation(len(left)):
            profile, name = left[place]
            begin = clock()
            engines[name].infer(feeds[profile])
            taken[profile, name].append((clock() - begin) * 1e3)
    return {profile: {name: statistics.median(taken[profile, name]) for name in engines} for profile in sorted(feeds)}

"""Which precision runs a profile: the fastest, by times of this machine; pure but for the measuring at its end."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from millirank_engines.base import Engine, EngineError, Profile, Tensors
from millirank_engines.figures import Choice

MARGIN = 1.03  # how many times as fast INT8 must be to be worth what it loses; less is noise
ROUNDS, MOST = 9, 500  # that a call is timed, at least and at most
ENOUGH = 0.05  # seconds that a call is timed in all, if MOST allows: by seven calls of 0.16 ms a GPU chose wrongly
LONG = 0.03  # seconds of a call that is timed once a turn
TURNS, WARM = 3, 2  # of every entrant; calls of every shape before each turn that are not counted
Times = Mapping[Profile, Mapping[str, float]]  # ms, by profile and precision
Entrant = Mapping[Profile, Engine]  # what runs each shape


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


def mixed(choices: Sequence[Choice]) -> bool:
    """Whether the profiles run at several precisions."""
    return len({choice.precision for choice in choices}) > 1


def loser(choices: Sequence[Choice], times: Times, base: str, other: str, mixture: str) -> Profile | None:
    """The profile that should not run at other, because the choices make something slower together; None if all may.

    A second precision costs what it evicts from a device's caches, its weights above all. On an H100 the encoder's
    16 tokens took 0.160 ms in INT8 alone, 0.175 beside FP16 at another shape, and 0.160 where all was FP16.

    Args:
        choices: of two precisions.
        times: the medians of base alone and of the mixture, by these names.
        base: the float precision.
        other: int8.
        mixture: the name of what the choices make.

    Returns:
        Of those that run at other the one that gains least, if one of them is slower in the mixture than base alone,
        or one that runs at base is by more than noise.
    """
    gains = {profile: both[base] / both[mixture] for profile, both in times.items()}
    least = {choice.profile: 1.0 if choice.precision == other else 1 / MARGIN for choice in choices}
    if all(gain >= least[profile] for profile, gain in gains.items()):
        return None
    return min((choice.profile for choice in choices if choice.precision == other), key=lambda profile: gains[profile])


def medians(
    entrants: Mapping[str, Entrant], feeds: Mapping[Profile, Tensors], clock: Callable[[], float]
) -> dict[Profile, dict[str, float]]:
    """The median of every profile by every entrant in ms, each measured as it would serve.

    In a turn the entrants follow each other at random, and within the stretch of one its shapes: as a server would meet
    them, and no entrant pays for what another left in the caches. What is short is run until it has taken ENOUGH.
    """
    counts = {
        name: {profile: _count(one[profile], feeds[profile], clock) for profile in feeds}
        for name, one in entrants.items()
    }
    taken: dict[tuple[Profile, str], list[float]] = {
        (profile, name): [] for profile in sorted(feeds) for name in entrants
    }
    dice = np.random.default_rng(0)
    names = list(entrants)
    for turn in range(TURNS):
        for name in (names[place] for place in dice.permutation(len(names))):
            one, wanted = entrants[name], counts[name]
            for profile in (profile for profile, count in wanted.items() if count > TURNS for _ in range(WARM)):
                one[profile].infer(feeds[profile])
            calls = [p for p, n in wanted.items() for _ in range(n * (turn + 1) // TURNS - n * turn // TURNS)]
            for profile in (calls[place] for place in dice.permutation(len(calls))):
                begin = clock()
                one[profile].infer(feeds[profile])
                taken[profile, name].append((clock() - begin) * 1e3)
    return {profile: {name: statistics.median(taken[profile, name]) for name in entrants} for profile in sorted(feeds)}


def _count(engine: Engine, feeds: Tensors, clock: Callable[[], float]) -> int:
    """How often a call is timed, by what its second one takes."""
    engine.infer(feeds)
    begin = clock()
    engine.infer(feeds)
    seconds = clock() - begin
    if seconds >= LONG:
        return TURNS
    return MOST if seconds * MOST <= ENOUGH else max(ROUNDS, math.ceil(ENOUGH / seconds))

"""Which precision runs a profile: the fastest, by times of this machine; pure but for the measuring at its end."""

import math
import statistics
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import TypeVar

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
K = TypeVar("K", bound=Hashable)


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
    profiles, names = sorted(feeds), list(entrants)
    counts = [{p: _count(entrants[name][p], feeds[p], clock) for p in profiles} for name in names]
    taken: dict[tuple[Profile, str], list[float]] = {(profile, name): [] for profile in profiles for name in names}
    dice = np.random.default_rng(0)
    for place, profile, counted in stretches(counts, TURNS, dice, lambda n: WARM if n > TURNS else 0):
        begin = clock()
        entrants[names[place]][profile].infer(feeds[profile])
        ended = clock()
        if counted:
            taken[profile, names[place]].append((ended - begin) * 1e3)
    return {profile: {name: statistics.median(taken[profile, name]) for name in names} for profile in profiles}


def stretches(
    counts: Sequence[Mapping[K, int]], turns: int, random: np.random.Generator, warm: Callable[[int], int]
) -> Iterator[tuple[int, K, bool]]:
    """What is called next where several are compared, each in stretches of its own, with its own calls mixed.

    Args:
        counts: how often each of them calls what, in all.
        turns: in each of which all of them follow each other at random.
        random: draws the orders.
        warm: of how often something is called, the calls of it before each stretch that do not count.

    Yields:
        The place of the one that calls, what it calls, and whether that counts.
    """
    for turn in range(turns):
        for place in random.permutation(len(counts)):
            keys, wanted = list(counts[place]), list(counts[place].values())
            yield from ((place, key, False) for key, n in zip(keys, wanted, strict=True) for _ in range(warm(n)))
            now = [n * (turn + 1) // turns - n * turn // turns for n in wanted]  # that add up to n
            yield from (
                (place, keys[which], True) for which in random.permutation(np.repeat(np.arange(len(keys)), now))
            )


def _count(engine: Engine, feeds: Tensors, clock: Callable[[], float]) -> int:
    """How often a call is timed, by what its second one takes."""
    engine.infer(feeds)
    begin = clock()
    engine.infer(feeds)
    seconds = clock() - begin
    if seconds >= LONG:
        return TURNS
    return MOST if seconds * MOST <= ENOUGH else max(ROUNDS, math.ceil(ENOUGH / seconds))

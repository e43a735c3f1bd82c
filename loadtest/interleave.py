"""Engines timed in turns, so that what a machine does meanwhile meets all of them."""

import gc
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from millirank_engines import Engine, LoadedEngine, ModelSpec, Profile, Tensors, pack_sequences
from millirank_engines.build.bench import Timing, work_of
from millirank_engines.build.quantize.choice import stretches

TURNS, WARM = 10, 5  # of every engine; calls of every shape before each turn that are not counted
LEAST = 100  # calls of every shape
K = TypeVar("K")


@dataclass(frozen=True)
class Entrant:
    """An engine with what it is to be timed at."""

    how: str  # the last part of its cases
    engine: Engine
    feeds: Mapping[Profile, Tensors]
    replays: int  # of every shape, at most


def calls_of(entrant: Entrant, seconds: float, least: int = LEAST, warm: int = WARM) -> dict[Profile, int]:
    """How often every shape is called: as often as is asked for, but for about so many seconds at most."""
    calls = {}
    for profile, feeds in entrant.feeds.items():
        taken = []
        for _ in range(max(2, warm)):
            start = time.perf_counter()
            entrant.engine.infer(feeds)
            taken.append(time.perf_counter() - start)
        fit = int(seconds / min(taken))  # the first calls of a peer may compile
        calls[profile] = max(1, min(entrant.replays, max(least, fit)))
    return calls


def interleaved(
    entrants: Sequence[Entrant],
    spec: ModelSpec,
    *,
    seconds: float,
    least: int = LEAST,
    warm: int = WARM,
) -> Iterator[tuple[str, Timing]]:
    """Times all entrants in TURNS turns; in a turn the entrants follow each other, and the shapes of each, at random.

    Args:
        entrants: of one model, used by nobody else meanwhile.
        spec: of that model.
        seconds: about how long one shape of one entrant takes at most.
        least: calls of every shape, however long they take.
        warm: calls of every shape before each turn that are not counted.
    """
    random = np.random.default_rng(0)
    wanted = [calls_of(one, seconds, least, warm) for one in entrants]
    taken: dict[tuple[int, Profile], list[float]] = {(p, s): [] for p, shapes in enumerate(wanted) for s in shapes}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for place, shape, counts in stretches(wanted, TURNS, random, lambda _: warm):
            one = entrants[place]
            start = time.perf_counter()
            one.engine.infer(one.feeds[shape])
            if counts:
                taken[place, shape].append(time.perf_counter() - start)
    finally:
        if collecting:
            gc.enable()
    for (place, shape), times in taken.items():
        lengths = entrants[place].feeds[shape]["attention_mask"].sum(axis=1).tolist()
        timing = Timing(shape, np.sort(np.array(times)), work_of(spec, shape, lengths), len(lengths))
        yield entrants[place].how, timing


def drawn(
    loaded: LoadedEngine, profile: Profile, count: int, length: int, random: np.random.Generator
) -> tuple[Engine, Tensors]:
    """An engine with so many sequences of so many random tokens, on which it has been called once."""
    ids = random.integers(1000, loaded.spec.vocab_size, (count, length))
    feeds = pack_sequences(list(ids), profile, loaded.spec)
    loaded.engine.infer(feeds)
    return loaded.engine, feeds


def by_turns(
    runs: Mapping[K, tuple[Engine, Tensors]], rounds: int, random: np.random.Generator
) -> dict[K, list[float]]:
    """Seconds of every call; in each round all runs follow each other at random. The runs have been called once."""
    taken: dict[K, list[float]] = {key: [] for key in runs}
    keys = list(runs)
    for _ in range(rounds):
        for place in random.permutation(len(keys)):
            engine, feeds = runs[keys[place]]
            start = time.perf_counter()
            engine.infer(feeds)
            taken[keys[place]].append(time.perf_counter() - start)
    return taken

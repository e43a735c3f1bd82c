"""Choosing the sizes of kernels for every bucket, by their times on the GPU at hand."""

import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from millirank_engines.base import EngineError, Profile, Tensors
from millirank_engines.cuda import Cuda
from millirank_engines.fused import FusedBucket, FusedEngine

from .choices import roles, sizes, tiles
from .joined import Cut, counters
from .layers import Choice, Layers, Size, Step
from .variants import Variant

REPEATS, ROUNDS = 20, 4  # how often a graph has what is timed, and is replayed; the fastest counts

Candidates = Sequence[Mapping[str, Mapping[Size, Step]]]  # each a way to cut rows, by role


class Timer(Protocol):
    """Tells how long a step of a bucket takes, in seconds."""

    def __call__(self, profile: Profile, step: Step) -> float:
        """Runs it, several times."""


class Clock(Timer, Protocol):
    """Also tells how long all that a bucket runs takes, with what an inference copies to the device first."""

    def inference(self, profile: Profile, steps: Sequence[Step]) -> float:
        """Runs them in order, several times."""


def candidates(layers: Layers, profile: Profile) -> list[dict[str, dict[Size, Step]]]:
    """Every size of every role of a bucket, as a step of the last layer that has it."""
    found = []
    for tile in tiles(profile):
        named = {role: list(sizes(layers, profile, role, tile)) for role in roles(layers.network)}
        steps: dict[str, dict[Size, Step]] = {role: {} for role in named}
        for turn in range(max(map(len, named.values()))):
            chosen = {role: one[min(turn, len(one) - 1)] for role, one in named.items()}
            for step in layers.steps(profile, chosen):
                steps[step.role][chosen[step.role]] = step
        found.append(steps)
    return found


def fitting(asked: Candidates, known: Container[Variant]) -> list[dict[str, dict[Size, Step]]]:
    """Of the candidates those that could be compiled; ways to cut rows in which a role has none are left out.

    Raises:
        EngineError: if no way is left.
    """
    ways = [
        {role: {size: step for size, step in sized.items() if step.variant in known} for role, sized in named.items()}
        for named in asked
    ]
    if not (left := [named for named in ways if all(named.values())]):
        raise EngineError("the kernels need more shared memory than this GPU has: use --backend tensorrt")
    return left


def cheapest(layers: Layers, profile: Profile, asked: Candidates, timer: Timer) -> Choice:
    """The choice whose kernels take the least in all."""
    often = roles(layers.network)
    best: dict[str, Size] = {}
    least = float("inf")
    for named in asked:
        total, chosen = 0.0, {}
        for role, options in named.items():
            times = {size: timer(profile, step) for size, step in options.items()}
            chosen[role] = min(times, key=lambda size: times[size])
            total += often[role] * times[chosen[role]]
        if total < least:
            best, least = chosen, total
    return best


@dataclass(frozen=True)
class Chosen:
    """What a bucket runs, and how many numbers of progress it needs."""

    steps: Sequence[Step]
    counters: int = 0


Joint = Mapping[Cut, Step]  # ways to run a bucket as one kernel


def untimed(layers: Layers, profile: Profile, asked: Candidates, joint: Joint) -> Chosen:
    """What a bucket runs before anything is timed, with as many numbers of progress as any way to run it needs."""
    choice = {role: next(iter(sized)) for role, sized in asked[0].items()}
    return Chosen(list(layers.steps(profile, choice)), max((counters(profile, cut) for cut in joint), default=0))


def fastest(layers: Layers, profile: Profile, asked: Candidates, joint: Joint, clock: Clock) -> Chosen:
    """The cheapest kernels or the one that is all of them: what an inference takes the least with."""
    best = Chosen(list(layers.steps(profile, cheapest(layers, profile, asked, clock))))
    least = clock.inference(profile, best.steps)
    for cut, step in joint.items():
        if (seconds := clock.inference(profile, [step])) < least:
            best, least = Chosen([step], counters(profile, cut)), seconds
    return best


class Bench(FusedEngine):
    """An engine that also runs single steps of its buckets: kernels of its program that no bucket runs, too."""

    def __init__(self, path: Path, feeds: Mapping[Profile, Tensors], cuda: Cuda) -> None:
        super().__init__(path, tuple(feeds), "fp16", cuda=cuda, graphs=False)
        self._feeds = feeds
        self._filled: Profile | None = None

    def _wanted(self) -> set[str]:
        return set(self._program.kernels)

    def __call__(self, profile: Profile, step: Step) -> float:
        """See Timer."""
        bucket = self._in_use(profile)
        one = self._step(step.launch(), bucket.places)
        return self._seconds(lambda: self._run(one))

    def inference(self, profile: Profile, steps: Sequence[Step]) -> float:
        """See Clock."""
        bucket = self._in_use(profile)
        placed = [self._step(step.launch(), bucket.places) for step in steps]

        def enqueue() -> None:
            self._copy(bucket)
            for one in placed:
                self._run(one)

        return self._seconds(enqueue)

    def _in_use(self, profile: Profile) -> FusedBucket:
        """A bucket whose kernels find what is there in an inference."""
        if self._filled != profile:
            self.infer(self._feeds[profile])
            self._filled = profile
        return self._buckets[profile.batch, profile.length]

    def _seconds(self, enqueue: Callable[[], None]) -> float:
        """What one of many takes in a graph."""
        cuda, stream = self._cuda, self._stream
        cuda.begin_capture(stream)
        for _ in range(REPEATS):
            enqueue()
        graph = cuda.end_capture(stream)
        executable = cuda.instantiate(graph)
        times = []
        for _ in range(1 + ROUNDS):  # the first uploads it
            begin = time.perf_counter()
            cuda.launch(executable, stream)
            cuda.synchronize(stream)
            times.append(time.perf_counter() - begin)
        cuda.destroy_executable(executable)
        cuda.destroy_graph(graph)
        return min(times[1:]) / REPEATS

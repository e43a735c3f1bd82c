"""Choosing the sizes of kernels for every bucket, by their times on the GPU at hand."""

import time
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from millirank_engines.base import EngineError, Profile, Tensors
from millirank_engines.cuda import Cuda
from millirank_engines.fused import FusedEngine

from .choices import roles, sizes, tiles
from .layers import Choice, Layers, Size, Step
from .variants import Variant

REPEATS, ROUNDS = 20, 4  # launches of a kernel in a graph, and replays of it, of which the fastest counts

Candidates = Sequence[Mapping[str, Mapping[Size, Step]]]  # each a way to cut rows, by role


class Timer(Protocol):
    """Tells how long a step of a bucket takes, in seconds."""

    def __call__(self, profile: Profile, step: Step) -> float:
        """Runs it, several times."""


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
        cuda, stream = self._cuda, self._stream
        bucket = self._buckets[profile.batch, profile.length]
        if self._filled != profile:  # what kernels read is that of an inference
            self.infer(self._feeds[profile])
            self._filled = profile
        one = self._step(step.launch(), bucket.places)
        cuda.begin_capture(stream)
        for _ in range(REPEATS):
            self._run(one)
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

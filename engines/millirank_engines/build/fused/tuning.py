"""Choosing the sizes of kernels for every bucket, by their times on the GPU at hand."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from millirank_engines.base import Profile, Tensors
from millirank_engines.cuda import Cuda
from millirank_engines.fused import FusedEngine

from .choices import roles, sizes
from .layers import Choice, Layers, Size, Step
from .variants import Variant

REPEATS, ROUNDS = 20, 4  # launches of a kernel in a graph, and replays of it, of which the fastest counts
RAW_ROWS = 8192  # beyond, normalising the same row in many places is known to lose

Candidates = Mapping[bool, Mapping[str, Mapping[Size, Step]]]  # by whether rows stay raw, then by role


class Timer(Protocol):
    """Tells how long a step of a bucket takes, in seconds."""

    def __call__(self, profile: Profile, step: Step) -> float:
        """Runs it, several times."""


def candidates(layers: Layers, profile: Profile) -> dict[bool, dict[str, dict[Size, Step]]]:
    """Every size of every role of a bucket, as a step of the layer in the middle that has it."""
    network, found = layers.network, {}
    for raw in (False, True) if profile.tokens <= RAW_ROWS else (False,):
        named = {role: list(sizes(network, layers.inner, profile, role, raw=raw)) for role in roles(network)}
        steps: dict[str, dict[Size, Step]] = {role: {} for role in named}
        for turn in range(max(map(len, named.values()))):
            chosen = {role: one[min(turn, len(one) - 1)] for role, one in named.items()}
            for step in layers.steps(profile, Choice(raw, chosen)):
                steps[step.role][chosen[step.role]] = step
        found[raw] = steps
    return found


def cheapest(layers: Layers, profile: Profile, asked: Candidates, known: set[Variant], timer: Timer) -> Choice:
    """The choice whose kernels take the least in all, of those that could be compiled."""
    often, best, least = roles(layers.network), None, float("inf")
    for raw, named in asked.items():
        total, chosen = 0.0, {}
        for role, options in named.items():
            times = {size: timer(profile, step) for size, step in options.items() if step.variant in known}
            if not times:
                break
            chosen[role] = min(times, key=lambda size: times[size])
            total += often[role] * times[chosen[role]]
        else:
            if total < least:
                best, least = Choice(raw, chosen), total
    assert best is not None  # noqa: S101 - the smallest kernels fit every GPU
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
        for turn in range(REPEATS):
            self._run(one, chained=self._program.chained and turn > 0)
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



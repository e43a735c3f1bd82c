"""Times an engine bucket by bucket, interleaved as a server meets them, and says how much of its device that uses."""

import gc
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import Engine, EngineError, Profile, Tensors
from millirank_engines.model import ModelSpec
from millirank_engines.program import FUSED

WARM = 20  # rounds that are not counted
INNER = 4  # width of the feed-forward layer, in widths of the residual stream: of BERT and everything made from it
# Dense FP16 TFLOP/s with tensor cores by data sheet, without sparsity, by what the device's name contains; the first
# match counts. The 8-bit peak is twice as high.
PEAKS = (
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H100", 989.4),
    ("H200", 989.4),
    ("GH200", 989.4),
    ("B200", 2250.0),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("L4", 121.0),
    ("A10G", 70.0),
    ("A10", 125.0),
    ("T4", 65.0),
)


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one inference; a multiplication and an addition are two."""

    done: float  # by the graph, on padded tokens unless the engine leaves them out
    valid: float  # by the graph, had it run on valid tokens alone
    model: float  # by the published network on valid tokens: all rows of the last layer, too


@dataclass(frozen=True)
class Timing:
    """What one bucket's inference took."""

    profile: Profile
    seconds: NDArray[np.float64]  # of each call, sorted
    work: Work
    rows: int  # sequences that are not padding

    def quantile(self, q: float) -> float:
        """The seconds that a share q of the calls does not exceed (nearest rank)."""
        return float(self.seconds[min(len(self.seconds) - 1, int(q * len(self.seconds)))])

    def rate(self, operations: float) -> float:
        """TFLOP/s at the median."""
        return operations / self.quantile(0.5) / 1e12


def peak_of(device: str, precision: str) -> float | None:
    """The peak in TFLOP/s of a device by its name, or None if the table does not know it or the precision."""
    factor = {"fp16": 1.0, "bf16": 1.0, "int8": 2.0}.get(precision)
    found = next((peak for name, peak in PEAKS if name in device), None)
    return None if factor is None or found is None else factor * found


def work_of(spec: ModelSpec, profile: Profile, lengths: Sequence[int], *, padded: bool = True) -> Work:
    """Operations of a BERT-family network: its matrix products and its attention; the rest is well below a percent.

    Of a layer, a token costs 2h² for each of query, key, value and output and 2·2·4h² for the feed-forward, all in
    multiply-adds, and its attention to n tokens 2·n·h for the scores and as much for the sum. A reranker's graph
    computes only the first token's row of the last layer; its keys and values are those of all tokens.

    Args:
        spec: of the model.
        profile: the padded shape.
        lengths: valid tokens of each sequence.
        padded: whether the engine computes padded tokens, too.
    """
    h, layers = spec.hidden, spec.layers

    def total(sizes: Sequence[int], *, first_only: bool) -> float:
        tokens, pairs = sum(sizes), sum(n * n for n in sizes)
        full = tokens * (8 * h * h + 4 * INNER * h * h) + 4 * h * pairs
        if not first_only:
            return float(layers * full)
        rows = len(sizes)
        last = tokens * 4 * h * h + rows * (4 * h * h + 4 * INNER * h * h) + 4 * h * tokens
        return float((layers - 1) * full + last)

    one_row = spec.task == "rerank"
    return Work(
        done=total([profile.length] * profile.batch if padded else lengths, first_only=one_row),
        valid=total(lengths, first_only=one_row),
        model=total(lengths, first_only=False),
    )


def bench_engine(
    engine: Engine, spec: ModelSpec, feeds: Mapping[Profile, Tensors], *, replays: int, seed: int = 0
) -> list[Timing]:
    """Times every bucket; each round runs all of them once, in an order drawn anew.

    Args:
        engine: used by nobody else meanwhile.
        spec: of its model.
        feeds: inputs of the buckets to time.
        replays: calls of each bucket that are counted.
        seed: of the orders.

    Raises:
        EngineError: if there is nothing to time.
    """
    if not feeds or replays < 1:
        raise EngineError(f"{len(feeds)} buckets and {replays} replays are nothing to time: name one or more of each")
    random, buckets = np.random.default_rng(seed), list(feeds.items())
    taken = np.empty((len(buckets), replays))
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(-min(WARM, replays), replays):
            for place in random.permutation(len(buckets)):
                begin = time.perf_counter()
                engine.infer(buckets[place][1])
                taken[place, turn] = time.perf_counter() - begin  # a warm-up's turn is negative, and overwritten
    finally:
        if collecting:
            gc.enable()
    timings = []
    padded = engine.name.partition("/")[0] != FUSED
    for (profile, inputs), row in zip(buckets, taken, strict=True):
        lengths = inputs["attention_mask"].sum(axis=1).tolist()
        work = work_of(spec, profile, lengths, padded=padded)
        timings.append(Timing(profile, np.sort(row), work, len(lengths)))
    return timings

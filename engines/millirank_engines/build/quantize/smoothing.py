"""Ranges evened out between activations and weights (SmoothQuant, Xiao et al. 2022, arXiv 2211.10438).

Channel j of an input is divided by s_j = max|x_j|^alpha / max|w_j|^(1-alpha), and row j of the weights multiplied with
it: a few channels of a transformer are a hundred times as wide as the others, and one range for all would round those
to nothing.

Before that, a channel may be moved to the middle of its range (Outlier Suppression+, Wei et al. 2023, arXiv
2304.09145): GELU is never below -0.17, and outliers lie on one side, so half of a symmetric range would stay empty.

No one alpha suits all layers. On all-MiniLM-L6-v2, with only the second products of the FFNs quantized, cosine p1
against FP32 was 0.973 without smoothing and 0.898 at alpha 0.5: so each layer takes the alpha that changes its own
output the least, and the shift where that is better.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millirank_engines.build.progress import Progress

from .data import CalibrationData
from .ranges import tapped, tensors_of
from .scales import group_of

FLOOR = 1e-5
ALPHAS = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0)  # that a layer chooses from, besides no smoothing
ROWS = 512  # of inputs that a choice is made on
Matrices = Mapping[str, NDArray[np.float32]]  # by group


@dataclass(frozen=True)
class Smooth:
    """What evens out the ranges of groups; those that are better off without lack."""

    vectors: dict[str, NDArray[np.float32]]  # what channels are divided by, (inputs,), geometric mean 1
    shifts: dict[str, NDArray[np.float32]]  # what is subtracted from them before, (inputs,)
    alphas: dict[str, float]  # that the vectors are from


@dataclass(frozen=True)
class Inputs:
    """What the groups of a float graph read, by group."""

    lows: Matrices  # the least of every channel: (inputs,)
    highs: Matrices  # and the most
    means: Matrices
    rows: Matrices  # some of it: (at most about ROWS, inputs)


def inputs_of(onnx: Path, data: CalibrationData, say: Progress) -> Inputs:
    """Runs the data through a float graph and looks at what its linear layers read.

    Raises:
        BackendUnavailable: if onnxruntime is not installed.
    """
    taps = tensors_of(onnx)
    session = tapped(onnx, taps)
    lows: dict[str, NDArray[np.float32]] = {}
    highs: dict[str, NDArray[np.float32]] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    counts = dict.fromkeys(taps, 0)  # a reranker's last layer has one row a sequence
    rows: dict[str, list[NDArray[np.float32]]] = {group: [] for group in taps}
    each = max(1, -(-ROWS // len(data.batches)))
    dice = np.random.default_rng(0)
    for number, batch in enumerate(data.batches, 1):
        for group, value in zip(taps, session.run(list(taps.values()), dict(batch)), strict=True):
            flat = value.reshape(-1, value.shape[-1])
            low, high = flat.min(axis=0), flat.max(axis=0)
            lows[group] = np.minimum(lows.get(group, low), low)
            highs[group] = np.maximum(highs.get(group, high), high)
            counts[group] += len(flat)
            sums[group] = sums.get(group, 0.0) + flat.sum(axis=0, dtype=np.float64)
            rows[group].append(flat[dice.choice(len(flat), min(each, len(flat)), replace=False)])
        say(f"looking at channels: {number / len(data.batches):.0%}")
    means = {group: np.asarray(some / counts[group], np.float32) for group, some in sums.items()}
    return Inputs(lows, highs, means, {group: np.concatenate(some) for group, some in rows.items()})


def weights_of(onnx: Path) -> dict[str, NDArray[np.float32]]:
    """The weights of each group, those of query, key and value beside each other: float32 (inputs, outputs)."""
    import onnx as onnx_library
    from onnx import numpy_helper

    found: dict[str, list[NDArray[np.float32]]] = {}
    for tensor in onnx_library.load(str(onnx)).graph.initializer:
        name = tensor.name.removesuffix(".weight")
        if name != tensor.name and name.startswith("encoder.") and len(tensor.dims) == 2:  # noqa: PLR2004 - a matrix
            found.setdefault(group_of(name), []).append(numpy_helper.to_array(tensor))
    return {group: np.concatenate(parts, axis=1) for group, parts in found.items()}


def smoothed(inputs: Inputs, weights: Matrices, alpha: float | None, bits: int, *, shift: bool = True) -> Smooth:
    """What evens out the ranges of each group.

    Args:
        inputs: of inputs_of.
        weights: of weights_of.
        alpha: how much of the difficulty moves from activations to weights, 0 to 1, for all groups; None lets each
            group choose, none included; 0 means no smoothing.
        bits: of the weights.
        shift: whether each group may choose to move its channels to the middle of their ranges.
    """
    made = Smooth({}, {}, {})
    for group, rows in inputs.rows.items():
        weight, low, high = weights[group], inputs.lows[group], inputs.highs[group]
        alphas: Sequence[float] = (0.0, *ALPHAS) if alpha is None else (alpha,)
        middles = [np.zeros_like(low), *([(low + high) / np.float32(2)] if shift else [])]
        errors: dict[tuple[int, float], float] = {}
        for number, middle in enumerate(middles):
            for one in alphas:
                vector = _vector(np.maximum(high - middle, middle - low), weight, one)
                errors[number, one] = _error(rows - middle, weight, vector, bits)
        number, best = min(errors, key=lambda choice: errors[choice])
        middle = middles[number]
        if best:
            made.alphas[group] = best
            made.vectors[group] = _vector(np.maximum(high - middle, middle - low), weight, best)
        if number:
            made.shifts[group] = middle
    return made


def _vector(widths: NDArray[np.float32], weight: NDArray[np.float32], alpha: float) -> NDArray[np.float32]:
    if not alpha:
        return np.ones_like(widths)
    ratio = np.maximum(widths, FLOOR) ** alpha / np.maximum(np.abs(weight).max(axis=1), FLOOR) ** (1 - alpha)
    return np.asarray(ratio / np.exp(np.log(ratio).mean()), np.float32)


def _error(rows: NDArray[np.float32], weight: NDArray[np.float32], vector: NDArray[np.float32], bits: int) -> float:
    """The variance of what quantizing both changes in the product, each output by its own; its mean goes to the bias.

    One output of a layer may be a hundred times as wide as all others together, and means as little as they do once
    LayerNormalization has scaled it down.
    """
    x, w, exact = rows / vector, weight * vector[:, None], rows @ weight
    got = _rounded(x, np.abs(x).max(), 127) @ _rounded(w, np.abs(w).max(axis=0), (1 << (bits - 1)) - 1)
    return float(((got - exact).var(axis=0) / np.maximum(exact.var(axis=0), FLOOR)).mean())


def _rounded(x: NDArray[np.float32], largest: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    step = np.maximum(largest, FLOOR) / levels
    return np.asarray(np.rint(x / step) * step, np.float32)

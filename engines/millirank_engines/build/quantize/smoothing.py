"""Ranges evened out between activations and weights (SmoothQuant, Xiao et al. 2022, https://arxiv.org/abs/2211.10438).

Channel j of an input is divided by s_j = max|x_j|^α / max|w_j|^(1-α), and row j of the weights multiplied with it: a few
channels of a transformer are a hundred times as wide as the others, and one range for all would round those to nothing.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..progress import Progress
from .data import CalibrationData
from .ranges import tapped, tensors_of
from .scales import group_of

FLOOR = 1e-5
Channels = Mapping[str, NDArray[np.float32]]  # by group: (inputs,)


def channel_widths(onnx: Path, data: CalibrationData, say: Progress) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of every channel of what each group reads, by group: float32 (inputs,)."""
    taps = tensors_of(onnx)
    session, found = tapped(onnx, taps), {}
    for number, batch in enumerate(data.batches, 1):
        values = session.run(list(taps.values()), dict(batch))
        for group, value in zip(taps, values, strict=True):
            widths = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            found[group] = np.maximum(found[group], widths) if group in found else widths
        say(f"measuring channels: {number / len(data.batches):.0%}")
    return found


def weight_widths(onnx: Path) -> dict[str, NDArray[np.float32]]:
    """The largest magnitude of every row of the weights of each group: float32 (inputs,)."""
    import onnx as onnx_library
    from onnx import numpy_helper

    found: dict[str, NDArray[np.float32]] = {}
    for tensor in onnx_library.load(str(onnx)).graph.initializer:
        name = tensor.name.removesuffix(".weight")
        if name == tensor.name or not name.startswith("encoder.") or len(tensor.dims) != 2:  # noqa: PLR2004 - a matrix
            continue
        widths = np.abs(numpy_helper.to_array(tensor)).max(axis=1)
        group = group_of(name)
        found[group] = np.maximum(found[group], widths) if group in found else widths
    return found


def smoothing(activations: Channels, weights: Channels, alpha: float) -> dict[str, NDArray[np.float32]]:
    """What channels are divided by, by group: float32 (inputs,), its geometric mean 1 so that ranges stay readable.

    Args:
        activations: of channel_widths.
        weights: of weight_widths.
        alpha: how much of the difficulty moves from activations to weights, 0 to 1.
    """
    made = {}
    for group, widths in activations.items():
        ratio = np.maximum(widths, FLOOR) ** alpha / np.maximum(weights[group], FLOOR) ** (1 - alpha)
        made[group] = (ratio / np.exp(np.log(ratio).mean())).astype(np.float32)
    return made

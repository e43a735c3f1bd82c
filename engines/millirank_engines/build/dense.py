"""The linear layers of a network as nodes: in the types of the graph, or as INT8 products between Q/DQ nodes."""

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .nodes import Graph
from .quantize.scales import Scales, group_of

PARTS, KINDS = ("query", "key", "value"), ("weight", "bias")
CONTEXT = "attention.output.dense"  # reads the context, whose channels are those of the values
VALUE = "attention.self.value"
INNER, OUTER = "intermediate.dense", "output.dense"  # the two products of the FFN


class Weights(Protocol):
    """The tensors of a network by their transformers names, without the family's prefix."""

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """One tensor as float32."""


class Dense:
    """Linear layers of one graph.

    Smoothing (SmoothQuant, Xiao et al. 2022) divides the channels of a layer's input by a vector and multiplies the
    rows of its weights with it, shifting (Outlier Suppression+, Wei et al. 2023, arXiv 2304.09145) subtracts another
    before and adds its product to the bias; both change nothing but the ranges. The vectors of what reads the context
    are folded into the value's weights, because attention mixes tokens, by weights whose sum is 1, and not channels;
    everywhere else they are nodes of their own: in BERT the output of LayerNormalization is also the residual, and GELU
    lies before the second product of the FFN.

    What rounding takes from the weights of INT8 is given back to the bias, for the mean of what the layer reads.

    Where GELU's output is smoothed, shifted or not rounded at all, the product in front is float32 in a float16 graph:
    there TensorRT 10.6 leaves its scales to the kernel behind it, and keeps sums of integers, unscaled, in its type, of
    which float16 does not hold up to an eighth in MiniLM.
    """

    def __init__(self, graph: Graph, weights: Weights, scales: Scales | None) -> None:
        self.graph, self.weights, self.scales = graph, weights, scales or Scales()

    def tensor(self, name: str, kind: str, factor: float) -> NDArray[np.float32]:
        """Weight (inputs, outputs) or bias (outputs) of a layer times factor, with what is folded into it."""
        value = self.weights[f"{name}.{kind}"].T * np.float32(factor)
        if not name.endswith(VALUE):
            return value
        reader = name.replace(VALUE, CONTEXT)
        shift, smoothing = self.scales.shift.get(reader), self.scales.smoothing.get(reader)
        value = value - shift if kind == "bias" and shift is not None else value
        return value if smoothing is None else (value / smoothing).astype(np.float32)

    def dense(self, x: str, name: str, scale: float = 1.0, *, wide: bool = False) -> str:
        """X times the weights of a linear layer, plus its bias, both times scale; wide computes in float32."""
        weight, bias = (self.tensor(name, kind, scale) for kind in KINDS)
        return self.product(x, name, weight, bias, wide=wide)

    def joined(self, x: str, name: str, scales: Mapping[str, float]) -> Iterator[str]:
        """Several linear layers of the same rows as one product, and a slice of it each."""
        graph = self.graph
        both = {kind: [self.tensor(f"{name}.{p}", kind, s) for p, s in scales.items()] for kind in KINDS}
        weight, bias = (np.concatenate(both[kind], axis=-1) for kind in KINDS)
        rows = self.product(x, f"{name}.joined", weight, bias)
        width = len(bias) // len(scales)
        for i, part in enumerate(scales):
            ends = map(graph.integers, (i * width, (i + 1) * width, 2))
            yield graph.op("Slice", f"{name}.{part}/slice", rows, *ends)

    def product(
        self, x: str, name: str, weight: NDArray[np.float32], bias: NDArray[np.float32], *, wide: bool = False
    ) -> str:
        """X times weight (inputs, outputs) plus bias (outputs)."""
        graph, group, scales = self.graph, group_of(name), self.scales
        mean = scales.mean.get(group)
        shift, smoothing, amax = scales.shift.get(group), scales.smoothing.get(group), scales.amax.get(group)
        if shift is not None:
            bias = bias + shift @ weight
            mean = None if mean is None else mean - shift
            if not group.endswith(CONTEXT):
                x = graph.once("Sub", f"{x}/{group}/shifted", x, graph.weight(f"{group}/shift", shift))
        if smoothing is not None:
            weight = weight * smoothing[:, None]
            mean = None if mean is None else mean / smoothing
            if not group.endswith(CONTEXT):
                inverse = graph.weight(f"{group}/smoothing", (1 / smoothing).astype(np.float32))
                x = graph.once("Mul", f"{x}/{group}/smooth", x, inverse)
        widened = amax is not None and self.unscaled(group)
        wide = wide or widened
        if amax is None:
            factor = graph.weight(f"{name}.weight", weight, wide=wide)
        else:
            kept, steps, lost = graph.codes(weight, scales.weight_bits)
            bias = bias if mean is None else bias + mean @ lost
            factor = graph.int8(f"{name}.weight", kept, steps, wide=wide)
            x = graph.quantized(f"{x}/{group}", x, amax, wide=wide)
        product = graph.op("MatMul", f"{name}/matmul", x, factor)
        bias = np.asarray(bias, np.float32)
        rows = graph.op("Add", f"{name}/add", product, graph.weight(f"{name}.bias", bias, wide=wide))
        return graph.narrow(rows) if widened else rows

    def unscaled(self, group: str) -> bool:
        """Whether TensorRT would keep its sums of integers as they are."""
        if not group.endswith(INNER):
            return False
        reader, scales = group.removesuffix(INNER) + OUTER, self.scales
        return reader not in scales.amax or reader in scales.shift or reader in scales.smoothing

"""ONNX nodes and initializers, gathered in the order of their making, at one precision."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Precision = Literal["fp32", "fp16"]
INT8_MAX = 127  # -128 is left out: ranges are symmetric


class Graph:
    """Nodes and initializers, in the order of their making."""

    def __init__(self, precision: Precision, *, rounded: bool = False) -> None:
        self.rounded = rounded  # INT8 weights are written as the floats that they stand for
        self.half = precision == "fp16"
        self.dtype = np.dtype(np.float16 if self.half else np.float32)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self._made: set[str] = set()

    def constant(self, name: str, value: NDArray[np.generic], *, exact: bool = False) -> str:
        """Adds an initializer, once however often it is asked for; a number becomes a vector unless exact."""
        from onnx import numpy_helper

        if name not in self.initializers:
            kept = value if exact else np.ascontiguousarray(value)  # which makes a number a vector
            self.initializers[name] = numpy_helper.from_array(kept, name)
        return name

    def weight(self, name: str, value: NDArray[np.float32], *, wide: bool = False) -> str:
        """Adds a weight in the precision of the graph, or in float32 if wide."""
        with np.errstate(over="ignore"):
            kept = value.astype(np.float32 if wide else self.dtype)
        if not np.isfinite(kept).all():
            raise OverflowError(f"{name} has values that {kept.dtype} cannot hold: use --precision fp32")
        return self.constant(name, kept)

    def integers(self, *values: int) -> str:
        """Adds a constant of int64s."""
        return self.constant("integers/" + "_".join(map(str, values)), np.array(values, np.int64))

    def scalar(self, value: float) -> str:
        """Adds a number in the precision of the graph."""
        return self.constant(f"scalar/{value:.6g}", np.array(value, self.dtype))

    def op(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:  # noqa: ANN401 (as ONNX has them)
        """Adds a node; its one output bears its name."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def once(self, kind: str, name: str, *inputs: str) -> str:
        """As op, but the node is made once however often it is asked for."""
        if name not in self._made:
            self._made.add(self.op(kind, name, *inputs))
        return name

    def quantized(self, name: str, x: str, amax: float, *, wide: bool = False) -> str:
        """The activation x rounded to 255 steps between -amax and amax: a Q/DQ pair, in float32 again if wide."""
        step = np.array(amax / INT8_MAX, self.dtype)
        scale = self.constant(f"{name}/scale", step, exact=True)
        zero = self.constant("zero/int8", np.array(0, np.int8), exact=True)
        codes = self.once("QuantizeLinear", f"{name}/q", x, scale, zero)
        if wide and self.half:
            scale = self.constant(f"{name}/scale/float32", step.astype(np.float32), exact=True)
            return self.once("DequantizeLinear", f"{name}/dq/float32", codes, scale, zero)
        return self.once("DequantizeLinear", f"{name}/dq", codes, scale, zero)

    def codes(
        self, value: NDArray[np.float32], bits: int = 8
    ) -> tuple[NDArray[np.int8], NDArray[np.floating[Any]], NDArray[np.float32]]:
        """A weight (inputs, outputs) as int8, one symmetric step an output, and what both lose of it."""
        largest = np.abs(value).max(axis=0)
        steps = np.where(largest > 0, largest, 1.0) / ((1 << (bits - 1)) - 1)
        steps = np.maximum(steps, 6.2e-5 if self.half else 1e-30).astype(self.dtype)
        kept = np.clip(np.rint(value / steps.astype(np.float32)), -INT8_MAX, INT8_MAX).astype(np.int8)
        return kept, steps, value - kept * steps.astype(np.float32)

    def int8(self, name: str, kept: NDArray[np.int8], steps: NDArray[np.floating[Any]], *, wide: bool = False) -> str:
        """Adds what codes made of a weight, and its DQ node, which gives float32 if wide."""
        steps = steps.astype(np.float32) if wide else steps
        if self.rounded:
            return self.constant(f"{name}/rounded", kept.astype(steps.dtype) * steps)
        scale = self.constant(f"{name}/scale", steps)
        zero = self.constant(f"zero/int8/{len(steps)}", np.zeros(len(steps), np.int8))
        return self.op("DequantizeLinear", f"{name}/dq", self.constant(f"{name}/int8", kept), scale, zero, axis=1)

    def cast(self, name: str, x: str, *, wide: bool = False) -> str:
        """X in the precision of the graph, or in float32 if wide."""
        from onnx import TensorProto

        return self.op("Cast", name, x, to=TensorProto.FLOAT16 if self.half and not wide else TensorProto.FLOAT)

    def widen(self, x: str) -> str:
        """The activation x as float32."""
        return self.cast(f"{x}/float32", x, wide=True) if self.half else x

    def narrow(self, x: str) -> str:
        """The float32 activation x in the precision of the graph."""
        return self.cast(f"{x}/float16", x) if self.half else x

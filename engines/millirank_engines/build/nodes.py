"""ONNX nodes and initializers, gathered in the order of their making, at one precision."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Precision = Literal["fp32", "fp16"]


class Graph:
    """Nodes and initializers, in the order of their making."""

    def __init__(self, precision: Precision) -> None:
        self.half = precision == "fp16"
        self.dtype = np.dtype(np.float16 if self.half else np.float32)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        """Adds an initializer, once however often it is asked for."""
        from onnx import numpy_helper

        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
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

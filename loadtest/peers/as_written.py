"""An ONNX graph run on the CPU as it is written: Q/DQ pairs round, float16 rounds, nothing becomes INT8.

So every quantizer's graph says here what it says on hardware that multiplies INT8 exactly, whatever processor this is,
and an FP16 graph what it says where every node's output is stored in FP16. Products and sums of either are FP32's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from millirank_engines.base import Profile, Tensors
from millirank_engines.device import cores

if TYPE_CHECKING:
    import onnx


class AsWritten:
    """See Engine.

    Args:
        onnx: a graph with one output.
        profiles: the shapes that it will take.
    """

    def __init__(self, onnx: Path, profiles: Sequence[Profile]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.intra_op_num_threads = cores()  # by default it takes those of the machine
        graph = rounding(onnx).SerializeToString()
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self.name, self.profiles = "onnxruntime/as written", tuple(sorted(profiles))
        self._inputs = [one.name for one in self._session.get_inputs()]
        self._output = self._session.get_outputs()[0].name

    def infer(self, feeds: Tensors) -> dict[str, np.ndarray]:
        """See Engine."""
        (out,) = self._session.run([self._output], {name: feeds[name] for name in self._inputs})
        return {self._output: out}

    def close(self) -> None:
        """See Engine."""
        del self._session


def rounding(path: Path) -> "onnx.ModelProto":
    """The graph with every float16 as a float32 of the same value: each node's output goes through float16 and back.

    ONNX Runtime has no kernels of FP16 for most nodes on a CPU: it computes them in FP32, and takes out what casts it
    put between two such nodes, so that most values would never be rounded. Casts that a graph has itself it keeps.
    """
    import onnx

    half, full = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT
    model = onnx.load(str(path))
    graph = onnx.shape_inference.infer_shapes(model).graph
    rounded = {value.name for value in graph.value_info if value.type.tensor_type.elem_type == half}
    for constant in model.graph.initializer:
        if constant.data_type == half:
            widened = onnx.numpy_helper.to_array(constant).astype(np.float32)
            constant.CopyFrom(onnx.numpy_helper.from_array(widened, constant.name))
    nodes = []
    for node in model.graph.node:
        nodes.append(node)
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == half:
                attribute.i = full
        for place, name in enumerate(node.output):
            if name in rounded:
                node.output[place] = f"{name}/exact"
                for kind, given, made in ((half, f"{name}/exact", f"{name}/half"), (full, f"{name}/half", name)):
                    nodes.append(onnx.helper.make_node("Cast", [given], [made], f"{given}/cast", to=kind))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model

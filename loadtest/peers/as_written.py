"""An ONNX graph run on the CPU as it is written: Q/DQ pairs round, products are those of floats, nothing becomes INT8.

So every quantizer's graph says here what it says on hardware that multiplies INT8 exactly, whatever processor this is.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from millirank_engines.base import Profile, Tensors


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
        self._session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
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

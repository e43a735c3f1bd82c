"""The same ONNX graph through ONNX Runtime's CUDA provider, as an engine of ours, where that is installed."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from millirank_engines.base import Profile, Tensors
from millirank_engines.build.export import export_model
from millirank_engines.build.parity import output_name
from millirank_engines.model import Task

PROVIDER = "CUDAExecutionProvider"


def available() -> bool:
    """Whether ONNX Runtime is here and knows CUDA."""
    try:
        import onnxruntime
    except ImportError:
        return False
    return PROVIDER in onnxruntime.get_available_providers()


class OnnxRuntimeEngine:
    """See Engine.

    Args:
        source: of the model, as `millirank engine build --model` takes it.
        task: embed or rerank.
        profiles: the shapes that it will take.
    """

    def __init__(self, source: str, task: Task, profiles: Sequence[Profile]) -> None:
        import onnxruntime

        self.name = "onnxruntime/fp16"
        self.profiles = tuple(sorted(profiles))
        self._output = output_name(task)
        with TemporaryDirectory() as folder:
            export_model(source, Path(folder), task=task, precision="fp16")
            self._session = onnxruntime.InferenceSession(str(Path(folder) / "model.onnx"), providers=[PROVIDER])

    def infer(self, feeds: Tensors) -> dict[str, np.ndarray]:
        """See Engine."""
        return {self._output: self._session.run([self._output], dict(feeds))[0]}

    def close(self) -> None:
        """See Engine."""
        self.profiles = ()
        del self._session

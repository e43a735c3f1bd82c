"""A shipped model with the scales of its INT8, and the graphs that are made of both."""

from collections.abc import Collection
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from int8_shared import brought, int8_of

from millirank_engines import Engine, EngineError, Profile, Task
from millirank_engines.build.export import Export, export_model
from millirank_engines.build.quantize.bits import weight_bits
from millirank_engines.build.quantize.int8 import Int8
from millirank_engines.build.quantize.scales import Scales
from millirank_engines.build.quantize.shipped import TIMED, scales_beside
from millirank_engines.device import this_cpu
from millirank_engines.model import ENCODER, RERANKER
from millirank_engines.openvino import OpenVinoEngine

MODELS: dict[Task, str] = {"embed": ENCODER, "rerank": RERANKER}
REST = "int8, rest bf16"  # what is no product in OpenVINO's default here; an int8 engine computes it in FP32
HOWS = ("fp32", "bf16", "int8", REST)


class Int8Subject:
    """One model; what is exported lies in work.

    Args:
        task: of the model.
        work: a folder.
        scales: a folder of MODEL.safetensors, for a model that ships without.
    """

    def __init__(self, task: Task, work: Path, scales: Path | None = None) -> None:
        self.task, self.source = task, MODELS[task]
        self.name = "minilm-encoder" if task == "embed" else "minilm-reranker"
        self._work, self._scales = work / self.name, scales

    @cached_property
    def scales(self) -> Scales:
        """For this processor: without VNNI its weights have a bit less.

        Raises:
            EngineError: if there are none.
        """
        path = brought(self._scales, self.source) or scales_beside(self.source)
        if path is None:
            raise EngineError(f"{self.source} ships without scales: name a folder that has them with --scales")
        scales = Scales.read(path)
        return replace(scales, weight_bits=min(scales.weight_bits, weight_bits(this_cpu())))

    @property
    def int8(self) -> Int8:
        """For a build: with the figures that were sealed with the scales, or with none."""
        return int8_of(self.scales, TIMED)

    @cached_property
    def float(self) -> Export:
        """The FP32 graph."""
        return export_model(self.source, self._work / "fp32", task=self.task)

    @cached_property
    def quantized(self) -> Export:
        """The Q/DQ graph."""
        return export_model(self.source, self._work / "int8", task=self.task, scales=self.scales)

    def engines(self, profiles: tuple[Profile, ...], static_tokens: int, hows: Collection[str]) -> dict[str, Engine]:
        """The model in those of HOWS that are wanted and that this processor has; the caller's to close."""
        sources = {"fp32": (self.float, "fp32"), "int8": (self.quantized, "int8")}
        if this_cpu().has_bf16:
            sources |= {"bf16": (self.float, "bf16"), REST: (self.quantized, "bf16")}
        return {
            how: OpenVinoEngine(made.folder / "model.onnx", profiles, precision, static_tokens=static_tokens)
            for how, (made, precision) in sources.items()
            if how in hows
        }

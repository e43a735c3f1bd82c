"""The OpenVINO engine: static models for the small shapes, one dynamic model for the rest.

Measured on one machine with two cores, busy with other work (AMD EPYC, AVX-512 BF16, OpenVINO 2026.4.1), with
all-MiniLM-L6-v2 in bf16, all shapes interleaved at random, p50 of 40 calls, ms:

    |         | 1x8  | 1x16 | 2x16 | 4x8  | 1x64 | 8x32 | compiling       | private memory |
    | dynamic | 2.90 | 3.17 | 3.88 | 4.08 | 5.35 | 14.2 | 0.3 s in all    | 96 MB in all   |
    | static  | 1.62 | 2.04 | 2.62 | 2.68 |      |      | 0.17 s a shape  | 50 MB a shape  |

A dynamic model prepares every node anew when the shape changes, about 1.2 ms whatever the work: on an idle machine
the reranker's 2x24 took 5.2 ms dynamic and 3.5 static, 3x32 5.9 and 4.9. So shapes of few padded tokens, as in
STATIC_TOKENS, get a static model: those of a query or two, and those that a rerank within 10 ms can have. They share
the mapped weights file (the graph is read once and cloned; what RSS shows beyond the 50 MB are shared pages), not the
repacked weights: nested `If` bodies shared nothing, and streams of one model pinned to threads were as slow as dynamic.

Exported blobs are not used: importing one took 0.15 to 0.23 s where compiling took 0.15 to 0.25 s, each cost 90 MB of
disk, and its weights became private memory (136 MB a shape).
"""

import logging
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov

from . import device
from .base import EngineError, EngineFailed, Profile, Tensors, copy_feeds, no_profile
from .device import cores, this_cpu

if TYPE_CHECKING:
    from numpy.typing import NDArray

STATIC_TOKENS = {"embed": 32, "rerank": 128}  # padded tokens up to which a shape gets a static model, by task
log = logging.getLogger(__name__)
HINTS = {"fp32": "f32", "fp16": "f32", "bf16": "bf16"}  # what is computed in; fp16 says how weights are stored
INT8 = "int8"  # products between Q/DQ nodes; the rest is FP32, which is what its gate is held in


def default_precision() -> str:
    """bf16 where this processor multiplies it in hardware, else fp32."""
    return "bf16" if this_cpu().has_bf16 else "fp32"


@dataclass(frozen=True, slots=True)
class _Lane:
    """What a profile needs to run; the arrays are the request's own input memory."""

    request: Any  # openvino.InferRequest
    inputs: "dict[str, NDArray[np.int32]]"


class OpenVinoEngine:
    """A model on the CPU, compiled when it is made; only the first call of a dynamic shape takes 3 to 5 ms more."""

    def __init__(
        self,
        model: Path,
        profiles: Sequence[Profile],
        precision: str,
        *,
        threads: int | None = None,
        static_tokens: int = 0,
        background: bool = False,
        deferred: bool = False,
    ) -> None:
        """Compiles the model.

        Args:
            model: an OpenVINO IR (model.xml, its weights beside it) or an ONNX file.
            profiles: the shapes that infer will take.
            precision: fp32, fp16 (weights stored so, computed in fp32), bf16, or int8 for a model with Q/DQ nodes,
                whose rest is computed in FP32: in BF16 the encoder lost .0041 of nDCG@10 on a Xeon with AMX, and
                was no faster; a reranker would have been, by 4 to 10 %.
            threads: for one inference; all cores of this process by default.
            static_tokens: profiles of at most so many padded tokens get a static model of their own.
            background: whether its threads let every other go first, once `device.background_now` is called.
            deferred: whether static models are compiled after this returns, which takes 0.2 s each; until then their
                shapes run on the dynamic one.

        Raises:
            EngineError: if the precision is unknown or not to be had on this processor.
            EngineFailed: if OpenVINO cannot read or compile the model.
        """
        self.name = f"openvino/{precision}"
        self.profiles = tuple(sorted(profiles))
        hint = "fp32" if precision == INT8 else precision
        if hint not in HINTS:
            raise EngineError(f"precision {precision!r} is none of {', '.join((*HINTS, INT8))}")
        if precision == "bf16" and not this_cpu().has_bf16:
            raise EngineError("this processor has no bf16 instructions: build with `--precision fp32`")
        self._settings = {
            "INFERENCE_PRECISION_HINT": HINTS[hint],
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(threads or cores()),
        }
        priority = device.background_soon if background else device.long_slices
        try:
            with ThreadPoolExecutor(1, initializer=priority) as starter:
                starter.submit(self._compile, model).result()  # its threads inherit the starter's priority
        except RuntimeError as error:
            raise EngineFailed(f"OpenVINO cannot compile {model}: {error}") from error
        self._later = ThreadPoolExecutor(1, initializer=priority)
        compiling = self._later.submit(self._specialize, static_tokens)
        if deferred:
            compiling.add_done_callback(_report)
        else:
            compiling.result()
        self._later.shutdown(wait=not deferred)

    def _compile(self, path: Path) -> None:
        self._core = ov.Core()
        self._model = self._core.read_model(path)  # maps the weights: read once, so that all clones share its pages
        self._inputs = tuple(port.any_name for port in self._model.inputs)
        self._output = self._model.output(0).any_name
        dynamic = self._core.compile_model(self._model, "CPU", self._settings)
        shapes = [(profile.batch, profile.length) for profile in self.profiles]
        self._lanes: dict[tuple[int, ...], _Lane] = {
            shape: self._lane(dynamic.create_infer_request(), shape) for shape in shapes
        }

    def _specialize(self, static_tokens: int) -> None:
        """Gives the small shapes a static model each; infer may run meanwhile."""
        for profile in [profile for profile in self.profiles if profile.tokens <= static_tokens]:
            shape = (profile.batch, profile.length)
            static = self._model.clone()
            static.reshape({name: list(shape) for name in self._inputs})
            try:
                compiled = self._core.compile_model(static, "CPU", self._settings)
                lane = self._lane(compiled.create_infer_request(), shape)
                lane.request.infer()  # the first run is slow
            except RuntimeError as error:
                raise EngineFailed(f"OpenVINO cannot compile {profile} of {self.name}: {error}") from error
            if not self.profiles:  # closed meanwhile
                return
            self._lanes[shape] = lane

    def _lane(self, request: "ov.InferRequest", shape: tuple[int, ...]) -> _Lane:
        tensors = {name: ov.Tensor(ov.Type.i32, ov.Shape(list(shape))) for name in self._inputs}
        for name, tensor in tensors.items():
            request.set_tensor(name, tensor)
        return _Lane(request, {name: tensor.data for name, tensor in tensors.items()})

    def infer(self, feeds: Tensors) -> "dict[str, NDArray[np.float32]]":
        """Runs the model once; see Engine. Copies the feeds, returns arrays that are the caller's, releases the GIL."""
        shape = feeds["input_ids"].shape if "input_ids" in feeds else ()
        lane = self._lanes.get(shape)
        if lane is None:
            raise no_profile(self.name, self.profiles, shape)
        copy_feeds(feeds, lane.inputs, shape)
        try:
            lane.request.infer(share_outputs=True)
        except RuntimeError as error:
            raise EngineFailed(f"{self.name} failed on {shape}: {error}") from error
        return {self._output: np.array(lane.request.get_output_tensor(0).data, np.float32)}

    def close(self) -> None:
        """Frees the compiled models."""
        self.profiles = ()
        self._later.shutdown()
        self._lanes = {}


def _report(compiled: "Future[None]") -> None:
    if error := compiled.exception():
        log.warning("%s: its small shapes stay on the dynamic model, which is slower", error)

"""Building for TensorRT and TensorRT-RTX: a plan for the GPU here, or for compute capabilities that are elsewhere."""

import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millirank_engines import baseline
from millirank_engines.artifact import PLAN, release
from millirank_engines.base import BackendUnavailable, Engine, EngineError
from millirank_engines.device import Device
from millirank_engines.files import project_file
from millirank_engines.gpu import Gpu, any_gpu, sm, this_gpu
from millirank_engines.load import start_engine
from millirank_engines.manifest import Manifest
from millirank_engines.model import ModelSpec
from millirank_engines.trtmodule import trt_module

from .graph import PLAIN, Form
from .nodes import Precision
from .plan import Options, compute_capability, plan_from_onnx, timing_cache_path
from .profiles import Profiles, default_profiles, own_digest, profiles_around
from .progress import Progress

if TYPE_CHECKING:
    from .export import Export

ASSUMED = (8, 9)  # the compute capability that TensorRT-RTX builds for where there is no GPU and none is named
NEXT_MAJOR = 12  # version-compatible plans of TensorRT 10 run on 11, says its documentation
FORM = Form(half_norm=True, time_major=True, tanh_gelu=True)


@dataclass(frozen=True)
class _Here:
    """What was found on this machine."""

    trt: Any
    gpu: Gpu | None


class TensorRt:
    """See Backend."""

    precisions: tuple[str, ...] = ("fp16", "fp32", "int8", "auto")
    libraries: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ("tensorrt.py", "plan.py", "parser.py", "profiles.py")

    def __init__(
        self,
        name: str = "tensorrt",
        options: Options | None = None,
        *,
        form: Form = FORM,
        baselines: Path | None = None,
        gpu: Gpu | None = None,
    ) -> None:
        """Finds TensorRT and the GPU, and refuses what they or the baseline do not allow.

        Args:
            name: tensorrt or tensorrt-rtx.
            options: of the build.
            form: of the graph.
            baselines: a baseline.toml; millirank's own by default.
            gpu: the one to build for; the first of this process by default.

        Raises:
            BackendUnavailable: if TensorRT is not installed, or there is no GPU, which only TensorRT-RTX does without.
            EngineError: if this machine is outside the baseline, or an option does not suit it.
        """
        self.name, self.form = name, form
        self._rtx = name == "tensorrt-rtx"
        gpu = gpu or this_gpu()
        if gpu is None and not self._rtx:
            raise BackendUnavailable(
                name,
                "it builds on an NVIDIA GPU, and none is usable here: see `nvidia-smi` (in a container, start it with "
                "--gpus all), build for GPUs of other machines with --backend tensorrt-rtx, or use --backend openvino",
            )
        self._here = _Here(trt_module(name), gpu)
        self._options = self._chosen(options or Options())
        self._baselines = baselines or project_file(baseline.NAME)
        self._given = baselines
        self.baseline = self._pinned()

    @property
    def version(self) -> str:
        """Of TensorRT."""
        return str(self._here.trt.__version__)

    @property
    def assumed(self) -> bool:
        """Whether the compute capability was named by nobody and nothing."""
        return self._assumed

    def _chosen(self, options: Options) -> Options:
        self._assumed = False
        if not self._rtx:
            if options.capabilities:
                raise EngineError("TensorRT builds for this GPU: --compute-capability is for --backend tensorrt-rtx")
            return options
        if options.version_compatible:
            raise EngineError("TensorRT-RTX has no lean runtime: --version-compatible is for --backend tensorrt")
        if not options.capabilities:
            self._assumed = self._here.gpu is None
            here = self._here.gpu.capability if self._here.gpu else ASSUMED
            options = replace(options, capabilities=(here,))
        for capability in options.capabilities:
            compute_capability(self._here.trt, capability)
        return options

    def _pinned(self) -> Mapping[str, str]:
        entries = baseline.read_baselines(self._baselines)
        if self._rtx:  # the GPU that runs it is another's: only what is built for is compared
            targets = [sm(capability) for capability in self._options.capabilities]
            pins = [
                baseline.pinned(self._baselines, entries, self.name, {"tensorrt": self.version, "gpu": target})
                for target in targets
            ]
            return {**pins[0], "tensorrt": release(self.version), "gpu": "|".join(targets)}
        assert self._here.gpu is not None  # noqa: S101 - refused above
        here = baseline.readings(self.name, self.version, self._here.gpu)
        pin = baseline.pinned(self._baselines, entries, self.name, here)
        exact = release(self.version)
        return {**pin, "tensorrt": f">={exact},<{NEXT_MAJOR}" if self._options.version_compatible else exact}

    @cached_property
    def device(self) -> Device:
        """See Backend."""
        if not self._rtx and self._here.gpu:
            return self._here.gpu.device(platform.machine())
        return any_gpu(self._options.capabilities, platform.machine())

    @property
    def versions(self) -> Mapping[str, str]:
        """See Backend."""
        driver = {"driver": self._here.gpu.driver, "cuda": self._here.gpu.cuda} if self._here.gpu else {}
        return {self.name: self.version, **({} if self._rtx else driver)}

    def options(self) -> Mapping[str, Any]:
        """See Backend."""
        return {**self._options.to_json(), "form": str(self.form), "profiles_file": own_digest()}

    def arguments(self) -> list[str]:
        """See Backend."""
        chosen, default = self._options, Options()
        given: list[tuple[str, object, object]] = [
            ("--workspace", f"{chosen.workspace:g}", f"{default.workspace:g}"),
            ("--level", chosen.level, default.level),
            ("--aux-streams", chosen.aux_streams, default.aux_streams),
            ("--compute-capability", ",".join("{}.{}".format(*c) for c in chosen.capabilities), ""),
            ("--graph", str(self.form) or PLAIN, str(FORM)),
            ("--baseline", self._given, None),
        ]
        words = [str(word) for name, value, usual in given if value != usual for word in (name, value)]
        return [*words, *["--version-compatible"] * chosen.version_compatible]

    def types(self, precision: str) -> Precision:
        """See Backend."""
        return "fp32" if precision == "fp32" else "fp16"  # what is not INT8 in an INT8 plan is FP16

    def profiles(self, model: ModelSpec, asked: Profiles | None) -> Profiles:
        """See Backend."""
        if asked is None:
            return default_profiles(model)
        return asked if asked.optimization else profiles_around(asked.buckets)

    def compile(self, source: "Export", folder: Path, profiles: Profiles, out: Path, say: Progress) -> None:
        """See Backend."""
        timings = None
        if not self._rtx and self._here.gpu:
            timings = timing_cache_path(out, self._here.gpu.name, self.version)
        if self.assumed:
            say(f"there is no GPU here: building for {self.device.name}; name another with --compute-capability")
        onnx = source.folder / "model.onnx"
        plan = plan_from_onnx(
            onnx, profiles, backend=self.name, options=self._options, timing_cache=timings, progress=say
        )
        (folder / PLAN).write_bytes(plan)

    def engine(self, folder: Path, manifest: Manifest) -> Engine | None:
        """See Backend."""
        gpu = self._here.gpu
        if gpu is None or gpu.feature not in self.device.features:
            return None
        return start_engine(folder, manifest)


def tensorrt_from(name: str, options: Mapping[str, Any]) -> TensorRt:
    """The backend with the options that `millirank engine build` was given.

    Raises:
        BackendUnavailable, EngineError: as TensorRt, or if a value cannot be read.
    """
    given = dict(options)
    graph, baselines = given.pop("graph", None), given.pop("baseline", None)
    if written := given.pop("compute_capability", None):
        given["capabilities"] = capabilities_of(written)
    return TensorRt(name, Options(**given), form=form_of(graph), baselines=baselines)


def form_of(graph: str | None) -> Form:
    """The form that --graph names, or the default where it was left out.

    Raises:
        EngineError: as Form.parse.
    """
    return FORM if graph is None else Form.parse(graph)


def capabilities_of(text: str) -> tuple[tuple[int, int], ...]:
    """Compute capabilities from the way they are written: 8.9 or 8.6,8.9.

    Raises:
        EngineError: if one is written in another way.
    """
    found = []
    for part in shlex.split(text.replace(",", " ")):
        major, _, minor = part.partition(".")
        if not (major.isdecimal() and minor.isdecimal()):
            raise EngineError(f"{part!r} is no compute capability: write one such as 8.9")
        found.append((int(major), int(minor)))
    return tuple(sorted(set(found)))

"""A TensorRT plan from ONNX, in one way for TensorRT 10, TensorRT 11 and TensorRT-RTX: networks are strongly typed.

Precision lies in the types of the ONNX, shapes in the optimization profiles; everything else is an Option here.
"""

import platform
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from millirank_engines.base import EngineError
from millirank_engines.gpu import sm
from millirank_engines.trtmodule import trt_logger, trt_module

from .parser import network_from_onnx
from .profiles import Profiles
from .progress import Progress, Stop, progress_monitor

GIB = 1 << 30
LEVELS = range(6)
NO_DRIVER = "cudaError 35"  # CUDA driver version is insufficient for CUDA runtime version


class PlanFailed(EngineError):
    """A build that TensorRT gave up."""


@dataclass(frozen=True)
class Options:
    """What a plan depends on besides its network and its profiles."""

    workspace: float = 4.0  # GiB that a kernel may use while it runs; less excludes fast ones
    level: int = 3  # of the builder's search, 0 to 5
    aux_streams: int | None = None  # at most, beside the one of the caller; TensorRT's choice by default
    version_compatible: bool = False  # runs on later versions of the runtime, the lean one too
    capabilities: tuple[tuple[int, int], ...] = ()  # compute capabilities of TensorRT-RTX

    def __post_init__(self) -> None:
        if self.workspace < 1:
            raise EngineError(
                f"a workspace of {self.workspace:g} GiB rules out fast kernels: give --workspace 1 or more"
            )
        if self.level not in LEVELS:
            raise EngineError(f"there is no builder level {self.level}: give --level 0 to {LEVELS[-1]}")
        if self.aux_streams is not None and self.aux_streams < 0:
            raise EngineError(f"{self.aux_streams} auxiliary streams are none: give --aux-streams 0 or more")

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a key."""
        return asdict(self)


def plan_from_onnx(
    onnx: Path,
    profiles: Profiles,
    *,
    backend: str,
    options: Options,
    timing_cache: Path | None = None,
    progress: Progress = lambda _: None,
) -> bytes:
    """Builds a plan, which TensorRT's runtime deserializes.

    Args:
        onnx: the model; its types are the precision.
        profiles: the shapes that it is optimized for.
        backend: tensorrt or tensorrt-rtx.
        options: of the build.
        timing_cache: a file of kernel timings, read if it is there and written when done; TensorRT-RTX has none.
        progress: told how far it is. KeyboardInterrupt in this thread ends the build.

    Raises:
        BackendUnavailable: if the module is not installed.
        NetworkRefused: if the parser does not take the model; it tells all errors.
        PlanFailed: if the builder gives up, with TensorRT's own words.
    """
    trt, logger = trt_module(backend), trt_logger(backend)
    logger.taken()
    if not hasattr(trt, "Builder"):
        raise PlanFailed(f"{trt.__name__} only runs plans: install the full one, `pip install 'millirank[{backend}]'`")
    builder = _builder(trt, logger)
    network, parser = network_from_onnx(trt, builder, onnx)
    config = _config(trt, builder, options)
    for one in profiles.optimization:
        shapes = builder.create_optimization_profile()
        for i in range(network.num_inputs):
            shapes.set_shape(network.get_input(i).name, *one.shapes())
        if config.add_optimization_profile(shapes) < 0:
            raise PlanFailed(f"TensorRT refuses the optimization profile {one}: {_told(logger)}")
    cache = _read_timings(config, timing_cache) if timing_cache else None
    stop = Stop()
    monitor = progress_monitor(trt, progress, stop)
    config.progress_monitor = monitor
    plan = _built(builder, network, config, stop)
    del parser, cache, monitor  # TensorRT read from them until here
    if plan is None:
        raise PlanFailed(
            f"TensorRT gave up building the plan: {_told(logger)}: see whether other processes use the GPU, "
            "give --workspace more, or leave optimization profiles out"
        )
    if timing_cache:
        _write_timings(config, timing_cache)
    return bytes(plan)


def _builder(trt: Any, logger: Any) -> Any:  # noqa: ANN401 - TensorRT's classes
    try:
        return trt.Builder(logger)
    except (RuntimeError, TypeError) as error:  # TypeError: it made none, and its bindings wonder about the null
        raise PlanFailed(
            f"TensorRT {trt.__version__} makes no builder here: {_told(logger)}: install one that builds for this GPU"
        ) from error


def _told(logger: Any) -> str:  # noqa: ANN401 - the logger of trt_logger
    """The errors that TensorRT logged, without those that it logs on every machine without a GPU."""
    taken = logger.taken()
    return "; ".join([line for line in taken if NO_DRIVER not in line] or taken) or "it does not say why"


def _config(trt: Any, builder: Any, options: Options) -> Any:  # noqa: ANN401 - TensorRT's classes
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, int(options.workspace * GIB))
    config.builder_optimization_level = options.level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else an inspector sees a transformer as one node
    config.clear_flag(trt.BuilderFlag.TF32)  # what is float32 is to be float32
    if options.aux_streams is not None:
        config.max_aux_streams = options.aux_streams
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)  # it is host code, which no loader of ours lets run
    if options.capabilities:
        config.num_compute_capabilities = len(options.capabilities)
        for index, capability in enumerate(options.capabilities):
            config.set_compute_capability(compute_capability(trt, capability), index)
    return config


def compute_capability(trt: Any, capability: tuple[int, int]) -> Any:  # noqa: ANN401 - TensorRT's classes
    """TensorRT-RTX's name of a compute capability.

    Raises:
        EngineError: if it cannot build for it.
    """
    known = {name: value for name, value in trt.ComputeCapability.__members__.items() if name.startswith("SM")}
    name = sm(capability).upper().replace("_", "")
    if name not in known:
        raise EngineError(
            f"TensorRT-RTX {trt.__version__} does not build for {sm(capability)}: choose among {', '.join(known)} "
            "with --compute-capability, or build with --backend tensorrt"
        )
    return known[name]


def _built(builder: Any, network: Any, config: Any, stop: Stop) -> Any:  # noqa: ANN401 - TensorRT's classes
    """Builds in a thread of its own, so that Ctrl-C reaches this one: TensorRT would swallow it in a callback."""
    with ThreadPoolExecutor(1, thread_name_prefix="plan") as thread:
        building = thread.submit(builder.build_serialized_network, network, config)
        try:
            plan = building.result()
        except BaseException:
            stop.ask()
            raise
    if stop.cause:
        raise stop.cause
    return plan


def timing_cache_path(out: Path, gpu: str, version: str) -> Path:
    """Where the timings of a GPU and a version of TensorRT lie, for all artifacts beside out."""
    device = "-".join(gpu.split())
    return out.parent / f".{device}-{platform.machine()}-tensorrt-{version}.timing.cache"


def _read_timings(config: Any, path: Path) -> Any:  # noqa: ANN401 - TensorRT's classes
    """Gives the config the file's timings, or none if the file is missing, damaged or another version's."""
    known = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(known)
    if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
        cache = config.create_timing_cache(b"")
        if cache is not None:
            config.set_timing_cache(cache, ignore_mismatch=False)
    return cache


def _write_timings(config: Any, path: Path) -> None:  # noqa: ANN401 - TensorRT's classes
    cache = config.get_timing_cache()
    if cache is None:
        return
    new = path.with_suffix(".new")
    new.write_bytes(bytes(cache.serialize()))
    new.replace(path)

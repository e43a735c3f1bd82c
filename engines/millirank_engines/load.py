"""From a sealed artifact to an engine that runs."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from .artifact import read_manifest, refuse_misfit, refuse_unverified
from .base import BackendUnavailable, Engine
from .manifest import Manifest, stem_of
from .mixed import MixedEngine
from .model import ModelSpec
from .program import PROGRAM


@dataclass(frozen=True)
class LoadedEngine:
    """An engine with what a caller must know to feed it."""

    engine: Engine
    spec: ModelSpec
    tokenizer: Path  # tokenizer.json
    manifest: Manifest


@dataclass(frozen=True)
class _Options:
    """How a caller wants an engine to run; see open_engine."""

    threads: int | None
    background: bool
    deferred: bool
    graphs: bool
    static: bool


def _openvino(file: Path, manifest: Manifest, options: _Options) -> Engine:
    try:
        from .openvino import STATIC_TOKENS, OpenVinoEngine
    except ImportError as error:
        raise BackendUnavailable("openvino", "pip install openvino") from error
    return OpenVinoEngine(
        file.with_suffix(".xml"),
        manifest.profiles,
        manifest.precision,
        threads=options.threads,
        static_tokens=STATIC_TOKENS[manifest.model.task] if options.static else 0,
        background=options.background,
        deferred=options.deferred,
    )


def _tensorrt(file: Path, manifest: Manifest, options: _Options) -> Engine:
    from .cuda import open_cuda
    from .tensorrt import TensorRtEngine
    from .trtmodule import trt_logger, trt_module

    return TensorRtEngine(
        file.with_suffix(".plan"),
        manifest.profiles,
        manifest.precision,
        trt=trt_module(manifest.backend),
        logger=trt_logger(manifest.backend),
        cuda=open_cuda(),
        backend=manifest.backend,
        background=options.background,
        graphs=options.graphs,
    )


def _fused(file: Path, manifest: Manifest, options: _Options) -> Engine:
    from .cuda import open_cuda
    from .fused import FusedEngine

    return FusedEngine(
        file.with_suffix(Path(PROGRAM).suffix),
        manifest.profiles,
        manifest.precision,
        cuda=open_cuda(),
        background=options.background,
        graphs=options.graphs,
    )


_FACTORIES: dict[str, Callable[[Path, Manifest, _Options], Engine]] = {
    "fused": _fused,
    "openvino": _openvino,
    "tensorrt": _tensorrt,
    "tensorrt-rtx": _tensorrt,
}


def start_engine(
    path: Path,
    manifest: Manifest,
    *,
    threads: int | None = None,
    background: bool = False,
    deferred: bool = False,
    graphs: bool = True,
    static: bool = True,
) -> Engine:
    """Starts what lies in a folder, sealed or not yet: for builds, which compare before they seal; see open_engine.

    static says whether small shapes get models of their own on a CPU; without, they compute the same.
    """
    options = _Options(threads, background, deferred, graphs, static)
    engines: dict[str, Engine] = {}
    with ExitStack() as opened:  # closed here only if a later one fails
        for precision, profiles in manifest.parts.items():
            part = replace(manifest, precision=precision, profiles=profiles)
            file = path / stem_of(precision, mixed=manifest.mixed)
            engines[precision] = _FACTORIES[manifest.backend](file, part, options)
            opened.callback(engines[precision].close)
        opened.pop_all()
    return MixedEngine(engines) if manifest.mixed else engines[manifest.precision]


def open_engine(
    path: Path,
    *,
    threads: int | None = None,
    background: bool = False,
    deferred: bool = False,
    graphs: bool = True,
    unverified: bool = False,
) -> LoadedEngine:
    """Loads a sealed artifact; it is never built here.

    Args:
        path: its folder.
        threads: for one inference, on a CPU; all cores of this process by default.
        background: whether it yields the device to the other engines.
        deferred: whether what makes it faster but not other may be compiled after this returns, on a CPU.
        graphs: whether a GPU's work is replayed as CUDA graphs; without, it is slower: for comparison.
        unverified: whether one may be loaded that was never held to its reference, in order to do so.

    Raises:
        ArtifactRefused: if it is unsealed, changed, or made for other versions or another device; it names the fix.
        BackendUnavailable: if its runtime is not installed.
        EngineFailed: if the runtime cannot load it.
        DeviceLost: if its GPU is.
    """
    manifest = read_manifest(path)
    refuse_misfit(path, manifest)
    if not unverified:
        refuse_unverified(path, manifest)
    engine = start_engine(path, manifest, threads=threads, background=background, deferred=deferred, graphs=graphs)
    return LoadedEngine(engine, manifest.model, path / "tokenizer.json", manifest)

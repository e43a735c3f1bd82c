"""From a sealed artifact to an engine that runs."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .artifact import Manifest, read_manifest, refuse_misfit, refuse_unverified
from .base import BackendUnavailable, Engine
from .model import ModelSpec


@dataclass(frozen=True)
class LoadedEngine:
    """An engine with what a caller must know to feed it."""

    engine: Engine
    spec: ModelSpec
    tokenizer: Path  # tokenizer.json
    manifest: Manifest


def _openvino(path: Path, manifest: Manifest, threads: int | None, background: bool, deferred: bool) -> Engine:  # noqa: FBT001
    try:
        from .openvino import STATIC_TOKENS, OpenVinoEngine
    except ImportError as error:
        raise BackendUnavailable("openvino", "pip install openvino") from error
    return OpenVinoEngine(
        path / "model.xml",
        manifest.profiles,
        manifest.precision,
        threads=threads,
        static_tokens=STATIC_TOKENS[manifest.model.task],
        background=background,
        deferred=deferred,
    )


_FACTORIES: dict[str, Callable[[Path, Manifest, int | None, bool, bool], Engine]] = {"openvino": _openvino}


def start_engine(
    path: Path, manifest: Manifest, *, threads: int | None = None, background: bool = False, deferred: bool = False
) -> Engine:
    """Starts what lies in a folder, sealed or not yet: for builds, which compare before they seal; see open_engine."""
    return _FACTORIES[manifest.backend](path, manifest, threads, background, deferred)


def open_engine(
    path: Path,
    *,
    threads: int | None = None,
    background: bool = False,
    deferred: bool = False,
    unverified: bool = False,
) -> LoadedEngine:
    """Loads a sealed artifact; it is never built here.

    Args:
        path: its folder.
        threads: for one inference, on a CPU; all cores of this process by default.
        background: whether it yields the device to the other engines.
        deferred: whether what makes it faster but not other may be compiled after this returns.
        unverified: whether one may be loaded that was never held to its reference, in order to do so.

    Raises:
        ArtifactRefused: if it is unsealed, changed, or made for other versions or another device; it names the fix.
        BackendUnavailable: if its runtime is not installed.
        EngineFailed: if the runtime cannot load it.
    """
    manifest = read_manifest(path)
    refuse_misfit(path, manifest)
    if not unverified:
        refuse_unverified(path, manifest)
    engine = start_engine(path, manifest, threads=threads, background=background, deferred=deferred)
    return LoadedEngine(engine, manifest.model, path / "tokenizer.json", manifest)

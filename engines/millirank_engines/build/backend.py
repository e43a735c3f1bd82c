"""What differs between the runtimes that an engine is built for; keys, references, parity and seals do not."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from millirank_engines.base import BackendUnavailable, Engine, EngineError
from millirank_engines.device import Device
from millirank_engines.manifest import Manifest
from millirank_engines.model import ModelSpec
from millirank_engines.program import FUSED
from millirank_engines.trtmodule import BACKENDS

from .graph import Form
from .nodes import Precision
from .profiles import Profiles
from .progress import Progress

if TYPE_CHECKING:
    from .export import Export


class Backend(Protocol):
    """One runtime, with the options of its build, on this machine."""

    name: str
    precisions: tuple[str, ...]  # the first is what suits best here
    libraries: tuple[str, ...]  # distributions whose versions the artifact depends on
    recipe: tuple[str, ...]  # modules of this folder that it depends on, besides those that all share
    form: Form  # of the graph that it reads

    @property
    def device(self) -> Device:
        """What it builds for."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions that no distribution tells."""

    @property
    def baseline(self) -> Mapping[str, str]:
        """What the artifact is bound to; see baseline.py."""

    def options(self) -> Mapping[str, Any]:
        """What its result depends on besides the model and the profiles, as plain data."""

    def arguments(self) -> list[str]:
        """The options as `millirank engine build` takes them."""

    def types(self, precision: str) -> Precision:
        """The types of the graph that it compiles."""

    def profiles(self, model: ModelSpec, asked: Profiles | None) -> Profiles:
        """What it builds for, where that is asked for, and by default."""

    def compile(self, source: "Export", folder: Path, profiles: Profiles, out: Path, say: Progress) -> None:
        """Writes what the runtime needs to the folder; out is where that will lie."""

    def engine(self, folder: Path, manifest: Manifest) -> Engine | None:
        """What it compiled, ready to run; None where this machine cannot run it."""


def refuse_precision(backend: Backend, precision: str) -> None:
    """Refuses a precision that the backend does not have.

    Raises:
        EngineError: with those that it has.
    """
    if precision not in backend.precisions:
        choice = ", ".join(sorted(backend.precisions))
        raise EngineError(f"{backend.name} has no precision {precision!r}: choose {choice} with --precision")


def exacter(backend: str) -> str:
    """The option that builds what computes more exactly."""
    return "--backend tensorrt" if backend == FUSED else "--precision fp32"


def backend_of(name: str, options: Mapping[str, object] | None = None) -> Backend:
    """A backend for this machine.

    Args:
        name: openvino, tensorrt, tensorrt-rtx or fused.
        options: of its build, by the names of `millirank engine build`; those that are left out have their defaults.

    Raises:
        BackendUnavailable: if there is none of that name, or it cannot build here.
        EngineError: if it has no such option, a value is wrong, or this machine is outside the baseline.
    """
    if name == "openvino":
        if options:
            words = ", ".join(f"--{option.replace('_', '-')}" for option in options)
            verb, it = ("are", "them") if len(options) > 1 else ("is", "it")
            raise EngineError(f"{words} {verb} for TensorRT: leave {it} out, or build with --backend tensorrt")
        from .openvino import OpenVino

        return OpenVino()
    if name in BACKENDS:
        from .tensorrt import tensorrt_from

        return tensorrt_from(name, options or {})
    if name == FUSED:
        from .fused.backend import fused_from

        return fused_from(options or {})
    raise BackendUnavailable(name, f"this version builds with --backend openvino, {', '.join(BACKENDS)} or {FUSED}")

"""What a build is asked for, and the hash of everything that its result depends on."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from millirank_engines.artifact import digest, sha256_of
from millirank_engines.manifest import FORMAT
from millirank_engines.model import Task, Template

from .backend import Backend
from .profiles import Profiles
from .quantize.int8 import AUTO, INT8, Int8

LIBRARIES = ("millirank", "numpy", "onnx", "tokenizers")  # whose versions every artifact depends on
RECIPE = (  # and the code
    "compile.py",
    "dense.py",
    "export.py",
    "graph.py",
    "nodes.py",
    "parity.py",
    "source.py",
    "tensors.py",
)
GATE = ("choice.py", "gate.py", "inference.py", "int8.py", "scales.py", "trial.py")  # of INT8, besides


@dataclass(frozen=True)
class Request:
    """What is asked for."""

    source: str
    task: Task
    backend: Backend
    precision: str
    profiles: Profiles | None  # None means the default ones
    written: str  # how --profiles wrote them
    template: Template | None  # None means the model's own
    int8: Int8 | None = None  # where precision is int8 or auto

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that are compiled; of auto the float one comes first."""
        return (self.backend.precisions[0], INT8) if self.precision == AUTO else (self.precision,)

    def key(self, inputs: Mapping[str, str], versions: Mapping[str, str]) -> str:
        """The hash of everything that the result depends on."""
        backend, here = self.backend, Path(__file__)
        gate = {name: sha256_of(here.parent / "quantize" / name) for name in GATE}
        exact = {name: version for name, version in versions.items() if name not in backend.versions}
        return digest(
            {
                "format": FORMAT,
                "inputs": inputs,
                "versions": exact,  # those of a GPU are in its baseline
                "device": {name: value for name, value in backend.device.to_json().items() if name != "name"},
                "baseline": dict(backend.baseline),
                "recipe": {name: sha256_of(here.parent / name) for name in RECIPE + backend.recipe},
                "task": self.task,
                "backend": backend.name,
                "options": dict(backend.options()),
                "precision": self.precision,
                "profiles": self.profiles.to_json() if self.profiles else None,
                "template": asdict(self.template) if self.template else None,
                **({"int8": {**self.int8.key(), "recipe": gate}} if self.int8 else {}),
            }
        )

    def command(self) -> str:
        """The command line that asks for it, without --out."""
        parts = ["--model", self.source, "--task", self.task, "--backend", self.backend.name]
        parts += ["--precision", self.precision, *(["--profiles", self.written] if self.written else [])]
        parts += self.int8.arguments if self.int8 else ()
        return shlex.join(["millirank", "engine", "build", *parts, *self.backend.arguments()])

"""The manifest of an artifact: what it is and what it was made of, and its JSON."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from .base import EngineError, Profile
from .device import Device
from .drift import LengthProfile
from .figures import Check, Choice, Figure, Latency
from .model import ModelSpec

FORMAT = 2


def stem_of(precision: str, *, mixed: bool) -> str:
    """What the file of one precision is called, without its ending: model, or its precision where there are several."""
    return precision if mixed else "model"


@dataclass(frozen=True)
class Manifest:
    """What an artifact is and what it was made of."""

    key: str  # sha256 of everything that the build depends on
    model: ModelSpec
    backend: str
    precision: str  # fp32, fp16, bf16 or int8; joined by + where profiles differ, as choices says
    profiles: tuple[Profile, ...]  # the buckets that serve
    files: Mapping[str, tuple[int, str]]  # name: (bytes, sha256)
    inputs: Mapping[str, str]  # source file: sha256
    versions: Mapping[str, str]
    device: Device
    parity: tuple[Check, ...]  # empty if the machine that built it could not run it: `millirank engine verify` does
    command: str  # that rebuilds it, without --out
    created: str  # ISO 8601, UTC
    format: int = FORMAT
    baseline: Mapping[str, str] = field(default_factory=dict)  # what a GPU engine is bound to; see baseline.py
    latencies: tuple[Latency, ...] = ()  # sealed by verify, to hold later versions to; empty if it never ran
    accuracy: tuple[Figure, ...] = ()  # of INT8 beside FP32, as its gate measured it
    quantization: Mapping[str, Any] = field(default_factory=dict)  # how INT8 was made: recipe, data, layers
    choices: tuple[Choice, ...] = ()  # of a precision for each profile, by times on the machine that built it
    demand: LengthProfile | None = None  # what it was calibrated and profiled for, to tell drift; None if unknown

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def options(self) -> dict[str, str]:
        """The options of the command that rebuilds it, such as --graph, and what follows each."""
        return {word: value for word, value in pairwise(shlex.split(self.command)) if word.startswith("--")}

    @property
    def parts(self) -> dict[str, tuple[Profile, ...]]:
        """The profiles of every precision; one precision has them all unless they were chosen one by one."""
        if not self.mixed:
            return {self.precision: self.profiles}
        return {
            precision: tuple(choice.profile for choice in self.choices if choice.precision == precision)
            for precision in self.precision.split("+")
        }

    @property
    def mixed(self) -> bool:
        """Whether its profiles run at different precisions."""
        return "+" in self.precision

    @property
    def verified(self) -> bool:
        """Whether it was held to its reference on the device that it is for; if not, it does not serve."""
        return bool(self.parity)

    @property
    def version_compatible(self) -> bool:
        """Whether it is a plan that later versions of TensorRT's runtime take."""
        return self.baseline.get("tensorrt", "").startswith(">=")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "format": self.format,
            "key": self.key,
            "name": self.name,
            "model": self.model.to_json(),
            "backend": self.backend,
            "precision": self.precision,
            "profiles": [str(p) for p in self.profiles],
            "files": {name: {"size": size, "sha256": sha} for name, (size, sha) in self.files.items()},
            "inputs": dict(self.inputs),
            "versions": dict(self.versions),
            "device": self.device.to_json(),
            "baseline": dict(self.baseline),
            "verified": self.verified,
            "parity": {c.metric: {"value": c.value, "bound": c.bound, "at_least": c.at_least} for c in self.parity},
            "latencies": {str(x.profile): {"p50": x.p50, "p99": x.p99, "calls": x.calls} for x in self.latencies},
            **({"accuracy": [asdict(figure) for figure in self.accuracy]} if self.accuracy else {}),
            **({"quantization": dict(self.quantization)} if self.quantization else {}),
            **({"choices": [{**asdict(c), "profile": str(c.profile)} for c in self.choices]} if self.choices else {}),
            **({"demand": self.demand.to_json()} if self.demand else {}),
            "command": self.command,
            "created": self.created,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Manifest":
        """Reads what to_json wrote; KeyError, TypeError, ValueError or EngineError if it is something else."""
        return cls(
            key=data["key"],
            model=ModelSpec.from_json(data["model"]),
            backend=data["backend"],
            precision=data["precision"],
            profiles=tuple(parse_profile(p) for p in data["profiles"]),
            files={name: (int(f["size"]), str(f["sha256"])) for name, f in data["files"].items()},
            inputs=data["inputs"],
            versions=data["versions"],
            device=Device.from_json(data["device"]),
            parity=tuple(Check(metric, **check) for metric, check in data["parity"].items()),
            command=data["command"],
            created=data["created"],
            format=data["format"],
            baseline=data["baseline"],
            latencies=tuple(Latency(parse_profile(p), **times) for p, times in data["latencies"].items()),
            accuracy=tuple(Figure(**figure) for figure in data.get("accuracy", ())),
            quantization=data.get("quantization", {}),
            choices=tuple(
                Choice(**{**choice, "profile": parse_profile(choice["profile"])}) for choice in data.get("choices", ())
            ),
            demand=LengthProfile.from_json(data["demand"]) if "demand" in data else None,
        )


def parse_profile(text: str) -> Profile:
    """A profile from the way it is written, such as 50x32.

    Raises:
        EngineError: if the text is something else.
    """
    batch, _, length = text.strip().partition("x")
    if not (batch.isdecimal() and length.isdecimal() and int(batch) and int(length)):
        raise EngineError(f"{text!r} is no profile: write BATCHxLENGTH, such as 50x32")
    return Profile(int(batch), int(length))

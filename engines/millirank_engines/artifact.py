"""Sealed artifacts: a folder with an engine, its manifest, and the seal that says that its build was finished.

    DIR/manifest.json    what it is, what it was made of, and the size and hash of every other file
    DIR/SEAL             sha256 of manifest.json, written last
    DIR/model.xml …      what the backend needs (model.plan for TensorRT); tokenizer.json; parity.safetensors, the
                         reference outputs

Nothing here is pickled, and nothing is loaded before its hash was compared.
"""

import hashlib
import json
import platform
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .base import ArtifactRefused, EngineError, Profile
from .baseline import misfits, readings
from .device import Device, library_version, this_cpu
from .drift import LengthProfile
from .figures import Check, Choice, Figure, Latency
from .gpu import this_gpu
from .model import ModelSpec
from .trtmodule import BACKENDS, trt_module

FORMAT = 2
MANIFEST, SEAL = "manifest.json", "SEAL"
PLAN = "model.plan"  # of TensorRT


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


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(data: Mapping[str, Any]) -> str:
    """The sha256 of plain data, in hex, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def files_of(folder: Path) -> dict[str, tuple[int, str]]:
    """Name, size and sha256 of every file of a folder, for a manifest."""
    return {p.name: (p.stat().st_size, sha256_of(p)) for p in sorted(folder.iterdir()) if p.is_file()}


def seal(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest, then the seal."""
    text = json.dumps(manifest.to_json(), indent=1, ensure_ascii=False).encode() + b"\n"
    (folder / MANIFEST).write_bytes(text)
    (folder / SEAL).write_text(hashlib.sha256(text).hexdigest() + "\n", encoding="ascii")


def rebuild_command(path: Path, manifest: Manifest | None = None) -> str:
    """The command that makes the artifact anew."""
    command = manifest.command if manifest else "millirank engine build --model MODEL --task embed|rerank"
    return f"{command} --out {shlex.quote(str(path))}"


def _refused(path: Path, reason: str, manifest: Manifest | None = None) -> ArtifactRefused:
    return ArtifactRefused(f"{path} {reason}: build it: `{rebuild_command(path, manifest)}`")


def read_manifest(path: Path) -> Manifest:
    """The manifest of a sealed artifact, after comparing its seal and the size and hash of every file.

    Raises:
        ArtifactRefused: with the reason and the command that mends it: no such folder, unsealed, changed, a file
            missing or unreadable, or another format.
    """
    try:
        manifest = _sealed(path)
        _refuse_changed(path, manifest)
    except OSError as error:
        raise ArtifactRefused(f"{path} cannot be read ({error}): give this user the right to read it") from error
    return manifest


def _sealed(path: Path) -> Manifest:
    if not path.is_dir():
        raise _refused(path, "is no folder")
    if not (path / MANIFEST).is_file():
        raise _refused(path, f"is no artifact (it has no {MANIFEST})")
    if not (path / SEAL).is_file():
        raise _refused(path, "is not sealed (its build was not finished)")
    text = (path / MANIFEST).read_bytes()
    if (path / SEAL).read_bytes().strip() != hashlib.sha256(text).hexdigest().encode():
        raise _refused(path, f"has a {MANIFEST} that was changed after it was sealed")
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise _refused(path, f"has format {data['format']}, this version reads {FORMAT}")
        return Manifest.from_json(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refused(path, f"has a {MANIFEST} that cannot be read ({error!r})") from error


def _refuse_changed(path: Path, manifest: Manifest) -> None:
    for name, (size, sha) in manifest.files.items():
        file = path / name
        if Path(name).name != name or not file.is_file():
            raise _refused(path, f"misses its file {name}", manifest)
        if file.stat().st_size != size:
            raise _refused(path, f"has a changed file: {name} has {file.stat().st_size} bytes, not {size}", manifest)
        if sha256_of(file) != sha:
            raise _refused(path, f"has a changed file: the sha256 of {name} is another", manifest)


def release(version: str) -> str:
    """Major, minor and patch of a version."""
    return ".".join(version.split(".")[:3])


def refuse_misfit(path: Path, manifest: Manifest) -> None:
    """Refuses an artifact that was made for another backend, library version, device or baseline.

    Raises:
        ArtifactRefused: with both sides and the command that mends it.
        BackendUnavailable: if its backend is a TensorRT that is not installed.
    """
    if manifest.backend in BACKENDS:
        reason = _gpu_misfit(manifest)
    elif manifest.backend == "openvino":
        reason = _cpu_misfit(manifest)
    else:
        known = ", ".join(("openvino", *BACKENDS))
        reason = f"is for the backend {manifest.backend!r}, this version knows {known}"
    if reason:
        raise _refused(path, reason, manifest)


def refuse_unverified(path: Path, manifest: Manifest) -> None:
    """Refuses to serve what was never held to its reference on the device that it is for.

    Raises:
        ArtifactRefused: with the command that does it.
    """
    if not manifest.verified:
        raise ArtifactRefused(
            f"{path} was built where it could not run, so nothing has held it to its reference yet: run "
            f"`millirank engine verify {shlex.quote(str(path))}` on the machine that serves it"
        )


def _cpu_misfit(manifest: Manifest) -> str:
    built, here = manifest.versions.get("openvino", ""), library_version("openvino")
    if here and release(built) != release(here):
        return f"was built with openvino {built or 'unknown'}, here is {here}"
    lacking = this_cpu().lacks(manifest.device)
    return f"was built for a processor with {lacking}, which this one lacks" if lacking else ""


def _gpu_misfit(manifest: Manifest) -> str:
    gpu, machine = this_gpu(), platform.machine()
    if gpu is None:
        return f"runs on {manifest.device.name}, and no NVIDIA GPU is usable here (in a container: `--gpus all`)"
    if manifest.device.machine != machine:
        return f"was built for {manifest.device.machine}, this is {machine}"
    here = readings(manifest.backend, str(trt_module(manifest.backend).__version__), gpu)
    wrong = misfits(manifest.baseline, here)
    return f"was built for another baseline ({'; '.join(wrong)})" if wrong else ""

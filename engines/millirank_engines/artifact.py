"""Sealed artifacts: a folder with an engine, its manifest, and the seal that says that its build was finished.

    DIR/manifest.json    what it is, what it was made of, and the size and hash of every other file
    DIR/SEAL             sha256 of manifest.json, written last
    DIR/model.xml …      what the backend needs (model.plan for TensorRT, model.fused for our kernels); tokenizer.json;
                         parity.safetensors, the reference outputs

Nothing here is pickled, and nothing is loaded before its hash was compared.
"""

import hashlib
import json
import platform
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .base import ArtifactRefused
from .baseline import misfits, readings
from .device import library_version, this_cpu
from .gpu import this_gpu
from .manifest import FORMAT, Manifest
from .program import FUSED
from .trtmodule import BACKENDS, trt_module

MANIFEST, SEAL = "manifest.json", "SEAL"
PLAN = "model.plan"  # of TensorRT


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
    if manifest.backend in {*BACKENDS, FUSED}:
        reason = _gpu_misfit(manifest)
    elif manifest.backend == "openvino":
        reason = _cpu_misfit(manifest)
    else:
        known = ", ".join(("openvino", *BACKENDS, FUSED))
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
    tensorrt = str(trt_module(manifest.backend).__version__) if manifest.backend in BACKENDS else ""
    here = readings(manifest.backend, tensorrt, gpu)
    wrong = misfits(manifest.baseline, here)
    return f"was built for another baseline ({'; '.join(wrong)})" if wrong else ""

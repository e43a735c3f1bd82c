"""From a model to a sealed artifact: export, compile, hold to the reference, seal, move into place."""

import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from millirank_engines.artifact import (
    FORMAT,
    MANIFEST,
    Manifest,
    digest,
    files_of,
    read_manifest,
    seal,
    sha256_of,
)
from millirank_engines.base import ArtifactRefused, EngineError, Profile
from millirank_engines.device import library_version
from millirank_engines.figures import Check
from millirank_engines.model import ModelSpec, Task, Template

from .backend import Backend, backend_of
from .export import Export, export_model
from .parity import PARITY, Case, arithmetic, parity, parity_feeds, reference_cases, words, write_cases
from .place import building, move_into_place, refuse_foreign
from .profiles import Profiles
from .progress import Progress
from .source import open_source
from .timing import latencies

LIBRARIES = ("millirank", "numpy", "onnx", "tokenizers")  # whose versions every artifact depends on
RECIPE = ("compile.py", "export.py", "graph.py", "nodes.py", "parity.py", "source.py", "tensors.py")  # and the code
SECONDS = 2.0  # of timing on a GPU, for later versions to be held to


class ParityFailed(EngineError):
    """An engine that does not say what its model says."""

    def __init__(self, name: str, checks: Sequence[Check]) -> None:
        table = "; ".join(f"{check}{'' if check.passed else ' FAILED'}" for check in checks)
        super().__init__(f"{name} is outside its tolerance ({table}): nothing was written; try `--precision fp32`")
        self.checks = tuple(checks)


@dataclass(frozen=True)
class Artifact:
    """What a build left behind."""

    path: Path
    manifest: Manifest
    reused: bool  # an artifact with the same key was there, so nothing was built


@dataclass(frozen=True)
class _Request:
    """What is asked for."""

    source: str
    task: Task
    backend: Backend
    precision: str
    profiles: Profiles | None  # None means the default ones
    written: str  # how --profiles wrote them
    template: Template | None  # None means the model's own

    def key(self, inputs: Mapping[str, str], versions: Mapping[str, str]) -> str:
        """The hash of everything that the result depends on."""
        backend, here = self.backend, Path(__file__)
        exact = {name: version for name, version in versions.items() if name not in backend.versions}
        return digest(
            {
                "format": FORMAT,
                "inputs": inputs,
                "versions": exact,  # those of a GPU are in its baseline
                "device": {name: value for name, value in backend.device.to_json().items() if name != "name"},
                "baseline": dict(backend.baseline),
                "recipe": {name: sha256_of(here.with_name(name)) for name in RECIPE + backend.recipe},
                "task": self.task,
                "backend": backend.name,
                "options": dict(backend.options()),
                "precision": self.precision,
                "profiles": self.profiles.to_json() if self.profiles else None,
                "template": asdict(self.template) if self.template else None,
            }
        )

    def command(self) -> str:
        """The command line that asks for it, without --out."""
        parts = ["--model", self.source, "--task", self.task, "--backend", self.backend.name]
        parts += ["--precision", self.precision, *(["--profiles", self.written] if self.written else [])]
        return shlex.join(["millirank", "engine", "build", *parts, *self.backend.arguments()])


def build_engine(
    source: str,
    out: Path,
    *,
    task: Task,
    backend: Backend | str = "openvino",
    precision: str | None = None,
    profiles: Profiles | Sequence[Profile] | Path | None = None,
    template: Template | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Builds an engine, unless out holds one made of the same things; out is replaced at once, when all is done.

    Args:
        source: a Hugging Face folder, a hub id, or the name of a model that is installed.
        out: the artifact's folder.
        task: embed or rerank.
        backend: openvino, tensorrt or tensorrt-rtx, or one with options.
        precision: fp32, fp16 or bf16; what suits the backend here by default.
        profiles: what serves, and what a plan is optimized for, or a profiles.toml; by default what the model's
            template needs.
        template: of product and query texts; the model's own by default.
        force: build even if nothing changed.
        progress: told what happens, a line each.

    Raises:
        BackendUnavailable: if the backend cannot build here.
        EngineError: if the model, a profile, this machine or the place does not fit.
        ParityFailed: if the engine is outside its tolerance.
    """
    say = progress or (lambda _: None)
    backend = backend_of(backend) if isinstance(backend, str) else backend
    precision = precision or backend.precisions[0]
    if precision not in backend.precisions:
        choice = ", ".join(sorted(backend.precisions))
        raise EngineError(f"{backend.name} has no precision {precision!r}: choose {choice} with --precision")
    asked, written = profiles_asked(profiles, task)
    request = _Request(source, task, backend, precision, asked, written, template)
    refuse_foreign(out, MANIFEST)
    inputs = {name: sha256_of(path) for name, path in open_source(source).files().items()}
    versions = {name: library_version(name) for name in LIBRARIES + backend.libraries} | dict(backend.versions)
    key = request.key(inputs, versions)
    if not force and (same := _same(out, key)):
        say(f"{out} is up to date: nothing to do")
        return Artifact(out, same, reused=True)
    with building(out) as folder:
        model, buckets, cases, evaluated = _compile(request, folder, out, say)
        manifest = Manifest(
            key=key,
            model=model,
            backend=backend.name,
            precision=precision,
            profiles=buckets,
            files=files_of(folder),
            inputs=inputs,
            versions=versions,
            device=backend.device,
            parity=(),
            command=request.command(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            baseline=backend.baseline,
        )
        manifest = _compared(backend, folder, manifest, cases, evaluated, say)
        say("sealing")
        seal(folder, manifest)
        move_into_place(folder, out)
    return Artifact(out, manifest, reused=False)


def profiles_asked(profiles: Profiles | Sequence[Profile] | Path | None, task: Task) -> tuple[Profiles | None, str]:
    """The profiles as one thing, and the way that --profiles writes them."""
    from .profiles import read_profiles

    if isinstance(profiles, Path):
        return read_profiles(profiles, task), str(profiles)
    if not profiles:
        return None, ""
    asked = profiles if isinstance(profiles, Profiles) else Profiles(tuple(sorted(profiles)))
    return asked, ",".join(map(str, asked.buckets))


def _same(out: Path, key: str) -> Manifest | None:
    """The manifest of an artifact that is whole and has that key, which says that it fits this machine."""
    try:
        manifest = read_manifest(out)
    except ArtifactRefused:
        return None
    return manifest if manifest.key == key else None


def _compile(
    request: _Request, folder: Path, out: Path, say: Progress
) -> tuple[ModelSpec, tuple[Profile, ...], list[Case], Check]:
    """Fills the folder with what the engine needs, and with the reference that it is held to."""
    backend = request.backend
    with TemporaryDirectory(dir=folder) as temporary:
        say(f"exporting {request.source}")
        reference = export_model(request.source, Path(temporary) / "fp32", task=request.task, template=request.template)
        model = reference.spec
        profiles = backend.profiles(model, request.profiles)
        if too_long := [str(p) for p in profiles.buckets if p.length > model.max_length]:
            raise EngineError(f"{model.name} takes {model.max_length} tokens: leave out {', '.join(too_long)}")
        source = _exported(request, reference, Path(temporary) / "own")
        say(f"compiling {len(profiles.buckets)} profiles for {backend.name}/{request.precision}")
        backend.compile(source / "model.onnx", folder, profiles, out, say)
        tokenizer = folder / "tokenizer.json"
        shutil.copyfile(reference.folder / "tokenizer.json", tokenizer)
        say("computing the FP32 reference")
        feeds = parity_feeds(model, words(tokenizer, model), profiles.buckets)
        cases, evaluated = reference_cases(reference.folder / "model.onnx", feeds, request.task)
    write_cases(folder / PARITY, cases)
    return model, profiles.buckets, cases, evaluated


def _exported(request: _Request, reference: Export, out: Path) -> Path:
    """The folder of the graph that the backend compiles: the reference's, or one of its own types and form."""
    backend = request.backend
    types = backend.types(request.precision)
    if types == "fp32" and not str(backend.form):
        return reference.folder
    export_model(request.source, out, task=request.task, precision=types, template=request.template, form=backend.form)
    return out


def _compared(
    backend: Backend, folder: Path, manifest: Manifest, cases: Sequence[Case], evaluated: Check, say: Progress
) -> Manifest:
    """The manifest with what was measured, if this machine can run what was built."""
    if not evaluated.passed:
        raise ParityFailed(f"the reference of {manifest.name}", [evaluated])
    engine = backend.engine(folder, manifest)
    if engine is None:
        say("this machine cannot run it: it is sealed unverified")
        return manifest
    say("comparing")
    try:
        half = arithmetic(manifest.backend, manifest.precision)
        checks = (evaluated, *parity(engine, cases, manifest.model.task, half))
        if not all(check.passed for check in checks):
            raise ParityFailed(f"{manifest.name} as {engine.name}", checks)
        timed = latencies(engine, cases, seconds=SECONDS) if backend.baseline else ()
    finally:
        engine.close()
    return replace(manifest, parity=checks, latencies=timed)

"""From a model to a sealed artifact: export, compile, hold to the reference, seal, move into place."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from millirank_engines.artifact import MANIFEST, files_of, read_manifest, seal, sha256_of
from millirank_engines.base import ArtifactRefused, EngineError, Profile
from millirank_engines.device import library_version
from millirank_engines.figures import Check
from millirank_engines.manifest import Manifest, stem_of
from millirank_engines.model import ModelSpec, Task, Template

from .backend import Backend, backend_of, exacter, refuse_precision
from .export import Export, export_model
from .graph import Form
from .parity import PARITY, Case, arithmetic, parity, parity_feeds, reference_cases, words, write_cases
from .place import building, move_into_place, refuse_foreign
from .profiles import Profiles
from .progress import Progress
from .quantize.int8 import AUTO, INT8, Int8
from .quantize.scales import FILE
from .quantize.trial import Trial
from .request import LIBRARIES, Request
from .source import open_source
from .timing import latencies

SECONDS = 2.0  # of timing on a GPU, for later versions to be held to


Described = Callable[[ModelSpec, tuple[Profile, ...]], Manifest]  # all but what is found in the build


class ParityFailed(EngineError):
    """An engine that does not say what its model says."""

    def __init__(self, name: str, checks: Sequence[Check], backend: str) -> None:
        table = "; ".join(f"{check}{'' if check.passed else ' FAILED'}" for check in checks)
        super().__init__(f"{name} is outside its tolerance ({table}): nothing was written; try `{exacter(backend)}`")
        self.checks = tuple(checks)


@dataclass(frozen=True)
class Artifact:
    """What a build left behind."""

    path: Path
    manifest: Manifest
    reused: bool  # an artifact with the same key was there, so nothing was built


def build_engine(  # noqa: PLR0913 - the options of a build
    source: str,
    out: Path,
    *,
    task: Task,
    backend: Backend | str = "openvino",
    precision: str | None = None,
    profiles: Profiles | Sequence[Profile] | Path | None = None,
    template: Template | None = None,
    int8: Int8 | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Builds an engine, unless out holds one made of the same things; out is replaced at once, when all is done.

    Args:
        source: a Hugging Face folder, a hub id, or the name of a model that is installed.
        out: the artifact's folder.
        task: embed or rerank.
        backend: openvino, tensorrt, tensorrt-rtx or fused, or one with options.
        precision: fp32, fp16, bf16, int8 or auto; what suits the backend here by default. auto builds the default and
            int8, and keeps for each profile what is faster here and within the gate.
        profiles: what serves, and what a plan is optimized for, or a profiles.toml; by default what the model's
            template needs.
        template: of product and query texts; the model's own by default.
        int8: scales and gate of int8 and auto, which need them.
        force: build even if nothing changed.
        progress: told what happens, a line each.

    Raises:
        BackendUnavailable: if the backend cannot build here.
        EngineError: if the model, a profile, this machine or the place does not fit.
        GateFailed: if it is to be int8, and that loses more than it may.
        ParityFailed: if the engine is outside its tolerance.
    """
    say = progress or (lambda _: None)
    backend = backend_of(backend) if isinstance(backend, str) else backend
    precision = precision or backend.precisions[0]
    refuse_precision(backend, precision)
    asked, written = profiles_asked(profiles, task)
    quantized = precision in {INT8, AUTO}
    if quantized and int8 is None:
        raise EngineError(f"precision {precision} needs scales: name what to calibrate on with --calibration")
    request = Request(source, task, backend, precision, asked, written, template, int8 if quantized else None)
    refuse_foreign(out, MANIFEST)
    inputs = {name: sha256_of(path) for name, path in open_source(source).files().items()}
    versions = {name: library_version(name) for name in LIBRARIES + backend.libraries} | dict(backend.versions)
    key = request.key(inputs, versions)
    if not force and (same := _same(out, key)):
        say(f"{out} is up to date: nothing to do")
        return Artifact(out, same, reused=True)

    def described(model: ModelSpec, buckets: tuple[Profile, ...]) -> Manifest:
        return Manifest(
            key=key,
            model=model,
            backend=backend.name,
            precision=precision,
            profiles=buckets,
            files={},
            inputs=inputs,
            versions=versions,
            device=backend.device,
            parity=(),
            command=request.command(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            baseline=backend.baseline,
        )

    with building(out) as folder:
        with TemporaryDirectory(dir=folder) as temporary:
            manifest, cases, evaluated = _compile(request, folder, Path(temporary), out, described, say)
        manifest = replace(manifest, files=files_of(folder))
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
    request: Request, folder: Path, temporary: Path, out: Path, described: Described, say: Progress
) -> tuple[Manifest, list[Case], Check]:
    """Fills the folder with what the engine needs, and with the reference that it is held to."""
    backend = request.backend
    say(f"exporting {request.source}")
    reference = export_model(request.source, temporary / "fp32", task=request.task, template=request.template)
    model = reference.spec
    profiles = backend.profiles(model, request.profiles)
    if too_long := [str(p) for p in profiles.buckets if p.length > model.max_length]:
        raise EngineError(f"{model.name} takes {model.max_length} tokens: leave out {', '.join(too_long)}")
    if request.int8:
        request.int8.refuse_other(model, reference.inputs)
    manifest = described(model, profiles.buckets)
    parts: dict[str, Path] = {}
    for precision in request.precisions:
        source = _exported(request, precision, reference, temporary / "own")
        say(f"compiling {len(profiles.buckets)} profiles for {backend.name}/{precision}")
        parts[precision] = temporary / f"engine-{precision}"
        parts[precision].mkdir()
        backend.compile(source, parts[precision], profiles, out, say)
    shutil.copyfile(reference.folder / "tokenizer.json", folder / "tokenizer.json")
    say("computing the FP32 reference")
    feeds = parity_feeds(model, words(folder / "tokenizer.json", model), profiles.buckets)
    cases, evaluated = reference_cases(reference.folder / "model.onnx", feeds, request.task)
    write_cases(folder / PARITY, cases)
    if request.int8:
        proxy = temporary / "proxy"  # the same Q/DQ graph in FP32, for OpenVINO, where the engine itself cannot run
        scales, exact = request.int8.scales, Form(rounded_weights=True)
        export_model(request.source, proxy, task=request.task, template=request.template, form=exact, scales=scales)
        trial = Trial(request, manifest, parts, reference.folder / "model.onnx", proxy / "model.onnx")
        manifest = trial.settled(cases, say)
        if INT8 in manifest.parts:
            gate = [asdict(figure) for figure in manifest.accuracy]
            about = {**request.int8.scales.about, "gate": gate}
            replace(request.int8.scales, about=about).write(folder / FILE)
    for precision in manifest.parts:
        for file in parts[precision].iterdir():
            file.rename(folder / f"{stem_of(precision, mixed=manifest.mixed)}{file.suffix}")
    return manifest, cases, evaluated


def _exported(request: Request, precision: str, reference: Export, out: Path) -> Export:
    """What the backend compiles: the reference's, or one of its own types, form and scales."""
    backend = request.backend
    types, scales = backend.types(precision), request.int8.scales if request.int8 and precision == INT8 else None
    if types == "fp32" and not str(backend.form) and scales is None:
        return reference
    return export_model(
        request.source,
        out,
        task=request.task,
        precision=types,
        template=request.template,
        form=backend.form,
        scales=scales,
    )


def _compared(
    backend: Backend, folder: Path, manifest: Manifest, cases: Sequence[Case], evaluated: Check, say: Progress
) -> Manifest:
    """The manifest with what was measured, if this machine can run what was built."""
    if not evaluated.passed:
        raise ParityFailed(f"the reference of {manifest.name}", [evaluated], manifest.backend)
    engine = backend.engine(folder, manifest)
    if engine is None:
        say("this machine cannot run it: it is sealed unverified")
        return manifest
    say("comparing")
    try:
        half = arithmetic(manifest.backend, manifest.precision)
        checks = (evaluated, *parity(engine, cases, manifest.model.task, half))
        if not all(check.passed for check in checks):
            raise ParityFailed(f"{manifest.name} as {engine.name}", checks, manifest.backend)
        timed = latencies(engine, cases, seconds=SECONDS) if backend.baseline else ()
    finally:
        engine.close()
    return replace(manifest, parity=checks, latencies=timed)

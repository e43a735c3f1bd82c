"""From a model to a sealed artifact: export, compile, hold to the reference, seal, move into place."""

import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from millirank_engines.artifact import (
    FORMAT,
    MANIFEST,
    Check,
    Manifest,
    digest,
    files_of,
    read_manifest,
    refuse_misfit,
    seal,
    sha256_of,
)
from millirank_engines.base import ArtifactRefused, BackendUnavailable, EngineError, Profile
from millirank_engines.device import library_version, this_cpu
from millirank_engines.model import ModelSpec, Task, Template
from millirank_engines.pack import pair_length

from .export import export_model
from .parity import PARITY, parity, parity_feeds, reference_cases, words, write_cases
from .place import building, move_into_place, refuse_foreign
from .source import open_source

Progress = Callable[[str], None]
LIBRARIES = ("millirank", "numpy", "onnx", "openvino", "tokenizers")  # whose versions an artifact depends on
RECIPE = ("compile.py", "export.py", "graph.py", "parity.py", "source.py", "tensors.py")  # the code that it depends on
BATCHES: dict[Task, tuple[int, ...]] = {
    "embed": (1, 2, 4, 8),
    "rerank": (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 50),  # fine where a CPU ends within milliseconds
}
LENGTHS: dict[Task, tuple[int, ...]] = {"embed": (8, 16, 32, 64), "rerank": (24, 32, 40, 48, 64, 80)}
LONGER = (96, 128, 192, 256, 384, 512)
INDEXING = 32  # texts at once


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
class _Plan:
    """What is asked for."""

    source: str
    task: Task
    backend: str
    precision: str
    profiles: tuple[Profile, ...]  # empty means the default ones
    template: Template | None  # None means the model's own

    def key(self, inputs: Mapping[str, str], versions: Mapping[str, str]) -> str:
        """The hash of everything that the result depends on."""
        device = {name: value for name, value in this_cpu().to_json().items() if name != "name"}
        recipe = {name: sha256_of(Path(__file__).with_name(name)) for name in RECIPE}
        asked = {**asdict(self), "source": None, "profiles": sorted(map(str, self.profiles))}
        return digest(
            {"format": FORMAT, "inputs": inputs, "versions": versions, "device": device, "recipe": recipe, **asked}
        )

    def command(self) -> str:
        """The command line that asks for it, without --out."""
        parts = ["--model", self.source, "--task", self.task, "--backend", self.backend, "--precision", self.precision]
        if self.profiles:
            parts += ["--profiles", ",".join(map(str, self.profiles))]
        return shlex.join(["millirank", "engine", "build", *parts])


def default_profiles(model: ModelSpec) -> tuple[Profile, ...]:
    """The shapes that serving and indexing need: as long as the model's texts can become by its template."""
    template = model.template
    if model.task == "embed":
        longest = max(template.query_tokens, template.product_tokens) + 2
    else:
        longest = pair_length(template.query_tokens, template.product_tokens, model)
    longest = min(longest, model.max_length)
    ladder = [n for n in LENGTHS[model.task] + LONGER if n <= model.max_length] or [model.max_length]
    last = next((n for n in ladder if n >= longest), model.max_length)
    lengths = [n for n in ladder if n < last] + [last]
    profiles = {Profile(batch, length) for batch in BATCHES[model.task] for length in lengths}
    if model.task == "embed":
        profiles |= {Profile(INDEXING, length) for length in lengths if length > lengths[0] or len(lengths) == 1}
    return tuple(sorted(profiles))


def build_engine(
    source: str,
    out: Path,
    *,
    task: Task,
    backend: str = "openvino",
    precision: str | None = None,
    profiles: Sequence[Profile] | None = None,
    template: Template | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Artifact:
    """Builds an engine, unless out holds one made of the same things; out is replaced at once, when all is done.

    Args:
        source: a Hugging Face folder, a hub id, or the name of a model that is installed.
        out: the artifact's folder.
        task: embed or rerank.
        backend: openvino.
        precision: fp32, fp16 or bf16; what suits this processor by default.
        profiles: shapes; by default what the model's template needs.
        template: of product and query texts; the model's own by default.
        force: build even if nothing changed.
        progress: told what happens, a line each.

    Raises:
        BackendUnavailable: if the backend cannot build here.
        EngineError: if the model, a profile or the place does not fit.
        ParityFailed: if the engine is outside its tolerance.
    """
    say = progress or (lambda _: None)
    _refuse_backend(backend)
    from millirank_engines.openvino import HINTS, default_precision

    plan = _Plan(source, task, backend, precision or default_precision(), tuple(sorted(profiles or ())), template)
    if plan.precision not in HINTS:
        raise EngineError(f"precision {precision!r} is none of {', '.join(HINTS)}: choose one with --precision")
    refuse_foreign(out, MANIFEST)
    inputs = {name: sha256_of(path) for name, path in open_source(source).files().items()}
    versions = {name: library_version(name) for name in LIBRARIES}
    key = plan.key(inputs, versions)
    if not force and (same := _same(out, key)):
        say(f"{out} is up to date: nothing to do")
        return Artifact(out, same, reused=True)
    with building(out) as folder:
        model, shapes, checks = _compile(plan, folder, say)
        say("sealing")
        manifest = Manifest(
            key=key,
            model=model,
            backend=backend,
            precision=plan.precision,
            profiles=shapes,
            files=files_of(folder),
            inputs=inputs,
            versions=versions,
            device=this_cpu(),
            parity=checks,
            command=plan.command(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        seal(folder, manifest)
        move_into_place(folder, out)
    return Artifact(out, manifest, reused=False)


def _refuse_backend(backend: str) -> None:
    if backend == "tensorrt":
        raise BackendUnavailable(
            "tensorrt",
            "it needs an NVIDIA GPU, `pip install 'millirank[tensorrt]'` and a later version of millirank; "
            "this one builds with --backend openvino",
        )
    if backend != "openvino":
        raise BackendUnavailable(backend, "this version builds with --backend openvino")


def _same(out: Path, key: str) -> Manifest | None:
    """The manifest of an artifact that is whole, fits this machine and has that key."""
    try:
        manifest = read_manifest(out)
        refuse_misfit(out, manifest)
    except ArtifactRefused:
        return None
    return manifest if manifest.key == key else None


def _compile(plan: _Plan, folder: Path, say: Progress) -> tuple[ModelSpec, tuple[Profile, ...], tuple[Check, ...]]:
    """Fills the folder with what the engine needs, and holds it to the reference."""
    import openvino as ov

    from millirank_engines.openvino import OpenVinoEngine

    with TemporaryDirectory(dir=folder) as temporary:
        say(f"exporting {plan.source}")
        reference = export_model(plan.source, Path(temporary) / "fp32", task=plan.task, template=plan.template)
        model = reference.spec
        profiles = plan.profiles or default_profiles(model)
        if too_long := [str(p) for p in profiles if p.length > model.max_length]:
            raise EngineError(f"{model.name} takes {model.max_length} tokens: leave out {', '.join(too_long)}")
        onnx = reference.folder / "model.onnx"
        source = onnx
        if plan.precision == "fp16":
            half = Path(temporary) / "fp16"
            export_model(plan.source, half, task=plan.task, precision="fp16", template=plan.template)
            source = half / "model.onnx"
        say(f"compiling {len(profiles)} profiles for openvino/{plan.precision}")
        ov.save_model(ov.Core().read_model(source), folder / "model.xml", compress_to_fp16=False)
        tokenizer = folder / "tokenizer.json"
        shutil.copyfile(reference.folder / "tokenizer.json", tokenizer)
        say("computing the FP32 reference")
        cases, evaluated = reference_cases(onnx, parity_feeds(model, words(tokenizer, model), profiles), plan.task)
    write_cases(folder / PARITY, cases)
    say("comparing")
    engine = OpenVinoEngine(folder / "model.xml", profiles, plan.precision)
    try:
        checks = (evaluated, *parity(engine, cases, plan.task, plan.precision))
    finally:
        engine.close()
    if not all(check.passed for check in checks):
        raise ParityFailed(f"{model.name} as {engine.name}", checks)
    return model, profiles, checks

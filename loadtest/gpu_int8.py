"""One model on the GPU at hand at every precision: plans that are kept, engines that are timed side by side."""

import argparse
import contextlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from enginerows import filled, peer_engine
from interleave import Entrant, interleaved
from peers.bert_base import write_bert_base
from peers.fp8 import fp8_from_int8
from report import Row
from subjects import exact

from millirank_engines import Engine, EngineError, Profile, Task, open_engine, read_manifest
from millirank_engines.artifact import PLAN
from millirank_engines.build.compile import build_engine
from millirank_engines.build.export import Export, export_model
from millirank_engines.build.parity import PARITY, arithmetic, parity, read_cases
from millirank_engines.build.plan import Options
from millirank_engines.build.profiles import Profiles
from millirank_engines.build.progress import Progress
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.data import CalibrationData, pairs_data, random_sequences
from millirank_engines.build.quantize.int8 import Int8
from millirank_engines.build.quantize.scales import Scales
from millirank_engines.build.tensorrt import TensorRt
from millirank_engines.load import start_engine
from millirank_engines.manifest import Manifest, parse_profile

TORCH = "torch-eager-fp32"
RANDOM, LONGEST = 64, 30  # pairs of random tokens that a model without scales is calibrated on, and tokens of each text


@dataclass(frozen=True)
class Subject:
    """A model and the shapes that it is measured at."""

    name: str
    source: str  # nothing for BERT-base, which is written first
    task: Task
    buckets: tuple[str, ...]
    fp32: tuple[str, ...]
    fp8: tuple[str, ...]


class Keeping(TensorRt):
    """TensorRT that keeps the plan of every precision, of one that an artifact leaves out, too."""

    def __init__(self, kept: Path, level: int) -> None:
        super().__init__(options=Options(level=level))
        self.kept, self.seconds = kept, dict[str, float]()

    def folder(self, precision: str) -> Path:
        """Where a plan lies."""
        return self.kept / precision

    def compile(self, source: Export, folder: Path, profiles: Profiles, out: Path, say: Progress) -> None:
        """See Backend."""
        precision, begin = folder.name.removeprefix("engine-"), time.perf_counter()
        super().compile(source, folder, profiles, out, say)
        self.seconds[precision] = time.perf_counter() - begin
        print(f"  {precision} built in {self.seconds[precision]:.0f} s", flush=True)
        self.folder(precision).mkdir(parents=True, exist_ok=True)
        if folder != self.folder(precision):
            shutil.copyfile(folder / PLAN, self.folder(precision) / PLAN)


class Bench:
    """One model; what is made lies in work."""

    def __init__(self, subject: Subject, given: argparse.Namespace) -> None:
        self.subject, self.given, self.work = subject, given, given.work / subject.name
        self.source = subject.source or str(write_bert_base(self.work / "source"))
        self.real = bool(subject.source)
        self.backend = Keeping(self.work / "plans", given.level)
        self.out = given.work / f"{subject.name}-auto"  # beside the others: one timing cache for all
        self.notes: list[str] = []
        self.end = time.monotonic() + given.seconds

    def rows(self) -> Iterator[Row]:
        """Everything about the model."""
        scales = self.scales()
        if "auto" in self.given.parts:
            self.auto(scales)
        manifest = read_manifest(self.out)
        yield from self.choice_rows(manifest)
        shapes = {"fp16": self.subject.buckets, "int8": self.subject.buckets}
        shapes |= {"fp32": self.subject.fp32, "fp8": self.subject.fp8}
        for precision in ("fp32", "fp8"):
            if precision in self.given.parts:
                self.built(precision, scales, shapes[precision])
        with contextlib.ExitStack() as opened:
            engines: dict[str, Engine] = {"auto": open_engine(self.out).engine}
            for precision, buckets in shapes.items():
                if (self.backend.folder(precision) / PLAN).is_file():
                    part = replace(manifest, precision=precision, profiles=_profiles(buckets), choices=())
                    engines[precision] = start_engine(self.backend.folder(precision), part)
            for peer in self.given.peers:
                engines[peer] = peer_engine(peer, self.source, self.subject.task, manifest.profiles)
            for engine in engines.values():
                opened.callback(engine.close)
            yield from self.times(engines, manifest)
            if self.real:
                yield from self.parity_rows(engines, manifest)
        yield from (
            Row(f"{self.subject.name}/build/{name}", "build", s, "s") for name, s in self.backend.seconds.items()
        )

    def scales(self) -> Scales:
        """Those that were brought along, or by max over random tokens."""
        spec = export_model(self.source, self.work / "float", task=self.subject.task).spec
        brought = self.given.scales / f"{self.subject.name}.safetensors" if self.given.scales else None
        if brought and brought.is_file():
            scales = Scales.read(brought)
            if scales.about["model"] != spec.hash:  # other versions of the tokenizer's library write it differently
                self.notes.append(f"{self.subject.name}: its scales were made of {scales.about['model'][:12]}.")
            return replace(scales, about={**scales.about, "model": spec.hash})
        if self.real:
            fix = "name the folder that has them with --scales"
            raise EngineError(f"there are no scales of {self.subject.name}: {fix}")
        texts = random_sequences(2 * RANDOM, spec, LONGEST)
        data: CalibrationData = pairs_data(list(zip(texts[::2], texts[1::2], strict=True)), spec, "random tokens")
        calibrator = Calibrator(self.source, task=self.subject.task, data=data, work=self.work)
        return calibrator.scales(Recipe(alpha=0, shift=False))

    def auto(self, scales: Scales) -> None:
        """Builds FP16 and INT8, and the artifact that chooses."""
        int8 = Int8(scales) if "gate" in scales.about else Int8(scales, judge=_no_gate)
        artifact = build_engine(
            self.source,
            self.out,
            task=self.subject.task,
            backend=self.backend,
            precision="auto",
            profiles=exact(_profiles(self.subject.buckets)),
            int8=int8,
            progress=lambda line: print(f"  {line}", flush=True),
        )
        if reason := artifact.manifest.quantization.get("left_out"):
            self.notes.append(f"{self.subject.name}: auto leaves INT8 out: {reason}.")

    def built(self, precision: str, scales: Scales, buckets: Sequence[str]) -> None:
        """Builds a plan that auto has no part in, if there is time."""
        if (self.backend.folder(precision) / PLAN).is_file():
            return
        if time.monotonic() > self.end:
            self.notes.append(f"{self.subject.name}: {precision} was left out for want of time.")
            return
        folder, backend = self.work / "onnx" / precision, self.backend
        types, fp8 = "fp32" if precision == "fp32" else "fp16", precision == "fp8"
        form, used = backend.form, scales if fp8 else None
        made = export_model(self.source, folder, task=self.subject.task, precision=types, form=form, scales=used)
        if fp8:
            own = fp8_from_int8(made.folder / "model.onnx", folder / "fp8" / "model.onnx")
            made = replace(made, folder=own.parent)
        try:
            backend.folder(precision).mkdir(parents=True, exist_ok=True)
            backend.compile(made, backend.folder(precision), exact(_profiles(buckets)), self.out, lambda _: None)
        except EngineError as error:  # the parser's own words are what is to be known
            self.notes.append(f"{self.subject.name}: TensorRT builds no {precision}: {' '.join(str(error).split())}")
            print(f"  {self.notes[-1]}", flush=True)

    def choice_rows(self, manifest: Manifest) -> Iterator[Row]:
        """What auto chose, and by which times."""
        for choice in manifest.choices:
            case = f"{self.subject.name}/choice/{choice.profile}"
            yield from (Row(case, name, value, "ms") for name, value in choice.times.items())
            yield Row(case, "runs in INT8", float(choice.precision == "int8"), "")
            yield Row(case, "chosen / fp16", choice.times[choice.precision] / choice.times["fp16"], "x")

    def times(self, engines: Mapping[str, Engine], manifest: Manifest) -> Iterator[Row]:
        """Medians of all engines at all shapes, and how many times as fast as the others each of ours is."""
        cases = read_cases(self.out / PARITY, manifest.profiles)
        feeds = {c.profile: c.feeds if self.real else filled(c.feeds, manifest.model) for c in cases}
        entrants = [
            Entrant(name, engine, {shape: feeds[shape] for shape in engine.profiles}, self.given.rounds)
            for name, engine in engines.items()
        ]
        taken = {
            (timing.profile, name): timing
            for name, timing in interleaved(entrants, manifest.model, seconds=self.given.seconds_a_shape)
        }
        for (profile, name), timing in sorted(taken.items(), key=lambda pair: pair[0][0]):
            case = f"{self.subject.name}/{self.subject.task}/{profile}/{name}"
            for metric, q in (("p50", 0.5), ("p95", 0.95)):
                yield Row(case, metric, 1e3 * timing.quantile(q), "ms")
            yield Row(case, "calls", len(timing.seconds), "calls")
            for other in ("fp16", "fp32", TORCH):
                if other != name and (theirs := taken.get((profile, other))):
                    yield Row(case, f"against {other}", theirs.quantile(0.5) / timing.quantile(0.5), "x")

    def parity_rows(self, engines: Mapping[str, Engine], manifest: Manifest) -> Iterator[Row]:
        """How near the outputs are to FP32's, of real weights."""
        for name, engine in engines.items():
            if name not in self.given.peers:
                cases = read_cases(self.out / PARITY, engine.profiles)
                kind = (
                    "int8" if name == "fp8" else arithmetic(manifest.backend, name.replace("auto", manifest.precision))
                )
                for check in parity(engine, cases, self.subject.task, kind):
                    yield Row(f"{self.subject.name}/parity/{name}", check.metric, check.value, "")


def _no_gate(*_: object) -> tuple[()]:
    """Random weights have no accuracy to lose."""
    return ()


def _profiles(buckets: Sequence[str]) -> tuple[Profile, ...]:
    return tuple(sorted(map(parse_profile, buckets)))

"""One model on the GPU at hand at every precision: plans that are kept, engines that are timed side by side."""

import argparse
import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from enginerows import filled, peer_engine
from int8_plans import Kept, Plan, Plans, Subject, parsed
from int8_shared import brought, choice_rows, int8_of, word_feeds
from interleave import Entrant, interleaved
from peers.bert_base import write_bert_base
from peers.minilm import write_minilm
from report import Row
from subjects import exact

from millirank.commands.enginebench import timing_rows
from millirank_engines import Engine, EngineError, Profile, Tensors, open_engine
from millirank_engines.build.compile import build_engine
from millirank_engines.build.export import Export, export_model
from millirank_engines.build.parity import arithmetic, parity, reference_cases
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.data import CalibrationData, pairs_data, random_sequences
from millirank_engines.build.quantize.int8 import AUTO, INT8
from millirank_engines.build.quantize.scales import Scales

TORCH = "torch-eager-fp32"
TOLD = ("p50", "calls", "tflops valid", "tflops model")  # of all that is known of a timing; p95 comes after them
RANDOM, LONGEST = 64, 30  # pairs of random tokens that a model without scales is calibrated on, and tokens of each text
FIRST = 0.65  # of the time for building, that INT8 gets where FP16 must be built, too
Engines = list[tuple[str, Engine]]  # by what they are called; several may be called alike, at different shapes


@dataclass(frozen=True)
class Written:
    """A model that is written first, and how it is calibrated."""

    write: Callable[[Path], Path]
    recipe: Recipe
    real: bool  # whether its layers are a trained model's, so that rounding them says something


WRITTEN = {
    "bert-base-reranker": Written(write_bert_base, Recipe(alpha=0, shift=False), real=False),
    "minilm-reranker": Written(write_minilm, Recipe(), real=True),
}


class Bench:
    """One model; what is made lies in work."""

    def __init__(self, subject: Subject, given: argparse.Namespace) -> None:
        self.subject, self.given, self.work = subject, given, given.work / subject.name
        self.written = None if subject.source else WRITTEN[subject.name]
        self.source = str(self.written.write(self.work / "source")) if self.written else subject.source
        self.real = self.written is None or self.written.real
        self.notes: list[str] = []

    @cached_property
    def float(self) -> Export:
        """The FP32 graph."""
        return export_model(self.source, self.work / "float", task=self.subject.task)

    def rows(self) -> Iterator[Row]:
        """Everything about the model; INT8 is built first, because that is what is in doubt."""
        subject, parts = self.subject, self.given.parts
        scales = self.scales()
        plans = Plans(subject, self.float, self.source, scales, self.work, self.given, self.notes)
        half = plans.sealed("fp16", subject.buckets)
        int8 = plans.of(INT8, subject.buckets, 1.0 if half else FIRST)
        groups = [plan.buckets for plan in int8] or [subject.buckets]
        halves = [replace(half, buckets=group) for group in groups] if half else []
        made = {INT8: int8, "fp16": halves or [plan for group in groups for plan in plans.of("fp16", group)]}
        for precision in ("fp32", "fp8"):
            made[precision] = plans.of(precision, getattr(subject, precision)) if precision in parts else []
        for plan in [plan for some in made.values() for plan in some if plan.seconds]:
            case = f"{subject.name}/build, {'+'.join(plan.buckets)}/{plan.precision}"
            yield Row(case, "build", plan.seconds, "s")
            yield Row(case, "builder level", plan.level, "")
            yield Row(case, "simpler graph", float(plan.plain), "")
        with contextlib.ExitStack() as opened:
            engines: Engines = []

            def add(name: str, engine: Engine) -> None:
                opened.callback(engine.close)
                engines.append((name, engine))

            for name, some in made.items():
                for plan in some:
                    add(name, plan.engine())
            for peer in self.given.peers:
                add(peer, peer_engine(peer, self.source, subject.task, parsed(subject.buckets)))
            yield from self.times(engines)
            if AUTO in parts and int8:
                before = len(engines)
                yield from self.autos(made, scales, add)
                if len(engines) > before:  # beside FP16 alone: all the others have been timed
                    yield from self.times([one for one in engines if one[0] in {AUTO, "fp16"}], {AUTO})
            if self.real:
                yield from self.parity_rows(engines)

    def scales(self) -> Scales:
        """Those that were brought along, or by max over random tokens."""
        spec = self.float.spec
        if path := brought(self.given.scales, self.subject.name):
            scales = Scales.read(path)
            if (found := _layers(scales)) != set(range(spec.layers)):
                raise EngineError(
                    f"{path} has scales of {len(found)} layers, {self.subject.name} has {spec.layers}: make them "
                    "anew with `millirank engine calibrate`, or leave it out"
                )
            if scales.about["model"] != spec.hash:  # other versions of the tokenizer's library write it differently
                self.notes.append(f"{self.subject.name}: its scales were made of {scales.about['model'][:12]}.")
            return replace(scales, about={**scales.about, "model": spec.hash})
        if self.written is None:
            fix = "name the folder that has them with --scales"
            raise EngineError(f"there are no scales of {self.subject.name}: {fix}")
        texts = random_sequences(2 * RANDOM, spec, LONGEST)
        data: CalibrationData = pairs_data(list(zip(texts[::2], texts[1::2], strict=True)), spec, "random tokens")
        calibrator = Calibrator(self.source, task=self.subject.task, data=data, work=self.work)
        return calibrator.scales(self.written.recipe)

    def autos(
        self, made: Mapping[str, Sequence[Plan]], scales: Scales, add: Callable[[str, Engine], None]
    ) -> Iterator[Row]:
        """The artifact that chooses, of the plans that are there: one for each group of shapes that has both."""
        name = self.subject.name
        halves = {plan.buckets: plan for plan in made["fp16"]}
        for plan in made[INT8]:
            half = halves.get(plan.buckets)
            if half is None or plan.plain:
                why = "its INT8 is a simpler graph" if plan.plain else "it has no FP16"
                self.notes.append(f"{name}: auto has nothing to choose from at {', '.join(plan.buckets)}: {why}.")
                continue
            out = self.given.work / f"{name}-auto-{'+'.join(plan.buckets)}"
            try:
                manifest = build_engine(
                    self.source,
                    out,
                    task=self.subject.task,
                    backend=Kept({INT8: plan, "fp16": half}, self.given.graph),
                    precision=AUTO,
                    profiles=exact(parsed(plan.buckets)),
                    int8=int8_of(scales),
                    progress=lambda line: print(f"  {line}", flush=True),
                ).manifest
            except EngineError as error:
                self.notes.append(f"{name}: auto seals nothing: {' '.join(str(error).split())}")
                continue
            if reason := manifest.quantization.get("left_out"):
                self.notes.append(f"{name}: auto leaves INT8 out at {', '.join(plan.buckets)}: {reason}.")
            add(AUTO, open_engine(out).engine)
            yield from choice_rows(f"{name}/choice", manifest, "fp16")

    def feeds(self, shapes: Sequence[Profile]) -> dict[Profile, Tensors]:
        """What all engines get."""
        feeds = word_feeds(self.float, shapes)
        return feeds if self.real else {shape: filled(one, self.float.spec) for shape, one in feeds.items()}

    def times(self, engines: Engines, told: Collection[str] = ()) -> Iterator[Row]:
        """Medians of all engines at all shapes, and how many times as fast as the others each of ours is.

        Args:
            engines: timed in turns.
            told: those whose rows are wanted; nothing means all.
        """
        feeds = self.feeds(parsed(self.subject.buckets))
        entrants = [
            Entrant(name, engine, {shape: feeds[shape] for shape in engine.profiles}, self.given.rounds)
            for name, engine in engines
        ]
        timings = interleaved(entrants, self.float.spec, seconds=self.given.seconds_a_shape, least=self.given.least)
        taken = {(timing.profile, name): timing for name, timing in timings}
        for (profile, name), timing in sorted(taken.items(), key=lambda pair: pair[0][0]):
            if told and name not in told:
                continue
            case = f"{self.subject.name}/{self.subject.task}/{profile}/{name}"
            yield from (row for row in timing_rows(case, timing, None) if row.metric in TOLD)
            yield Row(case, "p95", 1e3 * timing.quantile(0.95), "ms")
            for other in ("fp16", "fp32", TORCH):
                if other != name and (theirs := taken.get((profile, other))):
                    yield Row(case, f"against {other}", theirs.quantile(0.5) / timing.quantile(0.5), "x")

    def parity_rows(self, engines: Engines) -> Iterator[Row]:
        """How near the outputs are to FP32's, of real weights."""
        shapes = parsed(self.subject.buckets)
        cases, _ = reference_cases(self.float.folder / "model.onnx", self.feeds(shapes), self.subject.task)
        for name, engine in engines:
            if name in self.given.peers:
                continue
            mine = [case for case in cases if case.profile in engine.profiles]
            precision = "int8" if name in {"fp8", AUTO} else name
            where = "" if len(mine) == len(cases) else f", {'+'.join(str(case.profile) for case in mine)}"
            for check in parity(engine, mine, self.subject.task, arithmetic("tensorrt", precision)):
                yield Row(f"{self.subject.name}/parity{where}/{name}", check.metric, check.value, "")


def _layers(scales: Scales) -> set[int]:
    """The numbers of the layers that they are of, those that stay in float, too."""
    return {int(group.split(".")[2]) for group in (*scales.mean, *scales.amax)}

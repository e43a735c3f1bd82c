"""The plans of one model at every precision, each built in a process that can be ended, and kept."""

import argparse
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import planchild
from peers.fp8 import fp8_from_int8

from millirank_engines import Engine, EngineError, Profile, Task, read_manifest
from millirank_engines.artifact import PLAN, SEAL
from millirank_engines.build.export import Export, export_model
from millirank_engines.build.graph import Form
from millirank_engines.build.plan import Options, timing_cache_path
from millirank_engines.build.profiles import Profiles
from millirank_engines.build.progress import Progress
from millirank_engines.build.quantize.scales import Scales
from millirank_engines.build.tensorrt import TensorRt, form_of
from millirank_engines.gpu import this_gpu
from millirank_engines.manifest import parse_profile

QUANTIZED = ("int8", "fp8")
LONGER = 1.7  # times the limit for what has always ended; FP16 of BERT-base took 110 to 150 s
LIMITS = {"int8": 1.0, "fp8": 2.5}  # times the limit; FP8's kernels are compiled for more than a minute, in silence
LATER = 0.6  # times the limit for what is tried after that
LEAST = 15.0  # seconds that a build is worth beginning for
TOLD = "made.json"


@dataclass(frozen=True)
class Subject:
    """A model and the shapes that it is measured at."""

    name: str
    source: str  # nothing for a model that is written first: gpu_int8.WRITTEN
    task: Task
    buckets: tuple[str, ...]
    fp32: tuple[str, ...]
    fp8: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """One that was built."""

    precision: str
    buckets: tuple[str, ...]
    folder: Path
    level: int
    plain: bool  # whether its graph is the simpler one: see plainer
    seconds: float  # of its build

    def engine(self) -> Engine:
        """Runs it."""
        from millirank_engines.cuda import open_cuda
        from millirank_engines.tensorrt import TensorRtEngine
        from millirank_engines.trtmodule import trt_logger, trt_module

        name = "tensorrt"
        return TensorRtEngine(
            self.folder / PLAN,
            parsed(self.buckets),
            self.precision,
            trt=trt_module(name),
            logger=trt_logger(name),
            cuda=open_cuda(),
            backend=name,
        )


class Kept(TensorRt):
    """TensorRT whose plans are built already."""

    def __init__(self, plans: Mapping[str, Plan], form: Form) -> None:
        super().__init__(options=Options(level=min(plan.level for plan in plans.values())), form=form)
        self._plans = plans

    def compile(self, source: Export, folder: Path, profiles: Profiles, out: Path, say: Progress) -> None:  # noqa: ARG002 - see Backend
        """See Backend."""
        shutil.copyfile(self._plans[folder.name.removeprefix("engine-")].folder / PLAN, folder / PLAN)


class Plans:
    """Builds what is asked for, in ways that get simpler.

    Args:
        subject: the model.
        model: its FP32 export.
        source: of its weights.
        scales: of its INT8.
        work: keeps the plans; its parent has one timing cache for all.
        given: limits of time, the builder's level, the graph's form, the folder for logs and that of engines that are
            built already.
        notes: what was built how, and what was not, and why.
    """

    def __init__(
        self,
        subject: Subject,
        model: Export,
        source: str,
        scales: Scales,
        work: Path,
        given: argparse.Namespace,
        notes: list[str],
    ) -> None:
        self._subject, self._model, self._source = subject, model, source
        self._scales, self._work, self._given, self._notes = scales, work, given, notes
        self._begin = time.monotonic()
        backend, gpu = TensorRt(), this_gpu()
        self._timings = timing_cache_path(work, gpu.name if gpu else "gpu", backend.version)

    @property
    def left(self) -> float:
        """Seconds to build in."""
        return self._begin + float(self._given.seconds) - time.monotonic()

    def of(self, precision: str, buckets: Sequence[str], share: float = 1.0) -> list[Plan]:
        """One plan for all shapes; failing that one for each, then at a lower level, then of a simpler graph.

        Args:
            precision: of it.
            buckets: the shapes.
            share: of the time that is left, at most.
        """
        all_, first, low = tuple(buckets), self._given.level, min(2, self._given.level)
        until = self.left * (1 - share)
        if plan := self._plan(precision, all_, _Way(first), until):
            return [plan]
        ways = [_Way(first)] * (len(all_) > 1) + [_Way(low)] * (low < first)
        ways += [_Way(low, plain=True)] * (precision in QUANTIZED)
        found = []
        for bucket in all_:
            for place, way in enumerate(ways):
                if plan := self._plan(precision, (bucket,), replace(way, later=True), until):
                    found.append(plan)
                    ways = ways[place:]  # what failed once is not tried at the next shape
                    break
            else:
                break
        return found

    def sealed(self, precision: str, buckets: Sequence[str]) -> Plan | None:
        """The plan of an engine that was built before, by h100_engines, if it is of this model and has the shapes."""
        folder = self._given.engines / self._subject.name if self._given.engines else None
        if folder is None or not (folder / SEAL).is_file():
            return None
        manifest = read_manifest(folder)
        fits = manifest.model.hash == self._model.spec.hash and {*parsed(buckets)} <= {*manifest.profiles}
        fits = fits and form_of(manifest.options.get("--graph")) == self._given.graph
        if not fits or (manifest.backend, manifest.precision) != ("tensorrt", precision):
            self._notes.append(
                f"{self._subject.name}: the {precision} that was built before has other shapes or weights."
            )
            return None
        words = f"{self._subject.name}: {precision} at {', '.join(buckets)} is the plan of the other page's engine."
        self._notes.append(words)
        return Plan(precision, tuple(buckets), folder, Options().level, plain=False, seconds=0.0)

    def _plan(self, precision: str, buckets: tuple[str, ...], way: "_Way", until: float) -> Plan | None:
        folder = self._work / "plans" / precision / f"{'+'.join(buckets)}, {way}"
        name = f"{self._subject.name}: {precision} at {', '.join(buckets)}, {way}"
        if (folder / TOLD).is_file():
            told = json.loads((folder / TOLD).read_text(encoding="utf-8"))
            plan = Plan(**{**told, "buckets": buckets, "folder": folder}) if told.get("precision") else None
            self._notes.append(f"{name}, was built in {plan.seconds:.0f} s." if plan else told["why"])
            return plan
        left = self.left - until
        if left < LEAST:
            self._notes.append(f"{name}, was left out for want of time.")
            return None
        limit = self._given.limit * (LATER if way.later else LIMITS.get(precision, LONGER))
        print(f"  building {name}", flush=True)
        log = f"{self._given.name}.{self._subject.name}.{precision}.{'+'.join(buckets)}.{way.short}.log"
        try:
            made = self._exported(precision, plain=way.plain)
            left = self.left - until
            job = planchild.Job(
                onnx=made.folder / "model.onnx",
                buckets=buckets,
                out=folder / PLAN,
                last=self._given.out / log,
                timings=self._timings,
                level=way.level,
                limit=max(1.0, min(limit, left)),
            )
            seconds = planchild.built(job)
        except EngineError as error:  # TensorRT's own words are what is to be known
            self._notes.append(f"{name}, is not built: {' '.join(str(error).split())}")
            print(f"  {self._notes[-1]}", flush=True)
            if limit <= left:  # it had all the time that it gets
                folder.mkdir(parents=True, exist_ok=True)
                (folder / TOLD).write_text(json.dumps({"why": self._notes[-1]}), encoding="utf-8")
            return None
        self._notes.append(f"{name}, was built in {seconds:.0f} s.")
        print(f"  {self._notes[-1]}", flush=True)
        plan = Plan(precision, buckets, folder, way.level, way.plain, seconds)
        told = {key: value for key, value in asdict(plan).items() if key not in {"folder", "buckets"}}
        (folder / TOLD).write_text(json.dumps(told), encoding="utf-8")
        return plan

    def _exported(self, precision: str, *, plain: bool) -> Export:
        folder = self._work / "onnx" / (f"{precision}-plain" if plain else precision)
        scales = self._scales if precision in QUANTIZED else None
        if scales is not None and plain:
            scales = plainer(scales)
        types = "fp32" if precision == "fp32" else "fp16"
        task = self._subject.task
        made = export_model(self._source, folder, task=task, precision=types, form=self._given.graph, scales=scales)
        if precision != "fp8":
            return made
        own = fp8_from_int8(made.folder / "model.onnx", folder / "fp8" / "model.onnx")
        return replace(made, folder=own.parent)


@dataclass(frozen=True)
class _Way:
    """How a plan is built."""

    level: int
    plain: bool = False
    later: bool = False  # not the first that is tried

    @property
    def short(self) -> str:
        """For names of files."""
        return f"{self.level}{'p' if self.plain else ''}"

    def __str__(self) -> str:
        return f"level {self.level}{', simpler graph' if self.plain else ''}"


def plainer(scales: Scales) -> Scales:
    """Scales whose graph is simpler: without smoothing and shifts; where there are none, of the inner layers alone."""
    if scales.smoothing or scales.shift:
        return replace(scales, smoothing={}, shift={}, mean={})
    return scales.only(*(group for group in scales.amax if "attention" not in group))


def parsed(buckets: Sequence[str]) -> tuple[Profile, ...]:
    """The shapes, sorted."""
    return tuple(sorted(map(parse_profile, buckets)))

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

from millirank_engines import Engine, EngineError, Profile, Task
from millirank_engines.artifact import PLAN
from millirank_engines.build.export import Export, export_model
from millirank_engines.build.plan import Options, timing_cache_path
from millirank_engines.build.profiles import Profiles
from millirank_engines.build.progress import Progress
from millirank_engines.build.quantize.scales import Scales
from millirank_engines.build.tensorrt import FORM, TensorRt
from millirank_engines.gpu import this_gpu
from millirank_engines.manifest import parse_profile

QUANTIZED = ("int8", "fp8")
LONGER = 1.7  # times the limit for what has always ended; FP16 of BERT-base took 110 to 150 s
LEAST = 15.0  # seconds that a build is worth beginning for
TOLD = "made.json"


@dataclass(frozen=True)
class Subject:
    """A model and the shapes that it is measured at."""

    name: str
    source: str  # nothing for BERT-base, which is written first
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
    plain: bool  # whether its graph has neither shifts nor smoothing
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

    def __init__(self, plans: Mapping[str, Plan]) -> None:
        super().__init__(options=Options(level=min(plan.level for plan in plans.values())))
        self._plans = plans

    def compile(self, source: Export, folder: Path, profiles: Profiles, out: Path, say: Progress) -> None:  # noqa: ARG002 - see Backend
        """See Backend."""
        shutil.copyfile(self._plans[folder.name.removeprefix("engine-")].folder / PLAN, folder / PLAN)


class Plans:
    """Builds what is asked for, in ways that get simpler.

    Args:
        subject: the model.
        source: of its weights.
        scales: of its INT8.
        work: keeps the plans; its parent has one timing cache for all.
        given: limits of time, and the builder's level.
        notes: what was not built, and why.
    """

    def __init__(
        self, subject: Subject, source: str, scales: Scales, work: Path, given: argparse.Namespace, notes: list[str]
    ) -> None:
        self._subject, self._source, self._scales, self._work = subject, source, scales, work
        self._given, self._notes = given, notes
        self._end = time.monotonic() + given.seconds
        backend, gpu = TensorRt(), this_gpu()
        self._timings = timing_cache_path(work, gpu.name if gpu else "gpu", backend.version)

    def of(self, precision: str, buckets: Sequence[str]) -> list[Plan]:
        """One plan for all shapes; failing that one for each, at a lower level, of a simpler graph."""
        given, all_, first = self._given, tuple(buckets), self._given.level
        plan = self._plan(precision, all_, first, plain=False)
        if plan or len(all_) == 1 and precision not in QUANTIZED:
            return [plan] if plan else []
        ways = [(first, False)] * (len(all_) > 1) + [(min(2, given.level), False)]
        ways += [(min(2, given.level), True)] * (precision in QUANTIZED and bool(self._scales.smoothing))
        found = []
        for bucket in all_:
            for level, plain in ways:
                if plan := self._plan(precision, (bucket,), level, plain=plain):
                    found.append(plan)
                    ways = ways[ways.index((level, plain)) :]  # what failed once is not tried at the next shape
                    break
            else:
                break
        return found

    def kept(self, plans: Mapping[str, Plan]) -> Kept:
        """A backend that has them."""
        return Kept(plans)

    def _plan(self, precision: str, buckets: tuple[str, ...], level: int, *, plain: bool) -> Plan | None:
        way = f"level {level}{', plain' if plain else ''}"
        folder = self._work / "plans" / precision / f"{'+'.join(buckets)}, {way}"
        if (folder / TOLD).is_file():
            told = json.loads((folder / TOLD).read_text(encoding="utf-8"))
            return Plan(**{**told, "buckets": buckets, "folder": folder}) if told else None
        name = f"{self._subject.name}: {precision} of {', '.join(buckets)}, {way}"
        left = self._end - time.monotonic()
        if left < LEAST:
            self._notes.append(f"{name} was left out for want of time.")
            return None
        limit = self._given.limit * (1 if precision in QUANTIZED else LONGER)
        print(f"  building {name}", flush=True)
        try:
            made = self._exported(precision, plain=plain)
            job = planchild.Job(
                onnx=made.folder / "model.onnx",
                buckets=buckets,
                out=folder / PLAN,
                timings=self._timings,
                level=level,
                limit=min(limit, left),
                still=self._given.still,
            )
            seconds = planchild.built(job)
        except EngineError as error:  # TensorRT's own words are what is to be known
            self._notes.append(f"{name} is not built: {' '.join(str(error).split())}")
            print(f"  {self._notes[-1]}", flush=True)
            self._tell_last(name, folder)
            if limit <= left:  # it had all the time that it gets
                folder.mkdir(parents=True, exist_ok=True)
                (folder / TOLD).write_text("null", encoding="utf-8")
            return None
        print(f"  built in {seconds:.0f} s", flush=True)
        plan = Plan(precision, buckets, folder, level, plain, seconds)
        told = {key: value for key, value in asdict(plan).items() if key not in {"folder", "buckets"}}
        (folder / TOLD).write_text(json.dumps(told), encoding="utf-8")
        return plan

    def _exported(self, precision: str, *, plain: bool) -> Export:
        folder = self._work / "onnx" / (f"{precision}-plain" if plain else precision)
        scales = self._scales if precision in QUANTIZED else None
        if scales is not None and plain:
            scales = replace(scales, smoothing={}, shift={}, mean={})
        types = "fp32" if precision == "fp32" else "fp16"
        task = self._subject.task
        made = export_model(self._source, folder, task=task, precision=types, form=FORM, scales=scales)
        if precision != "fp8":
            return made
        own = fp8_from_int8(made.folder / "model.onnx", folder / "fp8" / "model.onnx")
        return replace(made, folder=own.parent)

    def _tell_last(self, name: str, folder: Path) -> None:
        last = (folder / PLAN).with_suffix(".last.log")
        if last.is_file():
            self._given.out.mkdir(parents=True, exist_ok=True)
            with (self._given.out / f"{self._given.name}.log").open("a", encoding="utf-8") as file:
                file.write(f"== {name}\n{last.read_text(encoding='utf-8')}\n")


def parsed(buckets: Sequence[str]) -> tuple[Profile, ...]:
    """The shapes, sorted."""
    return tuple(sorted(map(parse_profile, buckets)))

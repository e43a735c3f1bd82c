"""What an option of a TensorRT build gives: latency, kernels and the build's own time."""

import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from interleave import Entrant, interleaved
from report import Row
from subjects import Subject, exact, opened

from millirank_engines import EngineError
from millirank_engines.artifact import SEAL
from millirank_engines.build.backend import backend_of
from millirank_engines.build.compile import build_engine
from millirank_engines.build.parity import PARITY, read_cases
from millirank_engines.manifest import parse_profile

DEFAULT = "default"
VARIANTS: dict[str, dict[str, object]] = {  # options of `millirank engine build`
    DEFAULT: {},
    "graph plain": {"graph": "plain"},
    "graph half-norm": {"graph": "half-norm"},
    "graph half-norm,time-major": {"graph": "half-norm,time-major"},
    "graph half-norm,tanh-gelu": {"graph": "half-norm,tanh-gelu"},
    "graph half-norm,joined-qkv": {"graph": "half-norm,joined-qkv"},
    "level 5": {"level": 5},
    "no auxiliary streams": {"aux_streams": 0},
    "version-compatible": {"version_compatible": True},
}


def variant_rows(subject: Subject, names: Sequence[str], work: Path, replays: int, seconds: float) -> Iterator[Row]:
    """Builds a subject with each option at the compared shapes, and times all of them in turns; one may fail alone."""
    profiles = exact([parse_profile(text) for text in subject.compared])
    with ExitStack() as closing:
        entrants, spec = [], None
        for name in names:
            case = f"{subject.name} variants/{name}"
            try:
                out, seconds_taken = _built(subject, name, work)
                loaded, engine = opened(out)
            except EngineError:
                traceback.print_exc()
                continue
            closing.callback(engine.close)
            spec = loaded.spec
            if seconds_taken is not None:
                yield Row(case, "build", seconds_taken, "s")
            yield Row(case, "plan", sum(size for size, _ in loaded.manifest.files.values()) / 2**20, "MiB")
            for shape, nodes in engine.graph_nodes.items():
                yield Row(case, f"{shape} kernel nodes", nodes.get("Kernel", 0), "")
            feeds = {one.profile: one.feeds for one in read_cases(out / PARITY, profiles.buckets)}
            entrants.append(Entrant(name, engine, feeds, replays))
        base: dict[str, float] = {}
        for name, timing in interleaved(entrants, spec, seconds=seconds) if spec else ():
            case, shape, p50 = f"{subject.name} variants/{name}", str(timing.profile), timing.quantile(0.5)
            yield Row(case, f"{shape} p50", 1e3 * p50, "ms")
            if name == DEFAULT:
                base[shape] = p50
            elif shape in base:
                yield Row(case, f"{shape} against default", p50 / base[shape], "x")


def _built(subject: Subject, name: str, work: Path) -> tuple[Path, float | None]:
    """The artifact of a variant, and the seconds of its build unless it was there; the default is the subject's own."""
    if name == DEFAULT and (subject.folder(work, "tensorrt") / SEAL).is_file():
        return subject.folder(work, "tensorrt"), None
    out, start = work / "variants" / f"{subject.name}, {name}", time.perf_counter()
    profiles = exact([parse_profile(text) for text in subject.compared])
    backend = backend_of("tensorrt", VARIANTS[name])
    artifact = build_engine(
        subject.source(work), out, task=subject.task, backend=backend, precision="fp16", profiles=profiles
    )
    return out, None if artifact.reused else time.perf_counter() - start

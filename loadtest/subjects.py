"""The models that GPU engines are measured with, their shapes, and their artifacts."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from peers.bert_base import write_bert_base
from peers.minilm import write_minilm
from report import Row

from millirank_engines import Engine, LoadedEngine, Profile, Task, open_engine
from millirank_engines.build.compile import build_engine
from millirank_engines.build.profiles import OptimizationProfile, Profiles, Range
from millirank_engines.manifest import parse_profile
from millirank_engines.model import ENCODER
from millirank_engines.replay import Memory

BACKENDS = {"tensorrt": "graph", "fused": "fused"}  # what builds: what its timings are called
PEERS = ("torch-eager", "torch-eager-fp32", "torch-compile", "onnxruntime")
SECONDS = "build-seconds.json"  # of the artifacts in a work folder: a later run tells them, too


class OnDevice(Engine, Protocol):
    """What an engine on a GPU tells besides."""

    graph_nodes: Mapping[Profile, Mapping[str, int]]

    @property
    def memory(self) -> Memory:
        """What it holds now."""


@dataclass(frozen=True)
class Subject:
    """A model and the shapes that it is measured at."""

    name: str
    source: Callable[[Path], str]  # from the work folder
    task: Task
    buckets: tuple[str, ...]  # an optimization profile each
    compared: tuple[str, ...]  # with the peers, and between the variants
    peers: tuple[str, ...] = PEERS  # at most
    full: bool = False  # whether every token of its inputs is valid
    soaked: bool = True

    def folder(self, work: Path, backend: str) -> Path:
        """Where its artifact lies."""
        return work / (self.name if backend == "tensorrt" else f"{self.name}, {backend}")

    def case(self, part: str, backend: str) -> str:
        """The case of what is not timed, such as its memory."""
        return f"{self.name}/{part if backend == 'tensorrt' else f'{part}, {backend}'}"


SUBJECTS = (
    Subject(
        "minilm-encoder",
        lambda _: ENCODER,
        "embed",
        ("1x16", "8x16", "32x16", "32x64"),
        ("1x16", "32x16"),
    ),
    Subject(
        "minilm-reranker",
        lambda work: str(write_minilm(work / "minilm-l6")),
        "rerank",
        ("50x32", "50x40", "50x64", "256x64", "512x32", "512x40", "1024x32", "2048x32"),
        ("50x32", "50x64", "512x32"),
    ),
    Subject(
        "bert-base-reranker",
        lambda work: str(write_bert_base(work / "bert-base")),
        "rerank",
        ("50x64", "128x64", "256x64", "512x64", "512x128"),
        ("50x64", "512x64"),
        peers=("torch-eager",),
        full=True,
        soaked=False,
    ),
)


def exact(buckets: Sequence[Profile]) -> Profiles:
    """An optimization profile for each bucket that holds nothing else."""
    return Profiles(
        tuple(sorted(buckets)),
        tuple(
            OptimizationProfile(Range(b.batch, b.batch, b.batch), Range(b.length, b.length, b.length)) for b in buckets
        ),
    )


def built(subject: Subject, backend: str, work: Path) -> list[Row]:
    """Builds the artifact of a subject unless it is there; what building it took, and its parity."""
    out, start = subject.folder(work, backend), time.perf_counter()
    profiles = exact([parse_profile(text) for text in subject.buckets])
    artifact = build_engine(
        subject.source(work), out, task=subject.task, backend=backend, precision="fp16", profiles=profiles
    )
    told = work / SECONDS
    seconds: dict[str, float] = json.loads(told.read_text()) if told.is_file() else {}
    if not artifact.reused:
        seconds[out.name] = time.perf_counter() - start
        told.write_text(json.dumps(seconds), encoding="utf-8")
    rows = [Row(subject.case("build", backend), "seconds", seconds[out.name], "s")] if out.name in seconds else []
    parity = subject.case("parity", backend)
    return [*rows, *(Row(parity, check.metric, check.value, "") for check in artifact.manifest.parity)]


def opened(folder: Path, *, graphs: bool = True) -> tuple[LoadedEngine, OnDevice]:
    """An artifact, and its engine with what it tells of its device."""
    loaded = open_engine(folder, graphs=graphs)
    return loaded, cast("OnDevice", loaded.engine)

"""The rows of one model: its engines timed with their peers, on real texts, in a soak, and by the profiler."""

import contextlib
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from chorus_texts import cosine_rows, pair_rows, read_texts
from interleave import Entrant, interleaved
from peers import onnx_runtime
from profiled import attach, launch_rows
from report import Row
from subjects import BACKENDS, SUBJECTS, OnDevice, Subject, opened

from millirank.commands.enginebench import timing_rows
from millirank_engines import Engine, ModelSpec, Profile, Task, Tensors, read_manifest
from millirank_engines.artifact import SEAL
from millirank_engines.build.bench import bench_engine, peak_of
from millirank_engines.build.parity import PARITY, read_cases
from millirank_engines.manifest import parse_profile

PEER_REPLAYS = 1000  # at most, as without graphs: an eager call takes milliseconds
PADDED = ("tflops", "of peak")  # what counts padded tokens, too, on which fused engines do not run
IN_A_ROW = ("p50", "p99", "p99.9", "p99/p50", "calls")
SOAKED = 64 * 64  # padded tokens of a bucket that is soaked, at most


@dataclass(frozen=True)
class Wanted:
    """What is asked for of every model."""

    work: Path
    backends: tuple[str, ...]
    peers: tuple[str, ...]
    replays: int
    seconds: float  # of one shape of one engine, at most
    soak: int
    variants: tuple[str, ...]
    catalog: Path | None
    judgments: Path | None

    def built(self, subject: Subject) -> tuple[str, ...]:
        """The backends whose build of a subject was finished."""
        return tuple(name for name in self.backends if (subject.folder(self.work, name) / SEAL).is_file())


def filled(feeds: Tensors, spec: ModelSpec) -> Tensors:
    """The feeds with random tokens, all valid, where there was padding."""
    ids, mask = feeds["input_ids"], feeds["attention_mask"]
    drawn = np.random.default_rng(0).integers(min(1000, spec.vocab_size // 2), spec.vocab_size, ids.shape, np.int32)
    return {**feeds, "input_ids": np.where(mask == 1, ids, drawn), "attention_mask": np.ones_like(mask)}


def feeds_of(subject: Subject, folder: Path, shapes: Sequence[Profile]) -> dict[Profile, Tensors]:
    """What every engine of a subject is timed with."""
    spec = read_manifest(folder).model
    cases = read_cases(folder / PARITY, shapes)
    return {case.profile: filled(case.feeds, spec) if subject.full else case.feeds for case in cases}


def peer_engine(peer: str, source: str, task: Task, profiles: Sequence[Profile]) -> Engine:
    """A peer, by its name in PEERS."""
    if peer == "onnxruntime":
        return onnx_runtime.OnnxRuntimeEngine(source, task, profiles)
    from peers.torch_bert import TorchEngine

    precision = "fp32" if peer.endswith("fp32") else "fp16"
    return TorchEngine(source, task, profiles, precision, compiled=peer == "torch-compile")


def timed_rows(subject: Subject, wanted: Wanted) -> Iterator[Row]:
    """All engines of a subject and its peers, in turns."""
    folder = subject.folder(wanted.work, wanted.built(subject)[0])
    manifest = read_manifest(folder)
    feeds = feeds_of(subject, folder, manifest.profiles)
    compared = {shape: feeds[shape] for shape in map(parse_profile, subject.compared)}
    with ExitStack() as closing:
        entrants = []
        for backend in wanted.built(subject):
            for how, graphs in ((BACKENDS[backend], True), *([("no graph", False)] if backend == "tensorrt" else [])):
                start = time.perf_counter()
                loaded, engine = opened(subject.folder(wanted.work, backend), graphs=graphs)
                closing.callback(engine.close)
                yield Row(
                    f"{subject.name}/{subject.task}/fp16/{how}", "load to ready", time.perf_counter() - start, "s"
                )
                entrants.append(Entrant(how, engine, feeds, wanted.replays if graphs else PEER_REPLAYS))
                if graphs and not subject.full:
                    full = {shape: filled(one, manifest.model) for shape, one in compared.items()}
                    entrants.append(Entrant(f"{how}, all valid", engine, full, PEER_REPLAYS))
        for peer in wanted.peers:
            if peer in subject.peers:
                print(f"{subject.name}: {peer}", flush=True)
                engine = peer_engine(peer, subject.source(wanted.work), subject.task, tuple(compared))
                closing.callback(engine.close)
                entrants.append(Entrant(peer, engine, compared, min(wanted.replays, PEER_REPLAYS)))
        print(f"{subject.name}: timing", flush=True)
        peak = peak_of(manifest.device.name, manifest.precision)
        ours = {*BACKENDS.values(), *(f"{how}, all valid" for how in BACKENDS.values()), "no graph"}
        for how, timing in interleaved(entrants, loaded.spec, seconds=wanted.seconds):
            case = f"{subject.name}/{subject.task}/{timing.profile}/fp16/{how}"
            for row in timing_rows(case, timing, peak if how in ours else None):
                if how != BACKENDS["fused"] or row.metric not in PADDED or subject.full:
                    yield row
        if subject.soaked:
            ours_alone = [one for one in entrants if one.how in BACKENDS.values()]
            yield from straight_rows(subject, ours_alone, loaded.spec, compared, wanted.replays)
    gc.collect()


def straight_rows(
    subject: Subject, entrants: Sequence[Entrant], spec: ModelSpec, feeds: Mapping[Profile, Tensors], replays: int
) -> Iterator[Row]:
    """Engines that run one shape over and over."""
    for entrant, (shape, one) in product(entrants, feeds.items()):
        (timing,) = bench_engine(entrant.engine, spec, {shape: one}, replays=replays)
        case = f"{subject.name}/{subject.task}/{shape}/fp16/{entrant.how}, in a row"
        yield from (row for row in timing_rows(case, timing, None) if row.metric in IN_A_ROW)


def device_rows(subject: Subject, backend: str, wanted: Wanted) -> Iterator[Row]:
    """What a graph consists of, what the engine holds, and whether a soak allocates anything."""
    from millirank_engines.cuda import open_cuda

    folder = subject.folder(wanted.work, backend)
    _, engine = opened(folder)
    with contextlib.closing(engine):
        for profile, nodes in engine.graph_nodes.items():
            case = f"{subject.name}/{profile}/launches/{BACKENDS[backend]}"
            yield Row(case, "kernel nodes", nodes.get("Kernel", 0), "")
        held = engine.memory
        for metric, size in (("activations", held.activations), ("pinned", held.pinned), ("runtime", held.runtime)):
            yield Row(subject.case("memory", backend), metric, size / 2**20, "MiB")
        if subject.soaked and wanted.soak:
            cuda, case = open_cuda(), subject.case("soak", backend)
            small = [profile for profile in engine.profiles if profile.tokens <= SOAKED]
            feeds = list(feeds_of(subject, folder, small).values())
            print(f"{case}: {wanted.soak} inferences", flush=True)
            yield from steady_rows(
                case, engine, [one for f in feeds for one in (f, filled(f, read_manifest(folder).model))]
            )
            yield from soaked(case, engine, feeds, cuda.free_memory, wanted.soak)


def steady_rows(case: str, engine: OnDevice, feeds: Sequence[Tensors], count: int = 2000) -> Iterator[Row]:
    """How many inferences of changing inputs, shapes by turns, give other bits than the first of the same input."""
    random = np.random.default_rng(0)
    first = [next(iter(engine.infer(one).values())) for one in feeds]
    differ = 0
    for place in random.integers(len(feeds), size=count):
        differ += not np.array_equal(next(iter(engine.infer(feeds[place]).values())), first[place])
    yield Row(case, "inferences by turns", count, "")
    yield Row(case, "of them unlike the first", differ, "")


def soaked(case: str, engine: OnDevice, feeds: Sequence[Tensors], free: Callable[[], int], count: int) -> Iterator[Row]:
    """Whether so many inferences take memory of the device."""
    for one in feeds:
        engine.infer(one)
    before = engine.memory.allocations, free()
    for turn in range(count):
        engine.infer(feeds[turn % len(feeds)])
    yield Row(case, "inferences", count, "")
    yield Row(case, "allocations by the runtime", engine.memory.allocations - before[0], "")
    yield Row(case, "device memory taken (cudaMemGetInfo)", before[1] - free(), "B")


def text_rows(subject: Subject, wanted: Wanted) -> Iterator[Row]:
    """Engines on real texts: pairs a second of a reranker, closeness to FP32 of an encoder."""
    if wanted.catalog is None or wanted.judgments is None or not subject.soaked:
        return
    with ExitStack() as closing:
        loaded = {}
        for backend in wanted.built(subject):
            loaded[backend], engine = opened(subject.folder(wanted.work, backend))
            closing.callback(engine.close)
        first = next(iter(loaded.values()))
        texts = read_texts(first, wanted.catalog, wanted.judgments)
        if subject.task == "rerank":
            for backend, one in loaded.items():
                yield from pair_rows(subject.case("real lengths", backend), one, texts)
            return
        source = subject.source(wanted.work)
        reference = peer_engine("torch-eager-fp32", source, subject.task, first.manifest.profiles)
        closing.callback(reference.close)
        cases = {f"{subject.name}/Chorus texts, {BACKENDS[name]}": one for name, one in loaded.items()}
        yield from cosine_rows(cases, reference, texts)


def profiled_rows(name: str, wanted: Wanted) -> list[Row]:
    """Kernels and launches of one inference of a subject, of our engines and of eager PyTorch, by the same profiler.

    For a process of its own: see apart.
    """
    attach()
    rows: list[Row] = []
    subject = next(one for one in SUBJECTS if one.name == name)
    folder = subject.folder(wanted.work, wanted.built(subject)[0])
    feeds = feeds_of(subject, folder, [parse_profile(text) for text in subject.compared])
    for backend in wanted.built(subject):
        _, engine = opened(subject.folder(wanted.work, backend))
        with contextlib.closing(engine):
            rows += launch_rows(name, BACKENDS[backend], engine, feeds)
    eager = peer_engine("torch-eager", subject.source(wanted.work), subject.task, tuple(feeds))
    with contextlib.closing(eager):
        rows += launch_rows(name, "torch-eager", eager, feeds)
    return rows

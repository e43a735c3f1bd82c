"""Builds engines for the GPU at hand, times them beside their peers in one run, and writes docs/benchmarks.

python loadtest/h100_engines.py --work DIR [--replays 10000] [--soak 100000] [--peers torch-eager,torch-compile,…]
    [--variants 'graph plain;level 5'] [--catalog products.jsonl --judgments judgments.csv] [--name h100-engines]

Engines that are built already in DIR are reused. Shapes have plans with an optimization profile each. Without
--catalog the throughput on real lengths is left out.
"""

import argparse
import contextlib
import csv
import gc
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from peers import onnx_runtime
from peers.bert_base import write_bert_base
from report import BENCHMARKS, Row, write

from millirank.commands.enginebench import bench_rows, timing_rows
from millirank.tokens import Tokenizer
from millirank_engines import Engine, EngineError, Profile, Task, open_engine, pack_pairs, read_manifest
from millirank_engines.build.backend import backend_of
from millirank_engines.build.bench import bench_engine
from millirank_engines.build.compile import build_engine
from millirank_engines.build.parity import PARITY, read_cases
from millirank_engines.build.profiles import OptimizationProfile, Profiles, Range
from millirank_engines.manifest import parse_profile
from millirank_engines.model import ENCODER, RERANKER

PEERS = ("torch-eager", "torch-eager-fp32", "torch-compile", "onnxruntime")
PEER_REPLAYS = 1000  # at most: an eager call takes milliseconds
LARGE, LARGE_SHARE = 64 * 64, 10  # padded tokens beyond which a bucket is replayed so many times less often
VARIANTS: dict[str, dict[str, object]] = {  # options of `millirank engine build`
    "graph plain": {"graph": "plain"},
    "graph half-norm": {"graph": "half-norm"},
    "graph joined-qkv": {"graph": "joined-qkv"},
    "graph half-norm,joined-qkv": {"graph": "half-norm,joined-qkv"},
    "level 5": {"level": 5},
    "no auxiliary streams": {"aux_streams": 0},
    "version-compatible": {"version_compatible": True},
}
PAIRS = 200_000  # of real lengths
NOTES = (
    "All in one run on one machine, buckets of an engine interleaved in random order, from host arrays to host",
    "arrays. `graph` replays a CUDA graph, `no graph` enqueues. Peers run the same weights, shapes and inputs.",
    "`tflops` counts the graph's own operations on padded tokens, `tflops valid` those on valid tokens, `tflops",
    "model` the published network's on valid tokens (a reranker's graph leaves out most of the last layer). Kernels",
    "of a graph are its kernel nodes (cudaGraphGetNodes), of PyTorch what torch.profiler saw on the device; launches",
    "are the host's calls. No result or embedding is cached.",
)


@dataclass(frozen=True)
class Subject:
    """A model and the shapes that it is measured at."""

    name: str
    source: Callable[[Path], str]  # from the work folder
    task: Task
    buckets: tuple[str, ...]
    compared: tuple[str, ...]  # with the peers, and between the variants


SUBJECTS = (
    Subject(
        "minilm-encoder",
        lambda _: ENCODER,
        "embed",
        ("1x16", "1x32", "8x16", "32x16"),
        ("1x16", "32x16"),
    ),
    Subject(
        "minilm-reranker",
        lambda _: RERANKER,
        "rerank",
        ("50x32", "50x40", "50x64", "256x40", "256x64", "512x32", "512x40", "1024x32"),
        ("50x32", "50x64", "512x32"),
    ),
    Subject(
        "bert-base-reranker",
        lambda work: str(write_bert_base(work / "bert-base")),
        "rerank",
        ("50x64", "512x64"),
        ("50x64",),
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


def variant_rows(subject: Subject, names: Sequence[str], work: Path, replays: int) -> Iterator[Row]:
    """What an option of the build gives: latency, kernels and the build's own time, at the compared shapes."""
    profiles = exact([parse_profile(text) for text in subject.compared])
    for name in names:
        out, start = work / "variants" / f"{subject.name}, {name}", time.perf_counter()
        backend = backend_of("tensorrt", VARIANTS[name])
        build_engine(subject.source(work), out, task=subject.task, backend=backend, precision="fp16", profiles=profiles)
        case = f"{subject.name} variants/{name}"
        yield Row(case, "build", time.perf_counter() - start, "s")
        with contextlib.closing(open_engine(out).engine) as engine:
            feeds = {one.profile: one.feeds for one in read_cases(out / PARITY, profiles.buckets)}
            for timing in bench_engine(engine, read_manifest(out).model, feeds, replays=replays):
                yield Row(case, f"{timing.profile} p50", 1e3 * timing.quantile(0.5), "ms")
                yield Row(case, f"{timing.profile} kernels", engine.graph_nodes[timing.profile].get("Kernel", 0), "")


def built(subject: Subject, work: Path) -> tuple[Path, list[Row]]:
    """The artifact of a subject, and what building it took."""
    out, start = work / subject.name, time.perf_counter()
    profiles = exact([parse_profile(text) for text in subject.buckets])
    artifact = build_engine(
        subject.source(work), out, task=subject.task, backend="tensorrt", precision="fp16", profiles=profiles
    )
    case = f"{subject.name}/build"
    rows = [] if artifact.reused else [Row(case, "seconds", time.perf_counter() - start, "s")]
    checks = artifact.manifest.parity
    return out, [*rows, *(Row(f"{subject.name}/parity", check.metric, check.value, "") for check in checks)]


def device_rows(name: str, folder: Path, soak: int) -> Iterator[Row]:
    """What a graph consists of, what the engine holds, and whether a soak allocates anything."""
    from millirank_engines.cuda import open_cuda
    from millirank_engines.tensorrt import TensorRtEngine

    loaded = open_engine(folder)
    engine, cuda = loaded.engine, open_cuda()
    if not isinstance(engine, TensorRtEngine):
        raise EngineError(f"{folder} is no TensorRT engine: build it with --backend tensorrt")
    for profile, nodes in engine.graph_nodes.items():
        case = f"{name}/{profile}/launches/graph"
        yield Row(case, "kernels", nodes.get("Kernel", 0), "")
        yield Row(case, "launches", 1, "")
    held = engine.memory
    for metric, size in (("activations", held.activations), ("pinned", held.pinned), ("runtime", held.runtime)):
        yield Row(f"{name}/memory", metric, size / 2**20, "MiB")
    feeds = [c.feeds for c in read_cases(folder / PARITY, loaded.manifest.profiles) if c.profile.tokens <= 50 * 64]
    for one in feeds:
        engine.infer(one)
    before = engine.memory.allocations, cuda.free_memory()
    for turn in range(soak):
        engine.infer(feeds[turn % len(feeds)])
    yield Row(f"{name}/soak", "inferences", soak, "")
    yield Row(f"{name}/soak", "allocations by TensorRT", engine.memory.allocations - before[0], "")
    yield Row(f"{name}/soak", "device memory taken (cudaMemGetInfo)", before[1] - cuda.free_memory(), "B")
    engine.close()


def peer_engine(peer: str, source: str, task: Task, profiles: Sequence[Profile]) -> Engine:
    """A peer, by its name in PEERS."""
    if peer == "onnxruntime":
        return onnx_runtime.OnnxRuntimeEngine(source, task, profiles)
    from peers.torch_bert import TorchEngine

    precision = "fp32" if peer.endswith("fp32") else "fp16"
    return TorchEngine(source, task, profiles, precision, compiled=peer == "torch-compile")


def peer_rows(subject: Subject, peer: str, folder: Path, work: Path, replays: int) -> Iterator[Row]:
    """A peer's figures at the shapes and with the inputs of the artifact."""
    manifest = read_manifest(folder)
    shapes = [parse_profile(text) for text in subject.compared]
    feeds = {case.profile: case.feeds for case in read_cases(folder / PARITY, shapes)}
    engine = peer_engine(peer, subject.source(work), subject.task, tuple(feeds))
    for timing in bench_engine(engine, manifest.model, feeds, replays=min(replays, PEER_REPLAYS)):
        yield from timing_rows(f"{subject.name}/{subject.task}/{timing.profile}/fp16/{peer}", timing, None)
    if hasattr(engine, "launches"):
        for profile, one in feeds.items():
            kernels, launches = engine.launches(one)
            yield Row(f"{subject.name}/{profile}/launches/{peer}", "kernels", kernels, "")
            yield Row(f"{subject.name}/{profile}/launches/{peer}", "launches", launches, "")
    engine.close()
    gc.collect()


def real_rows(name: str, folder: Path, catalog: Path, judgments: Path) -> Iterator[Row]:
    """Pairs a second on the lengths of real queries and products with the shipped template, sorted by length."""
    loaded = open_engine(folder)
    engine, spec = loaded.engine, loaded.spec
    tokens, template = Tokenizer(loaded.tokenizer, spec), spec.template
    with catalog.open(encoding="utf-8") as file:
        texts = [template.product_text(json.loads(line)) for line in file]
    products = [tokens.encode(text, template.product_tokens)[0] for text in texts]
    with judgments.open(encoding="utf-8", newline="") as file:
        asked = list(dict.fromkeys(row["query"] for row in csv.DictReader(file)))
    queries = [tokens.encode(template.query_text(query), template.query_tokens)[0] for query in asked]
    random = np.random.default_rng(7)
    pairs = [(queries[q], products[p]) for q, p in random.integers(0, (len(queries), len(products)), (PAIRS, 2))]
    pairs.sort(key=lambda pair: len(pair[0]) + len(pair[1]))
    plan = []
    while pairs:
        wide = [p for p in engine.profiles if p.length >= 3 + len(pairs[0][0]) + len(pairs[0][1])]
        profile = max((p for p in wide if p.length == min(w.length for w in wide)), key=lambda p: p.batch)
        fits = [q for q in pairs[: profile.batch] if 3 + len(q[0]) + len(q[1]) <= profile.length]
        plan.append((profile, pack_pairs([q for q, _ in fits], [p for _, p in fits], profile, spec)))
        pairs = pairs[len(fits) :]
    valid = sum(int(feeds["attention_mask"].sum()) for _, feeds in plan)
    start = time.perf_counter()
    for _, feeds in plan:
        engine.infer(feeds)
    seconds = time.perf_counter() - start
    case = f"{name}/real lengths"
    yield Row(case, "pairs", PAIRS / seconds, "1/s")
    yield Row(case, "tokens a pair", valid / PAIRS, "")
    yield Row(case, "padding", 100 * (1 - valid / sum(p.tokens for p, _ in plan)), "%")
    engine.close()


def speedups(rows: Sequence[Row], peers: Sequence[str]) -> Iterator[Row]:
    """How many times as fast as each peer, at the median."""
    medians: Mapping[str, float] = {row.case: row.value for row in rows if row.metric == "p50"}
    for case, ours in medians.items():
        shape, _, how = case.rpartition("/")
        for peer in peers if how == "graph" else ():
            if theirs := medians.get(f"{shape}/{peer}"):
                yield Row(case, f"against {peer}", theirs / ours, "x")
    kernels = {row.case: row.value for row in rows if row.metric == "kernels"}
    for case, count in kernels.items():
        shape, _, how = case.rpartition("/")
        if how == "graph" and (eager := kernels.get(f"{shape}/torch-eager")):
            yield Row(case, "fewer kernels than torch eager", 100 * (1 - count / eager), "%")


def subject_rows(subject: Subject, given: argparse.Namespace, peers: Sequence[str]) -> Iterator[Row]:
    """Everything about one model."""
    if "engines" in given.parts:
        print(f"{subject.name}: building", flush=True)
        folder, made = built(subject, given.work)
        yield from made
        print(f"{subject.name}: timing", flush=True)
        yield from engine_rows(subject, folder, given.replays)
        yield from device_rows(subject.name, folder, given.soak)
        if given.catalog and given.judgments and subject.name == "minilm-reranker":
            yield from real_rows(subject.name, folder, given.catalog, given.judgments)
        for peer in peers:
            print(f"{subject.name}: {peer}", flush=True)
            yield from peer_rows(subject, peer, folder, given.work, given.replays)
    if "variants" in given.parts:
        print(f"{subject.name}: variants", flush=True)
        yield from variant_rows(subject, given.variants.split(";"), given.work, given.replays // LARGE_SHARE)


def engine_rows(subject: Subject, folder: Path, replays: int) -> Iterator[Row]:
    """The figures of `millirank engine bench`, large buckets replayed less often."""
    manifest = read_manifest(folder)
    small = [profile for profile in manifest.profiles if profile.tokens <= LARGE]
    large = [profile for profile in manifest.profiles if profile.tokens > LARGE]
    for some, times in ((small, replays), (large, max(1, replays // LARGE_SHARE))):
        for row in bench_rows(folder, replays=times, profiles=some) if some else ():
            yield Row(row.case.replace(manifest.model.name, subject.name, 1), row.metric, row.value, row.unit)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="keeps the engines")
    parser.add_argument("--replays", type=int, default=10_000)
    parser.add_argument("--soak", type=int, default=100_000, help="inferences")
    parser.add_argument("--peers", default=",".join(PEERS), help="some of %(default)s, or nothing")
    parser.add_argument("--models", default=",".join(s.name for s in SUBJECTS), help="some of %(default)s")
    parser.add_argument("--parts", default="engines,variants", help="some of %(default)s")
    parser.add_argument("--variants", default=";".join(VARIANTS), help="some of %(default)s")
    parser.add_argument("--catalog", type=Path, help="products.jsonl, for real lengths")
    parser.add_argument("--judgments", type=Path, help="only its queries are used")
    parser.add_argument("--name", default="h100-engines")
    parser.add_argument("--out", type=Path, default=BENCHMARKS)
    given = parser.parse_args()
    peers = [peer for peer in given.peers.split(",") if peer]
    chosen = [subject for subject in SUBJECTS if subject.name in given.models.split(",")]
    if unknown := sorted(set(peers) - set(PEERS)):
        sys.exit(f"no peer is called {', '.join(unknown)}: choose from {', '.join(PEERS)}")
    if "onnxruntime" in peers and not onnx_runtime.available():
        print("onnxruntime has no CUDA provider here: left out", flush=True)
        peers.remove("onnxruntime")
    rows: list[Row] = []
    failed = []
    for subject in chosen:
        try:
            rows.extend(subject_rows(subject, given, peers))
        except Exception:  # noqa: BLE001 - the other models are worth having
            traceback.print_exc()
            failed.append(subject.name)
        write(given.name, "Engines on one GPU", NOTES, [*rows, *speedups(rows, peers)], given.out)  # what there is
    print(f"wrote {given.out / given.name}.json and .md", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; repeat with --models {','.join(failed)}")


if __name__ == "__main__":
    main()

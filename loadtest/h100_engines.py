"""Builds engines for the GPU at hand, times them beside their peers in one run, and writes docs/benchmarks.

python loadtest/h100_engines.py --work DIR [--backend tensorrt,fused] [--peers torch-eager,torch-compile,…]
    [--models …] [--parts build,engines,launches,variants] [--replays 10000] [--seconds 5] [--soak 100000]
    [--variants 'graph plain;level 5'] [--catalog products.jsonl --judgments judgments.csv] [--name h100-engines]

Engines that are built already in DIR are reused, so `--parts build` may go before. Each shape has an optimization
profile of its own. Without --catalog real texts are left out; launches and closeness to FP32 need PyTorch.
"""

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from buildvariants import VARIANTS, variant_rows
from enginerows import Wanted, device_rows, profiled_rows, text_rows, timed_rows
from options import parser_of, some_of
from peers import onnx_runtime
from profiled import apart
from report import Row, write
from subjects import BACKENDS, PEERS, SUBJECTS, Subject, built
from targets import ENGINES

COMPARED = ("p50", "tflops valid")
PARTS = ("build", "engines", "launches", "variants")
NOTES = (
    "All in one run on one machine, from host arrays to host arrays: a model's engines and its peers take turns, each",
    "with its shapes in random order. `graph` is TensorRT replaying a CUDA graph, `no graph` enqueues, `fused` are",
    "kernels of our own in a CUDA graph. Peers run the same weights, shapes and inputs. `tflops` counts the graph's",
    "own operations on padded tokens, `tflops valid` those on valid tokens (`fused` runs on no others, so its padded",
    "ones are left out), `tflops model` the published network's on valid tokens (a reranker's graph leaves out most of",
    "the last layer). MiniLM is all-MiniLM-L6-v2, as a reranker its six layers under a head that was drawn; BERT-base",
    "is drawn. All tokens of BERT-base's inputs are valid, of MiniLM's about four fifths, unless it says so.",
    "`kernels` are what PyTorch's profiler saw on the device for one inference, `launches` the host's calls, both for",
    "every system; `kernel nodes` are those of the captured graph. `in a row` replays one shape over and over, so that",
    "caches hold its weights; all else is by turns. No result or embedding is cached.",
)


def subject_rows(subject: Subject, part: str, wanted: Wanted) -> Iterator[Row]:
    """One part of everything about one model."""
    print(f"{subject.name}: {part}", flush=True)
    if part == "build":
        for backend in wanted.backends:
            yield from built(subject, backend, wanted.work)
    if part == "engines":
        yield from timed_rows(subject, wanted)
        yield from text_rows(subject, wanted)
        for backend in wanted.built(subject):
            yield from device_rows(subject, backend, wanted)
    if part == "launches":
        yield from apart(profiled_rows, subject.name, wanted)
    if part == "variants" and subject.soaked:
        yield from variant_rows(subject, wanted.variants, wanted.work, wanted.replays, wanted.seconds)


def speedups(rows: Sequence[Row], peers: Sequence[str]) -> Iterator[Row]:
    """How many times as fast as each peer, at the median, and how much fewer kernels and launches than eager."""
    medians: Mapping[str, float] = {row.case: row.value for row in rows if row.metric == "p50"}
    for case, ours in medians.items():
        shape, _, how = case.rpartition("/")
        for peer in peers if how in BACKENDS.values() else ():
            if theirs := medians.get(f"{shape}/{peer}"):
                yield Row(case, f"against {peer}", theirs / ours, "x")
    for metric in ("kernels", "launches"):
        counts = {row.case: row.value for row in rows if row.metric == metric}
        for case, count in counts.items():
            shape, _, how = case.rpartition("/")
            if how in BACKENDS.values() and (eager := counts.get(f"{shape}/torch-eager")):
                yield Row(case, f"fewer {metric} than torch eager", 100 * (1 - count / eager), "%")


def main() -> None:
    """The command line."""
    models = [subject.name for subject in SUBJECTS]
    parser = parser_of(__doc__, "h100-engines")
    parser.add_argument("--work", type=Path, required=True, help="keeps the engines")
    parser.add_argument("--backend", type=some_of(BACKENDS), default="tensorrt", help=f"some of {','.join(BACKENDS)}")
    parser.add_argument("--replays", type=int, default=10_000, help="of each shape, at most")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each shape of each engine, about, at most")
    parser.add_argument("--soak", type=int, default=100_000, help="inferences")
    parser.add_argument("--peers", type=some_of(PEERS), default=",".join(PEERS), help="some of %(default)s, or nothing")
    parser.add_argument("--models", type=some_of(models), default=",".join(models), help="some of %(default)s")
    parser.add_argument("--parts", type=some_of(PARTS), default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument(
        "--variants", type=some_of(VARIANTS, ";"), default=";".join(VARIANTS), help="some of %(default)s"
    )
    parser.add_argument("--catalog", type=Path, help="products.jsonl, for real texts")
    parser.add_argument("--judgments", type=Path, help="only its queries are used")
    given = parser.parse_args()
    peers = given.peers
    if "onnxruntime" in peers and not onnx_runtime.available():
        print("onnxruntime has no CUDA provider here: left out", flush=True)
        peers = tuple(peer for peer in peers if peer != "onnxruntime")
    wanted = Wanted(
        work=given.work,
        backends=given.backend,
        peers=peers,
        replays=given.replays,
        seconds=given.seconds,
        soak=given.soak,
        variants=given.variants,
        catalog=given.catalog,
        judgments=given.judgments,
    )
    given.work.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    failed = []
    for part in PARTS:
        for subject in (one for one in SUBJECTS if part in given.parts and one.name in given.models):
            try:
                rows.extend(subject_rows(subject, part, wanted))
            except Exception:  # noqa: BLE001 - the others are worth having
                traceback.print_exc()
                failed.append(f"{part} of {subject.name}")
            found = [*rows, *speedups(rows, peers)]
            write(given.name, "Engines on one GPU", NOTES, found, given.out, targets=ENGINES, compared=COMPARED)
    print(f"wrote {given.out / given.name}.json and .md", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; repeat with --parts and --models")


if __name__ == "__main__":
    main()

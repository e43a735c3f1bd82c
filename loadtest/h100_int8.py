"""INT8 on the GPU at hand beside FP16, FP32, FP8 and PyTorch: builds, times, writes docs/benchmarks/h100-int8.

python loadtest/h100_int8.py --work DIR --scales DIR [--engines DIR] [--only bert-base-reranker,minilm-reranker]
    [--parts auto,fp32,fp8] [--peers torch-eager-fp32] [--rounds 2000] [--level 3] [--limit 100] [--seconds 400]
    [--graph half-norm] [--name h100-int8] [--out DIR]

Each model has a process of its own, in which all engines are timed together, and each plan one in which it is built,
for --limit seconds at most; what TensorRT said last lies beside the page. What fails is built in simpler ways: a plan
for each shape, the builder's level 2, a simpler graph. DIR of --scales holds MODEL.safetensors, as `millirank engine
scales` writes them; a model without is calibrated by max over random tokens. DIR of --engines is the work folder of
h100_engines, whose FP16 is not built again. Plans and rows are kept in DIR of --work, so that what one call leaves
out, another adds.
"""

import json
import subprocess
import sys
import time
from argparse import ArgumentTypeError, Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_int8 import TORCH, Bench
from int8_plans import LEAST, Subject
from int8_shared import int8_parser
from options import some_of
from report import Row, write
from subjects import PEERS
from targets import INT8

from millirank_engines import EngineError
from millirank_engines.build.graph import PLAIN, Form
from millirank_engines.build.quantize.int8 import AUTO
from millirank_engines.build.tensorrt import FORM
from millirank_engines.model import ENCODER

PARTS = ("auto", "fp32", "fp8")  # besides FP16 and INT8
TIMED = {"bert-base-reranker": 45.0}  # seconds that timing takes, of which none is built in
TIMED_ELSE = 30.0
NOTES = (
    "All engines of a model in one process on one machine, in turns, shapes of each interleaved in random order, from",
    "host arrays to host arrays, medians. TensorRT replays CUDA graphs; each bucket has an optimization profile alone.",
    "`int8` and `fp8` are Q/DQ graphs, all else in them FP16; the list below says in which form each was built, and",
    "what was not. `auto` is the artifact that `--precision auto` seals, `choice` what it chose by; it was timed",
    "beside `fp16` after all the others. `torch-eager-fp32` is transformers' own BERT, without TF32. MiniLM has the",
    "encoder's real weights, as a reranker under a head that was drawn; those of BERT-base are random, so only its",
    "speed says anything, and all its tokens are valid. `parity` is against FP32, on texts of random words. `tflops",
    "valid` are the graph's own operations on valid tokens by the median, `tflops model` the published network's (a",
    "reranker's graph leaves out most of the last layer).",
)


BERT = "bert-base-reranker"
BATCHES, PAIRS, QUERIES = ("50x64", "128x64", "256x64", "512x64"), ("50x32", "50x64", "512x32"), ("1x16", "32x16")
SUBJECTS = (  # what the targets are about comes first
    Subject(BERT, "", "rerank", BATCHES, BATCHES, BATCHES),
    Subject("minilm-reranker", "", "rerank", PAIRS, PAIRS, PAIRS),
    Subject("minilm-encoder", ENCODER, "embed", QUERIES, QUERIES, QUERIES),
)


SELDOM = 2.0  # seconds between pages


def parts_of(subject: Subject, given: Namespace) -> None:
    """Measures one model; its rows are kept, and the page is written, as they come."""
    path, bench = given.work / f"{subject.name}.json", Bench(subject, given)
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    rows = {(row["case"], row["metric"]): row for row in before}
    written = 0.0

    def keep() -> None:
        kept = {"rows": list(rows.values()), "notes": bench.notes}
        path.write_text(json.dumps(kept), encoding="utf-8")
        page(given)

    for row in bench.rows():
        rows[row.case, row.metric] = vars(row)
        if time.monotonic() - written > SELDOM:
            keep()
            written = time.monotonic()
    keep()


def rounds(subjects: Sequence[Subject], parts: Sequence[str]) -> Iterator[tuple[Subject, list[str], float]]:
    """What is measured in turn: the subject, its parts, and its share of the time that is left."""
    first = [part for part in parts if part == AUTO]
    for place, subject in enumerate(subjects):
        wanted = [part for part in parts if part != "fp8"] if subject.name == BERT else first
        yield subject, wanted, 0.65 if place < len(subjects) - 1 else 1.0
    for subject in subjects:  # once more with what is less important; what was built is kept
        if set(parts) - {AUTO, "fp32"} or (subject.name != BERT and "fp32" in parts):
            yield subject, list(parts), 1.0


def form(text: str) -> Form:
    """The type of --graph."""
    try:
        return Form.parse(text)
    except EngineError as error:
        raise ArgumentTypeError(str(error)) from error


def main() -> None:
    """Measures every model in a process of its own, and writes what there is after each."""
    names = [subject.name for subject in SUBJECTS]
    parser = int8_parser(__doc__, "h100-int8", PARTS)
    parser.add_argument("--work", type=Path, required=True, help="keeps plans and rows")
    parser.add_argument("--only", type=some_of(names), default=",".join(names), help="some of %(default)s")
    parser.add_argument("--peers", type=some_of(PEERS), default=TORCH, help="some of h100_engines', or nothing")
    parser.add_argument("--rounds", type=int, default=2000, help="calls of each shape, at most")
    parser.add_argument("--seconds-a-shape", type=float, default=1.0, help="of timing an engine at a shape, about")
    parser.add_argument("--level", type=int, default=3, help="of the builder's search")
    parser.add_argument("--graph", type=form, default=FORM, help="its form, %(default)s if nothing is said")
    parser.add_argument("--limit", type=float, default=100, help="seconds that a plan may take")
    parser.add_argument("--seconds", type=float, default=400, help="of all")
    parser.add_argument("--least", type=int, default=40, help="calls of each shape, however long they take")
    parser.add_argument("--engines", type=Path, help="the work folder of h100_engines, for its FP16")
    parser.add_argument("--alone", action="store_true", help="measure in this process, and write no page")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    kept = given.work / "graph"
    if kept.is_file() and (other := kept.read_text(encoding="utf-8")) != str(given.graph):
        sys.exit(f"{given.work} holds what was built of graphs {other or PLAIN}: name another folder with --work")
    kept.write_text(str(given.graph), encoding="utf-8")
    chosen = [subject for subject in SUBJECTS if subject.name in given.only]
    if given.alone:
        for subject in chosen:
            parts_of(subject, given)
        return
    end, failed, seen = time.monotonic() + given.seconds, [], set[str]()
    for subject, parts, share in rounds(chosen, given.parts):
        reserve = TIMED.get(subject.name, TIMED_ELSE)
        left = share * (end - time.monotonic()) - reserve
        if subject.name in seen and left < 2 * LEAST:
            print(f"{subject.name}: no time is left for {', '.join(parts)}", flush=True)
            continue
        more = ["--only", subject.name, "--parts", ",".join(parts), "--seconds", f"{max(0.0, left):.0f}", "--alone"]
        print(f"{subject.name}, {', '.join(parts)}: {left:.0f} s left to build in", flush=True)
        whole = max(LEAST, end - time.monotonic())
        try:
            ended = subprocess.run([sys.executable, *sys.argv, *more], check=False, timeout=whole)  # noqa: S603 - ours
        except subprocess.TimeoutExpired:
            print(f"{subject.name}: ended after {whole:.0f} s; the page has what it had measured", flush=True)
            failed += [subject.name] * (subject.name not in seen)
            break
        if ended.returncode:
            failed.append(subject.name)
        seen.add(subject.name)
    page(given)
    print(f"wrote {given.out / given.name}.json and .md", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; repeat with --only {','.join(failed)}")


def page(given: Namespace) -> None:
    """Writes the rows that lie in the work folder, of this call and of earlier ones."""
    rows: list[Row] = []
    notes: list[str] = []
    for subject in SUBJECTS:
        path = given.work / f"{subject.name}.json"
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            rows += [Row(**row) for row in kept["rows"]]
            notes += kept["notes"]
    lines = [*NOTES, "", f"- graphs: {given.graph}", *(f"- {note}" for note in notes)]
    write(given.name, "INT8 on one GPU", lines, rows, given.out, targets=INT8)


if __name__ == "__main__":
    main()

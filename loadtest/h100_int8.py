"""INT8 on the GPU at hand beside FP16, FP32, FP8 and PyTorch: builds, times, writes docs/benchmarks/h100-int8.

python loadtest/h100_int8.py --work DIR --scales DIR [--only bert-base-reranker,minilm-reranker] [--parts auto,fp32,fp8]
    [--peers torch-eager-fp32] [--rounds 2000] [--level 3] [--seconds 400] [--name h100-int8] [--out DIR]

Each model has a process of its own, in which all engines are timed together. DIR of --scales holds MODEL.safetensors,
as `millirank engine scales` writes them; a model without is calibrated by max over random tokens. Plans and rows are
kept in DIR of --work, so that what one call leaves out, another adds. After --seconds nothing more is built.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from gpu_int8 import TORCH, Bench, Subject
from report import BENCHMARKS, Row, write

from millirank_engines.model import ENCODER, RERANKER

PARTS = ("auto", "fp32", "fp8")  # auto makes FP16 and INT8
NOTES = (
    "All engines of a model in one process on one machine, in turns, shapes of each interleaved in random order, from",
    "host arrays to host arrays, medians. TensorRT replays CUDA graphs; each bucket has an optimization profile alone.",
    "`int8` and `fp8` are Q/DQ graphs, all else in them FP16. `auto` is the artifact that `--precision auto` seals,",
    "`choice` what it chose by. `torch-eager-fp32` is transformers' own BERT, without TF32. MiniLM has its real",
    "weights; those of BERT-base are random, so only its speed says anything; all of its tokens are valid. `parity`",
    "is against FP32, on texts of random words.",
)


SUBJECTS = (  # what the targets are about comes first
    Subject("bert-base-reranker", "", "rerank", ("50x64", "256x64", "512x64"), ("50x64",), ("50x64", "512x64")),
    Subject("minilm-reranker", RERANKER, "rerank", ("50x32", "50x64", "512x32"), ("50x64",), ("50x64", "512x32")),
    Subject("minilm-encoder", ENCODER, "embed", ("1x16", "32x16"), ("32x16",), ("32x16",)),
)


BERT, AT = "bert-base-reranker", "50x64"
FASTER_THAN_TORCH, FASTER_THAN_FP16 = 3.8, 1.3  # what INT8 on BERT-base is to reach


def reached(rows: Sequence[Row]) -> Iterator[str]:
    """What was to be shown, and what the rows show of it."""
    faster: dict[str, dict[str, float]] = {}  # by case: times as fast as whom
    for row in rows:
        if row.metric.startswith("against "):
            faster.setdefault(row.case, {})[row.metric.removeprefix("against ")] = row.value
    torch = faster.get(f"{BERT}/rerank/{AT}/int8", {}).get(TORCH)
    yield _line(f"BERT-base INT8 at {AT}, times as fast as torch FP32 eager", FASTER_THAN_TORCH, torch)
    half = {c: by["fp16"] for c, by in faster.items() if c.startswith(BERT) and c.endswith("/int8") and "fp16" in by}
    best = max(half, key=lambda case: half[case], default=f"{BERT}/rerank/any/int8")
    what = f"BERT-base INT8 at its best batch ({best.split('/')[2]}), times as fast as TensorRT FP16"
    yield _line(what, FASTER_THAN_FP16, half.get(best))
    slower = [row.value for row in rows if row.metric == "chosen / fp16"]
    if slower:
        verdict = "reached" if max(slower) <= 1 else "NOT reached"
        int8 = sum(row.value for row in rows if row.metric == "runs in INT8")
        yield (
            f"- `auto` never slower than FP16 at any profile: {verdict} by the times that it chose by, at worst "
            f"{max(slower):.3g} of FP16's; {int8:.0f} of {len(slower)} profiles run in INT8."
        )
    again = [1 / by["fp16"] for case, by in faster.items() if case.endswith("/auto") and "fp16" in by]
    if again:
        yield f"- `auto` timed again beside FP16: at worst {max(again):.3g} of its time; FP16 chosen is the same plan."


def _line(what: str, target: float, value: float | None) -> str:
    if value is None:
        return f"- {what}: target {target}, not measured."
    return f"- {what}: target {target}, measured {value:.3g}: {'reached' if value >= target else 'NOT reached'}."


def parts_of(subject: Subject, given: argparse.Namespace) -> None:
    """Measures one model and keeps its rows."""
    bench = Bench(subject, given)
    rows = list(bench.rows())
    kept = {"rows": [vars(row) for row in rows], "notes": bench.notes}
    (given.work / f"{subject.name}.json").write_text(json.dumps(kept), encoding="utf-8")


def main() -> None:
    """Measures every model in a process of its own, and writes what there is after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="keeps plans and rows")
    parser.add_argument("--scales", type=Path, help="a folder of MODEL.safetensors")
    parser.add_argument("--only", default=",".join(s.name for s in SUBJECTS), help="some of %(default)s")
    parser.add_argument("--parts", default=",".join(PARTS), help="some of %(default)s")
    parser.add_argument("--peers", default=TORCH, help="some of h100_engines', or nothing")
    parser.add_argument("--rounds", type=int, default=2000, help="calls of each shape, at most")
    parser.add_argument("--seconds-a-shape", type=float, default=1.0, help="of timing an engine at a shape, about")
    parser.add_argument("--level", type=int, default=3, help="of the builder's search")
    parser.add_argument("--seconds", type=float, default=400, help="after which nothing more is built")
    parser.add_argument("--name", default="h100-int8")
    parser.add_argument("--out", type=Path, default=BENCHMARKS)
    parser.add_argument("--alone", action="store_true", help="measure in this process, and write no page")
    given = parser.parse_args()
    names = given.only.split(",")
    given.parts, given.peers = given.parts.split(","), [peer for peer in given.peers.split(",") if peer]
    given.work.mkdir(parents=True, exist_ok=True)
    chosen = [subject for subject in SUBJECTS if subject.name in names]
    if unknown := sorted({*names} - {s.name for s in SUBJECTS}) + sorted({*given.parts} - {*PARTS}):
        known = ", ".join([*(s.name for s in SUBJECTS), *PARTS])
        sys.exit(f"{', '.join(unknown)} is unknown: name some of {known}")
    if given.alone:
        for subject in chosen:
            parts_of(subject, given)
        return
    end, failed = time.monotonic() + given.seconds, []
    for subject in chosen:
        left = max(0.0, end - time.monotonic())
        command = [sys.executable, *sys.argv, "--only", subject.name, "--seconds", f"{left:.0f}", "--alone"]
        print(f"{subject.name}: {left:.0f} s left to build in", flush=True)
        if subprocess.run(command, check=False).returncode:  # noqa: S603 - our own arguments
            failed.append(subject.name)
        page(given)
    print(f"wrote {given.out / given.name}.json and .md", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; repeat with --only {','.join(failed)}")


def page(given: argparse.Namespace) -> None:
    """Writes the rows that lie in the work folder, of this call and of earlier ones."""
    rows: list[Row] = []
    notes: list[str] = []
    for subject in SUBJECTS:
        path = given.work / f"{subject.name}.json"
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
            rows += [Row(**row) for row in kept["rows"]]
            notes += kept["notes"]
    lines = [*reached(rows), "", *NOTES, *(f"- {note}" for note in notes)]
    write(given.name, "INT8 on one GPU", lines, rows, given.out)


if __name__ == "__main__":
    main()

"""The page of INT8 on a processor that multiplies it in hardware: of one run, or of several."""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from int8_shared import beside, written_whole
from report import Row, write
from targets import Target

from millirank.loadtest.results import published, read_rows, result
from millirank_engines.build.quantize.bits import multiplies_int8
from millirank_engines.build.quantize.gate import LIMITS
from millirank_engines.device import this_cpu

FROM = ("machine", "commit", "date")  # of a result
TITLE = "INT8 on a CPU with VNNI"
PARTS = ("times", "choice", "gate", "path")
FASTER = (("rerank", "10x32", 2.7), ("rerank", "50x32", 2.7), ("embed", "1x8", 1.4))  # INT8 than FP32, as issue 6 asks
HELD = (
    "- targets of time are held to the best of the runs, those of what is lost to the worst, which the case names; the "
    "table of p50 has the last"
)
TARGETS = (
    *(
        Target(
            f"{task} {shape}, INT8 over FP32, p50",
            rf"minilm-\w+/{task}/{shape}/openvino(, run \d)?/(?P<by>int8)",
            "against fp32",
            bound,
            "x",
            least=True,
        )
        for task, shape, bound in FASTER
    ),
    *(
        Target(
            f"{model}, {name} lost on Chorus",
            rf"minilm-{model}/gate, (?P<by>int8)(, run \d)?/{name}",
            "lost",
            LIMITS[name],
            each=True,
        )
        for model, name in (
            *(("encoder", name) for name in ("top1", "ndcg@10", "cosine_p1", "recall@100")),
            *(("reranker", name) for name in ("top1", "ndcg@10", "kendall_tau")),
        )
    ),
)
NOTES = (
    "The shipped models with their scales in OpenVINO, all precisions in one process on the same cores, in ten turns,",
    "shapes at random, from host arrays to host arrays. Shapes of the first table have static models, which the path",
    "has for small ones alone; `as served` has them as the path does: there a change of shape costs a dynamic model",
    "about 1.2 ms. `int8` is what a build makes: between products FP32; `int8, rest bf16` has BF16 there, which is",
    "OpenVINO's default on such a processor. `choice of auto` is what `millirank index` does where INT8 may pay, by",
    "its own clock. `gate` asks known-item and judged queries of Chorus, INT8 as this processor multiplies it; top1",
    "and recall@100 in percent. `path` is that of judged queries, text to ranked products, gRPC left out, no limit.",
)


def keep(given: argparse.Namespace, name: str, found: Sequence[Row | str], used: Sequence[int]) -> None:
    """Writes what one part has found so far, then the page of all parts."""
    notes = [line for line in found if isinstance(line, str)]
    notes.append(f"{name} ran on {len(used)} processors of {os.cpu_count()}: {', '.join(map(str, used))}")
    kept = {"rows": [vars(row) for row in found if isinstance(row, Row)], "notes": notes}
    written_whole(given.work / "rows" / f"{name}.json", json.dumps(kept))
    about = {key: value for key, value in result(()).items() if key != "rows"}
    about["command"] = published(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    written_whole(given.work / "run.json", json.dumps(about))
    has = "multiplies" if multiplies_int8(this_cpu()) else "does NOT multiply"
    line = f"this processor {has} INT8 in hardware; its instruction sets: {', '.join(this_cpu().features)}"
    written_whole(given.work / "processor.txt", line)
    page(given, (given.work,))


def page(given: argparse.Namespace, folders: Sequence[Path]) -> None:
    """Writes the rows that lie in the work folders, of this call and of others; several folders are several runs."""
    rows: list[Row] = []
    lines, about = [*NOTES, ""], dict[str, str]()
    for run, folder in enumerate(folders, 1):
        about = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        notes = [(folder / "processor.txt").read_text(encoding="utf-8"), *beside(folder)]
        for path in [path for part in PARTS for path in sorted((folder / "rows").glob(f"{part}*.json"))]:
            kept = json.loads(path.read_text(encoding="utf-8"))
            rows += [_of_run(Row(**row), run if len(folders) > 1 else 0) for row in kept["rows"]]
            notes += kept["notes"]
        if len(folders) > 1:
            told = f"run {run}: {about['date']}, commit {about['commit']}, {about['machine']}"
            notes = [told, _command(run, about), *(f"run {run}: {note}" for note in notes)]
        lines += [f"- {note}" for note in dict.fromkeys(notes)]
    about = {key: about[key] for key in FROM}
    write(given.name, TITLE, lines, rows, given.out, targets=TARGETS, compared=("p50",), about=about)


def joined(given: argparse.Namespace) -> None:
    """Writes the rows of several results of this command as one page; what notes they had is read from their pages.

    Args:
        given: its option `run` has the results, NAME.json beside NAME.md, and `renamed` what a run called otherwise, as
            NUMBER:OLD=NEW.
    """
    rows: list[Row] = []
    lines, about = [*NOTES, ""], dict[str, str]()
    for run, path in enumerate(given.run, 1):
        names = dict(_renaming(text) for text in given.renamed if text.startswith(f"{run}:"))
        whole = json.loads(path.read_text(encoding="utf-8"))
        about = {key: value for key, value in whole.items() if key in FROM}
        lines.append(f"- run {run}: {about['date']}, commit {about['commit']}, {about['machine']}")
        lines.append(f"- {_command(run, whole)}")
        lines += [f"- run {run}: {note}" for note in _notes_of(path.with_suffix(".md"))]
        for row in read_rows(path):
            case = "/".join(_renamed(part, names) for part in row.case.split("/"))
            rows.append(_of_run(replace(row, case=case, metric=_renamed(row.metric, names)), run))
    if len(given.run) > 1:
        lines.append(HELD)
    write(given.name, TITLE, lines, rows, given.out, targets=TARGETS, compared=("p50",), about=about)


def _command(run: int, about: Mapping[str, str]) -> str:
    """What a run was called with, as a note."""
    return f"run {run}: `{about['command']}`"


def _renaming(text: str) -> tuple[str, str]:
    old, separator, new = text.partition(":")[2].partition("=")
    if not (old and separator and new):
        sys.exit(f"{text!r} renames nothing: write NUMBER:OLD=NEW")
    return old, new


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """A precision, alone or as what a gate or a choice is of."""
    head, word, last = next((text.partition(word) for word in (", ", " of ") if word in text), ("", "", text))
    if text in names:
        return names[text]
    return f"{head}{word}{names.get(last, last)}"


def _notes_of(page: Path) -> list[str]:
    """The list before the tables of a page."""
    lines = page.read_text(encoding="utf-8").splitlines() if page.is_file() else []
    first = [line.removeprefix("- ") for line in lines if line.startswith(("- ", "|"))]
    return first[: next((at for at, line in enumerate(first) if line.startswith(("|", "machine: "))), len(first))]


def _of_run(row: Row, run: int) -> Row:
    section, _, last = row.case.rpartition("/")
    return replace(row, case=f"{section}, run {run}/{last}") if run else row

"""Benchmark results: one JSON file of rows, and the page made from it."""

import json
import os
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from targets import Target, overview, table

from millirank.loadtest.results import Row, published, result
from millirank.loadtest.summary import quantile

if TYPE_CHECKING:
    from millirank.evaluation import Comparison

BENCHMARKS = Path(__file__).parent.parent / "docs" / "benchmarks"


def percentiles(case: str, seconds: Sequence[float]) -> list[Row]:
    """p50 and p99 of measured times."""
    return [Row(case, name, 1e3 * quantile(seconds, q), "ms") for name, q in (("p50", 0.5), ("p99", 0.99))]


def paired_rows(case: str, metric: str, found: "Comparison") -> Iterator[Row]:
    """How much better one order is than another, with its 95 % interval and p."""
    yield Row(case, metric, found.difference, "")
    yield Row(case, f"{metric} low", found.interval[0], "")
    yield Row(case, f"{metric} high", found.interval[1], "")
    yield Row(case, f"{metric} p", found.p, "")


def show(rows: Iterable[Row]) -> None:
    """Prints rows, one a line."""
    for row in rows:
        print(f"{row.case:55} {row.metric:7} {row.value:9.3f} {row.unit}")


def write(
    name: str,
    title: str,
    notes: Iterable[str],
    rows: Sequence[Row],
    out: Path = BENCHMARKS,
    shown: Collection[str] | None = None,
    targets: Sequence[Target] = (),
    compared: Sequence[str] = (),
    about: Mapping[str, str] | None = None,
) -> None:
    """Writes NAME.json and the page NAME.md beside it.

    Args:
        name: of both files.
        title: of the page.
        notes: lines of Markdown below it.
        rows: all that was measured.
        out: the folder.
        shown: the metrics that the page shows; None means all.
        targets: that a table at the page's head holds the rows to.
        compared: metrics that have a table of their own there, a line a shape and a column a system.
        about: machine, commit and date of rows that were measured elsewhere.
    """
    command = published(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    found = result(rows) | {"command": command} | dict(about or {})
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    head = [*notes, *table(targets, rows), *(line for metric in compared for line in overview(rows, metric))]
    rows = [row for row in rows if shown is None or row.metric in shown]
    (out / f"{name}.md").write_text(page(title, head, found, rows), encoding="utf-8")


def page(title: str, notes: Iterable[str], result: dict[str, object], rows: Sequence[Row]) -> str:
    """The result as Markdown: a table for each first part of a case, a column for each metric."""
    lines = [f"# {title}", "", *notes, ""]
    lines += [
        f"- {key}: {f'`{result[key]}`' if key == 'command' else result[key]}"
        for key in ("machine", "commit", "date", "command")
    ]
    sections: dict[str, list[Row]] = {}
    for row in rows:
        sections.setdefault(row.case.rpartition("/")[0] or row.case, []).append(row)
    for section, members in sections.items():
        metrics = list(dict.fromkeys(_column(row) for row in members))
        cases: dict[str, dict[str, float]] = {}
        for row in members:
            cases.setdefault(row.case.rpartition("/")[2], {})[_column(row)] = row.value
        lines += ["", f"## {section}", "", f"| case | {' | '.join(metrics)} |", "|---" * (len(metrics) + 1) + "|"]
        for case, values in cases.items():
            cells = [f"{values[metric]:.4g}" if metric in values else "" for metric in metrics]
            lines.append(f"| {case} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _column(row: Row) -> str:
    return f"{row.metric} ({row.unit})" if row.unit else row.metric

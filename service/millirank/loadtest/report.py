"""The report of a load test: one HTML file that needs nothing else, and its rows as JSON."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from .plots import svg
from .results import Row

STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 76em; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto }
td, th { border: 1px solid #ccc; padding: .2em .6em; text-align: right; white-space: nowrap }
td:first-child, th:first-child { text-align: left } svg { max-width: 100%; height: auto } dt { font-weight: bold }
"""
COLUMNS = (
    "offered", "answered", "first p50", "first p99", "final p50", "final p95", "final p99", "final p99.9",
    "final p99-p95", "depth mean", "depth min", "degraded", "refused", "errors", "client lag p99", "server cpu",
    "server memory",
)  # fmt: skip
READ = (
    "Latencies are of answered queries, from the time at which each should have been sent: a server or a client that "
    "falls behind cannot hide it. Client lag is how late the client itself was; where it is large, the client was the "
    "bottleneck. Refused is RESOURCE_EXHAUSTED, errors every other status than OK. ghz counts from the begin of a call."
)


def write(
    out: Path, found: Mapping[str, Any], others: Mapping[str, Sequence[Row]], *, label: str, bound_ms: float
) -> None:
    """Writes report.json and report.html.

    Args:
        out: the folder, made if it is missing.
        found: what results.result() made.
        others: rows of earlier runs to lay over, by their labels.
        label: of this run.
        bound_ms: the promised latency in milliseconds, drawn as a line.

    Raises:
        BackendUnavailable: without matplotlib.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    runs = {label: [Row(**row) for row in found["rows"]], **others}
    (out / "report.html").write_text(page(found, runs, bound_ms), encoding="utf-8")


def page(found: Mapping[str, Any], runs: Mapping[str, Sequence[Row]], bound_ms: float) -> str:
    """The HTML of a report."""
    origin = "".join(
        f"<dt>{key}</dt><dd>{escape(str(found[key]))}</dd>" for key in ("machine", "commit", "date", "command")
    )
    tables = "".join(f"<h2>{escape(label)}</h2>{table(rows)}{others(rows)}" for label, rows in runs.items())
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>millirank under load</title>'
        f"<style>{STYLE}</style></head><body><h1>millirank under load</h1><p>{escape(READ)}</p>"
        f"<dl>{origin}</dl>{svg(runs, bound_ms)}{tables}</body></html>\n"
    )


def table(rows: Sequence[Row]) -> str:
    """A line a case, a column for each of COLUMNS that any case has."""
    cases = _by_case(rows)
    columns = [name for name in COLUMNS if any(name in one for one in cases.values())]
    units = {row.metric: row.unit for row in rows}
    head = "".join(f"<th>{escape(name)}<br>{escape(units[name])}</th>" for name in columns)
    lines = "".join(
        f"<tr><td>{escape(case)}</td>"
        + "".join(f"<td>{f'{one[name]:.4g}' if name in one else ''}</td>" for name in columns)
        + "</tr>"
        for case, one in cases.items()
    )
    return f"<table><tr><th>load</th>{head}</tr>{lines}</table>"


def others(rows: Sequence[Row]) -> str:
    """What has no column: statuses, reasons, the server's own figures."""
    lines = "".join(
        f"<tr><td>{escape(row.case)}</td><td>{escape(row.metric)}</td><td>{row.value:.4g} {escape(row.unit)}</td></tr>"
        for row in rows
        if row.metric not in COLUMNS
    )
    return f"<details><summary>all other figures</summary><table>{lines}</table></details>"


def _by_case(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    cases: dict[str, dict[str, float]] = {}
    for row in rows:
        cases.setdefault(row.case, {})[row.metric] = row.value
    return cases

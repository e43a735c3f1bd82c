"""Benchmark results: one JSON file of rows, and the page made from it."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

BENCHMARKS = Path(__file__).parent.parent / "docs" / "benchmarks"


@dataclass(frozen=True)
class Row:
    """One measured figure."""

    case: str  # such as minilm-l6/rerank/50x32/bf16
    metric: str  # such as p50
    value: float
    unit: str


def percentiles(case: str, seconds: Sequence[float], unit: str = "ms", scale: float = 1e3) -> list[Row]:
    """p50 and p99 of measured times (nearest rank)."""
    ordered = sorted(seconds)
    at = {"p50": 0.50, "p99": 0.99}
    return [
        Row(case, name, scale * ordered[min(len(ordered) - 1, int(q * len(ordered)))], unit) for name, q in at.items()
    ]


def machine() -> str:
    """Processor, cores and system of this machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores, {name}, {platform.system()}, Python {platform.python_version()}"


def commit() -> str:
    """The commit that was measured, with a + where files were changed."""
    git = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    done = subprocess.run(git, capture_output=True, text=True, check=False, cwd=BENCHMARKS.parent)  # noqa: S603
    return done.stdout.strip() or "unknown"


def write(name: str, title: str, notes: Iterable[str], rows: Sequence[Row], out: Path = BENCHMARKS) -> None:
    """Writes NAME.json and the page NAME.md beside it."""
    command = "python " + " ".join([os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    result = {
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": command,
        "rows": [asdict(row) for row in rows],
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(page(title, notes, result, rows), encoding="utf-8")


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

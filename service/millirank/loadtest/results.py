"""Results of a measurement as this project keeps them: machine, commit, date, command and rows of figures."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from millirank.errors import ConfigError
from millirank_engines.gpu import this_gpu


@dataclass(frozen=True)
class Row:
    """One measured figure."""

    case: str  # such as minilm-l6/rerank/50x32/bf16
    metric: str  # such as p50
    value: float
    unit: str


def machine() -> str:
    """Processor, cores and system of this machine, and the GPU of this process if it has one."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    gpu = this_gpu()
    card = f", {gpu.name}, driver {gpu.driver}" if gpu else ""
    return f"{os.cpu_count()} cores, {name}, {platform.system()}, Python {platform.python_version()}{card}"


def commit() -> str:
    """The commit of this code, with a + where files were changed; unknown outside of a checkout."""
    git = ["git", "describe", "--always", "--dirty=+", "--abbrev=12"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)  # noqa: S603
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def published(words: Sequence[str]) -> str:
    """A command line as it can be published: absolute paths without the folders of this machine."""
    return shlex.join([_bare(word) for word in words])


def _bare(word: str) -> str:
    """A word without the folders of an absolute path in it, also of NAME=PATH."""
    name, equals, path = word.partition("=")
    if not name.startswith("/") and equals and Path(path).is_absolute():
        return f"{name}={Path(path).name}"
    return Path(word).name if Path(word).is_absolute() else word


def result(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows with where they come from, ready for json.dumps."""
    return {
        "machine": machine(),
        "commit": commit(),
        "date": datetime.now(UTC).date().isoformat(),
        "command": published(sys.argv),
        "rows": [asdict(row) for row in rows],
    }


def read_rows(path: Path) -> list[Row]:
    """The rows of a result.

    Raises:
        ConfigError: if the file is none.
    """
    try:
        return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        fix = "name a report.json that `millirank loadtest` wrote"
        raise ConfigError(f"{path} is no result of a load test ({error}): {fix}") from error

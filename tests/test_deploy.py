import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from models import Tiny, write_model

from millirank_engines import open_engine, read_manifest
from millirank_engines.gpu import this_gpu

SCRIPT = Path(__file__).parents[1] / "deploy" / "build-engines"
COMMAND = """#!/bin/sh
exec "{python}" -m millirank "$@"
"""


def run(folder: Path, backend: str) -> "subprocess.CompletedProcess[str]":
    """Runs the script with tiny models and the command of this checkout."""
    command = folder / "bin" / "millirank"
    if not command.exists():
        for task in ("embed", "rerank"):
            write_model(folder / task, Tiny(task=task))  # type: ignore[arg-type]
        command.parent.mkdir()
        command.write_text(COMMAND.format(python=sys.executable))
        command.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(sys.path),
        "OPTIONS": "--profiles 1x24",
        "VERIFY_SECONDS": "0",
    }
    words = [str(SCRIPT), "out", backend, "embed", "rerank"]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_pipeline_builds_verifies_and_packs_what_can_be_served(tmp_path: Path) -> None:
    for told in ("built out/encoder", "nothing was built"):
        done = run(tmp_path, "openvino")
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
    packed = sorted((tmp_path / "out" / "packed").iterdir())
    keys = [read_manifest(tmp_path / "out" / name).key[:16] for name in ("encoder", "reranker")]
    assert [path.name for path in packed] == [f"encoder-{keys[0]}.tar", f"reranker-{keys[1]}.tar"]
    for path, name in zip(packed, ("encoder", "reranker"), strict=True):
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "served", filter="data")
        open_engine(tmp_path / "served" / name).engine.close()


def test_what_cannot_be_verified_is_rejected_and_not_packed(tmp_path: Path) -> None:
    if this_gpu() is not None:
        pytest.skip("this machine may verify what it builds for TensorRT-RTX")
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX has no wheel for this platform")
    done = run(tmp_path, "tensorrt-rtx")
    assert done.returncode == 1
    assert "no NVIDIA GPU is usable here" in done.stderr
    assert "encoder is rejected: see out/rejected/encoder" in done.stderr
    assert not read_manifest(tmp_path / "out" / "rejected" / "encoder").verified
    assert not (tmp_path / "out" / "encoder").exists()
    assert list((tmp_path / "out" / "packed").iterdir()) == []


def test_the_script_says_how_it_is_used() -> None:
    done = subprocess.run([str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: build-engines OUT BACKEND" in done.stdout

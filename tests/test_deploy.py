import os
import subprocess
import sys
import tarfile
from pathlib import Path

from models import Tiny, write_model

from millirank_engines import open_engine, read_manifest

SCRIPT = Path(__file__).parents[1] / "deploy" / "build-engines"
COMMAND = """#!/bin/sh
exec "{python}" -m millirank "$@"
"""


def test_the_pipeline_builds_verifies_and_packs_what_can_be_served(tmp_path: Path) -> None:
    for task in ("embed", "rerank"):
        write_model(tmp_path / task, Tiny(task=task))  # type: ignore[arg-type]
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "millirank"
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(sys.path),
        "OPTIONS": "--profiles 1x24 --precision fp32",
        "VERIFY_SECONDS": "0",
    }
    words = [str(SCRIPT), "out", "openvino", "embed", "rerank"]
    for told in ("built out/encoder", "nothing was built"):
        done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
    packed = sorted((tmp_path / "out" / "packed").iterdir())
    keys = [read_manifest(tmp_path / "out" / name).key[:16] for name in ("encoder", "reranker")]
    assert [path.name for path in packed] == [f"encoder-{keys[0]}.tar", f"reranker-{keys[1]}.tar"]
    for path, name in zip(packed, ("encoder", "reranker"), strict=True):
        with tarfile.open(path) as tar:
            tar.extractall(tmp_path / "served", filter="data")
        open_engine(tmp_path / "served" / name).engine.close()


def test_the_script_says_how_it_is_used() -> None:
    done = subprocess.run([str(SCRIPT)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: build-engines OUT BACKEND" in done.stdout

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from models import Tiny, write_model
from typer.testing import CliRunner

from millirank.commands.engine import app
from millirank_engines import BackendUnavailable, Check, EngineError, open_engine, read_manifest
from millirank_engines.build import compile as building
from millirank_engines.build import tensorrt
from millirank_engines.build.compile import ParityFailed, build_engine

PROFILES = "1x8,2x16"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "shop-encoder", Tiny())


@pytest.fixture
def built(source: Path, tmp_path: Path) -> Path:
    assert "built" in run(
        "build", "--model", source, "--task", "embed", "--out", tmp_path / "e", "--profiles", PROFILES
    )
    return tmp_path / "e"


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def state(folder: Path) -> dict[str, tuple[int, int]]:
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in [folder, *folder.iterdir()]}


def again(source: Path, out: Path, *more: object) -> str:
    return run("build", "--model", source, "--task", "embed", "--out", out, "--profiles", PROFILES, *more)


def test_a_second_build_does_nothing_and_says_so(source: Path, built: Path) -> None:
    before = state(built)
    assert "nothing was built" in again(source, built)
    assert "nothing was built" in again(source, built, "--precision", read_manifest(built).precision)
    assert state(built) == before


def test_what_matters_is_built_again(source: Path, built: Path) -> None:
    key = read_manifest(built).key
    assert "nothing was built" not in again(source, built, "--force")
    assert read_manifest(built).key == key
    run("build", "--model", source, "--task", "embed", "--out", built, "--profiles", "1x8")
    assert read_manifest(built).key != key
    assert [str(p) for p in read_manifest(built).profiles] == ["1x8"]
    assert [p.name for p in built.parent.iterdir()] == [built.name]


def test_a_changed_input_is_another_key(built: Path, tmp_path: Path) -> None:
    other = write_model(tmp_path / "source" / "shop-encoder", Tiny(seed=1))
    key = read_manifest(built).key
    assert "nothing was built" not in again(other, built)
    assert read_manifest(built).key != key


def test_a_damaged_artifact_is_built_again(source: Path, built: Path) -> None:
    (built / "model.bin").write_bytes(b"")
    assert "nothing was built" not in again(source, built)
    assert open_engine(built).engine.profiles


def test_verify_holds_the_artifact_to_its_reference(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = run("verify", built, "--seconds", "0.01")
    assert "cosine_p1" in output
    assert "2x16" in output
    from millirank_engines.build import verify

    monkeypatch.setattr(verify, "parity", lambda *_: (Check("cosine_p1", 0.5, 0.999, at_least=True),))
    assert "FAILED" in run("verify", built, "--seconds", "0.01", code=1)


def test_inspect_shows_what_it_was_made_of(source: Path, built: Path) -> None:
    output = run("inspect", built)
    for word in ("shop-encoder", "1x8 2x16", "openvino", "cosine_p1", "model.bin", "model.safetensors", str(source)):
        assert word in output


def test_an_engine_outside_its_tolerance_is_not_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(building, "parity", lambda *_: (Check("max_abs_error", 0.3, 1e-4),))
    with pytest.raises(ParityFailed, match=r"max_abs_error 0\.3 \(≤ 0\.0001\) FAILED.*--precision fp32"):
        build_engine(str(source), tmp_path / "e", task="embed", profiles=())
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from millirank_engines.build.compile import build_engine
def progress(line):
    if line == "sealing":
        os.kill(os.getpid(), signal.SIGKILL)
build_engine(sys.argv[1], Path(sys.argv[2]), task="embed", force=True, progress=progress)
"""


def test_a_killed_build_leaves_the_old_artifact(source: Path, built: Path) -> None:
    before = state(built)
    killed = subprocess.run([sys.executable, "-c", KILLED, source, built], check=False, capture_output=True)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(built.parent.iterdir())) == 2  # and what the dead build left
    assert state(built) == before
    assert open_engine(built).engine.profiles
    again(source, built, "--force")
    assert [p.name for p in built.parent.iterdir()] == [built.name]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"backend": "abacus"}, BackendUnavailable, "--backend openvino, tensorrt, tensorrt-rtx or fused"),
        ({"level": 5}, EngineError, "--level is for TensorRT: leave it out, or build with --backend tensorrt"),
        ({"profiles": "none.toml"}, EngineError, "give a profiles.toml to --profiles"),
        ({"precision": "int4"}, EngineError, "choose auto, bf16, fp16, fp32, int8 with --precision"),
        ({"profiles": "1x8,8"}, EngineError, "'8' is no profile"),
        ({"profiles": "1x999"}, EngineError, "leave out 1x999"),
        ({"model": os.devnull}, EngineError, os.devnull),
    ],
)
def test_what_cannot_be_built_is_refused_with_its_fix(
    source: Path, tmp_path: Path, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    chosen = {"model": source, "task": "embed", "out": tmp_path / "e", **options}
    with pytest.raises(error, match=message):
        run("build", *(word for name, value in chosen.items() for word in (f"--{name}", value)))
    assert list(tmp_path.iterdir()) == []


def test_tensorrt_without_a_gpu_is_refused_with_what_builds_here(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt, "this_gpu", lambda: None)
    with pytest.raises(BackendUnavailable, match=r"an NVIDIA GPU.*--backend tensorrt-rtx, or use --backend openvino"):
        again(source, tmp_path / "e", "--backend", "tensorrt")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_profiles_says_what_serves(source: Path, tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    file.write_text('[embed]\nbuckets = ["3x8"]\n')
    run("build", "--model", source, "--task", "embed", "--out", tmp_path / "e", "--profiles", file)
    manifest = read_manifest(tmp_path / "e")
    assert [str(p) for p in manifest.profiles] == ["3x8"]
    assert f"--profiles {file}" in manifest.command


def test_a_folder_of_other_things_is_not_replaced(source: Path, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").touch()
    with pytest.raises(EngineError, match="choose another --out"):
        again(source, tmp_path)
    assert (tmp_path / "cat.jpg").exists()

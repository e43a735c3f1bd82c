import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from millirank_engines import BackendUnavailable, EngineError, Profile
from millirank_engines.build import tensorrt
from millirank_engines.build.profiles import profiles_around
from millirank_engines.gpu import Gpu
from millirank_engines.trtmodule import trt_logger, trt_module

H100 = Gpu("NVIDIA H100 80GB HBM3", "none", (9, 0), "13.0", "580.65.06")
NAMES = ("tensorrt", "tensorrt_bindings", "tensorrt_lean", "tensorrt_lean_libs", "tensorrt_lean_bindings")


@pytest.fixture
def uncached() -> Any:
    trt_module.cache_clear()
    yield
    trt_module.cache_clear()


@pytest.mark.usefixtures("uncached")
@pytest.mark.parametrize(
    "there", [("tensorrt",), ("tensorrt_bindings",), ("tensorrt_lean_libs", "tensorrt_lean_bindings")]
)
def test_the_first_name_that_can_be_imported_is_the_module(
    there: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = {name: SimpleNamespace(name=name) for name in there}
    for name in NAMES:
        monkeypatch.setitem(sys.modules, name, modules.get(name))  # None: it is not installed
    assert trt_module("tensorrt") is modules[there[-1]]


@pytest.mark.usefixtures("uncached")
def test_a_missing_module_is_refused_with_the_command_and_what_each_import_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in NAMES:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'millirank\[tensorrt\]' .*tensorrt_bindings: "):
        trt_module("tensorrt")
    with pytest.raises(BackendUnavailable, match="choose one of tensorrt, tensorrt-rtx"):
        trt_module("abacus")


def test_errors_wait_until_they_are_taken() -> None:
    pytest.importorskip("tensorrt_rtx_bindings", reason="TensorRT-RTX has no wheel for this platform")
    trt, logger = trt_module("tensorrt-rtx"), trt_logger("tensorrt-rtx")
    assert trt_logger("tensorrt-rtx") is logger
    logger.taken()
    for severity, message in (
        (trt.ILogger.ERROR, "one"),
        (trt.ILogger.WARNING, "two"),
        (trt.ILogger.INTERNAL_ERROR, "3"),
    ):
        logger.log(severity, message)
    assert logger.taken() == ["one", "3"]
    assert logger.taken() == []


# A build on a GPU, up to where TensorRT would begin


def h100(monkeypatch: pytest.MonkeyPatch, version: str = "10.6.0", **options: object) -> tensorrt.TensorRt:
    monkeypatch.setattr(tensorrt, "trt_module", lambda _: SimpleNamespace(__version__=version))
    monkeypatch.setattr(tensorrt, "this_gpu", lambda: H100)
    return tensorrt.tensorrt_from("tensorrt", options)


def test_a_plan_is_bound_to_its_gpu_and_release(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = h100(monkeypatch)
    assert backend.baseline == {
        "cuda": ">=12.4,<14",
        "driver": ">=550,<600",
        "tensorrt": "10.6.0",
        "gpu": H100.name,
        "mig": "none",
    }
    assert (backend.device.kind, backend.device.name, backend.device.features) == ("gpu", H100.name, ("sm_90",))
    assert backend.versions == {"tensorrt": "10.6.0", "driver": "580.65.06", "cuda": "13.0"}
    assert h100(monkeypatch, version_compatible=True).baseline["tensorrt"] == ">=10.6.0,<12"


def test_another_version_or_capabilities_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        EngineError, match=r"baseline h100 of .*tensorrt is 10\.15\.1, not 10\.6.*extend .*baseline\.toml"
    ):
        h100(monkeypatch, "10.15.1")
    with pytest.raises(EngineError, match="--compute-capability is for --backend tensorrt-rtx"):
        h100(monkeypatch, compute_capability="8.9")


def test_options_that_differ_from_the_default_are_part_of_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert h100(monkeypatch).arguments() == []
    other = h100(monkeypatch, workspace=2.0, level=5, aux_streams=0, graph="joined-qkv", version_compatible=True)
    assert other.arguments() == [
        *("--workspace", "2", "--level", "5", "--aux-streams", "0", "--graph", "joined-qkv"),
        "--version-compatible",
    ]
    assert h100(monkeypatch, graph="plain").arguments() == ["--graph", "plain"]


def test_timings_lie_beside_the_artifacts_of_a_gpu_and_a_version(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    backend, asked = h100(monkeypatch), {}

    def build(*_: object, **options: object) -> bytes:
        asked.update(options)
        return b"plan"

    monkeypatch.setattr(tensorrt, "plan_from_onnx", build)
    (tmp_path / "building").mkdir()
    around = profiles_around([Profile(1, 8)])
    source: Any = SimpleNamespace(folder=tmp_path)
    backend.compile(source, tmp_path / "building", around, tmp_path / "engines" / "encoder", print)
    cache = asked["timing_cache"]
    assert isinstance(cache, Path)
    assert cache.parent == tmp_path / "engines"
    assert cache.name.startswith(".NVIDIA-H100-80GB-HBM3-")
    assert cache.name.endswith("-tensorrt-10.6.0.timing.cache")
    assert (tmp_path / "building" / "model.plan").read_bytes() == b"plan"

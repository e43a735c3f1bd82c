import ctypes
from pathlib import Path
from typing import Any

import pytest

from millirank_engines.base import EngineError
from millirank_engines.baseline import KEYS, NAME, misfits, pinned, read_baselines, readings, within
from millirank_engines.files import project_file
from millirank_engines.gpu import CUDA, NVML, Gpu, read_gpu

H100 = Gpu("NVIDIA H100 80GB HBM3", "none", (9, 0), "13.0", "580.65.06")
ENTRY = """
[[baseline]]
name = "lab"
backend = "tensorrt"
tensorrt = "10.6"
cuda = ">=12.4,<14"
driver = ">=550,<600"
gpu = ["NVIDIA H100 80GB HBM3", "NVIDIA H200"]
mig = "none"
"""


class Driver:
    """The driver's libraries, as far as they are read; calls that are told to fail return an error."""

    def __init__(
        self, name: str = H100.name, *, driver: str = H100.driver, failing: str = "", missing: tuple[str, ...] = ()
    ) -> None:
        self.name, self.driver, self.failing, self.missing = name, driver, failing, missing

    def __call__(self, library: str) -> "Driver":
        if library in self.missing:
            raise OSError(library)
        return self

    def __getattr__(self, call: str) -> Any:
        def answer(*arguments: Any) -> int:
            if call == self.failing:
                return 100
            match call:
                case "cuDriverGetVersion":
                    arguments[0]._obj.value = 13000
                case "cuDeviceGetName":
                    arguments[0].value = self.name.encode()
                case "cuDeviceGetAttribute":
                    arguments[0]._obj.value = {75: 9, 76: 0}[arguments[1]]
                case "nvmlSystemGetDriverVersion":
                    arguments[0].value = self.driver.encode()
            return 0

        return answer


def lab(tmp_path: Path, text: str = ENTRY) -> Path:
    file = tmp_path / NAME
    file.write_text(text, "utf-8")
    return file


@pytest.mark.parametrize(
    ("declared", "read", "fits"),
    [
        (">=550,<600", "580.65.06", True),
        (">=550,<600", "600.1", False),
        (">=550,<600", "550", True),
        (">=550,<600", "535.104", False),
        (">=12.4,<14", "13.0", True),
        (">=10.6.0,<12", "11.2.0.5", True),
        (">10,<=11", "11.0", True),
        ("10.6", "10.6.0.26", True),
        ("10.6", "10.60.0", False),
        ("10.6", "10.6", True),
        ("none", "none", True),
        ("none", "1g.10gb", False),
        ("1g.10gb|none", "1g.10gb", True),
        ("sm_86|sm_89", "sm_89", True),
        ("sm_86|sm_89", "sm_90", False),
        ("NVIDIA H100", "NVIDIA H100 PCIe", False),
        ("*", "", True),
        (">=550", "", False),
    ],
)
def test_what_is_declared_holds_what_is_read(declared: str, read: str, *, fits: bool) -> None:
    assert within(declared, read) is fits


def test_a_difference_names_both_sides() -> None:
    declared = {"cuda": ">=12.4,<14", "driver": ">=550,<600", "tensorrt": "10.6", "gpu": H100.name, "mig": "none"}
    here = readings("tensorrt", "10.6.0", H100)
    assert misfits(declared, here) == ()
    older = {**here, "driver": "535.1", "mig": "1g.10gb"}
    assert misfits(declared, older) == ("driver is 535.1, not >=550,<600", "mig is 1g.10gb, not none")
    assert misfits(declared, {"tensorrt": ""}) == ("tensorrt is unknown, not 10.6",)


def test_a_build_is_pinned_to_what_was_declared_and_read(tmp_path: Path) -> None:
    file = lab(tmp_path)
    pin = pinned(file, read_baselines(file), "tensorrt", readings("tensorrt", "10.6.0.26", H100))
    assert pin == {
        "cuda": ">=12.4,<14",
        "driver": ">=550,<600",
        "tensorrt": "10.6.0.26",
        "gpu": H100.name,
        "mig": "none",
    }


def test_a_machine_outside_the_baseline_is_refused_with_the_file_to_extend(tmp_path: Path) -> None:
    file = lab(tmp_path, ENTRY + ENTRY.replace("lab", "old").replace("10.6", "8.6").replace("H100 80GB HBM3", "T4"))
    here = readings("tensorrt", "10.15.1", H100)
    with pytest.raises(EngineError) as refused:
        pinned(file, read_baselines(file), "tensorrt", here)
    for word in ("baseline lab of", str(file), "tensorrt is 10.15.1, not 10.6", f"extend {file}", "--baseline"):
        assert word in str(refused.value)
    with pytest.raises(EngineError, match=r"no entry for tensorrt-rtx: add a \[\[baseline\]\].*tensorrt = 1\.7"):
        pinned(file, read_baselines(file), "tensorrt-rtx", {"tensorrt": "1.7"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "is no baseline"),
        ("x = 1", "is no baseline"),
        ("baseline = 3", "is no baseline"),
        (ENTRY.replace("mig", "mg"), "the entry lab .* mg, mig; use exactly backend, cuda"),
        (ENTRY + "extra = 1\n", "extra"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        read_baselines(lab(tmp_path, text))
    with pytest.raises(EngineError, match=r"cannot be read.*--baseline"):
        read_baselines(tmp_path / "missing.toml")


def test_the_repositorys_own_baseline_holds_what_was_measured() -> None:
    file = project_file(NAME)
    entries = read_baselines(file)
    assert all(set(entry.values) == set(KEYS) for entry in entries)
    assert pinned(file, entries, "tensorrt", readings("tensorrt", "10.6.0", H100))["gpu"] == H100.name
    assert pinned(file, entries, "tensorrt-rtx", {"tensorrt": "1.7.1.116", "gpu": "sm_89"})["mig"] == "*"


def test_the_gpu_is_read_from_its_driver(tmp_path: Path) -> None:
    assert read_gpu(Driver(), tmp_path / "version") == H100
    sliced = read_gpu(Driver("NVIDIA H100 80GB HBM3 MIG 1g.10gb"), tmp_path / "version")
    assert sliced is not None
    assert (sliced.name, sliced.mig) == (H100.name, "1g.10gb")
    assert H100.device("x86_64").features == ("sm_90",)


@pytest.mark.parametrize("driver", [Driver(missing=(NVML,)), Driver(failing="nvmlInit_v2"), Driver(driver="")])
def test_without_nvml_the_kernel_tells_the_driver(tmp_path: Path, driver: Driver) -> None:
    kernel = tmp_path / "version"
    assert getattr(read_gpu(driver, kernel), "driver", None) == ""
    kernel.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\nGCC version: 12.3.0\n")
    assert getattr(read_gpu(driver, kernel), "driver", None) == "550.54.15"


@pytest.mark.parametrize("driver", [Driver(missing=(CUDA,)), Driver(failing="cuInit"), Driver(failing="cuDeviceGet")])
def test_no_gpu_is_none(tmp_path: Path, driver: Driver) -> None:
    assert read_gpu(driver, tmp_path) is None


def test_the_library_of_the_driver_is_opened_by_its_name() -> None:
    try:
        ctypes.CDLL(CUDA)
    except OSError:
        assert read_gpu() is None
    else:
        found = read_gpu()
        assert found is None or found.capability >= (5, 0)

"""What the first GPU of this process is, and its driver, read from the driver's own libraries.

libcuda.so.1 comes with the driver, sees the device as CUDA does (CUDA_VISIBLE_DEVICES, a MIG slice) and is there
wherever an engine can run. It does not tell the driver's version, which NVML does; containers may leave NVML out, but
the kernel then still tells it in /proc. No context is made, so no device memory is taken.
"""

import ctypes
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .device import Device

CUDA, NVML = "libcuda.so.1", "libnvidia-ml.so.1"
NO_MIG = "none"  # of a GPU that is not sliced
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
_KERNEL_MODULE = Path("/proc/driver/nvidia/version")
_SLICE = re.compile(r"^(?P<gpu>.+?) MIG (?P<slice>\S+)$")  # NVIDIA H100 80GB HBM3 MIG 1g.10gb
_VERSION = re.compile(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b")

Library = Callable[[str], Any]


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG slice of one, with its driver."""

    name: str  # such as NVIDIA H100 80GB HBM3, without what says which slice of it
    mig: str  # the slice's profile, such as 1g.10gb, or none
    capability: tuple[int, int]  # compute capability
    cuda: str  # the latest CUDA that the driver runs, such as 13.0
    driver: str  # such as 580.65.06; empty where nothing tells it

    @property
    def feature(self) -> str:
        """The compute capability as compilers write it, such as sm_90."""
        return sm(self.capability)

    def device(self, machine: str) -> Device:
        """The device of an artifact that was built for it."""
        return Device("gpu", machine, self.name, (self.feature,))


def sm(capability: tuple[int, int]) -> str:
    """A compute capability as compilers write it, such as sm_90."""
    return "sm_{}{}".format(*capability)


def any_gpu(capabilities: Iterable[tuple[int, int]], machine: str) -> Device:
    """The device of an artifact that was built for GPUs which are elsewhere."""
    targets = tuple(map(sm, capabilities))
    return Device("gpu", machine, f"any GPU of {', '.join(targets)}", targets)


def read_gpu(library: Library = ctypes.CDLL, kernel_module: Path = _KERNEL_MODULE) -> Gpu | None:
    """Reads the first GPU that this process may use; None if there is none.

    Args:
        library: opens a shared library by name, OSError if there is none of that name.
        kernel_module: where the kernel tells its driver's version.
    """
    try:
        cuda = library(CUDA)
    except OSError:
        return None
    device, number, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(256)
    major, minor = ctypes.c_int(), ctypes.c_int()
    calls: tuple[Callable[[], int], ...] = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDriverGetVersion(ctypes.byref(number)),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), 0),
        lambda: cuda.cuDeviceGetName(name, len(name), device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device),
    )
    if any(call() for call in calls):  # in this order, until one fails
        return None
    full = name.value.decode()
    sliced = _SLICE.match(full)
    return Gpu(
        name=sliced["gpu"] if sliced else full,
        mig=sliced["slice"] if sliced else NO_MIG,
        capability=(major.value, minor.value),
        cuda=f"{number.value // 1000}.{number.value % 1000 // 10}",
        driver=_nvml_driver(library) or _kernel_driver(kernel_module),
    )


def _nvml_driver(library: Library) -> str:
    text = ctypes.create_string_buffer(96)
    try:
        nvml = library(NVML)
    except OSError:
        return ""
    if nvml.nvmlInit_v2():
        return ""
    failed = nvml.nvmlSystemGetDriverVersion(text, len(text))
    nvml.nvmlShutdown()
    return "" if failed else text.value.decode()


def _kernel_driver(path: Path) -> str:
    try:
        found = _VERSION.search(path.read_text(encoding="ascii", errors="replace"))
    except OSError:
        return ""
    return found[1] if found else ""


@cache
def this_gpu() -> Gpu | None:
    """The first GPU that this process may use, read once; None if there is none."""
    return read_gpu()

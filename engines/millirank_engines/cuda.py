"""The few CUDA calls that a GPU engine makes: a seam narrow enough for a stand-in on machines without a GPU.

EngineError
├── EngineFailed
│   └── CudaError     a call failed, the device still answers
└── DeviceLost        the error is sticky: every later call of this process would fail, too

Addresses and handles are plain integers, as TensorRT takes them. One process uses one device, the first that it sees
(CUDA_VISIBLE_DEVICES says which), through its primary context, which all engines and libraries of the process share.
"""

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .base import BackendUnavailable, DeviceLost, EngineFailed

Wait = Literal["spin", "block"]


class CudaError(EngineFailed):
    """A CUDA call that failed, by the name that CUDA gives the error, such as cudaErrorMemoryAllocation."""

    def __init__(self, call: str, name: str, text: str) -> None:
        super().__init__(f"{call} failed with {name} ({text}): {_FIXES.get(name, _FIX)}")
        self.name = name


_FIX = "look at `nvidia-smi` and the kernel's log"
_FIXES = {
    "cudaErrorMemoryAllocation": "free memory on this GPU, or build engines with fewer or smaller profiles",
    "cudaErrorInsufficientDriver": "install an NVIDIA driver that is as new as this CUDA",
    "cudaErrorNoDevice": "run where `nvidia-smi -L` lists a GPU, or use engines for the CPU",
    "cudaErrorInvalidKernelImage": "rebuild the engine on this GPU, or install a newer NVIDIA driver",
    "cudaErrorNoKernelImageForDevice": "rebuild the engine on this GPU",
    "cudaErrorStreamCaptureUnsupported": "build the engine anew: it synchronizes within an inference",
}


STICKY = frozenset(
    "cudaError" + name
    for name in (
        "Assert",
        "Contained",
        "ContextIsDestroyed",
        "ECCUncorrectable",
        "ExternalDevice",
        "HardwareStackError",
        "IllegalAddress",
        "IllegalInstruction",
        "InvalidAddressSpace",
        "InvalidPc",
        "LaunchFailure",
        "LaunchTimeout",
        "MisalignedAddress",
        "MpsClientTerminated",
        "MpsRpcFailure",
        "NvlinkUncorrectable",
        "TensorMemoryLeak",
        "Unknown",  # what calls say after a device has fallen off its bus
    )
)


def error_from(call: str, name: str, text: str) -> CudaError | DeviceLost:
    """The exception for an error that a call has returned, by the name and text that CUDA gives it."""
    if name in STICKY:
        return DeviceLost(f"{call} found the GPU lost with {name} ({text}): this process must end and start anew")
    return CudaError(call, name, text)


@dataclass(frozen=True)
class Properties:
    """A device as CUDA's runtime describes it."""

    name: str  # NVIDIA H100 80GB HBM3
    uuid: str  # in hex, as nvidia-smi writes it after GPU- or MIG-
    capability: tuple[int, int]  # major and minor
    processors: int  # streaming multiprocessors
    memory: int  # bytes
    driver: int  # the newest CUDA that the driver knows: 1000 x major + 10 x minor


class Cuda(Protocol):
    """What an engine asks of its device; every call may raise CudaError or DeviceLost."""

    def properties(self) -> Properties:
        """The device that this process uses."""

    def free_memory(self) -> int:
        """Bytes of device memory that nobody has, as cudaMemGetInfo counts them."""

    def allocate(self, size: int) -> int:
        """The address of that many bytes on the device, aligned to 256."""

    def free(self, address: int) -> None:
        """Gives device memory back."""

    def allocate_pinned(self, size: int) -> int:
        """The address of that many bytes of page-locked host memory, which kernels reach at the same address."""

    def free_pinned(self, address: int) -> None:
        """Gives page-locked memory back."""

    def stream(self, *, urgent: bool) -> int:
        """A stream that never waits for the default one; an urgent one's kernels go first."""

    def destroy_stream(self, stream: int) -> None:
        """Ends a stream."""

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        """Lets the stream copy bytes from pinned host memory to the device."""

    def load_module(self, code: bytes) -> int:
        """The module of a kernel's machine code."""

    def unload_module(self, module: int) -> None:
        """Frees a module."""

    def kernel(self, module: int, symbol: str, shared: int) -> int:
        """A kernel of a module, allowed that many bytes of shared memory a block."""

    def launch_kernel(
        self,
        kernel: int,
        grid: tuple[int, int, int],
        threads: int,
        shared: int,
        addresses: tuple[int, ...],
        stream: int,
    ) -> None:
        """Lets the stream run a kernel whose arguments are addresses."""

    def begin_capture(self, stream: int) -> None:
        """From now on this thread's work on the stream is recorded, not done."""

    def end_capture(self, stream: int) -> int:
        """The graph of what was recorded."""

    def node_kinds(self, graph: int) -> Mapping[str, int]:
        """How many nodes of each kind a graph has: Kernel, Memcpy, Memset or another."""

    def instantiate(self, graph: int) -> int:
        """An executable graph."""

    def launch(self, executable: int, stream: int) -> None:
        """Lets the stream run an executable graph."""

    def destroy_graph(self, graph: int) -> None:
        """Frees a graph; its executable stays."""

    def destroy_executable(self, executable: int) -> None:
        """Frees an executable graph."""

    def synchronize(self, stream: int) -> None:
        """Waits until the stream has done everything, without the GIL; raises what went wrong there."""


def host_array(address: int, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Host memory at an address as an array; whoever allocated it keeps it alive."""
    kind = np.dtype(dtype)
    count = int(np.prod(shape))
    raw = (ctypes.c_byte * (count * kind.itemsize)).from_address(address)
    return np.ndarray(shape, kind, memoryview(raw))


@cache
def open_cuda(wait: Wait = "spin") -> Cuda:
    """The device of this process.

    Raises:
        BackendUnavailable: without cuda-python 12.9.1 or later, which is the first to wait without the GIL.
        CudaError: without a device or a driver that is new enough.
    """
    from .cudapython import CudaPython

    try:
        from cuda.bindings import driver, runtime
        from cuda.bindings.utils import get_cuda_native_handle
    except ImportError as error:
        fix = "pip install 'cuda-python>=12.9.1', which the extras tensorrt, tensorrt-rtx and fused bring along"
        raise BackendUnavailable("CUDA", fix) from error
    return CudaPython(runtime, driver, get_cuda_native_handle, wait)

from dataclasses import dataclass
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from millirank_engines import BackendUnavailable, DeviceLost, EngineFailed
from millirank_engines.cuda import CudaError, host_array, open_cuda
from millirank_engines.cudapython import CudaPython
from millirank_engines.fakecuda import FakeCuda


class cudaError_t(IntEnum):  # noqa: N801 - as cuda-python spells it
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorIllegalAddress = 700  # noqa: N815
    cudaErrorUnknown = 999  # noqa: N815


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_ECC_UNCORRECTABLE = 214
    CUDA_ERROR_INVALID_IMAGE = 200
    CUDA_ERROR_ILLEGAL_ADDRESS = 700


class Node(IntEnum):
    cudaGraphNodeTypeKernel = 0  # noqa: N815
    cudaGraphNodeTypeMemcpy = 1  # noqa: N815


@dataclass(frozen=True)
class Handle:
    """A stream or graph as cuda-python gives it: no number."""

    value: int

    def number(self) -> int:
        return self.value


class Bindings:
    """The functions of cuda.bindings.runtime that are used: what they were called with, and what they return."""

    cudaError_t = cudaError_t  # noqa: N815
    CUresult = CUresult
    CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES=8)
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815
    cudaDeviceScheduleSpin, cudaDeviceScheduleBlockingSync = 1, 4  # noqa: N815
    cudaHostAllocDefault, cudaStreamNonBlocking = 0, 1  # noqa: N815

    def __init__(self) -> None:
        self.called: list[tuple[str, tuple[Any, ...]]] = []
        self.errors: dict[str, cudaError_t | CUresult] = {}
        uuid = SimpleNamespace(bytes=bytes(range(16)))
        properties = SimpleNamespace(
            name=b"NVIDIA H100\0\0", uuid=uuid, major=9, minor=0, multiProcessorCount=132, totalGlobalMem=80
        )
        self.values: dict[str, tuple[Any, ...]] = {
            "cudaDeviceGetStreamPriorityRange": (0, -5),
            "cudaGetDevice": (0,),
            "cudaGetDeviceProperties": (properties,),
            "cudaDriverGetVersion": (13000,),
            "cudaMemGetInfo": (7, 80),
            "cudaMalloc": (4096,),
            "cudaHostAlloc": (8192,),
            "cudaStreamCreateWithPriority": (Handle(11),),
            "cudaStreamEndCapture": (Handle(12),),
            "cudaGraphInstantiate": (Handle(13),),
            "cudaGraphGetNodes": (["a", "b", "c"], 3),
            "cuModuleLoadData": (Handle(14),),
            "cuModuleGetFunction": (Handle(15),),
        }

    def cudaGetErrorString(self, error: cudaError_t) -> tuple[cudaError_t, bytes]:  # noqa: N802
        return cudaError_t.cudaSuccess, f"text of {int(error)}".encode()

    def cuGetErrorString(self, error: CUresult) -> tuple[CUresult, bytes]:  # noqa: N802
        return CUresult.CUDA_SUCCESS, f"text of {int(error)}".encode()

    def cudaGraphNodeGetType(self, node: str) -> tuple[cudaError_t, Node]:  # noqa: N802
        return cudaError_t.cudaSuccess, Node.cudaGraphNodeTypeMemcpy if node == "a" else Node.cudaGraphNodeTypeKernel

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> tuple[Any, ...]:
            self.called.append((name, arguments))
            fine = cudaError_t.cudaSuccess if name.startswith("cuda") else CUresult.CUDA_SUCCESS
            return self.errors.get(name, fine), *self.values.get(name, ())

        return call


def test_calls_are_those_of_cuda_python() -> None:
    bindings = Bindings()
    cuda = CudaPython(bindings, bindings, Handle.number, "block")
    assert bindings.called[0] == ("cudaSetDeviceFlags", (4,))
    assert (cuda.stream(urgent=True), cuda.stream(urgent=False)) == (11, 11)
    assert [arguments for name, arguments in bindings.called if "WithPriority" in name] == [(1, -5), (1, 0)]
    assert (cuda.allocate(5), cuda.allocate_pinned(6), cuda.free_memory()) == (4096, 8192, 7)
    cuda.copy_in(4096, 8192, 5, 11)
    cuda.begin_capture(11)
    assert (cuda.end_capture(11), cuda.instantiate(12)) == (12, 13)
    assert cuda.node_kinds(12) == {"Memcpy": 1, "Kernel": 2}
    cuda.launch(13, 11)
    cuda.synchronize(11)
    assert bindings.called[-2:] == [("cudaGraphLaunch", (13, 11)), ("cudaStreamSynchronize", (11,))]
    assert ("cudaMemcpyAsync", (4096, 8192, 5, 1, 11)) in bindings.called
    found = cuda.properties()
    assert (found.name, found.capability, found.processors, found.driver) == ("NVIDIA H100", (9, 0), 132, 13000)
    assert found.uuid == "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_kernels_of_our_own_go_through_the_driver() -> None:
    bindings = Bindings()
    cuda = CudaPython(bindings, bindings, Handle.number)
    assert cuda.load_module(b"code") == 14
    assert cuda.kernel(14, "add", 300) == 15
    cuda.launch_kernel(15, (7, 8, 9), 128, 300, (4096, 8192), 11)
    names = [name for name, _ in bindings.called]
    assert bindings.called[names.index("cuFuncSetAttribute")][1][1:] == (8, 300)
    kernel, *shape, stream, arguments, extra = bindings.called[-1][1]
    assert (kernel, shape, stream, extra) == (15, [7, 8, 9, 128, 1, 1, 300], 11, 0)
    assert arguments[0] == (4096, 8192)
    cuda.unload_module(14)
    assert bindings.called[-1] == ("cuModuleUnload", (14,))
    bindings.errors = {"cuModuleLoadData": CUresult.CUDA_ERROR_OUT_OF_MEMORY}
    with pytest.raises(CudaError, match=r"cuModuleLoadData failed with cudaErrorMemoryAllocation \(text of 2\)"):
        cuda.load_module(b"code")
    bindings.errors = {"cuModuleLoadData": CUresult.CUDA_ERROR_INVALID_IMAGE}
    with pytest.raises(CudaError, match=r"cudaErrorInvalidKernelImage.*: rebuild the engine on this GPU"):
        cuda.load_module(b"code")
    for lost in (CUresult.CUDA_ERROR_ILLEGAL_ADDRESS, CUresult.CUDA_ERROR_ECC_UNCORRECTABLE):
        bindings.errors = {"cuLaunchKernel": lost}
        with pytest.raises(DeviceLost):
            cuda.launch_kernel(15, (1, 1, 1), 32, 0, (), 11)


def test_whatever_is_freed_is_freed_by_its_own_call() -> None:
    bindings = Bindings()
    cuda = CudaPython(bindings, bindings, Handle.number)
    for free, name in (
        (cuda.free, "cudaFree"),
        (cuda.free_pinned, "cudaFreeHost"),
        (cuda.destroy_stream, "cudaStreamDestroy"),
        (cuda.destroy_graph, "cudaGraphDestroy"),
        (cuda.destroy_executable, "cudaGraphExecDestroy"),
    ):
        free(77)
        assert bindings.called[-1] == (name, (77,))


def test_an_error_of_a_call_has_its_name_its_text_and_a_fix() -> None:
    bindings = Bindings()
    cuda = CudaPython(bindings, bindings, Handle.number)
    bindings.errors["cudaMalloc"] = cudaError_t.cudaErrorMemoryAllocation
    with pytest.raises(
        CudaError, match=r"cudaMalloc failed with cudaErrorMemoryAllocation \(text of 2\): free"
    ) as told:
        cuda.allocate(1)
    assert isinstance(told.value, EngineFailed)
    assert told.value.name == "cudaErrorMemoryAllocation"


@pytest.mark.parametrize("error", [cudaError_t.cudaErrorIllegalAddress, cudaError_t.cudaErrorUnknown])
def test_a_sticky_error_is_a_lost_device(error: cudaError_t) -> None:
    bindings = Bindings()
    cuda = CudaPython(bindings, bindings, Handle.number)
    bindings.errors["cudaStreamSynchronize"] = error
    with pytest.raises(DeviceLost, match=f"{error.name}.*must end and start anew") as told:
        cuda.synchronize(11)
    assert not isinstance(told.value, EngineFailed)  # which the service would answer and go on


def test_without_cuda_python_the_way_to_it_is_named() -> None:
    open_cuda.cache_clear()
    try:
        import cuda.bindings  # noqa: F401
    except ImportError:
        with pytest.raises(BackendUnavailable, match=r"pip install 'cuda-python>=12.9.1'"):
            open_cuda()
    else:
        pytest.skip("cuda-python is installed")


def test_the_fake_does_nothing_before_somebody_waits() -> None:
    cuda = FakeCuda()
    stream, device, host = cuda.stream(urgent=True), cuda.allocate(16), cuda.allocate_pinned(16)
    host_array(host, (4,), np.int32)[...] = 5
    cuda.copy_in(device, host, 16, stream)
    assert host_array(device, (4,), np.int32).tolist() != [5] * 4
    cuda.synchronize(stream)
    assert host_array(device, (4,), np.int32).tolist() == [5] * 4
    assert device % 256 == host % 256 == 0
    assert cuda.urgent(stream)


def test_the_fake_replays_what_it_has_recorded() -> None:
    cuda = FakeCuda()
    stream, device, host = cuda.stream(urgent=False), cuda.allocate(4), cuda.allocate_pinned(4)
    cuda.begin_capture(stream)
    cuda.copy_in(device, host, 4, stream)
    graph = cuda.end_capture(stream)
    executable = cuda.instantiate(graph)
    for value in (1, 2):
        host_array(host, (1,), np.int32)[...] = value
        cuda.launch(executable, stream)
        cuda.synchronize(stream)
        assert host_array(device, (1,), np.int32).tolist() == [value]


@pytest.mark.parametrize("forbidden", ["allocate", "synchronize", "free"])
def test_the_fake_spoils_a_capture_as_cuda_does(forbidden: str) -> None:
    cuda = FakeCuda()
    stream = cuda.stream(urgent=True)
    cuda.begin_capture(stream)
    with pytest.raises(CudaError, match="cudaErrorStreamCaptureUnsupported"):
        getattr(cuda, forbidden)(stream)
    with pytest.raises(CudaError, match="cudaErrorStreamCaptureInvalidated"):
        cuda.end_capture(stream)


def test_the_fake_is_lost_by_a_copy_out_of_bounds_and_stays_so() -> None:
    cuda = FakeCuda()
    stream, device, host = cuda.stream(urgent=True), cuda.allocate(16), cuda.allocate_pinned(8)
    cuda.copy_in(device, host, 16, stream)
    for _ in range(2):
        with pytest.raises(DeviceLost, match="cudaErrorIllegalAddress"):
            cuda.synchronize(stream)
    with pytest.raises(DeviceLost):
        cuda.allocate(1)


def test_the_fake_refuses_more_memory_than_it_has_and_to_free_what_is_not_its_own() -> None:
    cuda = FakeCuda()
    with pytest.raises(CudaError, match="cudaErrorMemoryAllocation"):
        cuda.allocate(cuda.properties().memory + 1)
    with pytest.raises(CudaError, match="cudaErrorInvalidValue"):
        cuda.free(12345)
    before = cuda.free_memory()
    address = cuda.allocate(1000)
    assert cuda.free_memory() == before - 1000
    cuda.free(address)
    assert (cuda.free_memory(), cuda.open) == (before, {})

"""CUDA's runtime, and its driver for kernels of our own, through cuda-python (cuda.bindings 12 and 13)."""

import ctypes
from collections import Counter
from collections.abc import Callable
from typing import Any

from .cuda import Properties, Wait, error_from


class CudaPython:
    """The device of this process; made once, by open_cuda."""

    def __init__(self, runtime: Any, driver: Any, native: Callable[[Any], int], wait: Wait = "spin") -> None:  # noqa: ANN401 - the modules have no types
        """Claims the device's primary context.

        Args:
            runtime: the module cuda.bindings.runtime.
            driver: the module cuda.bindings.driver.
            native: the number of a handle: cuda.bindings.utils.get_cuda_native_handle.
            wait: how synchronize waits: spin keeps a core busy, block sleeps. On an H100 with 16 cores a graph of
                0.154 ms took 0.180 ms with block (p50; p99 0.177 and 0.201).

        Raises:
            CudaError: if there is no device, or its driver is too old.
        """
        self._cuda, self._native, self._success = runtime, native, runtime.cudaError_t.cudaSuccess
        self._driver = driver
        self._in = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        flags = {"spin": runtime.cudaDeviceScheduleSpin, "block": runtime.cudaDeviceScheduleBlockingSync}[wait]
        self._call("cudaSetDeviceFlags", flags)
        self._call("cudaFree", 0)  # makes the context
        least, greatest = self._call("cudaDeviceGetStreamPriorityRange")
        self._priorities = {False: least, True: greatest}

    def _call(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 - what the call returns
        error, *values = getattr(self._cuda, name)(*arguments)
        if error != self._success:
            self._refuse(name, error)
        return values[0] if len(values) == 1 else values

    def _refuse(self, call: str, error: Any) -> None:  # noqa: ANN401 - cudaError_t
        text = self._cuda.cudaGetErrorString(error)[1]
        words = text.decode() if isinstance(text, bytes) else str(text)
        raise error_from(call, error.name, words)

    def _drive(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 - what the call returns
        error, *values = getattr(self._driver, name)(*arguments)
        if error != self._driver.CUresult.CUDA_SUCCESS:
            words = self._driver.cuGetErrorString(error)[1]
            raise error_from(name, _runtime_name(error.name), words.decode() if isinstance(words, bytes) else "")
        return values[0] if len(values) == 1 else values

    def properties(self) -> Properties:
        """See Cuda."""
        found = self._call("cudaGetDeviceProperties", self._call("cudaGetDevice"))
        digits = bytes(found.uuid.bytes[:16]).hex()
        return Properties(
            name=found.name.rstrip(b"\0").decode(),
            uuid="-".join(digits[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))),
            capability=(found.major, found.minor),
            processors=found.multiProcessorCount,
            memory=found.totalGlobalMem,
            driver=self._call("cudaDriverGetVersion"),
        )

    def free_memory(self) -> int:
        """See Cuda."""
        free, _ = self._call("cudaMemGetInfo")
        return int(free)

    def allocate(self, size: int) -> int:
        """See Cuda."""
        return int(self._call("cudaMalloc", size))

    def free(self, address: int) -> None:
        """See Cuda."""
        self._call("cudaFree", address)

    def allocate_pinned(self, size: int) -> int:
        """See Cuda."""
        return int(self._call("cudaHostAlloc", size, self._cuda.cudaHostAllocDefault))

    def free_pinned(self, address: int) -> None:
        """See Cuda."""
        self._call("cudaFreeHost", address)

    def stream(self, *, urgent: bool) -> int:
        """See Cuda."""
        flags = self._cuda.cudaStreamNonBlocking
        return self._native(self._call("cudaStreamCreateWithPriority", flags, self._priorities[urgent]))

    def destroy_stream(self, stream: int) -> None:
        """See Cuda."""
        self._call("cudaStreamDestroy", stream)

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        """See Cuda."""
        self._call("cudaMemcpyAsync", device, host, size, self._in, stream)

    def load_module(self, code: bytes) -> int:
        """See Cuda."""
        return self._native(self._drive("cuModuleLoadData", code))

    def unload_module(self, module: int) -> None:
        """See Cuda."""
        self._drive("cuModuleUnload", module)

    def kernel(self, module: int, symbol: str, shared: int) -> int:
        """See Cuda."""
        function = self._drive("cuModuleGetFunction", module, symbol.encode())
        largest = self._driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        self._drive("cuFuncSetAttribute", function, largest, shared)
        return self._native(function)

    def launch_kernel(
        self,
        kernel: int,
        grid: tuple[int, int, int],
        threads: int,
        shared: int,
        addresses: tuple[int, ...],
        stream: int,
    ) -> None:
        """See Cuda."""
        arguments = (addresses, (ctypes.c_void_p,) * len(addresses))
        self._drive("cuLaunchKernel", kernel, *grid, threads, 1, 1, shared, stream, arguments, 0)

    def begin_capture(self, stream: int) -> None:
        """See Cuda; other threads may allocate meanwhile."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        """See Cuda."""
        return self._native(self._call("cudaStreamEndCapture", stream))

    def node_kinds(self, graph: int) -> Counter[str]:
        """See Cuda."""
        _, count = self._call("cudaGraphGetNodes", graph, 0)
        nodes, _ = self._call("cudaGraphGetNodes", graph, count)
        kinds = (self._call("cudaGraphNodeGetType", node).name for node in nodes)
        return Counter(kind.removeprefix("cudaGraphNodeType") for kind in kinds)

    def instantiate(self, graph: int) -> int:
        """See Cuda."""
        return self._native(self._call("cudaGraphInstantiate", graph, 0))

    def launch(self, executable: int, stream: int) -> None:
        """See Cuda."""
        self._call("cudaGraphLaunch", executable, stream)

    def destroy_graph(self, graph: int) -> None:
        """See Cuda."""
        self._call("cudaGraphDestroy", graph)

    def destroy_executable(self, executable: int) -> None:
        """See Cuda."""
        self._call("cudaGraphExecDestroy", executable)

    def synchronize(self, stream: int) -> None:
        """See Cuda."""
        self._call("cudaStreamSynchronize", stream)


def _runtime_name(name: str) -> str:
    """The name that CUDA's runtime gives to an error of its driver, such as CUDA_ERROR_ILLEGAL_ADDRESS."""
    words = name.removeprefix("CUDA_ERROR_").split("_")
    return _NAMES.get(name, "cudaError" + "".join(word.capitalize() for word in words))


_NAMES = {  # where the two differ
    "CUDA_ERROR_OUT_OF_MEMORY": "cudaErrorMemoryAllocation",
    "CUDA_ERROR_ECC_UNCORRECTABLE": "cudaErrorECCUncorrectable",
    "CUDA_ERROR_INVALID_IMAGE": "cudaErrorInvalidKernelImage",
    "CUDA_ERROR_LAUNCH_FAILED": "cudaErrorLaunchFailure",
    "CUDA_ERROR_NO_BINARY_FOR_GPU": "cudaErrorNoKernelImageForDevice",
}

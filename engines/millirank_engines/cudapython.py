"""CUDA's runtime through cuda-python (cuda.bindings 12 and 13)."""

from collections import Counter
from typing import Any

from .cuda import Properties, Wait, error_from


class CudaPython:
    """The device of this process; made once, by open_cuda."""

    def __init__(self, runtime: Any, wait: Wait = "spin") -> None:  # noqa: ANN401 - the module has no types
        """Claims the device's primary context.

        Args:
            runtime: the module cuda.bindings.runtime.
            wait: how synchronize waits: spin keeps a core busy, block sleeps. On an H100 with 16 cores a graph of
                0.154 ms took 0.180 ms with block (p50; p99 0.177 and 0.201).

        Raises:
            CudaError: if there is no device, or its driver is too old.
        """
        self._cuda, self._success = runtime, runtime.cudaError_t.cudaSuccess
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
        return int(self._call("cudaStreamCreateWithPriority", flags, self._priorities[urgent]))

    def destroy_stream(self, stream: int) -> None:
        """See Cuda."""
        self._call("cudaStreamDestroy", stream)

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        """See Cuda."""
        self._call("cudaMemcpyAsync", device, host, size, self._in, stream)

    def begin_capture(self, stream: int) -> None:
        """See Cuda; other threads may allocate meanwhile."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: int) -> int:
        """See Cuda."""
        return int(self._call("cudaStreamEndCapture", stream))

    def node_kinds(self, graph: int) -> Counter[str]:
        """See Cuda."""
        _, count = self._call("cudaGraphGetNodes", graph, 0)
        nodes, _ = self._call("cudaGraphGetNodes", graph, count)
        kinds = (self._call("cudaGraphNodeGetType", node).name for node in nodes)
        return Counter(kind.removeprefix("cudaGraphNodeType") for kind in kinds)

    def instantiate(self, graph: int) -> int:
        """See Cuda."""
        return int(self._call("cudaGraphInstantiate", graph, 0))

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

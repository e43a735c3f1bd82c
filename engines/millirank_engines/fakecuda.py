"""A device that is none, for tests: the same calls in the same order, on host memory, with CUDA's refusals.

Work on a stream is done when somebody waits for it, never sooner, so that a result which is read too early is wrong. A
copy or kernel that touches memory nobody has allocated loses the device. What is called during a capture that CUDA
forbids there spoils the capture.
"""

import ctypes
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from .base import DeviceLost
from .cuda import Properties, error_from

ALIGNMENT = 256
SHARED, THREADS = 227 << 10, 1024  # of a block, at most
PROPERTIES = Properties("Fake GPU", "00000000-0000-0000-0000-000000000000", (9, 0), 1, 1 << 30, 13000)
Action = Callable[[], None]
Computes = Callable[[bytes, str, tuple[int, int, int], tuple[int, ...]], None]  # code, symbol, grid, addresses


@dataclass
class _Stream:
    urgent: bool
    work: list[tuple[str, Action]] = field(default_factory=list)  # kinds of nodes, and what they do
    captured: list[tuple[str, Action]] | None = None  # while it is recorded
    thread: int = 0  # that records it
    spoilt: bool = False


@dataclass(frozen=True)
class _Block:
    where: str  # device or pinned
    size: int
    memory: object  # keeps the bytes alive


class FakeCuda:
    """See Cuda.

    Args:
        properties: of the device that it plays.
    """

    def __init__(self, properties: Properties = PROPERTIES) -> None:
        self.calls: list[str] = []  # in their order
        self.faults: dict[str, str] = {}  # call: the CUDA error that it fails with next time; `kernel` is one, too
        self.lost = ""  # the sticky error, once there is one
        self._properties = properties
        self._blocks: dict[int, _Block] = {}
        self._streams: dict[int, _Stream] = {}
        self._graphs: dict[int, list[tuple[str, Action]]] = {}
        self._executables: dict[int, list[tuple[str, Action]]] = {}
        self._modules: dict[int, bytes] = {}
        self._kernels: dict[int, tuple[int, str]] = {}
        self.computes: Computes | None = None  # what a kernel of a module does; without, it does nothing
        self._handles = 0

    @property
    def open(self) -> dict[str, int]:
        """What is not freed yet, by its kind."""
        kinds = Counter(block.where for block in self._blocks.values())
        kinds |= {
            "stream": len(self._streams),
            "module": len(self._modules),
            "graph": len(self._graphs),
            "executable": len(self._executables),
        }
        return {kind: count for kind, count in kinds.items() if count}

    def fail(self, call: str, name: str) -> NoReturn:
        """Raises what CUDA would, and stays lost if the error is sticky."""
        error = error_from(call, name, "as a fake says it")
        if isinstance(error, DeviceLost):
            self.lost = name
        raise error

    def _called(self, call: str, *, capturing: bool = False) -> None:
        """Every call passes here; capturing says that CUDA allows it during a capture."""
        self.calls.append(call)
        if self.lost:
            self.fail(call, self.lost)
        if fault := self.faults.pop(call, ""):
            self.fail(call, fault)
        recorded = [s for s in self._streams.values() if s.captured is not None and s.thread == threading.get_ident()]
        if recorded and not capturing:
            recorded[0].spoilt = True
            self.fail(call, "cudaErrorStreamCaptureUnsupported")

    def _handle(self) -> int:
        self._handles += 1
        return self._handles

    def properties(self) -> Properties:
        """See Cuda."""
        self._called("properties", capturing=True)
        return self._properties

    def free_memory(self) -> int:
        """See Cuda."""
        self._called("free_memory", capturing=True)
        used = sum(block.size for block in self._blocks.values() if block.where == "device")
        return self._properties.memory - used

    def _block(self, where: str, size: int) -> int:
        raw = ctypes.create_string_buffer(b"\xff" * size, size + ALIGNMENT)  # no test may pass on zeros
        address = -(-ctypes.addressof(raw) // ALIGNMENT) * ALIGNMENT
        ctypes.memset(address, 0xFF, size)
        self._blocks[address] = _Block(where, size, raw)
        return address

    def allocate(self, size: int) -> int:
        """See Cuda."""
        self._called("allocate")
        if size > self._properties.memory:
            self.fail("allocate", "cudaErrorMemoryAllocation")
        return self._block("device", size)

    def free(self, address: int) -> None:
        """See Cuda."""
        self._called("free")
        self._released(address, "device")

    def allocate_pinned(self, size: int) -> int:
        """See Cuda."""
        self._called("allocate_pinned")
        return self._block("pinned", size)

    def free_pinned(self, address: int) -> None:
        """See Cuda."""
        self._called("free_pinned")
        self._released(address, "pinned")

    def _released(self, address: int, where: str) -> None:
        if address not in self._blocks or self._blocks[address].where != where:
            self.fail("free", "cudaErrorInvalidValue")
        del self._blocks[address]

    def holds(self, address: int, size: int, where: str = "") -> bool:
        """Whether these bytes lie within one block, of device or pinned memory if where says so."""
        blocks = ((begin, block.size) for begin, block in self._blocks.items() if where in {"", block.where})
        return any(begin <= address and address + size <= begin + room for begin, room in blocks)

    def stream(self, *, urgent: bool) -> int:
        """See Cuda."""
        self._called("stream")
        handle = self._handle()
        self._streams[handle] = _Stream(urgent)
        return handle

    def urgent(self, stream: int) -> bool:
        """Whether a stream goes before others."""
        return self._streams[stream].urgent

    def destroy_stream(self, stream: int) -> None:
        """See Cuda."""
        self._called("destroy_stream")
        del self._streams[stream]

    def enqueue(self, stream: int, kind: str, action: Action) -> None:
        """Lets a stream do something later: what a kernel launch is."""
        queue = self._streams[stream]
        (queue.work if queue.captured is None else queue.captured).append((kind, action))

    def copy_in(self, device: int, host: int, size: int, stream: int) -> None:
        """See Cuda."""
        self._called("copy_in", capturing=True)
        self.enqueue(stream, "Memcpy", lambda: self._copied(device, host, size))

    def _copied(self, device: int, host: int, size: int) -> None:
        if not (self.holds(device, size, "device") and self.holds(host, size, "pinned")):
            self.fail("synchronize", "cudaErrorIllegalAddress")
        ctypes.memmove(device, host, size)

    def load_module(self, code: bytes) -> int:
        """See Cuda."""
        self._called("load_module")
        handle = self._handle()
        self._modules[handle] = code
        return handle

    def unload_module(self, module: int) -> None:
        """See Cuda."""
        self._called("unload_module")
        del self._modules[module]

    def kernel(self, module: int, symbol: str, shared: int) -> int:
        """See Cuda."""
        self._called("kernel")
        if shared > SHARED:
            self.fail("kernel", "cudaErrorInvalidValue")
        handle = self._handle()
        self._kernels[handle] = module, symbol
        return handle

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
        self._called("launch_kernel", capturing=True)
        if not (min(grid) > 0 and 0 < threads <= THREADS and 0 <= shared <= SHARED):
            self.fail("launch_kernel", "cudaErrorInvalidValue")
        module, symbol = self._kernels[kernel]
        code, computes = self._modules[module], self.computes

        def run() -> None:
            if not all(self.holds(address, 1) for address in addresses):
                self.fail("synchronize", "cudaErrorIllegalAddress")
            if computes:
                computes(code, symbol, grid, addresses)

        self.enqueue(stream, "Kernel", run)

    def begin_capture(self, stream: int) -> None:
        """See Cuda."""
        self._called("begin_capture")
        queue = self._streams[stream]
        queue.captured, queue.thread, queue.spoilt = [], threading.get_ident(), False

    def end_capture(self, stream: int) -> int:
        """See Cuda."""
        queue = self._streams[stream]
        captured, queue.captured = queue.captured, None  # whatever comes of it
        self._called("end_capture")
        if captured is None or queue.spoilt:
            self.fail("end_capture", "cudaErrorStreamCaptureInvalidated")
        handle = self._handle()
        self._graphs[handle] = captured
        return handle

    def node_kinds(self, graph: int) -> Mapping[str, int]:
        """See Cuda."""
        self._called("node_kinds")
        return Counter(kind for kind, _ in self._graphs[graph])

    def instantiate(self, graph: int) -> int:
        """See Cuda."""
        self._called("instantiate")
        handle = self._handle()
        self._executables[handle] = list(self._graphs[graph])
        return handle

    def launch(self, executable: int, stream: int) -> None:
        """See Cuda."""
        self._called("launch")
        self._streams[stream].work += self._executables[executable]

    def destroy_graph(self, graph: int) -> None:
        """See Cuda."""
        self._called("destroy_graph")
        del self._graphs[graph]

    def destroy_executable(self, executable: int) -> None:
        """See Cuda."""
        self._called("destroy_executable")
        del self._executables[executable]

    def synchronize(self, stream: int) -> None:
        """See Cuda."""
        self._called("synchronize")
        queue = self._streams[stream]
        work, queue.work = queue.work, []
        for kind, action in work:
            if kind == "Kernel" and (fault := self.faults.pop("kernel", "")):
                self.fail("synchronize", fault)
            action()

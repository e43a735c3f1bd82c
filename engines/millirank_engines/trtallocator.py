"""The allocator that TensorRT takes its device memory from: it counts, so that a soak can show that nothing grows."""

import logging
from typing import Any, Protocol

from .base import EngineError
from .cuda import Cuda

log = logging.getLogger(__name__)


class Allocator(Protocol):
    """A TensorRT IGpuAllocator, and what it was asked for."""

    calls: int  # allocations so far
    live: int  # bytes that are allocated now


def counting_allocator(trt: Any, cuda: Cuda) -> Allocator:  # noqa: ANN401 - a module without types
    """An allocator for one TensorRT runtime, over the seam. It must outlive what it has allocated for."""

    class CountingAllocator(trt.IGpuAllocator):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            super().__init__()
            self.calls = self.live = 0
            self._sizes: dict[int, int] = {}

        def allocate(self, size: int, alignment: int, flags: int) -> int:  # noqa: ARG002 - CUDA aligns to 256
            try:
                address = cuda.allocate(size)
            except EngineError as error:  # nothing may be raised through TensorRT
                log.error("TensorRT asked for %d bytes: %s", size, error)  # noqa: TRY400 - it says all
                return 0
            self.calls += 1
            self.live += size
            self._sizes[address] = size
            return address

        def deallocate(self, memory: int) -> bool:
            if not memory:
                return True
            self.live -= self._sizes.pop(memory)
            try:
                cuda.free(memory)
            except EngineError as error:
                log.error("TensorRT gave %d back: %s", memory, error)  # noqa: TRY400 - it says all
                return False
            return True

        def reallocate(self, *_: int) -> int:
            return 0  # TensorRT then allocates anew

        def allocate_async(self, size: int, alignment: int, *_: int) -> int:
            return self.allocate(size, alignment, 0)

        def deallocate_async(self, memory: int, *_: int) -> bool:
            return self.deallocate(memory)

    return CountingAllocator()

"""What the engines of a GPU share: a stream of their own, and for each bucket a CUDA graph that is replayed.

A graph fixes shapes and addresses, so each bucket has one, captured at load after the bucket has run once. An inference
is: fill pinned memory, launch the graph, wait, copy the output, which the last kernel wrote into pinned memory itself.
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from .base import DeviceLost, EngineError, EngineFailed, Profile, Tensors, no_profile
from .cuda import Cuda, CudaError

ALIGNMENT = 256  # bytes: of every address
log = logging.getLogger(__name__)


def aligned(size: int) -> int:
    """The next multiple of ALIGNMENT."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Memory:
    """What an engine holds, in bytes; none of it changes after load."""

    activations: int  # on the device, shared by all buckets
    staging: int  # on the device: inputs
    pinned: int  # page-locked, on the host: inputs and outputs
    runtime: int  # on the device: weights, and what a runtime keeps for itself
    allocations: int  # how often a runtime has asked for device memory


@dataclass(slots=True)
class Bucket:
    """A profile with what runs it."""

    profile: Profile
    output: NDArray[np.float32]  # pinned memory
    executable: int = 0  # the graph, if there is one


B = TypeVar("B", bound=Bucket)


class GraphEngine(ABC, Generic[B]):
    """See Engine; a subclass says how a bucket's inputs are filled in and what is enqueued for it."""

    def __init__(self, name: str, profiles: Sequence[Profile], cuda: Cuda, output: str = "") -> None:
        self.name = name
        self.profiles = tuple(sorted(profiles))
        self.graph_nodes: dict[Profile, Mapping[str, int]] = {}  # of each graph: how many kernels, copies, …
        self._cuda, self._output = cuda, output
        self._buckets: dict[tuple[int, ...], B] = {}
        self._opened = ExitStack()
        self._lost = False

    def _open_stream(self, *, urgent: bool) -> int:
        stream = self._cuda.stream(urgent=urgent)
        self._opened.callback(self._cuda.destroy_stream, stream)
        self._stream = stream
        return stream

    @property
    @abstractmethod
    def memory(self) -> Memory:
        """What it holds now."""

    @abstractmethod
    def _fill(self, bucket: B, feeds: Tensors, shape: tuple[int, ...]) -> None:
        """Copies feeds of that shape into pinned memory; EngineError if one is missing or has another shape."""

    @abstractmethod
    def _enqueue(self, bucket: B) -> None:
        """Lets the stream do all that an inference is."""

    def _warm(self, bucket: B, *, graphs: bool) -> None:
        """Runs a bucket once, so that whatever is loaded late is loaded, then captures and replays it."""
        cuda, stream = self._cuda, self._stream
        self._enqueue(bucket)
        cuda.synchronize(stream)
        if not graphs:
            return
        try:
            graph = self._recorded(bucket)
            self._opened.callback(cuda.destroy_graph, graph)
            self.graph_nodes[bucket.profile] = cuda.node_kinds(graph)
            bucket.executable = cuda.instantiate(graph)
        except EngineFailed as error:
            raise EngineFailed(f"{bucket.profile} of {self.name} cannot become a CUDA graph: {error}") from error
        self._opened.callback(cuda.destroy_executable, bucket.executable)
        cuda.launch(bucket.executable, stream)  # uploads it
        cuda.synchronize(stream)

    def _recorded(self, bucket: B) -> int:
        """The graph of a bucket's work."""
        cuda, stream = self._cuda, self._stream
        cuda.begin_capture(stream)
        try:
            self._enqueue(bucket)
        except EngineFailed:
            with suppress(CudaError):  # the capture is spoilt, too
                cuda.destroy_graph(cuda.end_capture(stream))
            raise
        return cuda.end_capture(stream)

    def infer(self, feeds: Tensors) -> dict[str, NDArray[np.float32]]:
        """See Engine.

        Raises:
            EngineError: if no profile has that shape.
            EngineFailed: if the runtime failed.
            DeviceLost: if no inference will work any more in this process.
        """
        shape = feeds["input_ids"].shape if "input_ids" in feeds else ()
        bucket = self._buckets.get(shape)
        if bucket is None:
            raise no_profile(self.name, self.profiles, shape)
        self._fill(bucket, feeds, shape)
        try:
            if bucket.executable:
                self._cuda.launch(bucket.executable, self._stream)
            else:
                self._enqueue(bucket)
            self._cuda.synchronize(self._stream)
        except DeviceLost:
            self._lost = True
            raise
        return {self._output: bucket.output.copy()}

    def close(self) -> None:
        """Frees the device; what a lost device held ends with the process."""
        self.profiles = ()
        if self._lost:
            self._opened.pop_all()
            return
        try:
            self._opened.close()
        except EngineError as error:  # all the others were freed
            log.warning("%s could not free everything: %s", self.name, error)

"""The TensorRT engine: one execution context and one CUDA graph for each bucket, everything allocated at load.

A graph fixes shapes and addresses, and switching the profile of a context takes milliseconds; so each bucket has a
context of its own, on the narrowest optimization profile that holds it. The contexts of an engine never run together,
so one block of activations serves them all, and one staging area holds the inputs and outputs of whichever runs. An
inference is: fill pinned memory, launch the graph (one copy of all inputs, the kernels), wait, copy the output. The
last kernel writes the output into pinned memory itself. Measured on an H100, MiniLM in FP16, p50, ms:

    |                              | encode 1x16   | rerank 50x32  |
    | inputs and output copied     | 0.154 - 0.155 | 0.306 - 0.312 |
    | output written to the host   | 0.147 - 0.149 | 0.303 - 0.305 |
    | inputs read from it, as well | 0.152         | 0.301 - 0.302 |

TensorRT 10.6 to 11 and TensorRT-RTX take the same calls, but for the way to say that the memory is ours.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import EngineFailed, Profile, Tensors, copy_feeds
from .cuda import Cuda, CudaError, host_array
from .replay import Bucket, GraphEngine, Memory, aligned
from .trtallocator import counting_allocator
from .trtplan import REBUILD, narrowest, ranges_of, tensors_of


@dataclass(slots=True)
class _Bucket(Bucket):
    """See Bucket; the arrays are pinned memory."""

    context: Any = None  # tensorrt.IExecutionContext
    inputs: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    span: int = 0  # bytes from the first input's begin to the last one's end


class TensorRtEngine(GraphEngine[_Bucket]):
    """A plan on a GPU, ready to run when it is made."""

    def __init__(
        self,
        plan: Path,
        profiles: Sequence[Profile],
        precision: str,
        *,
        trt: Any,  # noqa: ANN401 - the module has no types
        logger: Any,  # noqa: ANN401 - as above
        cuda: Cuda,
        backend: str = "tensorrt",
        background: bool = False,
        graphs: bool = True,
    ) -> None:
        """Loads a plan, plans and allocates all memory, and captures a graph for every profile.

        Args:
            plan: a serialized engine.
            profiles: the shapes that infer will take; each must lie in one of the plan's optimization profiles.
            precision: of its networks' types, for the name.
            trt: the TensorRT module, from trt_module.
            logger: its logger in this process, from trt_logger.
            cuda: the device.
            backend: tensorrt or tensorrt-rtx.
            background: whether its kernels let those of other engines go first.
            graphs: whether inferences replay graphs; without, they are slower: for comparison.

        Raises:
            EngineError: if a profile lies in no optimization profile, or the plan has other inputs or outputs.
            EngineFailed: if TensorRT cannot load the plan or a graph cannot be captured; the message has the reason.
            DeviceLost: if the device is.
        """
        super().__init__(f"{backend}/{precision}", profiles, cuda)
        self._trt, self._rtx = trt, backend == "tensorrt-rtx"
        self._logger, self._allocator = logger, counting_allocator(trt, cuda)
        try:
            self._load(plan, urgent=not background, graphs=graphs)
        except BaseException:
            self.close()
            raise

    @property
    def memory(self) -> Memory:
        """See GraphEngine."""
        return Memory(self._activations, self._staging, self._pinned, self._allocator.live, self._allocator.calls)

    def _load(self, plan: Path, *, urgent: bool, graphs: bool) -> None:
        self._open_stream(urgent=urgent)
        self._runtime = self._trt.Runtime(self._logger)
        self._runtime.gpu_allocator = self._allocator
        self._engine = self._runtime.deserialize_cuda_engine(plan.read_bytes())
        if self._engine is None:
            raise EngineFailed(f"TensorRT cannot load {plan}: {self._said()}: {REBUILD} on this machine")
        self._opened.callback(self._forget)
        self._inputs, self._output = tensors_of(self._engine, self._trt)
        ranges = ranges_of(self._engine)
        numbers = {profile: narrowest(ranges, profile) for profile in self.profiles}
        contexts = {profile: self._context(profile, number) for profile, number in numbers.items()}
        self._plan_memory(contexts, set(numbers.values()))
        for profile, context in contexts.items():
            bucket = self._buckets[profile.batch, profile.length] = self._bucket(profile, context)
            self._warm(bucket, graphs=graphs)

    def _forget(self) -> None:
        """Lets go of TensorRT's objects, contexts first."""
        self._buckets = {}
        del self._engine, self._runtime

    def _context(self, profile: Profile, number: int) -> Any:  # noqa: ANN401 - an IExecutionContext
        """A context on an optimization profile, with the bucket's shapes, but no memory yet."""
        trt, ours = self._trt, self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        strategy = ours
        if self._rtx:  # it compiles for the shape at once, not beside the first inferences
            strategy = self._engine.create_runtime_config()
            strategy.set_execution_context_allocation_strategy(ours)
            strategy.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        context = self._engine.create_execution_context(strategy)
        if context is None:
            raise EngineFailed(f"TensorRT makes no context for {profile}: {self._said()}")
        self._must(context.set_optimization_profile_async(number, self._stream), profile)
        self._cuda.synchronize(self._stream)
        for name in self._inputs:
            self._must(context.set_input_shape(name, (profile.batch, profile.length)), profile)
        return context

    def _plan_memory(self, contexts: Mapping[Profile, Any], numbers: set[int]) -> None:
        """Allocates once what all buckets share: activations and staging on the device, staging in pinned memory."""
        cuda, inputs = self._cuda, len(self._inputs)
        self._activations = max(map(self._engine.get_device_memory_size_for_profile_v2, numbers))
        self._staging = max(inputs * aligned(4 * profile.tokens) for profile in contexts)
        outputs = [tuple(context.get_tensor_shape(self._output)) for context in contexts.values()]
        self._pinned = self._staging + max(aligned(4 * int(np.prod(shape))) for shape in outputs)
        begin = aligned(self._activations)
        self._activation_address = cuda.allocate(begin + self._staging)
        self._opened.callback(cuda.free, self._activation_address)
        self._device = self._activation_address + begin
        self._host = cuda.allocate_pinned(self._pinned)
        self._opened.callback(cuda.free_pinned, self._host)

    def _bucket(self, profile: Profile, context: Any) -> _Bucket:  # noqa: ANN401 - an IExecutionContext
        """Gives a context its addresses."""
        shape, step = (profile.batch, profile.length), aligned(4 * profile.tokens)
        context.set_device_memory(self._activation_address, self._activations)
        inputs: dict[str, NDArray[np.int32]] = {}
        for place, name in enumerate(self._inputs):
            self._must(context.set_tensor_address(name, self._device + place * step), profile)
            inputs[name] = host_array(self._host + place * step, shape, np.int32)
            inputs[name][...] = 1  # a valid row, whatever the memory held
        self._must(context.set_tensor_address(self._output, self._host + self._staging), profile)
        output = host_array(self._host + self._staging, tuple(context.get_tensor_shape(self._output)), np.float32)
        span = (len(inputs) - 1) * step + 4 * profile.tokens
        return _Bucket(profile, output, context=context, inputs=inputs, span=span)

    def _fill(self, bucket: _Bucket, feeds: Tensors, shape: tuple[int, ...]) -> None:
        copy_feeds(feeds, bucket.inputs, shape)

    def _enqueue(self, bucket: _Bucket) -> None:
        cuda, stream = self._cuda, self._stream
        cuda.copy_in(self._device, self._host, bucket.span, stream)
        if not bucket.context.execute_async_v3(stream):
            said = self._said()
            with suppress(CudaError):  # TensorRT hides what CUDA told it; a lost device would say so again
                cuda.synchronize(stream)
            raise EngineFailed(f"TensorRT cannot run {bucket.profile}: {said}")

    def _said(self) -> str:
        """The errors that TensorRT has logged."""
        return "; ".join(" ".join(error.split()) for error in self._logger.taken()) or "it gave no reason"

    def _must(self, done: bool, profile: Profile) -> None:  # noqa: FBT001 - what TensorRT returns
        if not done:
            raise EngineFailed(f"TensorRT refuses {profile} of {self.name}: {self._said()}: {REBUILD}")

    def inspected(self, profile: Profile, profiler: Any) -> str:  # noqa: ANN401 - an IProfiler
        """The layers of all profiles, as JSON by TensorRT's inspector; profiler is told what profile runs from now on.

        Graphs tell no times, so make the engine without. The inspector is not handed the profile's context: with one,
        10.6 tells nothing of the whole of a plan of several profiles, and may crash when asked layer by layer.
        """
        told = str(self._engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON))
        if not told:
            raise EngineFailed(f"TensorRT's inspector tells nothing of {self.name}: {self._said()}: {REBUILD}")
        self._buckets[profile.batch, profile.length].context.profiler = profiler
        return told

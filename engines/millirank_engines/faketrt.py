"""The part of TensorRT's Python module that an engine uses, on a FakeCuda, for tests: it refuses what TensorRT refuses.

A plan of it is JSON that says which optimization profiles it has and what computes its outputs: another engine of ours.
"""

import json
import weakref
from collections.abc import Sequence
from enum import Enum, IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import Engine, Profile
from .cuda import host_array
from .fake import FakeEngine
from .fakecuda import ALIGNMENT, FakeCuda
from .manifest import parse_profile
from .trtplan import Range

WEIGHTS, KEPT, PER_TOKEN = 4096, 512, 64  # bytes: of a plan, of a context, of activations by padded token
KERNELS = 3  # that an inference launches
Shape = tuple[int, ...]


class Severity(IntEnum):
    """As TensorRT numbers them."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class ILogger:
    """The base of loggers."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def log(self, severity: Severity, message: str) -> None:
        """Overridden."""
        raise NotImplementedError


class IGpuAllocator:
    """The base of allocators."""


class Mode(Enum):
    """What a tensor is."""

    INPUT = 1
    OUTPUT = 2


class DataType(Enum):
    """Of a tensor."""

    FLOAT = 0
    HALF = 1
    INT32 = 3


class Strategy(Enum):
    """Who manages a context's memory."""

    STATIC = 0
    USER_MANAGED = 2


class Specialization(Enum):
    """When TensorRT-RTX compiles for a shape."""

    LAZY = 0
    EAGER = 1


def fake_plan(ranges: Sequence[Range], profiles: Sequence[Profile], *, model: Path | None = None, **fake: Any) -> bytes:  # noqa: ANN401 - as FakeEngine takes them
    """A plan.

    Args:
        ranges: its optimization profiles.
        profiles: the shapes that will run.
        model: an OpenVINO IR or ONNX file that computes the outputs; None for a FakeEngine.
        fake: the FakeEngine's task and dim.
    """
    shapes = [[one.low, one.best, one.high] for one in ranges]
    runs = {"model": str(model)} if model else fake
    return json.dumps({"ranges": shapes, "profiles": [str(p) for p in profiles], "runs": runs}).encode()


class FakeTensorRt(SimpleNamespace):
    """The module.

    Args:
        cuda: the device that it runs on.
    """

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__(
            __version__="10.0.0-fake",
            ILogger=ILogger,
            IGpuAllocator=IGpuAllocator,
            TensorIOMode=Mode,
            DataType=DataType,
            ExecutionContextAllocationStrategy=Strategy,
            DynamicShapesKernelSpecializationStrategy=Specialization,
            Runtime=lambda logger: _Runtime(cuda, logger),
        )


class _Runtime:
    def __init__(self, cuda: FakeCuda, logger: ILogger) -> None:
        self.gpu_allocator: Any = None
        self._cuda, self._logger = cuda, logger

    def deserialize_cuda_engine(self, plan: bytes) -> "_Engine | None":
        try:
            described = json.loads(plan)
        except ValueError:
            self._logger.log(Severity.ERROR, "deserialization failed: the magic tag does not match")
            return None
        weights = self.gpu_allocator.allocate(WEIGHTS, ALIGNMENT, 0)
        if not weights:
            self._logger.log(Severity.ERROR, "deserialization failed: out of memory")
            return None
        engine = _Engine(self._cuda, self._logger, self.gpu_allocator, described)
        weakref.finalize(engine, self.gpu_allocator.deallocate, weights).atexit = False
        return engine


class _Engine:
    def __init__(self, cuda: FakeCuda, logger: ILogger, allocator: Any, plan: dict[str, Any]) -> None:  # noqa: ANN401
        self.cuda, self.logger, self.allocator = cuda, logger, allocator
        self.ranges = [Range(*map(tuple, three)) for three in plan["ranges"]]
        self.runs = _engine(plan)
        first = self.runs.profiles[0]
        names = ("input_ids", "attention_mask", "token_type_ids")
        feeds = {name: np.ones((first.batch, first.length), np.int32) for name in names}
        ((self.output, value),) = self.runs.infer(feeds).items()
        self.row = value.shape[1:]
        self.names = [*names, self.output]

    @property
    def num_io_tensors(self) -> int:
        return len(self.names)

    @property
    def num_optimization_profiles(self) -> int:
        return len(self.ranges)

    def get_tensor_name(self, number: int) -> str:
        return self.names[number]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.OUTPUT if name == self.output else Mode.INPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.FLOAT if name == self.output else DataType.INT32

    def get_tensor_profile_shape(self, name: str, number: int) -> list[tuple[int, int]]:
        assert self.get_tensor_mode(name) is Mode.INPUT  # noqa: S101 - TensorRT raises, too
        one = self.ranges[number]
        return [one.low, one.best, one.high]

    def get_device_memory_size_for_profile_v2(self, number: int) -> int:
        batch, length = self.ranges[number].high
        return PER_TOKEN * batch * length

    def create_execution_context(self, strategy: "Strategy | _RuntimeConfig") -> "_Context | None":
        if isinstance(strategy, _RuntimeConfig):
            strategy = strategy.strategy
        if strategy is not Strategy.USER_MANAGED:
            said = f"{strategy} is not what this fake knows"
            self.logger.log(Severity.ERROR, said)
            return None
        return _Context(self)

    def create_runtime_config(self) -> "_RuntimeConfig":
        return _RuntimeConfig()


class _RuntimeConfig:
    """What TensorRT-RTX makes a context by."""

    strategy = Strategy.STATIC
    dynamic_shapes_kernel_specialization_strategy: Specialization | None = None

    def set_execution_context_allocation_strategy(self, strategy: Strategy) -> None:
        self.strategy = strategy


def _engine(plan: dict[str, Any]) -> Engine:
    """What computes the outputs of a plan."""
    profiles = [parse_profile(text) for text in plan["profiles"]]
    if "model" not in plan["runs"]:
        return FakeEngine(profiles=profiles, **plan["runs"])
    from .openvino import OpenVinoEngine

    return OpenVinoEngine(Path(plan["runs"]["model"]), profiles, "fp32", threads=1)


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._number, self._memory, self._warm = 0, (0, 0), False
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}

    def _refused(self, why: str) -> bool:
        said = f"IExecutionContext: {why}"
        self._engine.logger.log(Severity.ERROR, said)
        return False

    def set_optimization_profile_async(self, number: int, _stream: int) -> bool:
        self._number, self._shapes = number, {}
        return number < self._engine.num_optimization_profiles or self._refused(f"there is no profile {number}")

    def set_input_shape(self, name: str, shape: Shape) -> bool:
        if not self._engine.ranges[self._number].holds(Profile(*shape)):
            return self._refused(f"{name} of {shape} is outside of profile {self._number}")
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name: str) -> Shape:
        return (self._shapes["input_ids"][0], *self._engine.row) if name == self._engine.output else self._shapes[name]

    def set_device_memory(self, address: int, size: int) -> None:
        self._memory = (address, size)

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return address % ALIGNMENT == 0 or self._refused(f"the address of {name} is not aligned")

    def execute_async_v3(self, stream: int) -> bool:
        engine, needed = self._engine, self._engine.get_device_memory_size_for_profile_v2(self._number)
        if set(self._addresses) != set(engine.names) or len(self._shapes) + 1 != len(engine.names):
            return self._refused("a shape or an address is not set")
        if self._memory[1] < needed or not engine.cuda.holds(*self._memory, "device"):
            return self._refused(f"it needs {needed} bytes for its activations, and has {self._memory[1]}")
        if not self._warm:  # as TensorRT, it allocates at its first run
            kept = engine.allocator.allocate(KEPT, ALIGNMENT, 0)
            if not kept:
                return self._refused("out of memory")
            weakref.finalize(self, engine.allocator.deallocate, kept).atexit = False
            self._warm = True
        for number in range(KERNELS):
            engine.cuda.enqueue(stream, "Kernel", self._run if number == 0 else self._activate)
        return True

    def _activate(self) -> None:
        """Leaves its traces in the shared memory."""
        address, size = self._memory
        if not self._engine.cuda.holds(address, size, "device"):
            self._engine.cuda.fail("synchronize", "cudaErrorIllegalAddress")
        host_array(address, (size,), np.uint8)[...] = 0xAB

    def _array(self, name: str, dtype: type[np.generic]) -> NDArray[Any]:
        shape = self.get_tensor_shape(name)
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if not self._engine.cuda.holds(self._addresses[name], size):
            self._engine.cuda.fail("synchronize", "cudaErrorIllegalAddress")
        return host_array(self._addresses[name], shape, dtype)

    def _run(self) -> None:
        engine = self._engine
        feeds = {name: self._array(name, np.int32) for name in engine.names if name != engine.output}
        self._array(engine.output, np.float32)[...] = engine.runs.infer(feeds)[engine.output]

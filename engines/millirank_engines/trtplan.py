"""What a deserialized plan takes and gives, and which of its optimization profiles a bucket runs on."""

from dataclasses import dataclass
from typing import Any

from .base import EngineError, Profile

INPUTS = {"input_ids", "attention_mask", "token_type_ids"}
OUTPUTS = {"embedding", "score"}
REBUILD = "build it anew with `millirank engine build`"


@dataclass(frozen=True)
class Range:
    """An optimization profile: the shapes that it holds."""

    low: tuple[int, int]  # batch and length
    best: tuple[int, int]  # that its kernels were chosen for
    high: tuple[int, int]

    @property
    def width(self) -> int:
        """How many shapes it holds."""
        return (self.high[0] - self.low[0] + 1) * (self.high[1] - self.low[1] + 1)

    def holds(self, profile: Profile) -> bool:
        """Whether a bucket lies in it."""
        within = self.low[0] <= profile.batch <= self.high[0], self.low[1] <= profile.length <= self.high[1]
        return all(within)

    def __str__(self) -> str:
        return "-".join("x".join(map(str, shape)) for shape in (self.low, self.high))


def tensors_of(engine: Any, trt: Any) -> tuple[tuple[str, ...], str]:  # noqa: ANN401 - without types
    """The names of a plan's inputs, sorted, and of its output.

    Args:
        engine: an ICudaEngine.
        trt: the TensorRT module.

    Raises:
        EngineError: if they are not those of an encoder or a reranker.
    """
    names = [engine.get_tensor_name(number) for number in range(engine.num_io_tensors)]
    inputs = tuple(sorted(n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT))
    outputs = [name for name in names if name not in inputs]
    fit = {"input_ids"} <= set(inputs) <= INPUTS and len(outputs) == 1 and outputs[0] in OUTPUTS
    types = {name: trt.DataType.INT32 if name in inputs else trt.DataType.FLOAT for name in names}
    if not fit or any(engine.get_tensor_dtype(name) != kind for name, kind in types.items()):
        found = ", ".join(f"{name} ({engine.get_tensor_dtype(name)})" for name in names)
        raise EngineError(f"the plan has the tensors {found}, not int32 inputs and one float32 output: {REBUILD}")
    return inputs, outputs[0]


def ranges_of(engine: Any) -> list[Range]:  # noqa: ANN401 - without types
    """The optimization profiles of an ICudaEngine, by their numbers."""
    shapes = (engine.get_tensor_profile_shape("input_ids", n) for n in range(engine.num_optimization_profiles))
    return [Range(*((int(shape[0]), int(shape[1])) for shape in three)) for three in shapes]


def narrowest(ranges: list[Range], profile: Profile) -> int:
    """The number of the optimization profile that holds a bucket and fewest other shapes; the nearest of equal ones.

    Raises:
        EngineError: if none holds it.
    """
    fitting = [number for number, one in enumerate(ranges) if one.holds(profile)]
    if not fitting:
        raise EngineError(
            f"{profile} lies in no optimization profile of the plan ({', '.join(map(str, ranges))}): "
            f"rebuild it with `millirank engine build` and a profile that holds {profile}"
        )

    def misfit(number: int) -> tuple[int, int]:
        batch, length = ranges[number].best
        return ranges[number].width, abs(batch * length - profile.tokens)

    return min(fitting, key=misfit)

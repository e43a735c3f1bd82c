"""The Engine protocol: what every runtime offers, and the fixed buckets that work runs in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Tensors = Mapping[str, NDArray[np.generic]]


class EngineError(Exception):
    """Anything wrong with an engine or its artifact; the message names the fix."""


class ArtifactRefused(EngineError):
    """An artifact that must not be loaded: unsealed, changed, or made for other versions or another device."""


class BackendUnavailable(EngineError):
    """A runtime that is not installed here."""

    def __init__(self, backend: str, fix: str) -> None:
        super().__init__(f"the {backend} runtime is not available: {fix}")


class EngineFailed(EngineError):
    """An inference that failed in the runtime."""


class DeviceLost(EngineError):
    """A device that answers nothing more in this process: the process must end, a new one may work."""


@dataclass(frozen=True, order=True)
class Profile:
    """One bucket of work: the shape that inputs are padded to."""

    batch: int  # sequences
    length: int  # tokens a sequence

    @property
    def tokens(self) -> int:
        """Padded tokens: what the work costs."""
        return self.batch * self.length

    def __str__(self) -> str:
        return f"{self.batch}x{self.length}"


def cheapest_profile(profiles: Sequence[Profile], batch: int, length: int) -> Profile:
    """The profile with the fewest padded tokens that holds batch sequences of length tokens.

    Raises:
        EngineError: if none holds them.
    """
    fitting = [p for p in profiles if p.batch >= batch and p.length >= length]
    if not fitting:
        largest = max(profiles)
        raise EngineError(
            f"no profile holds {batch} sequences of {length} tokens, the largest is {largest}: "
            f"send less at once or rebuild with `millirank engine build --profiles {batch}x{length}`"
        )
    return min(fitting, key=lambda p: (p.tokens, p.batch))


def no_profile(name: str, profiles: Sequence[Profile], shape: tuple[int, ...]) -> EngineError:
    """The refusal of feeds whose shape is none of an engine's profiles; it has none once it is closed."""
    asked = "x".join(map(str, shape)) or "of no input_ids"
    known = ", ".join(map(str, profiles)) or "the engine is closed"
    return EngineError(f"no profile of {name} has the shape {asked}: {known}")


def copy_feeds(feeds: Tensors, memory: Mapping[str, NDArray[np.int32]], shape: tuple[int, ...]) -> None:
    """Copies the feeds of that shape into the memory of an engine's inputs.

    Raises:
        EngineError: if an input is missing or has another shape.
    """
    for name, place in memory.items():
        feed = feeds.get(name)
        if feed is None or feed.shape != shape:
            got = "missing" if feed is None else feed.shape
            raise EngineError(f"{name} is {got}: feed it in the shape {shape} of input_ids")
        place[...] = feed


class Engine(Protocol):
    """A model compiled for one device. One thread at a time may call infer."""

    @property
    def name(self) -> str:
        """Says backend and precision, such as openvino/bf16."""

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The shapes that infer runs at full speed; inputs must have one of them exactly."""

    def infer(self, feeds: Tensors) -> dict[str, NDArray[np.float32]]:
        """Runs the model once.

        Args:
            feeds: input_ids, attention_mask and, where the model has them, token_type_ids; int32, shape (batch, length)
                equal to one of the profiles.

        Returns:
            An encoder's embedding, float32 (batch, dim), of unit length; or a reranker's score, float32 (batch,).

        Raises:
            EngineError: if no profile has that shape.
            EngineFailed: if the runtime failed.
        """

    def close(self) -> None:
        """Frees the device; infer may not be called afterwards."""

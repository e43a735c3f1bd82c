"""What a build in INT8 is given: scales, the gate that they must pass, and how a precision is chosen."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from millirank_engines.artifact import digest
from millirank_engines.base import EngineError
from millirank_engines.figures import Figure
from millirank_engines.model import ModelSpec

from .gate import LIMITS, Judge
from .scales import Scales

INT8, AUTO = "int8", "auto"


@dataclass(frozen=True)
class Int8:
    """Scales and what becomes of them."""

    scales: Scales
    judge: Judge | None = None  # None takes the figures that were sealed with the scales
    allowed: Mapping[str, float] = field(default_factory=dict)  # losses by figure, beyond the limits
    arguments: tuple[str, ...] = ()  # of `millirank engine build`, that ask for the same
    asked: Mapping[str, Any] = field(default_factory=dict)  # what the judge's figures depend on, as plain data
    clock: Callable[[], float] = time.perf_counter  # seconds
    timed: int | None = None  # profiles at most that choose, where all share one precision; None: all

    def key(self) -> dict[str, Any]:
        """What a build depends on, as plain data."""

        def digests(vectors: Mapping[str, Any]) -> dict[str, str]:
            return {group: digest({"x": np.asarray(v).tolist()}) for group, v in sorted(vectors.items())}

        return {
            "amax": dict(sorted(self.scales.amax.items())),
            "smoothing": digests(self.scales.smoothing),
            "shift": digests(self.scales.shift),
            "mean": digests(self.scales.mean),
            "weight_bits": self.scales.weight_bits,
            "allowed": dict(self.allowed),
            "limits": dict(LIMITS),
            "gate": dict(self.asked) if self.judge else self.scales.about.get("gate"),
        }

    def refuse_other(self, model: ModelSpec, inputs: Mapping[str, str]) -> None:
        """Refuses scales that were made for other weights.

        A model's hash may change with the version of the tokenizer's library; its files do not.

        Raises:
            EngineError: with both models.
        """
        made = self.scales.about.get("model", "")
        if made != model.hash and self.scales.about.get("inputs") != dict(inputs):
            raise EngineError(
                f"these scales are of {self.scales.about.get('name', 'an unknown model')} ({made[:12]}), not of "
                f"{model.name} ({model.hash[:12]}): calibrate this model with --calibration"
            )

    def sealed(self) -> tuple[Figure, ...]:
        """The figures that came with the scales.

        Raises:
            EngineError: if there are none.
        """
        figures = self.scales.about.get("gate")
        if not figures:
            raise EngineError(
                "these scales never passed the gate: name an index, such as `millirank index` makes, with --gate"
            )
        return tuple(Figure(**figure) for figure in figures)

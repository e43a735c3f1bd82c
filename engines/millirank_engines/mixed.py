"""One engine of several: each profile runs at the precision that was chosen for it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .base import Engine, Profile, Tensors, no_profile


class MixedEngine:
    """Engines of one model, each with the profiles that are its own; see Engine. Owns them."""

    def __init__(self, parts: Mapping[str, Engine]) -> None:
        """Takes engines by precision; every profile is one engine's alone."""
        self._parts: Sequence[Engine] = tuple(parts.values())
        self.name = f"{self._parts[0].name.partition('/')[0]}/{'+'.join(parts)}"
        self._by_shape = {(p.batch, p.length): engine for engine in self._parts for p in engine.profiles}

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Those of all parts."""
        return tuple(sorted(profile for engine in self._parts for profile in engine.profiles))

    def infer(self, feeds: Tensors) -> dict[str, NDArray[np.float32]]:
        """Runs the engine whose profile the feeds have; see Engine."""
        shape = feeds["input_ids"].shape if "input_ids" in feeds else ()
        engine = self._by_shape.get(shape)
        if engine is None:
            raise no_profile(self.name, self.profiles, shape)
        return engine.infer(feeds)

    def close(self) -> None:
        """Frees all parts."""
        for engine in self._parts:
            engine.close()

"""Chance that is the same on every machine and Python."""

import random
import zlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws that depend on the key alone; built on `random.Random.random`, the one method Python promises to keep."""

    def __init__(self, *key: str | int) -> None:
        seed = zlib.crc32("/".join(map(str, key)).encode())
        self._random = random.Random(seed)  # noqa: S311  # a catalogue, not a secret

    def unit(self) -> float:
        """Draw from [0, 1)."""
        return self._random.random()

    def below(self, end: int) -> int:
        """Draw from 0 .. end - 1."""
        return int(self.unit() * end)

    def pick(self, items: Sequence[T]) -> T:
        """Draw one of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in a drawn order."""
        keys = [self.unit() for _ in items]
        return [items[i] for i in sorted(range(len(items)), key=keys.__getitem__)]

"""A bounded uniform sample of a stream whose length nobody knows beforehand."""

import random
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Reservoir(Generic[T]):
    """Keeps each item that was ever offered with the same probability, by algorithm R.

    What it has kept and how many it has seen is all of its state, so one that was stored goes on as if never stopped.
    The algorithm: J. S. Vitter, Random Sampling with a Reservoir, ACM Transactions on Mathematical Software 11, 1985.

    Args:
        capacity: items that are kept at most.
        dice: decides.
        kept: of an earlier reservoir; if that was larger, a uniform sample of them.
        seen: items that were offered to it.
    """

    def __init__(self, capacity: int, dice: random.Random, kept: Iterable[T] = (), seen: int = 0) -> None:
        self.capacity, self._dice = capacity, dice
        self.kept = list(kept)
        if len(self.kept) > capacity:
            self.kept = dice.sample(self.kept, capacity)
        self.seen = max(seen, len(self.kept))

    @property
    def weight(self) -> float:
        """Offered items that each kept one stands for."""
        return self.seen / len(self.kept) if self.kept else 1.0

    def offer(self, make: Callable[[], T]) -> bool:
        """Offers an item, which is made only if it is kept; returns whether it was."""
        self.seen += 1
        if len(self.kept) < self.capacity:
            self.kept.append(make())
            return True
        place = self._dice.randrange(self.seen)
        if place >= self.capacity:
            return False
        self.kept[place] = make()
        return True

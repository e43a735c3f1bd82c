"""Sequences that come together: what buckets are proposed for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Demand:
    """Sequences that come together, so often."""

    lengths: tuple[int, ...]  # tokens of each, special ones included
    weight: float = 1.0  # 0 for what must be held but hardly ever comes
    valid: float = 0.0  # tokens that are no padding, where lengths are padded already

    @property
    def tokens(self) -> float:
        """Tokens that are no padding."""
        return self.valid or sum(self.lengths)


def whole(demands: Iterable[Demand]) -> list[Demand]:
    """The same demands, each in one call padded to its longest: for devices where a call costs more than padding."""
    return [Demand((max(d.lengths),) * len(d.lengths), d.weight, d.tokens) for d in demands if d.lengths]


def drawn_together(lengths: Mapping[int, float], batches: Sequence[int]) -> list[Demand]:
    """Batches of sequences that arrive independently, padded to their longest.

    The longest of b draws is at most n with probability F(n) to the power b, so nothing needs to be drawn.

    Args:
        lengths: how often each length comes.
        batches: sequences of a batch, all sizes equally often.
    """
    total = sum(lengths.values())
    mean = sum(length * count for length, count in lengths.items()) / total
    demands = []
    for batch in batches:
        below, seen = 0.0, 0.0
        for length, count in sorted(lengths.items()):
            seen += count
            up_to = (seen / total) ** batch
            demands.append(Demand((length,) * batch, up_to - below, batch * mean))
            below = up_to
    return demands

"""Finds the highest rate that a server bears. Pure: what a rate comes to is measured by the caller."""

from collections.abc import Callable


def highest_rate(
    bears: Callable[[float], bool],
    *,
    start: float = 10.0,
    most: float = 100_000.0,
    least: float = 0.1,
    near: float = 0.05,
) -> float:
    """The highest rate found that a server bears, or 0.0 if it bears not even the least.

    Doubles from start (or halves, if that is too much), then bisects until the rates borne and not borne differ by
    less than a share `near`.

    Args:
        bears: whether a rate in calls a second is borne; asked about each rate once.
        start: where to begin.
        most: the highest rate to try.
        least: the lowest rate to try.
        near: when to stop.
    """
    low, high = 0.0, start
    while high <= most and bears(high):
        low, high = high, 2 * high
    if high > most:
        return low
    while not low:
        if high / 2 < least:
            return 0.0
        if bears(high / 2):
            low = high / 2
        else:
            high /= 2
    while high / low > 1 + near:
        middle = (low + high) / 2
        if bears(middle):
            low = middle
        else:
            high = middle
    return low

"""How long work takes now, as a multiple of what it once took: quantiles of what is observed."""

import math

QUANTILE = 0.99  # of what is observed, unless another is asked for
STEP = 0.05  # relative
DOUBT = 0.02  # relative, a second
LIMITS = (0.2, 5.0)
LEAST_DOUBTED = 0.25  # outlives a table that is four times too dear, and clients with hopeless deadlines


class Pace:
    """A quantile of what is observed.

    Each observation moves it up by `quantile` or down by `1 - quantile` steps, so it settles where that share of the
    observations lies below it, and follows a machine that others slow down or leave alone (stochastic approximation of
    a quantile: Robbins and Monro 1951; Tierney 1983). Work that was not tried because it would not fit says nothing:
    the pace is then doubted a little, so that a machine that was slow for a while is tried again.
    """

    def __init__(self, quantile: float = QUANTILE) -> None:
        self.value = 1.0
        self._doubted = -math.inf  # monotonic seconds
        self._up, self._down = STEP * quantile, STEP * (1 - quantile)

    def observe(self, ratio: float) -> None:
        """Learns from one call that took ratio times its measured cost."""
        self._move(self._up if ratio > self.value else -self._down)

    def doubt(self, now: float) -> None:
        """Learns from work that was not tried, by the time that passes; never so far that the next tries are hopeless.

        Args:
            now: monotonic seconds.
        """
        elapsed, self._doubted = min(max(0.0, now - self._doubted), 1.0), max(now, self._doubted)
        if self.value > LEAST_DOUBTED:
            self._move(-DOUBT * elapsed)

    def _move(self, by: float) -> None:
        self.value = min(max(self.value * (1 + by), LIMITS[0]), LIMITS[1])


class Paces:
    """Paces of QUANTILE that learn from each other: they are on the way of every batch, few enough for a list.

    Args:
        n: how many.
        others: weight of what another one observed.
    """

    def __init__(self, n: int, others: float) -> None:
        self.values = [1.0] * n
        self._up, self._down = 1 + others * STEP * QUANTILE, 1 - others * STEP * (1 - QUANTILE)
        self._doubted = -math.inf  # monotonic seconds

    def observe(self, at: int, ratio: float) -> None:
        """Learns from one call of the one at that place, that took ratio times its measured cost."""
        least, most, up, down, own = *LIMITS, self._up, self._down, self.values[at]
        fresh = [value * up if value < ratio else value * down for value in self.values]
        if max(fresh) > most or min(fresh) < least:
            fresh = [min(max(value, least), most) for value in fresh]
        own *= 1 + (STEP * QUANTILE if ratio > own else -STEP * (1 - QUANTILE))
        fresh[at] = min(max(own, least), most)
        self.values = fresh

    def doubt(self, now: float) -> None:
        """As that of a Pace."""
        elapsed, self._doubted = min(max(0.0, now - self._doubted), 1.0), max(now, self._doubted)
        by = 1 - DOUBT * elapsed
        self.values = [max(value * by, LIMITS[0]) if value > LEAST_DOUBTED else value for value in self.values]

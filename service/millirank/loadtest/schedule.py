"""When calls should be sent: pure functions from rates to times, the same for the same seed."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from millirank.errors import ConfigError


@dataclass(frozen=True)
class Stretch:
    """A constant rate for a while."""

    rate: float  # calls a second; 0 is a pause
    seconds: float

    def __post_init__(self) -> None:
        """Refuses what no clock can follow.

        Raises:
            ConfigError: if the rate or the time is negative or no number, or the time is nothing.
        """
        if not (math.isfinite(self.rate) and self.rate >= 0):
            raise ConfigError(f"a rate of {self.rate} calls a second: give a number above 0")
        if not (math.isfinite(self.seconds) and self.seconds > 0):
            raise ConfigError(f"{self.seconds} seconds of load: give a number above 0")


def arrivals(stretches: Sequence[Stretch], *, seed: int | None = 1) -> list[float]:
    """Intended send times in seconds from the start, ascending.

    Args:
        stretches: one after another: one is a constant load or a soak, several are steps or a burst.
        seed: of a Poisson process, as independent shoppers make; None spaces calls evenly, the first at 0.
    """
    times: list[float] = []
    begin = 0.0
    random_ = random.Random(seed)  # noqa: S311 - a load, not a secret
    for stretch in stretches:
        if stretch.rate:
            if seed is None:
                count = math.ceil(stretch.rate * stretch.seconds - 1e-9)
                times += [begin + call / stretch.rate for call in range(count)]
            else:
                at = random_.expovariate(stretch.rate)  # memoryless, so each stretch starts anew
                while at < stretch.seconds:
                    times.append(begin + at)
                    at += random_.expovariate(stretch.rate)
        begin += stretch.seconds
    return times

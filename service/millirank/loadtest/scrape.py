"""A server's /metrics: scraped, subtracted, read."""

import asyncio
import math
import re
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Mapping

from millirank.errors import MillirankError

LAG, STALLS, INFLIGHT = "millirank_event_loop_lag_seconds", "millirank_event_loop_stalls_total", "millirank_inflight"
SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", re.MULTILINE)
BOUND = re.compile(r'(?:^|,)le="([^"]+)"')
Samples = Mapping[str, float]  # by name and labels, as they stand in the text


class NoMetrics(MillirankError):
    """Nothing to scrape."""


def samples(text: str) -> dict[str, float]:
    """Every sample of an exposition in Prometheus's text format."""
    found = SAMPLE.findall(text)
    return {f"{name}{{{labels}}}" if labels else name: float(value) for name, labels, value in found}


def scrape(url: str) -> dict[str, float]:
    """The samples that a server tells now.

    Raises:
        NoMetrics: if it tells none.
    """
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - what the user named
            return samples(answer.read().decode())
    except (OSError, ValueError, urllib.error.URLError) as error:
        fix = "name the /metrics of the server with --metrics http://HOST:9464/metrics or leave it out"
        raise NoMetrics(f"{url} cannot be scraped ({error}): {fix}") from error


async def scraped(url: str) -> dict[str, float]:
    """scrape() on a thread."""
    return await asyncio.to_thread(scrape, url)


def less(after: Samples, before: Samples) -> dict[str, float]:
    """What was counted meanwhile."""
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


def total(found: Samples, name: str) -> float:
    """The sum of a sample over all its labels; 0.0 if there is none."""
    return sum(value for key, value in found.items() if key == name or key.startswith(name + "{"))


def buckets(found: Samples, name: str) -> list[tuple[float, float]]:
    """A histogram summed over all its labels: each upper bound with the cumulative count, ascending."""
    counts: dict[float, float] = defaultdict(float)
    for key, value in found.items():
        bound = BOUND.search(key.partition("{")[2].removesuffix("}")) if key.startswith(name + "_bucket{") else None
        if bound:
            counts[float(bound[1])] += value
    return sorted(counts.items())


def bucket_quantile(histogram: list[tuple[float, float]], q: float) -> float:
    """The upper bound of the bucket that holds a quantile; nan of nothing."""
    count = histogram[-1][1] if histogram else 0.0
    return next((bound for bound, below in histogram if count and below >= q * count), math.nan)

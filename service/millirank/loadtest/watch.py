"""A load with what the server spent on it: processor time, memory, event-loop lag."""

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from .client import Run
from .results import Row
from .sampler import Sample, Sampler
from .scrape import INFLIGHT, LAG, STALLS, bucket_quantile, buckets, less, scrape, total

MIB = 2**20


@dataclass
class Watch:
    """Looks at the server from before a load until after it; what is not named is not looked at.

    Args:
        pid: of the server; its descendants count too.
        metrics: the URL of its /metrics.

    Raises:
        BackendUnavailable: on entry, if a pid is named without psutil.
        ConfigError: on entry, if no process has that pid.
        NoMetrics: if there is nothing to scrape at the URL.
    """

    pid: int | None = None
    metrics: str | None = None

    def __enter__(self) -> Self:
        self._before = scrape(self.metrics) if self.metrics is not None else None
        self._sampler = Sampler(self.pid).__enter__() if self.pid is not None else None  # last: it must be ended
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sampler is not None:
            self._sampler.__exit__(kind, error, trace)

    def rows(self, case: str, run: Run) -> list[Row]:
        """What the server spent since the last call of this method, or since the begin."""
        rows = []
        if self._sampler is not None:
            rows += spent(case, self._sampler.between(run.begin, run.end))
        if self._before is not None and self.metrics is not None:
            after = scrape(self.metrics)
            meanwhile, self._before = less(after, self._before), after
            for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0)):
                bound = bucket_quantile(buckets(meanwhile, LAG), q)
                if bound == bound:  # noqa: PLR0124 - nan where no lag was recorded
                    rows.append(Row(case, f"event-loop lag {name} at most", 1e3 * bound, "ms"))
            rows.append(Row(case, "event-loop stalls", total(meanwhile, STALLS), "stalls"))
            rows.append(Row(case, "in flight after", total(after, INFLIGHT), "queries"))
        return rows


def spent(case: str, samples: Sequence[Sample]) -> list[Row]:
    """Processor time and memory of some samples; nothing of fewer than two."""
    if len(samples) < 2:  # noqa: PLR2004 - a difference needs two
        return []
    first, last = samples[0], samples[-1]
    seconds, cpu = last.at - first.at, last.cpu - first.cpu
    return [
        Row(case, "server cpu", cpu / seconds, "cores"),
        Row(case, "server memory", max(sample.rss for sample in samples) / MIB, "MiB"),
        Row(case, "server processes", max(sample.processes for sample in samples), "processes"),
    ]

"""How the queries of a simulation ended, and how busy who was."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from millirank.types import Degraded

REASONS = tuple(Degraded)


class Ended(IntEnum):
    """How a query ended."""

    OPEN = 0  # not at all: never seen in an outcome
    ANSWERED = 1
    REFUSED = 2  # RESOURCE_EXHAUSTED
    TOO_LATE = 3  # DEADLINE_EXCEEDED


@dataclass(frozen=True)
class Ran:
    """The batches of one lane.

    Attributes:
        starts: simulated seconds, (b,).
        seconds: of each, (b,).
        requests: in each, (b,).
        sequences: in each, (b,).
    """

    starts: NDArray[np.float64]
    seconds: NDArray[np.float64]
    requests: NDArray[np.int64]
    sequences: NDArray[np.int64]

    def utilisation(self, begin: float, end: float) -> float:
        """The share of that span in which the lane was busy."""
        within = np.minimum(self.starts + self.seconds, end) - np.maximum(self.starts, begin)
        return float(np.maximum(within, 0).sum() / (end - begin)) if end > begin else 0.0


@dataclass(frozen=True)
class Summary:
    """What is said of a simulation; seconds and shares. Percentiles are of answered queries, NaN if there are none."""

    queries: int
    first_p50: float
    first_p99: float
    final_p50: float
    final_p99: float
    depth_p50: float
    depth_mean: float
    refused: float  # share of all, with those that were too late from the start
    late: float  # share of the answered whose final message was later than the SLA
    degraded: dict[Degraded, float]  # share of the answered
    encode_busy: float  # share of the time, mean over the cores
    rerank_busy: float
    frontend_busy: float  # share of the time of the event loops, mean over the frontends
    encode_batch: float  # requests, mean
    rerank_batch: float


@dataclass(frozen=True)
class Outcome:
    """Every query of a simulation, as arrays of shape (n,), and every batch.

    Attributes:
        arrivals: simulated seconds.
        ended: an Ended of each.
        first: seconds from arrival to the first message, NaN where there was none.
        final: seconds from arrival to the final message, NaN where there was none.
        depth: candidates reranked; -1 where there was no answer.
        degraded: 0 for no, otherwise 1 + the position in REASONS.
        core: which one embedded it; -1 where none was asked.
        encodes: of each core.
        reranks: of each core.
        loops: seconds of work of each frontend's event loop.
        sla: seconds.
    """

    arrivals: NDArray[np.float64]
    ended: NDArray[np.uint8]
    first: NDArray[np.float64]
    final: NDArray[np.float64]
    depth: NDArray[np.int32]
    degraded: NDArray[np.uint8]
    core: NDArray[np.int32]
    encodes: tuple[Ran, ...]
    reranks: tuple[Ran, ...]
    loops: tuple[float, ...]
    sla: float

    def summary(self, begin: float = 0.0, end: float = np.inf) -> Summary:
        """Of the queries that arrived from begin until end, in simulated seconds."""
        last = min(end, float(self.arrivals[-1])) if len(self.arrivals) else 0.0
        within = (self.arrivals >= begin) & (self.arrivals < end)
        answered = within & (self.ended == Ended.ANSWERED)
        n, served = int(within.sum()), int(answered.sum())
        depth = self.depth[answered]
        losses = self.degraded[answered]
        whole = max(float(self.arrivals[-1]), 1e-9) if len(self.arrivals) else 1.0
        return Summary(
            n,
            *_quantiles(self.first[answered]),
            *_quantiles(self.final[answered]),
            depth_p50=float(np.median(depth)) if served else np.nan,
            depth_mean=float(depth.mean()) if served else np.nan,
            refused=1 - served / n if n else 0.0,
            late=float((self.final[answered] > self.sla).mean()) if served else 0.0,
            degraded={
                reason: float((losses == place).mean())
                for place, reason in enumerate(REASONS, 1)
                if (losses == place).any()
            },
            encode_busy=float(np.mean([ran.utilisation(begin, last) for ran in self.encodes])),
            rerank_busy=float(np.mean([ran.utilisation(begin, last) for ran in self.reranks])),
            frontend_busy=float(np.mean(self.loops)) / whole,
            encode_batch=_mean([ran.requests for ran in self.encodes]),
            rerank_batch=_mean([ran.requests for ran in self.reranks]),
        )


def _quantiles(seconds: NDArray[np.float64]) -> tuple[float, float]:
    if not len(seconds):
        return float("nan"), float("nan")
    return float(np.quantile(seconds, 0.5)), float(np.quantile(seconds, 0.99))


def _mean(parts: list[NDArray[np.int64]]) -> float:
    whole = np.concatenate(parts)
    return float(whole.mean()) if len(whole) else 0.0

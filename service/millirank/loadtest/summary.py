"""What calls come to: percentiles, refusals, errors, depth. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .call import Call, Status
from .client import Run
from .results import Row

QUANTILES = {"p50": 0.50, "p90": 0.90, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
UNFINISHED = "UNFINISHED"  # a call that had not ended when the run was over


def quantile(values: Iterable[float], q: float) -> float:
    """The least value that a share q of the values does not exceed (nearest rank); nan of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered) - 1e-9) - 1)] if ordered else math.nan


def quantiles(values: Iterable[float]) -> dict[str, float]:
    """Every one of QUANTILES; empty of nothing."""
    ordered = sorted(values)
    return {name: quantile(ordered, q) for name, q in QUANTILES.items()} if ordered else {}


@dataclass(frozen=True)
class Summary:
    """One load's figures; latencies in seconds from the intended time, of answered calls only."""

    case: str
    offered: float  # calls a second
    seconds: float  # of load
    sent: int
    answered: int
    statuses: Mapping[str, int]  # by gRPC status, or UNFINISHED
    first: Mapping[str, float]  # to the first message
    final: Mapping[str, float]  # to the final message
    refusal: Mapping[str, float]  # to the status of refused calls
    lag: Mapping[str, float]  # how late the client itself sent
    depth: Mapping[str, float]  # mean, median, min
    degraded: Mapping[str, int]  # answers by reason
    client_cpu: float  # seconds of the client's process a call

    @property
    def refused(self) -> float:
        """Share of calls that were refused."""
        return self.statuses.get(Status.RESOURCE_EXHAUSTED.name, 0) / self.sent if self.sent else 0.0

    @property
    def failed(self) -> float:
        """Share of calls that were neither answered nor refused."""
        return (self.sent - self.answered) / self.sent - self.refused if self.sent else 0.0

    def meets(self, bound: float, excess: float) -> bool:
        """Whether p99 of the final message is at most bound in seconds, refusals and errors at most a share excess."""
        return bool(self.final) and self.final["p99"] <= bound and self.refused + self.failed <= excess

    def rows(self) -> list[Row]:
        """The figures as rows of a result."""
        case, answered = self.case, max(1, self.answered)
        rows = [
            Row(case, "offered", self.offered, "queries/s"),
            Row(case, "answered", self.answered / self.seconds, "queries/s"),
            Row(case, "calls", self.sent, "calls"),
        ]
        for name, values in (("first", self.first), ("final", self.final), ("refusal", self.refusal)):
            rows += [Row(case, f"{name} {q}", 1e3 * value, "ms") for q, value in values.items()]
        if self.final:
            rows.append(Row(case, "final p99-p95", 1e3 * (self.final["p99"] - self.final["p95"]), "ms"))
        rows += [Row(case, "refused", 100 * self.refused, "%"), Row(case, "errors", 100 * self.failed, "%")]
        rows += [Row(case, f"status {name}", count, "calls") for name, count in self.statuses.items()]
        rows += [Row(case, f"depth {name}", value, "candidates") for name, value in self.depth.items()]
        rows.append(Row(case, "degraded", 100 * sum(self.degraded.values()) / answered, "%"))
        rows += [Row(case, f"degraded {why}", 100 * count / answered, "%") for why, count in self.degraded.items()]
        rows += [Row(case, f"client lag {q}", 1e3 * self.lag[q], "ms") for q in ("p50", "p99") if q in self.lag]
        rows.append(Row(case, "client cpu", 1e3 * self.client_cpu, "ms/call"))
        return rows


def summarize(case: str, run: Run, *, seconds: float) -> Summary:
    """Figures of a run whose schedule lasted so many seconds."""
    return of_calls(case, run.calls, seconds=seconds, cpu=run.cpu)


def of_calls(case: str, calls: Sequence[Call], *, seconds: float, cpu: float = 0.0) -> Summary:
    """Figures of some calls, such as those intended within a window.

    Args:
        case: names them.
        calls: any, in any order.
        seconds: the time in which they were intended.
        cpu: seconds of processor time that the client took for them.
    """
    answered = [call for call in calls if call.answered]
    refused = [call for call in calls if call.status is Status.RESOURCE_EXHAUSTED]
    statuses = Counter(UNFINISHED if call.status is None else call.status.name for call in calls)
    depths = sorted(call.depth for call in answered)
    depth = {"mean": sum(depths) / len(depths), "median": quantile(depths, 0.5), "min": depths[0]} if depths else {}
    return Summary(
        case=case,
        offered=len(calls) / seconds,
        seconds=seconds,
        sent=len(calls),
        answered=len(answered),
        statuses=dict(statuses.most_common()),
        first=quantiles(call.first - call.intended for call in answered),
        final=quantiles(call.final - call.intended for call in answered),
        refusal=quantiles(call.ended - call.intended for call in refused),
        lag=quantiles(call.sent - call.intended for call in calls if call.sent),
        depth=depth,
        degraded=dict(Counter(call.degraded for call in answered if call.degraded).most_common()),
        client_cpu=cpu / max(1, len(calls)),
    )

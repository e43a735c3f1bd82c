"""The families of metrics: their names, labels and bounds, on which dashboards and alerts rely.

No label ever holds a query, a product id or any other text of a client.
"""

from dataclasses import dataclass
from enum import Enum

from millirank.errors import DeadlineExceeded, Overloaded, Unavailable
from millirank.types import Degraded

STALL = 0.005  # seconds of event-loop lag from which it is called a stall
LANES = ("encode", "rerank")

TIME_BOUNDS = (
    0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.009, 0.010, 0.012, 0.015, 0.02, 0.05, 0.1, 1.0,
)  # fmt: skip
DEPTH_BOUNDS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 40, 50, 100)
REQUEST_BOUNDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
SEQUENCE_BOUNDS = (1, 2, 4, 8, 16, 32, 50, 64, 100, 128, 256, 512, 1024, 2048)
TOKEN_BOUNDS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


class Kind(Enum):
    """How the values of a family add up."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True)
class Family:
    """One family: series that differ in their labels only."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()  # of a histogram, ascending; the last bucket, to infinity, is not named

    @property
    def width(self) -> int:
        """How many numbers a series has: the count of each bucket, not cumulated, and the sum; or one value."""
        return len(self.bounds) + 2 if self.kind is Kind.HISTOGRAM else 1


def _counter(name: str, text: str, *labels: str) -> Family:
    return Family(f"millirank_{name}_total", Kind.COUNTER, text, labels)


def _histogram(name: str, text: str, bounds: tuple[float, ...], *labels: str) -> Family:
    return Family(f"millirank_{name}", Kind.HISTOGRAM, text, labels, bounds)


def _seconds(name: str, text: str, *labels: str) -> Family:
    return _histogram(f"{name}_seconds", text, TIME_BOUNDS, *labels)


def _gauge(name: str, text: str, *labels: str) -> Family:
    return Family(f"millirank_{name}", Kind.GAUGE, text, labels)


FIRST = _seconds("first_message", "From a query's arrival to its first message.", "method", "status")
FINAL = _seconds("final_message", "From a query's arrival to its final message or status.", "method", "status")
REQUESTS = _counter("requests", "Queries that ended, by gRPC status.", "method", "status")
QUEUED = _seconds("queue", "What a request waited for its batch.", "lane")
ENGINE = _seconds("engine", "What a batch took, all its engine calls together.", "lane")
BATCH_REQUESTS = _histogram("batch_requests", "Requests in a batch.", REQUEST_BOUNDS, "lane")
BATCH_SEQUENCES = _histogram("batch_sequences", "Queries or pairs in a batch.", SEQUENCE_BOUNDS, "lane")
BATCH_TOKENS = _histogram("batch_tokens", "Tokens that a batch ran, padding included.", TOKEN_BOUNDS, "lane")
VALID_TOKENS = _counter("valid_tokens", "Tokens that engines ran, without padding.", "lane")
PADDED_TOKENS = _counter("padded_tokens", "Tokens that engines ran, padding included.", "lane")
PADDING = _gauge("padding_ratio", "Share of padding in the tokens that engines ran since the start.", "lane")
DEPTH = _histogram("rerank_depth", "Candidates of a query that were reranked.", DEPTH_BOUNDS)
DEGRADED = _counter("degraded", "Final answers that are less good than they could be.", "reason")
REFUSED = _counter("refused", "Queries refused at once.", "reason")
OVERRUNS = _counter("overruns", "Results that came too late and were not used.", "lane")
LAG = _seconds("event_loop_lag", "How late the event loop ran a timer.", "process")
STALLS = _counter("event_loop_stalls", f"Timers that ran more than {STALL * 1e3:g} ms late.", "process")
RESTARTS = _counter("process_restarts", "Times that the supervisor started a process again.", "process")
UP = _gauge("process_up", "1 if the process runs, 0 if it has died.", "process")
INFLIGHT = _gauge("inflight", "Queries accepted and not ended.", "process")
DRIFT = _gauge(
    "traffic_drift_index",
    "Population stability index of the query, pair or depth lengths that a process serves against its engines' own.",
    "lengths",
    "process",
)
POPULATION = _gauge("traffic_population", "Queries of this day (UTC) that a process's sample is drawn from.", "process")

FAMILIES = {
    family.name: family
    for family in (
        FIRST, FINAL, REQUESTS, QUEUED, ENGINE, BATCH_REQUESTS, BATCH_SEQUENCES, BATCH_TOKENS, VALID_TOKENS,
        PADDED_TOKENS, PADDING, DEPTH, DEGRADED, REFUSED, OVERRUNS, LAG, STALLS, RESTARTS, UP, INFLIGHT,
        DRIFT, POPULATION,
    )
}  # fmt: skip

Key = tuple[str, ...]  # of a series: the family's name, then the values of its labels
ZEROS: tuple[Key, ...] = (  # counters that stand at 0 from the start, so that a rate() sees their first event
    *((DEGRADED.name, reason.name) for reason in Degraded),
    *((REFUSED.name, error.reason) for error in (Overloaded, DeadlineExceeded, Unavailable)),
    *((OVERRUNS.name, lane) for lane in LANES),
)

"""What the metrics are told of one query."""

from collections.abc import Callable

from .errors import Overloaded
from .metrics import Metrics
from .statuses import known_error
from .types import Phase, Ranking


class Meter:
    """Tells the metrics what became of one query."""

    def __init__(self, metrics: Metrics, method: str, arrived: float, clock: Callable[[], float]) -> None:
        self._metrics, self._method, self._arrived, self._clock = metrics, method, arrived, clock
        self._first: float | None = None  # seconds

    def sent(self, ranking: Ranking) -> None:
        """An answer has been handed to gRPC."""
        if ranking.phase is Phase.RETRIEVED:
            self._first = self._clock() - self._arrived
            return
        self.ended("OK")
        self._metrics.ranked(ranking.rerank_depth, ranking.degraded.name if ranking.degraded else None)

    def ended(self, status: str) -> None:
        """The query ends with that gRPC status."""
        self._metrics.answered(self._method, status, self._first, self._clock() - self._arrived)

    def failed(self, error: Exception) -> None:
        """The query ends with an error."""
        self.ended(known_error(error).status)
        if isinstance(error, Overloaded):
            self._metrics.refused(error.reason)

"""Serves Metrics to Prometheus over HTTP."""

import itertools
import time
from collections import defaultdict
from types import TracebackType
from typing import TYPE_CHECKING, Self

from millirank.errors import ConfigError

from .families import FAMILIES, PADDED_TOKENS, PADDING, VALID_TOKENS, Family, Kind
from .recorder import Metrics, Values

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

    from prometheus_client.metrics_core import Metric

PAUSE = 0.0002  # seconds between families, in which an event loop of this process gets its turn
Series = dict[tuple[str, ...], Values]  # of one family, by the values of its labels


class Exposition:
    """A collector for prometheus_client over the metrics of all processes.

    prometheus_client's own multi-process mode leaves a file for every dead process and reads all of them for each
    scrape; this reads sums that are there already.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> "Iterator[Metric]":
        """Every family that has a series; called by prometheus_client for each scrape."""
        found: dict[str, Series] = defaultdict(dict)
        for key, values in self._metrics.read().items():
            found[key[0]][key[1:]] = values
        padded = {labels: total for labels, [total] in found[PADDED_TOKENS.name].items() if total}
        found[PADDING.name] = {labels: [1 - found[VALID_TOKENS.name][labels][0] / n] for labels, n in padded.items()}
        for name, family in FAMILIES.items():
            if series := found.get(name):
                yield _metric(family, series)
                time.sleep(PAUSE)

    def serve(self, port: int, host: str = "127.0.0.1") -> "Endpoint":
        """Serves /metrics from a thread until the endpoint is closed.

        Args:
            port: to listen on; 0 lets the system choose (the setting metrics_port = 0, for none, is the caller's).
            host: the address to listen on.

        Raises:
            ConfigError: if the address cannot be bound.
        """
        from prometheus_client import CollectorRegistry, start_http_server

        registry = CollectorRegistry()
        registry.register(self)
        try:
            server, thread = start_http_server(port, host, registry)
        except OSError as error:
            raise ConfigError(
                f"{host}:{port} cannot be bound for /metrics ({error.strerror}): stop what listens there, choose "
                f"another --metrics-port, or --metrics-port 0 for none"
            ) from error
        return Endpoint(server, thread)


class Endpoint:
    """An HTTP server that runs; close it, or use it as a context manager."""

    def __init__(self, server: "WSGIServer", thread: "Thread") -> None:
        self._server, self._thread = server, thread
        self.port: int = server.server_port

    def __enter__(self) -> Self:
        """The endpoint itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def close(self) -> None:
        """Frees the port and ends the thread, within half a second."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _metric(family: Family, series: Series) -> "Metric":
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

    if family.kind is Kind.HISTOGRAM:
        histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        names = [*(str(float(bound)) for bound in family.bounds), "+Inf"]
        for labels, (*counts, total) in sorted(series.items()):
            histogram.add_metric(labels, list(zip(names, itertools.accumulate(counts), strict=True)), total)
        return histogram
    kind = CounterMetricFamily if family.kind is Kind.COUNTER else GaugeMetricFamily
    metric = kind(family.name, family.help, labels=family.labels)
    for labels, [value] in sorted(series.items()):
        metric.add_metric(labels, value)
    return metric

"""Watches how far a sample has drifted from what the engines were calibrated and profiled for."""

import logging
from collections.abc import Mapping, Sequence

from millirank.metrics import Metrics
from millirank.tokens import Tokenizer
from millirank_engines import Manifest, Task
from millirank_engines.drift import LEAST, THRESHOLD, LengthProfile, drift

from .lengths import histograms
from .records import Asked

LENGTHS: Mapping[tuple[Task, str], str] = {  # what each index is of, as the metric's label and the command call it
    ("embed", "lengths"): "query",
    ("rerank", "lengths"): "pair",
    ("rerank", "depths"): "depth",
}
log = logging.getLogger(__name__)


def drifts(references: Mapping[Task, LengthProfile], now: Mapping[Task, LengthProfile]) -> dict[str, float]:
    """The stability index of query, pair and depth, as far as both sides know them."""
    return {
        LENGTHS[task, name]: index
        for task, reference in references.items()
        if task in now
        for name, index in drift(reference, now[task]).items()
    }


def watch_of(manifests: Sequence[Manifest], tokenizers: Sequence[Tokenizer], metrics: Metrics) -> "Watch":
    """A watch over those engines that know what they are for."""
    references = {manifest.model.task: manifest.demand for manifest in manifests if manifest.demand is not None}
    return Watch(references, {tokenizer.spec.task: tokenizer for tokenizer in tokenizers}, metrics)


class Watch:
    """Tells the metrics, and once the log when a threshold is passed.

    Args:
        references: what each engine is for; an engine that does not know is not watched.
        tokenizers: of the same engines.
        metrics: of this process.
    """

    def __init__(
        self, references: Mapping[Task, LengthProfile], tokenizers: Mapping[Task, Tokenizer], metrics: Metrics
    ) -> None:
        self._references, self._tokenizers, self._metrics = references, tokenizers, metrics
        self._told: set[str] = set()
        self._shown: set[str] = set()

    def look(self, asked: Sequence[Asked], population: int) -> None:
        """Compares a day's sample, if it is large enough to tell anything.

        Args:
            asked: the sample.
            population: served requests that it was drawn from.
        """
        self._metrics.sampled(population)
        if len(asked) < LEAST:
            return
        now = {task: histograms(asked, self._tokenizers[task], source="") for task in self._references}
        for name, index in drifts(self._references, now).items():
            self._metrics.drifted(name, index)
            self._shown.add(name)
            if index > THRESHOLD and name not in self._told:
                self._told.add(name)
                log.warning(
                    "traffic has drifted: the %s lengths that come have a stability index of %.2f (%g wants action) "
                    "against those that the engines are for: see `millirank traffic stats`",
                    name,
                    index,
                    THRESHOLD,
                )

    def forget(self) -> None:
        """A new day begins: the sample is of nothing yet, and what yesterday's told is over."""
        self._metrics.sampled(0)
        for name in self._shown:
            self._metrics.drifted(name, 0.0)  # no NaN: the alert's mean over processes would be none either

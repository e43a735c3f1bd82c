"""How good an order is, by human judgments: nDCG@10 raw and judged-only, recall@100, MRR, with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millirank.errors import ConfigError

from .judgments import Judgments

Run = Mapping[str, Sequence[str]]  # query -> product ids, best first

MEASURES = ("ndcg@10", "ndcg@10 judged", "recall@100", "mrr")
_TREC = {"ndcg@10": "ndcg_cut_10", "recall@100": "recall_100", "mrr": "recip_rank"}


@dataclass(frozen=True)
class Scores:
    """What a configuration scored, query by query."""

    queries: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]  # by measure; (queries,)

    def mean(self, measure: str) -> float:
        """The mean over queries."""
        return float(self.values[measure].mean())

    def interval(self, measure: str, *, resamples: int = 2000, seed: int = 7) -> tuple[float, float]:
        """The 95 % bootstrap interval of the mean, resampling queries (percentile method, Efron 1979)."""
        return _interval(self.values[measure], resamples, seed)


@dataclass(frozen=True)
class Comparison:
    """One configuration against another, query by query."""

    difference: float  # of the means, first minus second
    interval: tuple[float, float]  # 95 %, paired bootstrap over queries
    wins: tuple[tuple[str, float], ...]  # query and difference, largest first
    losses: tuple[tuple[str, float], ...]  # query and difference, largest loss first


def score(run: Run, judgments: Judgments) -> Scores:
    """Scores a run with trec_eval's measures (grades are linear gains); products without a judgment count as bad.

    In "ndcg@10 judged" they are removed from the run instead. Queries for which no product is right are left out.

    Raises:
        ConfigError: if pytrec_eval is not installed.
    """
    try:
        import pytrec_eval
    except ImportError as error:
        raise ConfigError("scores need pytrec_eval: pip install 'millirank[eval]'") from error
    queries = tuple(query for query in run if any(grade > 0 for grade in judgments[query].values()))
    grades = {query: dict(judgments[query]) for query in queries}
    judge = pytrec_eval.RelevanceEvaluator(grades, set(_TREC.values()))
    raw = judge.evaluate({query: _descending(run[query]) for query in queries})
    known = {query: [product for product in run[query] if product in judgments[query]] for query in queries}
    judged = judge.evaluate({query: _descending(known[query]) for query in queries})
    values = {name: np.array([raw[query][trec] for query in queries]) for name, trec in _TREC.items()}
    values["ndcg@10 judged"] = np.array([judged[query]["ndcg_cut_10"] for query in queries])
    return Scores(queries, values)


def compare(first: Scores, second: Scores, measure: str, *, resamples: int = 2000, seed: int = 7) -> Comparison:
    """Compares two configurations on the same queries."""
    differences = first.values[measure] - second.values[measure]
    ranked = sorted(zip(first.queries, differences.tolist(), strict=True), key=lambda pair: -pair[1])
    return Comparison(
        difference=float(differences.mean()),
        interval=_interval(differences, resamples, seed),
        wins=tuple(pair for pair in ranked if pair[1] > 0),
        losses=tuple(pair for pair in reversed(ranked) if pair[1] < 0),
    )


def _descending(products: Sequence[str]) -> dict[str, float]:
    """Scores that make trec_eval see this order; it would order ties by id."""
    return {product: float(len(products) - place) for place, product in enumerate(products)}


def _interval(values: NDArray[np.float64], resamples: int, seed: int) -> tuple[float, float]:
    drawn = np.random.default_rng(seed).integers(0, len(values), (resamples, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)

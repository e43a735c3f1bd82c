"""What an order is worth, query by query, with intervals of the means."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millirank.errors import ConfigError

from .judgments import Judgments

Run = Mapping[str, Sequence[str]]  # query -> product ids, best first

_TREC = {"ndcg@10": "ndcg_cut_10", "recall@100": "recall_100", "mrr": "recip_rank", "success@1": "success_1"}
MEASURES = ("ndcg@10", "ndcg@10 judged", "recall@100", "mrr", "success@1")
RESAMPLES = 2000


@dataclass(frozen=True)
class Scores:
    """What a configuration scored, query by query."""

    queries: tuple[str, ...]
    values: Mapping[str, NDArray[np.float64]]  # by measure; (queries,)

    def mean(self, measure: str) -> float:
        """The mean over queries."""
        return float(self.values[measure].mean())

    def interval(self, measure: str, *, resamples: int = RESAMPLES, seed: int = 7) -> tuple[float, float]:
        """The 95 % bootstrap interval of the mean, resampling queries (percentile method, Efron 1979)."""
        return interval(self.values[measure], resamples, seed)

    def of(self, queries: Collection[str]) -> "Scores":
        """The scores of these queries alone, in their own order; a query may come more than once.

        Raises:
            KeyError: if one was not scored.
        """
        at = {query: place for place, query in enumerate(self.queries)}
        places = [at[query] for query in queries]
        return Scores(tuple(queries), {measure: values[places] for measure, values in self.values.items()})


def score(run: Run, judgments: Judgments) -> Scores:
    """Scores a run with trec_eval's measures (grades are linear gains); products without a judgment count as bad.

    In "ndcg@10 judged" they are removed from the run instead. success@1 is 1 where the first product is right, that is,
    has a grade above 0. Queries for which no product is right are left out.

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
    return Scores(queries, {measure: values[measure] for measure in MEASURES})


def answered(run: Run, queries: Collection[str]) -> float:
    """The share of queries that found anything: of those without a good answer, the lower the better."""
    return sum(bool(run[query]) for query in queries) / max(1, len(queries))


def interval(values: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = 7) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean of values, shape (n,), n at least 1."""
    rng = np.random.default_rng(seed)
    drawn = [values[rng.integers(0, len(values), len(values))].mean() for _ in range(resamples)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _descending(products: Sequence[str]) -> dict[str, float]:
    """Scores that make trec_eval see this order; it would order ties by id."""
    return {product: float(len(products) - place) for place, product in enumerate(products)}

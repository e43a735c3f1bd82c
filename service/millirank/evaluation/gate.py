"""A gate: what is scored now may not be worse than what was scored then by more than the noise between queries."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from millirank.errors import ConfigError

from .comparison import Comparison, compare
from .scores import Scores
from .words import normal

MEASURE = "ndcg@10"
Key = Callable[[str], str]  # the name of a query in the baseline


def hashed(query: str) -> str:
    """A query's name where its text must not be published, whatever its spelling of case and plural."""
    return hashlib.sha256(normal(query).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Baseline:
    """What was scored then: set -> order -> query -> nDCG@10."""

    sets: Mapping[str, Mapping[str, Mapping[str, float]]]

    @classmethod
    def read(cls, path: Path) -> "Baseline":
        """The baseline in a file; an empty one where there is none.

        Raises:
            ConfigError: if the file holds none.
        """
        if not path.exists():
            return cls({})
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                {name: {order: one["queries"] for order, one in orders.items()} for name, orders in data.items()}
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{path} is no baseline ({error}): renew it or take it from the last commit") from error

    def renewed(self, name: str, scores: Mapping[str, Scores], key: Key = str) -> "Baseline":
        """With the scores of now for one set, by order."""
        return Baseline({**self.sets, name: {order: _by_key(one, key) for order, one in scores.items()}})

    def write(self, path: Path) -> None:
        """Writes what read reads, with the mean of each order for people."""
        data = {
            name: {
                order: {"mean": round(float(np.mean(list(queries.values()))), 4), "queries": queries}
                for order, queries in orders.items()
            }
            for name, orders in self.sets.items()
        }
        path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def compared(self, name: str, scores: Mapping[str, Scores], key: Key = str) -> dict[str, Comparison]:
        """Now less then, by order, query by query; `Comparison.fell` says whether the gate is shut.

        Raises:
            ConfigError: if there is no baseline of these orders and queries.
        """
        found = {}
        for order, one in scores.items():
            now, then = _by_key(one, key), self.sets.get(name, {}).get(order, {})
            if set(now) != set(then):
                raise ConfigError(f"the baseline of {name}, {order} is of other queries: renew it, and say why you do")
            found[order] = compare(_scores(now), _scores(then), MEASURE)
        return found


def told(name: str, order: str, now: Scores, found: Comparison) -> str:
    """The figure and the verdict in a line."""
    low, high = found.interval
    verdict = "FELL" if found.fell else "holds"
    return (
        f"{name}, {order}: nDCG@10 {now.mean(MEASURE):.4f}, {found.difference:+.4f} against the baseline "
        f"({low:+.4f} to {high:+.4f}, p {found.p:.2g}, {found.queries} queries): {verdict}"
    )


def _by_key(scores: Scores, key: Key) -> dict[str, float]:
    """The mean of the queries of each name: several spellings may have one."""
    found: dict[str, list[float]] = {}
    for query, value in zip(scores.queries, scores.values[MEASURE].tolist(), strict=True):
        found.setdefault(key(query), []).append(value)
    return {name: round(sum(values) / len(values), 6) for name, values in found.items()}


def _scores(values: Mapping[str, float]) -> Scores:
    queries = tuple(sorted(values))
    return Scores(queries, {MEASURE: np.array([values[query] for query in queries])})

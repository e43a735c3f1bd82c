"""What an evaluation found, kept as JSON, so that a later one can be compared with it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from millirank.errors import ConfigError
from millirank_engines import artifact

from .judgments import Segment
from .scores import Run, Scores, answered, score

SHOWN = 10  # products of a query that are kept


@dataclass(frozen=True)
class Result:
    """Every order of one index, scored."""

    name: str  # of what was evaluated
    scores: Mapping[str, Mapping[str, Scores]]  # order -> segment; without segments that have no right answer
    answered: Mapping[str, Mapping[str, float]]  # order -> segment without right answers -> share that found anything
    runs: Mapping[str, Run]  # order -> the first SHOWN products of every query
    titles: Mapping[str, str]  # of those products
    judged: Mapping[str, str] = field(default_factory=dict)  # segment -> sha256 of its judgments

    def plain(self) -> dict[str, Any]:
        """As data for json.dumps."""
        return {
            "name": self.name,
            "scores": {
                order: {segment: _by_query(scores) for segment, scores in segments.items()}
                for order, segments in self.scores.items()
            },
            "answered": {order: dict(shares) for order, shares in self.answered.items()},
            "runs": {order: dict(run) for order, run in self.runs.items()},
            "titles": dict(self.titles),
            "judged": dict(self.judged),
        }


def result_of(name: str, runs: Mapping[str, Run], segments: Mapping[str, Segment], titles: Mapping[str, str]) -> Result:
    """Scores the runs of an index on every segment.

    Args:
        name: of the index.
        runs: by order; the first 100 products of every query of the segments.
        segments: by name.
        titles: of at least the first SHOWN products of each query.

    Raises:
        ConfigError: if pytrec_eval is not installed.
    """
    right = {name: one for name, one in segments.items() if any(map(_is_right, one.judgments.values()))}
    return Result(
        name,
        {
            order: {
                name: score({query: run[query] for query in one.judgments}, one.judgments)
                for name, one in right.items()
            }
            for order, run in runs.items()
        },
        {
            order: {name: answered(run, one.judgments) for name, one in segments.items() if name not in right}
            for order, run in runs.items()
        },
        {order: {query: list(found[:SHOWN]) for query, found in run.items()} for order, run in runs.items()},
        titles,
        {name: digest(one) for name, one in segments.items()},
    )


def read_result(path: Path) -> Result:
    """The result in a file that `millirank eval --out` wrote.

    Raises:
        ConfigError: if it holds none.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Result(
            data["name"],
            {
                order: {segment: _scores(values) for segment, values in segments.items()}
                for order, segments in data["scores"].items()
            },
            data["answered"],
            data["runs"],
            data["titles"],
            dict(data["judged"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fix = "make one with `millirank eval --out FILE.json`"
        raise ConfigError(f"{path} is no result of an evaluation ({type(error).__name__}: {error}): {fix}") from error


def digest(segment: Segment) -> str:
    """sha256 of a segment's judgments, in whatever order."""
    plain = {query: dict(grades) for query, grades in segment.judgments.items()}
    return artifact.digest(plain)


def shown(runs: Iterable[Run]) -> set[str]:
    """The products whose titles a result keeps."""
    return {product for run in runs for found in run.values() for product in found[:SHOWN]}


def _is_right(grades: Mapping[str, int]) -> bool:
    return any(grade > 0 for grade in grades.values())


def _by_query(scores: Scores) -> dict[str, list[Any]]:
    """measure: one value a query, and the queries under "queries"."""
    return {"queries": list(scores.queries), **{name: values.tolist() for name, values in scores.values.items()}}


def _scores(values: Mapping[str, Sequence[Any]]) -> Scores:
    measures = {name: np.array(found, np.float64) for name, found in values.items() if name != "queries"}
    return Scores(tuple(values["queries"]), measures)

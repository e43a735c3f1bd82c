"""Scores every order of an index on human or rule-made judgments, with intervals: the figures of the README.

python loadtest/relevance.py chorus=INDEX,judgments.csv demo=.demo/index,.demo/judgments.csv
"""

import argparse
import asyncio
from collections.abc import Iterator
from pathlib import Path

from report import Row, write

from millirank.commands.evaluate import rankings
from millirank.config import Settings
from millirank.evaluation import MEASURES, compare, read_judgments, score
from millirank.stack import Stack

DEPTH = 50
NOTES = (
    "Every order of `millirank eval`, depth 50, no time limit, on queries that have a right answer; 95 % intervals by",
    "bootstrap over queries. `judged` leaves products without a judgment out instead of counting them as wrong. The",
    "reranker saw none of these queries and no judgment, but its recipe was chosen with them in view.",
)


def scored(name: str, index: Path, judgments: Path) -> Iterator[Row]:
    """The figures of one index."""
    judged = {query: grades for query, grades in read_judgments(judgments).items() if any(grades.values())}
    stack = Stack(Settings(index=index, sla_ms=0, rerank_depth=DEPTH))
    try:
        runs = asyncio.run(rankings(stack, tuple(judged)))
    finally:
        stack.close()
    scores = {order: score(run, judged) for order, run in runs.items()}
    for order, one in scores.items():
        for measure in MEASURES:
            low, high = one.interval(measure)
            for metric, value in ((measure, one.mean(measure)), (f"{measure} low", low), (f"{measure} high", high)):
                yield Row(f"{name}/{order}", metric, value, "")
    for measure in ("ndcg@10", "ndcg@10 judged"):
        difference = compare(scores["reranked"], scores["fused"], measure)
        low, high = difference.interval
        case = f"{name}: reranked less fused/{measure}"
        yield from (Row(case, "difference", difference.difference, ""), Row(case, "low", low, ""))
        yield from (Row(case, "high", high, ""), Row(case, "wins", len(difference.wins), "queries"))
        yield Row(case, "losses", len(difference.losses), "queries")


def main() -> None:
    """Scores and writes docs/benchmarks/relevance.json and relevance.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shops", nargs="+", help="NAME=INDEX,JUDGMENTS")
    rows: list[Row] = []
    for shop in parser.parse_args().shops:
        name, _, paths = shop.partition("=")
        index, _, judgments = paths.partition(",")
        rows += scored(name, Path(index), Path(judgments))
    write("relevance", "Relevance", NOTES, rows)


if __name__ == "__main__":
    main()

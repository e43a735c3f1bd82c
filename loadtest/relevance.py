"""The page of relevance, from what `millirank eval --out` wrote: docs/benchmarks/relevance.json and relevance.md.

millirank eval --index INDEX --judgments judgments.csv --out chorus.json
millirank segments --index INDEX --out segments.csv
millirank eval --index INDEX --judgments segments.csv --depth 20 --out s.json
python loadtest/relevance.py chorus=chorus.json "chorus segments=s.json" demo=demo.json
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from report import Row, write

from millirank.evaluation import MEASURES

NOTES = (
    "Every order of `millirank eval`, no time limit, on queries that have a right answer; 95 % intervals by bootstrap",
    "over queries (all in the JSON file), p of Fisher's paired randomization test. `judged` leaves products without a",
    "judgment out instead of counting them as wrong. Rules over the catalogue make the segments (`millirank segments",
    "--count 100`): they miss right products, so compare orders there; only of model numbers and",
    "titles all right ones are known, and `judged` says little more there than whether one was found. A segment of",
    "misspellings `less` the correct ones is paired, `lost` the share of nDCG@10 that a slip costs. `answered` is the",
    "share of queries without a good answer that were answered all the same. The reranker saw none of the judged",
    "queries and no judgment, but its recipe was chosen with those of Chorus and of the demo in view.",
)
SHOWN = {
    *MEASURES,
    "ndcg@10 low",
    "ndcg@10 high",
    "queries",
    *("answered", "difference", "low", "high", "p", "lost", "wins", "losses"),
}


def rows_of(name: str, data: dict[str, Any]) -> Iterator[Row]:
    """The rows of one result, under its name and depth."""
    for row in data["rows"]:
        yield Row(f"{name} at depth {data['depth']}/{row['case']}", row["metric"], row["value"], row["unit"])


def main() -> None:
    """Writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", help="NAME=FILE.json")
    rows: list[Row] = []
    made = []
    for result in parser.parse_args().results:
        name, _, path = result.partition("=")
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        rows += rows_of(name, data)
        made.append(f"- {name}: `{data['command']}`")
    write("relevance", "Relevance", (*NOTES, "", *made), rows, shown=SHOWN)


if __name__ == "__main__":
    main()

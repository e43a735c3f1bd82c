"""Scores the first stage with each of its parts removed and alone, and times a correct query with and without them.

python loadtest/firststage.py INDEX judgments.csv
"""

import argparse
import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from report import Row, write

from millirank.catalog.indexes import Bm25Writer
from millirank.catalog.ingest import Models
from millirank.catalog.snapshot import Snapshot
from millirank.evaluation import Judgments, Scores, Segment, compare, read_judgments, score
from millirank.retrieve import Bm25Index, Fusion, HybridRetriever
from millirank.segments import segments
from millirank.tokens import Tokenizer
from millirank.types import Order
from millirank_engines import open_engine

FOUND = 100
EVEN = 0.5
SEED = 11  # of the segments; fusion was learned from others
PLAIN = {"title": 1, "brand": 1, "description": 1}  # the fields as they were before they had weights
PARTS = ("correction", "numbers", "fields", "fusion")
WORDS_ONLY = "correction of the words alone"  # the encoder reads what was typed
WHOLE, NONE = "whole", "none"
ROUNDS = 30
NOTES = (
    "The first stage without a reranker: fused orders of 100 + 100 candidates. `correction`: words nobody knows are",
    "corrected, for BM25 and for the encoder. `numbers`: model numbers are indexed however they are joined and stay",
    "ahead. `fields`: BM25 counts a title twice and sees the category. `fusion`: the weight that was learned at",
    "indexing instead of even ones. Chosen on `judged-development`, half of the queries by a hash, and on rule-made",
    "queries; `judged-other` had no say. Rule-made segments are those of `millirank segments` with another seed than",
    "fusion is learned with; brands and types are few, so many of those are the same. `less whole` is the difference",
    "of nDCG@10 from the whole, `low` and `high` its 95 % interval by bootstrap; `of correct` nDCG@10 of misspelled",
    "queries by that of their correct forms; `first` the share of queries whose right product is first. Times are of",
    "one thread; `retrieve` is all but the encoder, of a correct query.",
)


class NoNumbers(Bm25Index):
    """Model numbers are words like others."""

    def _numbers(self, text: str) -> list[Any]:  # noqa: ARG002
        return []


class Bench:
    """Everything that an order is made of."""

    def __init__(self, index: Path, folder: Path) -> None:
        self.snapshot = Snapshot.open(index)
        self.ids = self.snapshot.ids(range(len(self.snapshot)))
        self.products = self.snapshot.products(range(len(self.snapshot)))
        name = self.snapshot.manifest["bm25"]["analyzer"]
        with Bm25Writer(folder / "plain", name, PLAIN) as writer:
            for row, product in enumerate(self.products):
                writer.add(row, product)
        files = {
            "plain": sorted((folder / "plain").iterdir()),
            "fields": sorted((self.snapshot.path / "bm25").iterdir()),
        }
        self.retriever = HybridRetriever(self.snapshot)
        self.words = {
            (fields, numbers): (Bm25Index if numbers else NoNumbers)(files["fields" if fields else "plain"], name)
            for fields in (False, True)
            for numbers in (False, True)
        }
        self.learned = Fusion(self.snapshot.manifest["fusion"]["lexical"])
        loaded = open_engine(index / "engines" / "encoder")
        tokens = Tokenizer(loaded.tokenizer, loaded.spec)
        self.models = Models(loaded.engine, tokens, tokens)
        self._vectors: dict[str, Any] = {}  # float32, (dim,)

    def encode(self, texts: list[str]) -> None:
        """Makes the vectors of texts that have none."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, self.models.query_vectors(new), strict=True))

    def order(self, query: str, parts: frozenset[str]) -> Order:
        """The fused order with these parts."""
        text = self.retriever.corrected(query) if parts & {"correction", WORDS_ONLY} else query
        words = self.words["fields" in parts, "numbers" in parts].search(text, FOUND)
        vector = self._vectors[query if WORDS_ONLY in parts else text]
        fusion = self.learned if "fusion" in parts else Fusion(EVEN)
        return fusion(words, self.retriever.dense(vector, FOUND))

    def run(self, judgments: Judgments, parts: frozenset[str]) -> dict[str, list[str]]:
        """The product ids of each query."""
        self.encode([text for query in judgments for text in (query, self.retriever.corrected(query))])
        return {query: [self.ids[row] for row in self.order(query, parts).rows.tolist()] for query in judgments}


def configurations() -> Iterator[tuple[str, frozenset[str]]]:
    """The whole, each part removed, and each alone."""
    whole = frozenset(PARTS)
    yield WHOLE, whole
    for part in PARTS:
        yield f"without {part}", whole - {part}
    yield WORDS_ONLY, whole - {"correction"} | {WORDS_ONLY}
    yield NONE, frozenset()
    for part in PARTS:
        yield f"{part} alone", frozenset({part})


def scored(bench: Bench, made: Mapping[str, Segment]) -> Iterator[Row]:
    """The figures of every segment in every configuration, and what each differs from the whole."""
    correct: dict[tuple[str, str], float] = {}
    for name, segment in made.items():
        whole: Scores | None = None
        for case, parts in configurations():
            run = bench.run(segment.judgments, parts)
            found = score(run, segment.judgments)
            whole = whole or found
            shown = (
                ("ndcg@10", "ndcg@10 judged", "recall@100") if name.startswith("judged") else ("ndcg@10", "recall@100")
            )
            for measure in shown:
                yield Row(f"{name}/{case}", measure, found.mean(measure), "")
            for query, value in zip(found.queries, found.values["ndcg@10"].tolist(), strict=True):
                correct[case, query] = value
            if segment.meant:
                meant = [correct[case, segment.meant[query]] for query in found.queries]
                yield Row(f"{name}/{case}", "of correct", found.mean("ndcg@10") / statistics.mean(meant), "")
            if name == "model-number":
                first = [
                    segment.judgments[query].get(products[0], 0) > 0 for query, products in run.items() if products
                ]
                yield Row(f"{name}/{case}", "first", sum(first) / len(run), "")
            if case != WHOLE:
                difference = compare(found, whole, "ndcg@10")
                for metric, value in zip(
                    ("less whole", "low", "high"), (difference.difference, *difference.interval), strict=True
                ):
                    yield Row(f"{name}/{case}", metric, value, "")


def timed(bench: Bench, correct: Judgments, misspelled: Judgments) -> Iterator[Row]:
    """Retrieval of correct queries with no part and with all, in turns, and the time that a correction takes."""
    vectors = {query: bench.models.query_vectors([query])[0] for query in correct}
    plain, whole = bench.words[False, False], bench.words[True, True]
    retriever, even = bench.retriever, Fusion(EVEN)

    def before(query: str) -> None:
        even(plain.search(query, FOUND), retriever.dense(vectors[query], FOUND))

    def after(query: str) -> None:
        bench.learned(whole.search(retriever.corrected(query), FOUND), retriever.dense(vectors[query], FOUND))

    pair = {"retrieve, no part": before, "retrieve, whole": after}
    seconds: dict[str, list[float]] = {name: [] for name in (*pair, "correct", "misspelled")}
    for turn in range(ROUNDS):
        spent = dict.fromkeys(pair, 0.0)
        for place, query in enumerate(correct):
            for name in sorted(pair, reverse=(turn + place) % 2 == 1):  # whoever comes second finds warm caches
                spent[name] += _seconds(pair[name], [query])
        for name, total in spent.items():
            seconds[name].append(total / len(correct))
        for name, queries in (("correct", correct), ("misspelled", misspelled)):
            seconds[name].append(_seconds(retriever.corrected, queries) / len(queries))
    for name, values in seconds.items():
        case = name if name in pair else f"correct a {name} query"
        yield Row(f"time/{case}", "median", statistics.median(values) * 1e6, "µs")
    ratios = [b / a for a, b in zip(*(seconds[name] for name in pair), strict=True)]
    yield Row("time/retrieve, whole by no part", "ratio", statistics.median(ratios), "")


def _seconds(work: Callable[[str], object], queries: Iterable[str]) -> float:
    start = time.perf_counter()
    for query in queries:
        work(query)
    return time.perf_counter() - start


def half(query: str) -> str:
    """`development` if a judged query was looked at when something was chosen, else `other`."""
    return "other" if hashlib.sha256(query.encode()).digest()[0] % 2 else "development"


def main() -> None:
    """Scores, times, and writes docs/benchmarks/first-stage.json and first-stage.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path, help="the folder that `millirank index` wrote")
    parser.add_argument("judgments", type=Path, help="CSV with query, docid, rating")
    parser.add_argument("--count", type=int, default=200, help="queries of each rule-made segment at most")
    asked = parser.parse_args()
    judged = {query: grades for query, grades in read_judgments(asked.judgments).items() if any(grades.values())}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(asked.index, Path(folder))
        made = {
            f"judged-{name}": Segment({query: grades for query, grades in judged.items() if half(query) == name})
            for name in ("development", "other")
        }
        made |= segments(bench.products, seed=SEED, count=asked.count)
        del made["no-answer"]
        rows = [*timed(bench, judged, made["type-misspelled"].judgments), *scored(bench, made)]
        write("first-stage", "First stage", NOTES, rows)


if __name__ == "__main__":
    main()

"""What a shop's judgments could choose without training: fields of BM25, fusion and blend, chosen inside of folds.

python loadtest/shopchoice.py --index INDEX --judgments judgments.csv --count 700

For each part of the judged queries everything is chosen together by the other parts, the best of all combinations by
each of CRITERIA, and the part is ranked with what was chosen: no query has a say in its own order.
"""

import argparse
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from firststage import half
from numpy.typing import NDArray
from report import Row, paired_rows, write
from variants import Asked, FirstStage, Reranker

from millirank.catalog.indexes import TEXT_FIELDS, Bm25Writer
from millirank.catalog.vectors import encode_all
from millirank.evaluation import Scores, compare, part_of, score
from millirank.rerank import WEIGHT, blend
from millirank.retrieve import Bm25Index, Fusion
from millirank.types import Order

Fields = Mapping[str, int]
FIELDS: tuple[Fields, ...] = (
    TEXT_FIELDS,
    {"title": 1, "brand": 1, "description": 1},
    {"title": 1, "brand": 1, "description": 1, "category": 1},
    {"title": 1, "brand": 1, "description": 2, "category": 1},
    {"title": 2, "brand": 1, "description": 2, "category": 1},
    {"title": 3, "brand": 1, "description": 1, "category": 1},
    {"title": 2, "brand": 1, "description": 1, "category": 2},
    {"title": 1, "brand": 1, "category": 1},
)
LEXICAL = (0.45, 0.5, 0.55, 0.6, 0.7, 0.8)  # the weight of BM25 in the fusion, of 1; beside the learned one
WEIGHTS = (0.0, 0.25, 0.35, 0.5, 0.75, 1.0)  # of the reranker
CANDIDATES = (100, 200)  # of each index
DEPTH = 50
PARTS = 5
CRITERIA = {"raw": ("ndcg@10",), "raw + judged": ("ndcg@10", "ndcg@10 judged")}
MEASURES = ("ndcg@10", "ndcg@10 judged", "recall@100")
NOTES = (
    "`shipped` is what millirank does today. `chosen by` is nested: each fifth of the queries is ranked with the",
    "combination that is best on the other four fifths. `hindsight` is the best combination of all on the very queries",
    "that it is reported on: a bound, no result. `oracle` puts the shipped candidates into the right order as far as",
    "they were judged: what order alone could give. `less` is paired, with its 95 % interval by bootstrap and p by",
    "randomization. Fields, fusion and blend of `shipped` were chosen on `development`; `other` had no say in them.",
    "`rules` are the fifth of rule-made queries that no training sees, with their first candidates reranked.",
)


@dataclass(frozen=True)
class Setting:
    """One combination."""

    fields: int  # of FIELDS
    lexical: float
    weight: float
    candidates: int

    def __str__(self) -> str:
        told = " ".join(f"{name} {weight}" for name, weight in FIELDS[self.fields].items())
        return f"{told}; BM25 {self.lexical:.3g}; reranker {self.weight:g}; {self.candidates} candidates"


class Shop:
    """Every part of the path, once for each query: for all combinations, or for one change at a time."""

    def __init__(self, stage: FirstStage, asked: Asked, reranker: Reranker, work: Path, *, whole: bool) -> None:
        self.stage, self.judgments, self.depth = stage, asked.judgments, asked.depth
        self.queries = list(self.judgments)
        self.ids = self.stage.snapshot.ids(range(len(self.stage.snapshot)))
        texts = self.stage.searched(self.queries)
        loaded = self.stage.encoder
        vectors = encode_all(loaded.engine, loaded.spec, self.stage.tokens.queries(texts))
        most = max(CANDIDATES)
        self.near = [self.stage.retriever.dense(vector, most) for vector in vectors]
        self.words = [[bm25.search(text, most) for text in texts] for bm25 in self._indexes(work)]
        learned: float = self.stage.snapshot.manifest["fusion"]["lexical"]
        self.shipped = Setting(0, learned, WEIGHT, CANDIDATES[0])
        self.changes = {
            "description twice": replace(self.shipped, fields=4),
            "BM25 0.6": replace(self.shipped, lexical=0.6),
            "reranker 0.35": replace(self.shipped, weight=0.35),
            "200 candidates": replace(self.shipped, candidates=200),
            "reranker 0.35, 200 candidates": replace(self.shipped, weight=0.35, candidates=200),
        }
        grid = itertools.product(range(len(FIELDS)), (learned, *LEXICAL), WEIGHTS, CANDIDATES)
        self.settings = [Setting(*one) for one in grid] if whole else [self.shipped, *self.changes.values()]
        self._fused: dict[tuple[int, float, int, int], Order] = {}
        self.scores = self._reranked(reranker)

    def _indexes(self, work: Path) -> Iterator[Bm25Index]:
        name = self.stage.snapshot.manifest["bm25"]["analyzer"]
        products = self.stage.snapshot.products(range(len(self.stage.snapshot)))
        work.mkdir()
        for number, fields in enumerate(FIELDS):
            folder = work / str(number)
            with Bm25Writer(folder, name, fields) as writer:
                for row, product in enumerate(products):
                    writer.add(row, product)
            yield Bm25Index(sorted(folder.iterdir()), name)

    def fused(self, setting: Setting, at: int) -> Order:
        """The fused order of a query."""
        key = (setting.fields, setting.lexical, setting.candidates, at)
        if key not in self._fused:
            k = setting.candidates
            words = self.words[setting.fields][at]
            cut = Order(words.rows[:k], words.scores[:k], min(words.exact, k))
            self._fused[key] = Fusion(setting.lexical)(cut, self.near[at][:k])
        return self._fused[key]

    def _reranked(self, reranker: Reranker) -> list[dict[int, float]]:
        """The reranker's score of every product that is ever in a query's head, by its row."""
        heads: dict[str, NDArray[np.uint32]] = {}
        for at, query in enumerate(self.queries):
            orders = [self.fused(setting, at) for setting in self.settings]
            heads[query] = np.unique(np.concatenate([order.rows[order.exact : self.depth] for order in orders]))
        found = reranker.scores(reranker.engines[0], heads)
        return [dict(zip(heads[q].tolist(), found[q].tolist(), strict=True)) for q in self.queries]

    def order(self, setting: Setting, at: int) -> list[str]:
        """The final order of a query: product ids, best first."""
        order = self.fused(setting, at)
        head = order.rows[order.exact : self.depth].tolist()
        scores = np.array([self.scores[at][row] for row in head], np.float32)
        return [self.ids[row] for row in blend(order, scores, setting.weight).rows.tolist()]

    def run(self, setting: Setting) -> Scores:
        """What a combination is worth, of every query."""
        return score({query: self.order(setting, at) for at, query in enumerate(self.queries)}, self.judgments)

    def oracle(self, setting: Setting, depth: int) -> Scores:
        """What the right order of the first candidates would be worth."""
        made = {}
        for at, query in enumerate(self.queries):
            found = [self.ids[row] for row in self.fused(setting, at).rows.tolist()]
            grades = self.judgments[query]
            made[query] = [*sorted(found[:depth], key=lambda one: -grades.get(one, 0)), *found[depth:]]
        return score(made, self.judgments)


def chosen(values: NDArray[np.float64], places: Sequence[int]) -> dict[int, int]:
    """For each part the best combination on the other parts; the first of equals.

    Args:
        values: of every combination and query, (combinations, queries).
        places: the part of each query.
    """
    parts = np.array(places)
    return {part: int(values[:, parts != part].mean(1).argmax()) for part in sorted(set(places))}


def taken(scores: Sequence[Scores], made: Mapping[int, int], places: Sequence[int]) -> Scores:
    """The figures of each query with what was chosen for its part."""
    first = scores[0]
    values = {
        measure: np.array([scores[made[place]].values[measure][at] for at, place in enumerate(places)])
        for measure in first.values
    }
    return Scores(first.queries, values)


def cases_of(shop: Shop) -> tuple[dict[str, Scores], list[str]]:
    """What is shipped, what was chosen in folds, and the bounds; and lines on what was chosen."""
    everything = [shop.run(setting) for setting in shop.settings]
    places = [part_of(query, PARTS) for query in shop.queries]
    words = {q: [shop.ids[row] for row in shop.words[0][at].rows.tolist()] for at, q in enumerate(shop.queries)}
    cases = {"bm25": score(words, shop.judgments), "shipped": shop.run(shop.shipped)}
    told = ["", f"- combinations: {len(everything)}", f"- shipped: {shop.shipped}"]
    for name, measures in CRITERIA.items():
        values = np.mean([[one.values[measure] for one in everything] for measure in measures], axis=0)
        made = chosen(values, places)
        cases[f"chosen by {name}"] = taken(everything, made, places)
        best = int(values.mean(1).argmax())
        cases[f"hindsight by {name}"] = everything[best]
        told += [f"- chosen by {name}, fifth {part}: {shop.settings[one]}" for part, one in made.items()]
        told.append(f"- hindsight by {name}: {shop.settings[best]}")
    cases |= {f"oracle of {depth}": shop.oracle(shop.shipped, depth) for depth in (10, DEPTH, 2 * CANDIDATES[0])}
    return cases, told


def rows_of(queries: Sequence[str], cases: Mapping[str, Scores]) -> Iterator[Row]:
    """Figures of every case on people's queries and their halves."""
    halves = {"judged": list(queries)}
    for query in queries:
        halves.setdefault(half(query), []).append(query)
    for part, members in halves.items():
        scores = {case: one.of(members) for case, one in cases.items()}
        for case, one in scores.items():
            yield Row(f"{part}/{case}", "queries", len(members), "")
            yield from (Row(f"{part}/{case}", measure, one.mean(measure), "") for measure in MEASURES)
            for other in ("bm25", "shipped"):
                if case in ("bm25", other):
                    continue
                for measure in MEASURES[:2]:
                    found = compare(one, scores[other], measure)
                    yield from paired_rows(f"{part}/{case}", f"{measure} less {other}", found)


def changed(shop: Shop, name: str) -> Iterator[Row]:
    """Figures of one change at a time, less what is shipped."""
    shipped = shop.run(shop.shipped)
    for change, setting in {"shipped": shop.shipped, **shop.changes}.items():
        case, one = f"{name}: one change at a time/{change}", shop.run(setting)
        yield Row(case, "queries", len(one.queries), "")
        for measure in MEASURES[:2]:
            yield Row(case, measure, one.mean(measure), "")
            if setting != shop.shipped:
                yield from paired_rows(case, f"{measure} difference", compare(one, shipped, measure))


def main() -> None:
    """Measures and writes docs/benchmarks/NAME.json and NAME.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--judgments", type=Path, required=True, help="people's: query, docid, rating")
    parser.add_argument("--model", default="millirank-reranker", help="that `millirank engine build` takes")
    parser.add_argument("--count", type=int, default=700, help="rule-made queries of a segment, a fifth is asked")
    parser.add_argument("--rule-depth", type=int, default=20)
    parser.add_argument("--name", default="shop-choice", help="of the result")
    given = parser.parse_args()
    stage = FirstStage(given.index)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        reranker = Reranker("shop", given.model, work, "openvino", stage)
        people = Shop(stage, stage.judged(given.judgments, DEPTH), reranker, work / "people", whole=True)
        cases, told = cases_of(people)
        rows = [*rows_of(people.queries, cases), *changed(people, "judged")]
        rules = Shop(stage, stage.ruled(given.count, given.rule_depth), reranker, work / "rules", whole=False)
        rows += changed(rules, "rules")
    write(given.name, "What a shop's judgments could choose", [*NOTES, *told], rows)


if __name__ == "__main__":
    main()

"""Draws the curve of rerankers: nDCG@10 on judged and on rule-made queries against milliseconds for 50 pairs.

python loadtest/variants.py --index INDEX --judgments judgments.csv --work DIR six=FOLDER three=millirank-reranker …

Each model is NAME=FOLDER (or a name or hub id that `millirank engine build` takes); the first is what the others are
compared with. A folder that `millirank train --folds N` wrote is scored by cross-validation: each judged query with the
model that never saw it. Engines are built into --work, and found there the next time.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from interleave import by_turns, drawn
from numpy.typing import NDArray
from report import Row, percentiles, write

from millirank.catalog.layout import CatalogFolder
from millirank.catalog.snapshot import Snapshot
from millirank.catalog.vectors import encode_all
from millirank.config import Settings
from millirank.evaluation import Judgments, Scores, compare, part_of, read_judgments, score
from millirank.mining import reserved
from millirank.rerank import blend
from millirank.retrieve import HybridRetriever
from millirank.segments import segments
from millirank.tokens import Tokenizer
from millirank.types import Order
from millirank_engines import LoadedEngine, open_engine
from millirank_engines.base import Profile, cheapest_profile
from millirank_engines.build.compile import build_engine
from millirank_engines.build.source import resolve_source
from millirank_engines.pack import pack_pairs, pair_length

TIMED = (Profile(2, 24), Profile(50, 32), Profile(50, 64))  # the last for texts of 48 tokens
BATCH = 50  # pairs of similar length that are scored together
MEASURES = ("ndcg@10", "ndcg@10 judged")
SHOWN = {"layers", "weights", "p50", "least", "of the first", "queries", "success@1", *MEASURES}
SHOWN |= {f"ndcg@10 {what}" for what in ("kept", "gain kept", "difference", "difference low", "difference high", "p")}
NOTES = (
    "The fused order's first candidates, reranked by each model without a time limit, blended with the prior as the",
    "service does; 95 % intervals by bootstrap over queries, differences to the first model paired, p by",
    "randomization. `judged` queries are people's, at --depth; `rules` are those of `millirank segments` that training",
    "leaves alone, a fifth, and that have a right answer, at --rule-depth. Times are of one engine call, shapes and",
    "models interleaved in random order on one machine, which others share: compare inside of a table only.",
)


@dataclass(frozen=True)
class Asked:
    """Queries with what the first stage found for them."""

    name: str
    judgments: Judgments
    orders: Mapping[str, Order]  # by query
    depth: int
    segment: Mapping[str, str] = field(default_factory=dict)  # of rule-made queries


class FirstStage:
    """The index: candidates of queries, and tokens of products."""

    def __init__(self, index: Path) -> None:
        folder = CatalogFolder(index)
        self.snapshot = Snapshot.open(index)
        self.retriever = HybridRetriever(self.snapshot)
        self.encoder = open_engine(folder.engines / "encoder")
        self.tokens = Tokenizer(self.encoder.tokenizer, self.encoder.spec)

    def searched(self, queries: Sequence[str]) -> list[str]:
        """What is searched for instead of each query."""
        return [self.retriever.corrected(query) for query in queries]

    def orders(self, queries: Sequence[str]) -> dict[str, Order]:
        """The fused order of each query, as the service makes it."""
        texts = self.searched(queries)
        vectors = encode_all(self.encoder.engine, self.encoder.spec, self.tokens.queries(texts))
        k = Settings.candidates
        return {
            query: self.retriever.fused(self.retriever.lexical(text, k), self.retriever.dense(vector, k))
            for query, text, vector in zip(queries, texts, vectors, strict=True)
        }

    def judged(self, path: Path, depth: int) -> Asked:
        """People's queries that have a right answer."""
        found = {query: grades for query, grades in read_judgments(path).items() if any(grades.values())}
        return Asked("judged", found, self.orders(list(found)), depth)

    def ruled(self, count: int, depth: int) -> Asked:
        """Rule-made queries of the fifth that no training sees, by their right form."""
        made = segments(self.snapshot.products(range(len(self.snapshot))), count=count)
        found: dict[str, Mapping[str, int]] = {}
        names: dict[str, str] = {}
        for name, segment in made.items():
            for query, grades in segment.judgments.items():
                if grades and reserved(segment.meant.get(query, query)):
                    found[query], names[query] = grades, name
        return Asked("rules", found, self.orders(list(found)), depth, names)


class Reranker:
    """One model, or one for each fold of the judged queries."""

    def __init__(self, name: str, source: str, work: Path, backend: str, stage: FirstStage) -> None:
        self.name, self.stage = name, stage
        folds = sorted(Path(source).glob("fold[0-9]*"), key=lambda folder: int(folder.name[4:]))
        self.engines: list[LoadedEngine] = []
        for place, folder in enumerate([str(fold) for fold in folds] or [source]):
            out = work / f"{name}-{backend}-{place}"
            build_engine(folder, out, task="rerank", backend=backend)
            self.engines.append(open_engine(out))
        self.tokens = Tokenizer(self.engines[0].tokenizer, self.engines[0].spec)
        layers = self.engines[0].spec.layers
        size = (resolve_source(str(folds[0]) if folds else source) / "model.safetensors").stat().st_size
        self.facts = [Row(f"{name}/model", "layers", layers, ""), Row(f"{name}/model", "weights", size / 1e6, "MB")]

    def run(self, asked: Asked) -> dict[str, list[str]]:
        """The final order of every query: product ids, best first."""
        heads = {query: order.rows[order.exact : asked.depth] for query, order in asked.orders.items()}
        scores: dict[str, NDArray[np.float32]] = {}
        for place, loaded in enumerate(self.engines):
            mine = {q: rows for q, rows in heads.items() if part_of(q, len(self.engines)) == place}
            scores |= self.scores(loaded, mine)
        finals = {query: blend(order, scores[query]) for query, order in asked.orders.items()}
        return {query: list(self.stage.snapshot.ids(order.rows)) for query, order in finals.items()}

    def scores(self, loaded: LoadedEngine, heads: Mapping[str, NDArray[np.uint32]]) -> dict[str, NDArray[np.float32]]:
        """The scores of each query's candidates, by pairs of similar length together."""
        queries = list(heads)
        if not queries:
            return {}
        asked = self.tokens.queries(self.stage.searched(queries))
        rows = np.unique(np.concatenate([heads[query] for query in queries]))
        shown = dict(zip(rows.tolist(), self.tokens.products(self.stage.snapshot.products(rows)), strict=True))
        pairs = [(n, row) for n, query in enumerate(queries) for row in heads[query].tolist()]
        lengths = np.array([pair_length(len(asked[n]), len(shown[row]), loaded.spec) for n, row in pairs])
        order, found = np.argsort(lengths, kind="stable"), np.empty(len(pairs), np.float32)
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            profile = cheapest_profile(loaded.engine.profiles, len(batch), int(lengths[batch].max()))
            chosen = [pairs[i] for i in batch]
            feeds = pack_pairs([asked[n] for n, _ in chosen], [shown[row] for _, row in chosen], profile, loaded.spec)
            found[batch] = loaded.engine.infer(feeds)["score"][: len(batch)]
        ends = np.cumsum([len(heads[query]) for query in queries])[:-1]
        return dict(zip(queries, np.split(found, ends), strict=True))


def quality(asked: Asked, models: Sequence[Reranker], stage: FirstStage) -> Iterator[Row]:
    """Figures of every model, each against the first, and by segment."""
    fused = {query: list(stage.snapshot.ids(order.rows)) for query, order in asked.orders.items()}
    scores = {"fused": score(fused, asked.judgments)}
    scores |= {model.name: score(model.run(asked), asked.judgments) for model in models}
    first = scores[models[0].name]
    for name, one in scores.items():
        case = f"{name}/{asked.name}"
        yield Row(case, "queries", len(one.queries), "")
        for measure in MEASURES if not asked.segment else MEASURES[:1]:
            low, high = one.interval(measure)
            yield from (Row(case, measure, one.mean(measure), ""), Row(case, f"{measure} low", low, ""))
            yield Row(case, f"{measure} high", high, "")
            yield from _kept(case, measure, one, first, scores["fused"])
            paired = compare(one, first, measure)
            yield Row(case, f"{measure} difference", paired.difference, "")
            yield Row(case, f"{measure} difference low", paired.interval[0], "")
            yield Row(case, f"{measure} difference high", paired.interval[1], "")
            yield Row(case, f"{measure} p", paired.p, "")
        for segment in dict.fromkeys(asked.segment.values()):
            inside = np.array([asked.segment[query] == segment for query in one.queries])
            if inside.any():
                yield Row(f"{name}/{asked.name}: {segment}", "queries", int(inside.sum()), "")
                for measure in ("ndcg@10", "success@1"):
                    value = float(one.values[measure][inside].mean())
                    yield Row(f"{name}/{asked.name}: {segment}", measure, value, "")


def _kept(case: str, measure: str, one: Scores, first: Scores, fused: Scores) -> Iterator[Row]:
    """How much of the first model's figure another has, and how much of what the first gained over the fused order."""
    yield Row(case, f"{measure} kept", 100 * one.mean(measure) / first.mean(measure), "%")
    if gain := first.mean(measure) - fused.mean(measure):
        yield Row(case, f"{measure} gain kept", 100 * (one.mean(measure) - fused.mean(measure)) / gain, "%")


def times(models: Sequence[Reranker], rounds: int) -> Iterator[Row]:
    """Milliseconds of each shape of every model, interleaved."""
    random = np.random.default_rng(7)
    runs = {
        (model.name, profile): drawn(model.engines[0], profile, profile.batch, profile.length, random)
        for model in models
        for profile in TIMED
    }
    seconds = by_turns(runs, rounds, random)
    for (name, profile), taken in seconds.items():
        yield from percentiles(f"{name}/{profile}", taken)
        yield Row(f"{name}/{profile}", "least", 1e3 * min(taken), "ms")
        base = seconds[models[0].name, profile]
        yield Row(f"{name}/{profile}", "of the first", 100 * float(np.median(taken) / np.median(base)), "%")


def main() -> None:
    """Measures and writes docs/benchmarks/reranker-variants.json and reranker-variants.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--judgments", type=Path, help="people's: query, docid, rating")
    parser.add_argument("--work", type=Path, required=True, help="keeps the engines")
    parser.add_argument("--backend", default="openvino", help="of the engines: openvino or tensorrt")
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--rule-depth", type=int, default=50)
    parser.add_argument("--count", type=int, default=2000, help="rule-made queries of a segment, a fifth is asked")
    parser.add_argument("--rounds", type=int, default=100, help="of the timing")
    parser.add_argument("--name", default="reranker-variants", help="of the result")
    parser.add_argument("models", nargs="+", help="NAME=MODEL, the first is what the others are compared with")
    arguments = parser.parse_args()
    stage = FirstStage(arguments.index)
    named = [text.partition("=") for text in arguments.models]
    models = [Reranker(name, source or name, arguments.work, arguments.backend, stage) for name, _, source in named]
    rows = [row for model in models for row in model.facts]
    parts: list[Callable[[], Iterator[Row]]] = [lambda: times(models, arguments.rounds)]
    if arguments.judgments:
        parts.append(lambda: quality(stage.judged(arguments.judgments, arguments.depth), models, stage))
    parts.append(lambda: quality(stage.ruled(arguments.count, arguments.rule_depth), models, stage))
    for part in parts:
        rows += part()
        # a part is not lost if the next is broken
        write(arguments.name, "Rerankers: order against time", NOTES, rows, shown=SHOWN)


if __name__ == "__main__":
    main()

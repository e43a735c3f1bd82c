"""What INT8 loses to FP32 in answers: the measuring half of the gate, over an index and queries that it can check."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millirank.catalog.layout import CatalogFolder
from millirank.catalog.snapshot import Snapshot
from millirank.errors import ConfigError
from millirank.evaluation import Judgments, score
from millirank.rerank import blend
from millirank.retrieve import HybridRetriever
from millirank.segments import segments
from millirank.tokens import Tokenizer
from millirank.types import Order, Rows
from millirank_engines import Engine, Figure, open_engine, read_manifest
from millirank_engines.artifact import digest, sha256_of
from millirank_engines.build.parity import kendall_tau
from millirank_engines.build.progress import Progress
from millirank_engines.build.quantize import inference
from millirank_engines.build.quantize.data import CalibrationData
from millirank_engines.build.quantize.gate import COSINE, LIMITS

KNOWN = ("title-misspelled", "title-less-two")  # segments with one right product
QUERIES = 2000
FOUND = 100  # rows of each ranking
TOP = 10
Numbers = NDArray[np.float32]


class Accuracy:
    """Asks an index known-item queries, and judged ones, with FP32 and with INT8; owns the snapshot until close.

    An encoder's top-1 is that of the fused order, its recall that of the dense one, over the vectors of the index.
    A reranker's top-1 is that of the final order, over candidates that the index's own encoder finds.

    Args:
        index: an index with its engines.
        tokenizer: of the model.
        held: held-back text of the model, for the cosine; an encoder's only.
        cache: a folder for FP32's answers, by what they depend on.
        judged: human judgments, for nDCG@10; none leaves it out.
        queries: known-item queries that must be found.
        depth: candidates that are reranked.

    Raises:
        ConfigError: if the catalogue has fewer such queries, or none of the products that are judged right.
        CatalogError: if the index cannot be read.
    """

    def __init__(
        self,
        index: Path,
        tokenizer: Tokenizer,
        *,
        held: CalibrationData,
        cache: Path,
        judged: Judgments | None = None,
        queries: int = QUERIES,
        depth: int = 50,
    ) -> None:
        self._index, self._tokenizer, self.spec = index, tokenizer, tokenizer.spec
        self._held, self._cache, self._depth = held, cache, depth
        self._snapshot = Snapshot.open(index, hashes=False)
        self._retriever = HybridRetriever(self._snapshot)
        self._ids = self._snapshot.ids(range(len(self._snapshot)))
        self._lexical: dict[str, Order] = {}
        try:
            self._judged = {} if judged is None else self._of_index(judged)
            self._known = self._known_items(queries)
        except ConfigError:
            self.close()
            raise
        self._texts = (*self._known, *(query for query in self._judged if query not in self._known))
        self._searched = tuple(self._retriever.corrected(text) for text in self._texts)
        self._orders: list[Order] | None = None

    def close(self) -> None:
        """Lets the index be replaced."""
        self._snapshot.close()

    def asked(self) -> dict[str, Any]:
        """What the figures depend on besides the engines, as plain data."""
        about: dict[str, Any] = {
            "code": sha256_of(Path(__file__)),
            "snapshot": self._snapshot.manifest["files"],
            "texts": digest({"texts": self._texts, "right": self._known}),
            "judgments": digest(self._judged),
            "held": self._held.digest,
        }
        if self.spec.task == "rerank":
            encoder = CatalogFolder(self._index).engines / "encoder"
            about |= {"depth": self._depth, "encoder": read_manifest(encoder).key}
        return about

    def _of_index(self, judged: Judgments) -> Judgments:
        """The queries with a right product in the index; others score nothing with any engine."""
        ids = set(self._ids)
        found = {q: g for q, g in judged.items() if any(v > 0 and id_ in ids for id_, v in g.items())}
        if not found:
            raise ConfigError(
                f"none of the products that --judgments call right is in {self._index}: name judgments of its "
                "catalogue, or leave them out"
            )
        return found

    def _known_items(self, count: int) -> Mapping[str, Mapping[str, int]]:
        """Queries of all segments in turn, without those whose first product a model number decides, no engine."""
        made = segments(self._snapshot.products(range(len(self._snapshot))), count=count)
        turns = zip_longest(*(made[name].judgments.items() for name in KNOWN))
        drawn = (one for turn in turns for one in turn if one is not None)
        able = ((query, right) for query, right in drawn if not self._by_words(self._retriever.corrected(query)).exact)
        found = dict(islice(able, count))
        if len(found) < count:
            raise ConfigError(
                f"{self._index} has {len(found)} known-item queries, the gate asks {count}: name an index of a larger "
                f"catalogue with --gate, or measure less surely with --gate-queries {len(found)}"
            )
        return found

    def __call__(self, reference: Engine, engine: Engine, say: Progress) -> tuple[Figure, ...]:
        """The figures of an encoder or a reranker; see gate.Judge."""
        return (
            self._encoder(reference, engine, say)
            if self.spec.task == "embed"
            else self._reranker(reference, engine, say)
        )

    # Encoders

    def _encoder(self, reference: Engine, engine: Engine, say: Progress) -> tuple[Figure, ...]:
        tokens = self._tokenizer.queries(self._searched)

        def vectors(one: Engine) -> Numbers:
            return inference.embed(one, self.spec, tokens)

        say(f"asking {len(tokens)} queries in FP32")
        first = self._remembered("vectors", _profiles(reference), lambda: vectors(reference))
        say(f"asking {len(tokens)} queries in INT8")
        second = vectors(engine)
        near = [[self._retriever.dense(vector, FOUND) for vector in some] for some in (first, second)]
        fused = [[self._fused(text, rows) for text, rows in zip(self._searched, some, strict=True)] for some in near]
        cosines = np.einsum("ij,ij->i", first, second), self._held_cosines(reference, engine)
        orders = [[order.rows for order in some] for some in fused]
        return (
            self._top1(*orders),
            *self._ndcg(*orders),
            Figure(
                COSINE,
                1.0,
                float(np.quantile(np.concatenate(cosines), 0.01)),
                LIMITS[COSINE],
                None,
                sum(map(len, cosines)),
            ),
            self._recall(*near),
        )

    def _held_cosines(self, reference: Engine, engine: Engine) -> Numbers:
        special = 2
        rows = [
            ids[1 : int(mask.sum()) - special + 1]
            for batch in self._held.batches
            for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
        ]
        both = [inference.embed(one, self.spec, rows) for one in (reference, engine)]
        return np.asarray(np.einsum("ij,ij->i", *both), np.float32)

    def _recall(self, first: Sequence[Rows], second: Sequence[Rows]) -> Figure:
        values = [
            100 * float(np.mean([bool(self._names(rows) & right.keys()) for rows, right in self._with_right(some)]))
            for some in (first, second)
        ]
        alike = [len(set(a.tolist()) & set(b.tolist())) / max(1, len(a)) for a, b in zip(first, second, strict=True)]
        return _figure("recall@100", values, alike, len(self._known))

    # Rerankers

    def _reranker(self, reference: Engine, engine: Engine, say: Progress) -> tuple[Figure, ...]:
        orders = self._candidates(say)
        queries = self._tokenizer.queries(self._searched)
        heads = [order.rows[order.exact : self._depth].tolist() for order in orders]
        pairs = [
            (query, self._snapshot.tokens[row]) for query, rows in zip(queries, heads, strict=True) for row in rows
        ]
        ends = np.cumsum([len(rows) for rows in heads])[:-1]

        def scores(one: Engine) -> Numbers:
            return inference.score(one, self.spec, pairs)

        say(f"scoring {len(pairs)} pairs in FP32")
        inputs = {"candidates": heads, **_profiles(reference)}
        first = np.split(self._remembered("scores", inputs, lambda: scores(reference)), ends)
        say(f"scoring {len(pairs)} pairs in INT8")
        second = np.split(scores(engine), ends)
        finals = [[blend(order, one).rows for order, one in zip(orders, some, strict=True)] for some in (first, second)]
        tau = kendall_tau(list(zip(second, first, strict=True)))
        return (
            self._top1(*finals),
            *self._ndcg(*finals),
            Figure("kendall_tau", 1.0, tau, LIMITS["kendall_tau"], None, len(pairs)),
        )

    def _candidates(self, say: Progress) -> list[Order]:
        """The fused order of every query by the index's own encoder."""
        if self._orders is None:
            say(f"finding candidates of {len(self._texts)} queries")
            folder = CatalogFolder(self._index).engines / "encoder"

            def vectors() -> Numbers:
                loaded = open_engine(folder)
                try:
                    tokenizer = Tokenizer(loaded.tokenizer, loaded.spec)
                    return inference.embed(loaded.engine, loaded.spec, tokenizer.queries(self._searched))
                finally:
                    loaded.engine.close()

            found = self._remembered("candidates", {"encoder": read_manifest(folder).key}, vectors)
            near = [self._retriever.dense(vector, FOUND) for vector in found]
            self._orders = [self._fused(text, rows) for text, rows in zip(self._searched, near, strict=True)]
        return self._orders

    # Both

    def _by_words(self, text: str) -> Order:
        if text not in self._lexical:
            self._lexical[text] = self._retriever.lexical(text, FOUND)
        return self._lexical[text]

    def _fused(self, text: str, near: Rows) -> Order:
        return self._retriever.fused(self._by_words(text), near)

    def _with_right(self, some: Sequence[Rows]) -> list[tuple[Rows, Mapping[str, int]]]:
        return list(zip(some[: len(self._known)], self._known.values(), strict=True))

    def _names(self, rows: Rows) -> set[str]:
        return {self._ids[row] for row in rows}

    def _top1(self, first: Sequence[Rows], second: Sequence[Rows]) -> Figure:
        values = [
            100 * float(np.mean([bool(self._names(rows[:1]) & right.keys()) for rows, right in self._with_right(some)]))
            for some in (first, second)
        ]
        alike = [a[:1].tolist() == b[:1].tolist() for a, b in zip(first, second, strict=True)]
        return _figure("top1", values, alike, len(self._known))

    def _ndcg(self, first: Sequence[Rows], second: Sequence[Rows]) -> list[Figure]:
        if not self._judged:
            return []
        runs = [
            {query: [self._ids[row] for row in rows[:FOUND]] for query, rows in zip(self._texts, some, strict=True)}
            for some in (first, second)
        ]
        values = [score({query: run[query] for query in self._judged}, self._judged).mean("ndcg@10") for run in runs]
        alike = [len(set(runs[0][q][:TOP]) & set(runs[1][q][:TOP])) / TOP for q in self._judged]
        return [_figure("ndcg@10", values, alike, len(self._judged))]

    def _remembered(self, name: str, inputs: Mapping[str, Any], make: Callable[[], Numbers]) -> Numbers:
        """What FP32 says to the inputs, plain data that it depends on besides model, index and queries; made once."""
        about = {
            "model": self.spec.hash,
            "snapshot": self._snapshot.manifest["files"],
            "texts": self._searched,
            "inputs": dict(inputs),
        }
        path = self._cache / f"{name}-{digest(about)[:16]}.npy"
        try:
            return np.asarray(np.load(path), np.float32)
        except (OSError, ValueError):
            made = make()
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part.npy")
            np.save(part, made)
            part.replace(path)
            return made


def _profiles(engine: Engine) -> dict[str, list[str]]:
    """What an engine pads to, which its last bits depend on."""
    return {"profiles": sorted(map(str, engine.profiles))}


def _figure(name: str, values: Sequence[float], alike: Sequence[float], count: int) -> Figure:
    """A figure of FP32 and INT8, and how often they agree."""
    return Figure(name, values[0], values[1], LIMITS[name], float(np.mean(alike)), count)

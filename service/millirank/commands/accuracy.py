"""What INT8 loses to FP32 in answers: the measuring half of the gate, over an index and queries that it can check."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millirank.catalog.layout import CatalogFolder
from millirank.evaluation import Judgments
from millirank.rerank import blend
from millirank.tokens import Tokenizer
from millirank.types import Order
from millirank_engines import Engine, Figure, open_engine, read_manifest
from millirank_engines.artifact import digest, sha256_of
from millirank_engines.build.parity import kendall_tau
from millirank_engines.build.progress import Progress
from millirank_engines.build.quantize import inference
from millirank_engines.build.quantize.data import CalibrationData, pairs_of, sequences_of
from millirank_engines.build.quantize.gate import COSINE, LIMITS, TAU

from .questions import TOP, Questions

QUERIES = 2000
CODE = ("accuracy.py", "questions.py")  # that the figures depend on
Numbers = NDArray[np.float32]


class Accuracy:
    """Asks an index known-item queries, and judged ones, with FP32 and with INT8; owns the snapshot until close.

    An encoder's top-1 is that of the fused order, its recall that of the dense one, over the vectors of the index.
    A reranker's top-1 is that of the final order, over candidates that the index's own encoder finds.

    Args:
        index: an index with its engines.
        tokenizer: of the model.
        held: held-back text of the model: an encoder's for the cosine, pairs of a reranker for Kendall's tau.
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
        self._asked = Questions(index, judged, queries)
        self._orders: list[Order] | None = None

    def close(self) -> None:
        """Lets the index be replaced."""
        self._asked.snapshot.close()

    def asked(self) -> dict[str, Any]:
        """What the figures depend on besides the engines, as plain data."""
        about: dict[str, Any] = {
            "code": {name: sha256_of(Path(__file__).with_name(name)) for name in CODE},
            "snapshot": self._asked.snapshot.manifest["files"],
            "texts": digest({"texts": self._asked.texts, "right": self._asked.known}),
            "judgments": digest(self._asked.judged),
            "held": self._held.digest,
        }
        if self.spec.task == "rerank":
            encoder = CatalogFolder(self._index).engines / "encoder"
            about |= {"depth": self._depth, "encoder": read_manifest(encoder).key}
        return about

    def __call__(self, reference: Engine, engine: Engine, say: Progress) -> tuple[Figure, ...]:
        """The figures of an encoder or a reranker; see gate.Judge."""
        return (
            self._encoder(reference, engine, say)
            if self.spec.task == "embed"
            else self._reranker(reference, engine, say)
        )

    # Encoders

    def _encoder(self, reference: Engine, engine: Engine, say: Progress) -> tuple[Figure, ...]:
        tokens = self._tokenizer.queries(self._asked.searched)

        def vectors(one: Engine, precision: str) -> Numbers:
            told = _shares(say, f"asking {len(tokens):,} queries in {precision}")
            return inference.embed(one, self.spec, tokens, told)

        first = self._remembered("vectors", _profiles(reference), lambda: vectors(reference, "FP32"))
        second = vectors(engine, "INT8")
        near = [self._asked.near(some) for some in (first, second)]
        cosines = np.einsum("ij,ij->i", first, second), self._held_cosines(reference, engine)
        orders = [[order.rows for order in self._asked.fused(some)] for some in near]
        return (
            self._asked.top1(*orders),
            *self._asked.ndcg(*orders),
            Figure(
                COSINE,
                1.0,
                float(np.quantile(np.concatenate(cosines), 0.01)),
                LIMITS[COSINE],
                None,
                sum(map(len, cosines)),
            ),
            self._asked.recall(*near),
        )

    def _held_cosines(self, reference: Engine, engine: Engine) -> Numbers:
        rows = sequences_of(self._held)
        both = [inference.embed(one, self.spec, rows) for one in (reference, engine)]
        return np.asarray(np.einsum("ij,ij->i", *both), np.float32)

    # Rerankers

    def _reranker(self, reference: Engine, engine: Engine, say: Progress) -> tuple[Figure, ...]:
        orders = self._candidates(say)
        queries = self._tokenizer.queries(self._asked.searched)
        heads = [order.rows[order.exact : self._depth].tolist() for order in orders]
        pairs = [
            (query, self._asked.snapshot.tokens[row])
            for query, rows in zip(queries, heads, strict=True)
            for row in rows
        ]
        ends = np.cumsum([len(rows) for rows in heads])[:-1]

        def scores(one: Engine, precision: str) -> Numbers:
            told = _shares(say, f"scoring {len(pairs):,} pairs in {precision}")
            return inference.score(one, self.spec, pairs, told)

        inputs = {"candidates": heads, **_profiles(reference)}
        first = np.split(self._remembered("scores", inputs, lambda: scores(reference, "FP32")), ends)
        second = np.split(scores(engine, "INT8"), ends)
        finals = [[blend(order, one).rows for order, one in zip(orders, some, strict=True)] for some in (first, second)]
        rankings = [*zip(second, first, strict=True), *self._held_rankings(reference, engine)]
        return (
            self._asked.top1(*finals),
            *self._asked.ndcg(*finals, compared=self._depth > TOP),
            Figure(TAU, 1.0, kendall_tau(rankings), LIMITS[TAU], None, sum(len(scores) for scores, _ in rankings)),
        )

    def _held_rankings(self, reference: Engine, engine: Engine) -> list[tuple[Numbers, Numbers]]:
        """INT8's and FP32's scores of the products of each held-back query that has several."""
        pairs = pairs_of(self._held, self.spec)
        places: dict[bytes, list[int]] = {}
        for place, (query, _) in enumerate(pairs):
            places.setdefault(query.tobytes(), []).append(place)
        inputs = {"held": self._held.digest, **_profiles(reference)}
        first = self._remembered("held", inputs, lambda: inference.score(reference, self.spec, pairs))
        second = inference.score(engine, self.spec, pairs)
        return [(second[some], first[some]) for some in places.values() if len(some) > 1]

    def _candidates(self, say: Progress) -> list[Order]:
        """The fused order of every query by the index's own encoder."""
        if self._orders is None:
            say(f"finding candidates of {len(self._asked.texts)} queries")
            folder = CatalogFolder(self._index).engines / "encoder"

            def vectors() -> Numbers:
                loaded = open_engine(folder)
                try:
                    tokenizer = Tokenizer(loaded.tokenizer, loaded.spec)
                    return inference.embed(loaded.engine, loaded.spec, tokenizer.queries(self._asked.searched))
                finally:
                    loaded.engine.close()

            found = self._remembered("candidates", {"encoder": read_manifest(folder).key}, vectors)
            self._orders = self._asked.fused(self._asked.near(found))
        return self._orders

    def _remembered(self, name: str, inputs: Mapping[str, Any], make: Callable[[], Numbers]) -> Numbers:
        """What FP32 says to the inputs, plain data that it depends on besides model, index and queries; made once."""
        about = {
            "model": self.spec.hash,
            "snapshot": self._asked.snapshot.manifest["files"],
            "texts": self._asked.searched,
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


def _shares(say: Progress, what: str) -> inference.Told:
    """Says how much of something is done, and at once that it has begun."""
    say(f"{what}: 0%")
    return lambda share: say(f"{what}: {share:.0%}")


def _profiles(engine: Engine) -> dict[str, list[str]]:
    """What an engine pads to, which its last bits depend on."""
    return {"profiles": sorted(map(str, engine.profiles))}

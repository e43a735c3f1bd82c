"""What an engine is calibrated on: sampled traffic, the catalogue's own text, or random tokens."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from millirank.catalog.snapshot import Snapshot
from millirank.errors import ConfigError
from millirank.tokens import Tokenizer
from millirank.traffic.records import read_traffic
from millirank_engines.build.profiles import longest_input
from millirank_engines.build.quantize.data import (
    CalibrationData,
    Pair,
    distinct,
    distinct_pairs,
    pairs_data,
    random_sequences,
    sequences_data,
    split,
    split_pairs,
)
from millirank_engines.pack import Ids

RANDOM = "random"
SCALES = ".safetensors"  # a file that brings its ranges
DEPTH = 8  # products of a query that are looked at
LONGEST_PHRASE = 4  # words of a title that stand for a query


def is_traffic(source: str) -> bool:
    """Whether a source of calibration is sampled traffic, rather than an index, random tokens or scales."""
    path = Path(source)
    return source != RANDOM and path.exists() and path.suffix != SCALES and not (path / "CURRENT").is_file()


class Texts:
    """Queries and products as token ids of one model, drawn from a source.

    Args:
        source: a folder or JSON Lines file of sampled traffic, an index's folder, or random.
        tokenizer: of the model.
        index: whose products traffic names; None leaves products out of an encoder's data.
        count: queries, and as many products, at most.
        seed: of the draws.

    Raises:
        ConfigError: if the source is none of these, or pairs need an index.
        CatalogError: if an index cannot be read.
    """

    def __init__(self, source: str, tokenizer: Tokenizer, *, index: Path | None, count: int, seed: int = 0) -> None:
        self.spec, self.tokenizer, self._count = tokenizer.spec, tokenizer, count
        self._dice = np.random.default_rng(seed)
        self.queries: list[Ids] = []
        self.products: list[list[Ids]] = []  # of each query
        path = Path(source)
        if source == RANDOM:
            self.origin = "random tokens"
            self._random()
        elif (path / "CURRENT").is_file():
            self.origin = "catalogue text"
            self._catalogue(path)
        elif is_traffic(source):
            self.origin = "traffic"
            self._traffic(path, index)
        else:
            raise ConfigError(
                f"there is nothing to calibrate on at {source}: name a folder that `millirank serve --traffic-sample` "
                f"writes, an index's folder, or {RANDOM}"
            )

    def data(self) -> CalibrationData:
        """Queries and products for an encoder, pairs for a reranker; none of them twice.

        Raises:
            ConfigError: if a reranker's products are not known.
            EngineError: if there is nothing.
        """
        if self.spec.task == "embed":
            longest = self.spec.max_length - 2
            products = distinct(product for some in self.products for product in some)
            kept = self._dice.permutation(len(products))[: self._count].tolist()
            texts = distinct(ids[:longest] for ids in (*self.queries, *(products[i] for i in kept)))
            return sequences_data(texts, self.spec, self.origin)
        return pairs_data(self._pairs(), self.spec, self.origin)

    def halves(self) -> tuple[CalibrationData, CalibrationData]:
        """What calibrates and what is held back; no text is in both.

        Raises:
            ConfigError: if a reranker's products are not known.
            EngineError: if there is too little.
        """
        if self.spec.task == "embed":
            return split(self.data())
        used, held = split_pairs(self._pairs(), self.origin)
        return pairs_data(used, self.spec, self.origin), pairs_data(held, self.spec, self.origin)

    def _pairs(self) -> list[Pair]:
        """At most twice count different pairs, in the order of their queries."""
        pairs = distinct_pairs((q, p) for q, some in zip(self.queries, self.products, strict=True) for p in some)
        if not pairs:
            raise ConfigError("traffic names products by id alone: name the index that they are in with --gate")
        kept = sorted(self._dice.permutation(len(pairs))[: 2 * self._count].tolist())
        return [pairs[i] for i in kept]

    def _random(self) -> None:
        template = self.spec.template
        room = longest_input(self.spec) - 3
        self.queries = list(random_sequences(self._count, self.spec, min(template.query_tokens, room // 2)))
        found = random_sequences(self._count, self.spec, min(template.product_tokens, room // 2), seed=1)
        self.products = [[product] for product in found]

    def _catalogue(self, path: Path) -> None:
        """Each of some products with a phrase of its own title, and with that of the product before it."""
        snapshot = Snapshot.open(path, hashes=False)
        try:
            rows = self._dice.permutation(len(snapshot))[: self._count].tolist()
            found = snapshot.products(rows)
        finally:
            snapshot.close()
        texts = self.tokenizer.products(found)
        phrases = [self._phrase(str(product["title"])) for product in found]
        self.queries = self.tokenizer.queries(phrases)
        self.products = [[text, texts[i - 1]] for i, text in enumerate(texts)]

    def _phrase(self, title: str) -> str:
        words = title.split()
        length = int(self._dice.integers(1, LONGEST_PHRASE + 1))
        first = int(self._dice.integers(0, max(1, len(words) - length + 1)))
        return " ".join(words[first : first + length])

    def _traffic(self, path: Path, index: Path | None) -> None:
        asked = list({one.query: one for one in read_traffic(path, DEPTH)}.values())
        drawn = [asked[i] for i in sorted(self._dice.permutation(len(asked))[: self._count].tolist())]
        self.queries = self.tokenizer.queries([one.query for one in drawn])
        self.products = [[] for _ in drawn]
        if index is not None:
            self.products = list(self._named([one.candidates or () for one in drawn], index))

    def _named(self, candidates: Sequence[Sequence[str]], index: Path) -> Iterator[list[Ids]]:
        snapshot = Snapshot.open(index, hashes=False)
        try:
            rows = {id_: row for row, id_ in enumerate(snapshot.ids(range(len(snapshot))))}
            for ids in candidates:
                known = list(islice((rows[id_] for id_ in ids if id_ in rows), DEPTH))
                yield self.tokenizer.products(snapshot.products(known)) if known else []
        finally:
            snapshot.close()

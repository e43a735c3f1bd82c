"""The whole of an index run: rows into the product store, the store into a sealed snapshot, the snapshot made current.

Products are stored first and everything else is derived from the store, so that bad rows are known before the long work
begins, and how long it will take. Memory does not grow with the feed, but for HNSW's graph (see indexes.write_dense).
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from millirank.errors import CatalogError
from millirank.tokens import Tokenizer
from millirank.v1.search_pb2 import Product
from millirank_engines.base import Engine

from .fields import Reason
from .indexes import (
    EXACT_UP_TO,
    LEXICAL_WEIGHT,
    ROW,
    TEXT,
    TEXT_FIELDS,
    TEXT_INDEX,
    Bm25Writer,
    DenseReport,
    other_text_of,
    text_of,
    write_dense,
)
from .indexes import analyzer as analyzer_of
from .layout import CatalogFolder
from .packed import Packed, PackedWriter
from .rows import BadRow, Row
from .snapshot import IDS, RENDERED, TOKENS, seal
from .store import ProductWriter, writing
from .vectors import encode_all
from .words import WordCounts

WINDOW = 4096  # products encoded together, sorted by length
NAMED_BAD_ROWS = 20  # bad rows that a report lists; the others are counted
RECALL_QUERIES = 200
QUERY_WORDS = 3  # at most, of a query made from a title
DENSE = "dense.faiss"
VECTORS = "vectors"  # spilled to disk while a run encodes
STORING, ENCODING, INDEXING = "storing", "encoding", "indexing"  # the stages of a run


DEFAULT_FUSION: Mapping[str, float] = {"lexical": LEXICAL_WEIGHT, "queries": 0}


class Progress(Protocol):
    """Is told how far a run has come."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Products done in a stage, of how many; None where that is not known."""


class BadRows(CatalogError):
    """Rows that a strict run does not accept; the snapshot before it stays current."""

    def __init__(self, rows: tuple[BadRow, ...]) -> None:
        listed = "\n".join(f"  {row}" for row in rows)
        super().__init__(f"the feed has bad rows, nothing was changed: correct them, or leave out --strict\n{listed}")
        self.rows = rows


@dataclass(frozen=True)
class IndexReport:
    """What an index run made."""

    version: int
    products: int
    bad: dict[str, int]  # rows skipped, by reason
    bad_rows: tuple[BadRow, ...]  # the first of them
    dense: DenseReport
    seconds: float


@dataclass(frozen=True)
class Derived:
    """What was made of every product."""

    tokens: int
    words: int  # different ones
    queries: list[str]  # from titles, to measure recall with


@dataclass(frozen=True)
class Models:
    """What an index run reads products with; each tokenizer names its model."""

    encoder: Engine
    encoder_tokens: Tokenizer
    reranker_tokens: Tokenizer

    def vectors(self, products: Sequence[Mapping[str, Any]]) -> NDArray[np.float32]:
        """The products' embeddings, shape (n, dim)."""
        return encode_all(self.encoder, self.encoder_tokens.spec, self.encoder_tokens.products(products))

    def known(self) -> set[str]:
        """Words of the encoder's language, which are never taken for misspelled."""
        return self.encoder_tokens.words()

    def query_vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The queries' embeddings, shape (n, dim)."""
        return encode_all(self.encoder, self.encoder_tokens.spec, self.encoder_tokens.queries(texts))


class Learn(Protocol):
    """Learns how the two indexes of a snapshot are fused, from its products alone."""

    def __call__(
        self, folder: Path, analyzer: str, products: Iterable[Mapping[str, Any]], models: Models
    ) -> Mapping[str, float]:
        """The lexical index's weight, of 1, and how many queries it was learned from: lexical and queries.

        Args:
            folder: where the indexes have been written.
            analyzer: of the lexical index.
            products: in the order of rows.
            models: the encoder.
        """


def build_snapshot(
    out: Path,
    rows: Iterable[Row | BadRow],
    models: Models,
    *,
    strict: bool = False,
    analyzer: str = "english",
    progress: Progress | None = None,
    exact_up_to: int = EXACT_UP_TO,
    learn: Learn | None = None,
) -> IndexReport:
    """Makes a new snapshot from a feed and makes it current; a run that fails or is killed leaves the old one current.

    Args:
        out: the catalogue's folder; made if it is not there.
        rows: of the feed, such as read_products gives; row ids follow their order.
        models: the encoder, and the reranker's tokenizer, whose tokens are stored.
        strict: whether a bad row fails the run.
        analyzer: of the lexical index: english or words.
        progress: is told how far the run has come.
        exact_up_to: the most products that are searched exhaustively.
        learn: finds out how much each index should count in the fused order; None takes the default.

    Raises:
        BadRows: if strict and a row is bad.
        CatalogError: if there is no product, the folder cannot be written, or another run writes it.
        EngineError: if the encoder fails, or has no profile for a product's length.
    """
    began = time.monotonic()
    folder = CatalogFolder(out)
    tell = progress or _silent
    reranker = models.reranker_tokens.spec
    with folder.lock():
        generations = folder.clean()
        version, building = folder.building()
        with writing(folder.products, generations) as store:
            count, bad, named = _store(rows, store, building, strict=strict, tell=tell)
            derived = _derive(store, building, count, models, analyzer, tell)
            tell(INDEXING, 0, count)
            dense = _write_dense(building, count, models, derived.queries, exact_up_to)
            products = (product for _, window in _windows(store, building) for product in window)
            fusion = learn(building, analyzer, products, models) if learn else DEFAULT_FUSION
            tell(INDEXING, count, count)
            seal(
                building,
                {
                    "version": version,
                    "created": datetime.now(UTC).isoformat(timespec="seconds"),
                    "products": count,
                    "store": store.generation,
                    "encoder": models.encoder_tokens.spec.to_json(),
                    "reranker": reranker.to_json(),
                    "dense": dense.to_json(),
                    "bm25": {"analyzer": analyzer, "fields": dict(TEXT_FIELDS), "text": TEXT, "row": ROW},
                    "words": derived.words,
                    "fusion": dict(fusion),
                    "tokens": {"dtype": reranker.token_dtype, "count": derived.tokens},
                    "bad_rows": dict(bad),
                },
            )
            folder.publish(building, version)
            store.keep(folder.clean())
    return IndexReport(version, count, dict(bad), named, dense, time.monotonic() - began)


def _store(
    rows: Iterable[Row | BadRow], store: ProductWriter, building: Path, *, strict: bool, tell: Progress
) -> tuple[int, Counter[str], tuple[BadRow, ...]]:
    bad: Counter[str] = Counter()
    named: list[BadRow] = []
    count = 0
    with PackedWriter(building, IDS, np.uint8) as ids:
        for row in rows:
            wrong = row if isinstance(row, BadRow) else None
            if isinstance(row, Row):
                if store.add(row.product):
                    ids.extend([row.product["id"].encode()])
                    count += 1
                    if count % WINDOW == 0:
                        tell(STORING, count, None)
                else:
                    wrong = BadRow(row.line, Reason.DUPLICATE_ID, f"{row.product['id']} stands in an earlier row")
            if wrong is not None:
                bad[wrong.reason.value] += 1
                if len(named) < NAMED_BAD_ROWS:
                    named.append(wrong)
                if strict and len(named) == NAMED_BAD_ROWS:
                    break
    store.commit()
    tell(STORING, count, count)
    if strict and named:
        raise BadRows(tuple(named))
    if not count:
        reasons = "".join(f"\n  {row}" for row in named)
        raise CatalogError(f"the feed holds no product, nothing was changed: check --catalog and --map{reasons}")
    return count, bad, tuple(named)


def _windows(store: ProductWriter, building: Path) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    ids = Packed(building, IDS, np.uint8)
    for start in range(0, len(ids), WINDOW):
        rows = range(start, min(start + WINDOW, len(ids)))
        yield start, store.get([ids[row].tobytes().decode() for row in rows])


def _derive(store: ProductWriter, building: Path, count: int, models: Models, analyzer: str, tell: Progress) -> Derived:
    queries: list[str] = []
    plain = analyzer_of("words")
    counts = WordCounts()
    every = max(1, count // RECALL_QUERIES)
    tell(ENCODING, 0, count)
    with (
        PackedWriter(building, TOKENS, models.reranker_tokens.spec.token_dtype) as tokens,
        PackedWriter(building, RENDERED, np.uint8) as rendered,
        (building / VECTORS).open("wb") as vectors,
        Bm25Writer(building / TEXT_INDEX, analyzer) as lexical,
    ):
        for start, products in _windows(store, building):
            vectors.write(models.vectors(products).tobytes())
            tokens.extend([ids.tobytes() for ids in models.reranker_tokens.products(products)])
            rendered.extend([Product(**product).SerializeToString(deterministic=True) for product in products])
            for row, product in enumerate(products, start):
                lexical.add(row, product)
                counts.add(plain.analyze(text_of(product)), plain.analyze(other_text_of(product)))
                if row % every == 0 and len(queries) < RECALL_QUERIES:
                    queries.append(_title_query(row // every, product["title"]))
            tell(ENCODING, start + len(products), count)
    return Derived(len(tokens), counts.write(building, models.known()), queries)


def _title_query(number: int, title: str) -> str:
    """One to three neighbouring words of a title, as shoppers type them: the number picks how many and where."""
    words = title.split()
    length = number % QUERY_WORDS + 1
    start = number * 7 % max(1, len(words) - length + 1)
    return " ".join(words[start : start + length])


def _write_dense(building: Path, count: int, models: Models, queries: list[str], exact_up_to: int) -> DenseReport:
    spilled = building / VECTORS
    vectors = np.memmap(spilled, np.float32, mode="r", shape=(count, models.encoder_tokens.spec.dim))
    report = write_dense(vectors, models.query_vectors(queries), building / DENSE, exact_up_to)
    spilled.unlink()
    return report


def _silent(stage: str, done: int, total: int | None) -> None:
    """Tells nobody."""

"""Writes the two indexes of a snapshot: FAISS over vectors, tantivy's BM25 over words; and what their readers share."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from millirank.errors import CatalogError

from .codes import codes_of

EXACT_UP_TO = 10_000  # products that are searched exhaustively; above, HNSW
HNSW_M = 32  # links a node
HNSW_EF_CONSTRUCTION = 200
HNSW_EF_SEARCH = 128
RECALL_AT = 100
BLOCK = 16_384  # vectors added, or compared exhaustively, at a time
WRITER_HEAP = 64 << 20  # bytes

# How often the words of each field are counted in the one field that BM25 sees: Robertson, Zaragoza and Taylor, Simple
# BM25 Extension to Multiple Weighted Fields, 2004. A sum over fields is far behind: a short brand outweighs all else.
TEXT_FIELDS: Mapping[str, int] = {"title": 2, "brand": 1, "description": 1, "category": 1}
ANALYZERS: Mapping[str, str | None] = {"english": "english", "words": None}  # name: stemmer
LEXICAL_WEIGHT = 0.6  # of 1, in the fused order, where nothing was learned; chosen on half of Chorus's queries
TEXT_INDEX = "bm25"  # its folder
TEXT = "text"
CODE = "code"  # model numbers, see codes.py
ROW = "row"


def analyzer(name: str) -> Any:  # noqa: ANN401 - tantivy has no types
    """The tantivy analyzer of that name: words, lower case, without accents, stemmed where the name says a language.

    Raises:
        CatalogError: if there is none.
    """
    from tantivy import Filter, TextAnalyzerBuilder, Tokenizer

    if name not in ANALYZERS:
        raise CatalogError(f"there is no analyzer {name}: use one of {', '.join(ANALYZERS)}")
    builder = TextAnalyzerBuilder(Tokenizer.simple())
    builder = builder.filter(Filter.remove_long(40)).filter(Filter.lowercase()).filter(Filter.ascii_fold())
    stemmer = ANALYZERS[name]
    return (builder.filter(Filter.stemmer(stemmer)) if stemmer else builder).build()


def text_of(product: Mapping[str, Any], fields: Mapping[str, int] = TEXT_FIELDS) -> str:
    """The text of a product that BM25 sees, every field as often as it weighs."""
    return " ".join(product[name] for name, weight in fields.items() if name in product for _ in range(weight))


def other_text_of(product: Mapping[str, Any]) -> str:
    """The words of a product that BM25 does not see: its attributes' names and values."""
    return " ".join(f"{name.replace('_', ' ')} {value}" for name, value in product.get("attributes", {}).items())


def mapped(files: Sequence[Path]) -> Any:  # noqa: ANN401 - tantivy has no types
    """Opens a tantivy index whose files nobody changes.

    tantivy locks a file in the folder that it opens, but a sealed snapshot is not written to and may lie on a read-only
    disk: so it is opened through a folder of links that lives only as long as opening takes. Everything is mapped
    afterwards, and a reader that reloads by hand never looks into the folder again.

    Raises:
        ValueError: if the files are no index.
    """
    import tantivy

    with tempfile.TemporaryDirectory(prefix="millirank-") as folder:
        for file in files:
            (Path(folder) / file.name).symlink_to(file.resolve())
        index = tantivy.Index.open(folder)
        index.config_reader(reload_policy="manual")
        index.searcher()
    return index


class Bm25Writer:
    """Writes a BM25 index over products, with their row ids in a fast field. A context manager; commits at its end."""

    def __init__(self, folder: Path, name: str, fields: Mapping[str, int] = TEXT_FIELDS) -> None:
        """Makes an empty index in a folder, with the analyzer of that name and fields by their weights."""
        import tantivy

        words = analyzer(name)
        folder.mkdir()
        schema = tantivy.SchemaBuilder()
        schema.add_text_field(TEXT, tokenizer_name=name, index_option="freq")
        schema.add_text_field(CODE, tokenizer_name="raw", index_option="basic")
        schema.add_unsigned_field(ROW, fast=True)
        index = tantivy.Index(schema.build(), path=str(folder))
        index.register_tokenizer(name, words)
        self._folder, self._fields = folder, fields
        self._document = tantivy.Document
        self._writer = index.writer(heap_size=WRITER_HEAP, num_threads=1)  # one keeps the order of rows

    def add(self, row: int, product: Mapping[str, Any]) -> None:
        """Adds a product under its row id."""
        document = self._document()
        document.add_text(TEXT, text_of(product, self._fields))
        for code in codes_of(product):
            document.add_text(CODE, code)
        document.add_unsigned(ROW, row)  # Document(row=0) would kill the writer's thread
        self._writer.add_document(document)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._writer.commit()
            self._writer.wait_merging_threads()
            for lock in self._folder.glob("*.lock"):
                lock.unlink()


@dataclass(frozen=True)
class DenseReport:
    """How a dense index was made and how much of the exact answer it finds."""

    kind: Literal["flat", "hnsw"]
    dim: int
    recall: float  # of the exact top 100, mean over the queries; 1 where the search is exact
    queries: int  # that measured it
    M: int | None = None
    efConstruction: int | None = None  # noqa: N815 - FAISS's name
    efSearch: int | None = None  # noqa: N815 - FAISS's name

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a manifest."""
        data = {name: value for name, value in asdict(self).items() if value is not None}
        data[f"recall@{RECALL_AT}"] = round(data.pop("recall"), 4)
        return data


def write_dense(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], path: Path, exact_up_to: int = EXACT_UP_TO
) -> DenseReport:
    """Writes a FAISS index for inner products: exact for few vectors, HNSW over float16 for many.

    HNSW's graph is built in memory: 2 · dim + 8 · M + about 20 bytes a product, 1.0 kB at 384 dimensions.

    Args:
        vectors: shape (rows, dim), of unit length; may be mapped from a file.
        queries: shape (n, dim), to measure HNSW's recall with.
        path: of the index.
        exact_up_to: the most rows that are searched exactly.
    """
    import faiss

    rows, dim = vectors.shape
    exact = rows <= exact_up_to
    index: Any = faiss.IndexFlatIP(dim)
    if not exact:
        half: Any = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexHNSWSQ(dim, half, HNSW_M, faiss.METRIC_INNER_PRODUCT)
        index.train(np.ascontiguousarray(vectors[:1]))  # float16 learns nothing, but FAISS asks for it
        index.hnsw.efConstruction = HNSW_EF_CONSTRUCTION
        index.hnsw.efSearch = HNSW_EF_SEARCH
    for start in range(0, rows, BLOCK):
        index.add(np.ascontiguousarray(vectors[start : start + BLOCK]))
    faiss.write_index(index, str(path))
    if exact:
        return DenseReport("flat", dim, 1.0, 0)
    k = min(RECALL_AT, rows)
    _, found = index.search(queries, k)
    recall = recall_of(found, exact_top(vectors, queries, k))
    return DenseReport("hnsw", dim, recall, len(queries), HNSW_M, HNSW_EF_CONSTRUCTION, HNSW_EF_SEARCH)


def read_vectors(path: Path) -> NDArray[np.float32]:
    """The vectors that write_dense was given, (rows, dim), read into memory; of HNSW as float16 holds them.

    Raises:
        CatalogError: if the file is no such index.
    """
    import faiss

    try:
        index = faiss.read_index(str(path))
    except RuntimeError as error:
        raise CatalogError(f"{path} is no dense index ({error}): run `millirank index` again") from error
    vectors: NDArray[np.float32] = index.reconstruct_n(0, index.ntotal)
    return vectors


def recall_of(found: NDArray[np.int64], best: NDArray[np.int64]) -> float:
    """The share of the best rows of each query, (n, k), that are among those found, (n, k)."""
    return sum(len(np.intersect1d(a, b)) for a, b in zip(found, best, strict=True)) / best.size


def exact_top(vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The k rows with the largest inner products of each query, best first, shape (n, k), read block by block."""
    import faiss

    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    for start in range(0, len(vectors), BLOCK):
        block = np.ascontiguousarray(vectors[start : start + BLOCK])
        found_scores, found = faiss.knn(queries, block, min(k, len(block)), faiss.METRIC_INNER_PRODUCT)
        scores = np.hstack([scores, found_scores])
        rows = np.hstack([rows, found + start])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, rows = np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)
    return rows

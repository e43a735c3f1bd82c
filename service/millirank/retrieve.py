"""Candidates for a query from the dense and the lexical index; the only online code that knows FAISS and tantivy."""

import math
import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .catalog.indexes import ROW, TEXT, analyzer
from .catalog.snapshot import Snapshot
from .errors import CatalogError
from .types import Order

MAX_TERMS = 32  # different words of a query that BM25 looks up; those after them are left out
RRF_K = 60  # Cormack, Clarke, Buettcher: Reciprocal Rank Fusion outperforms Condorcet …, SIGIR 2009
BM25_K1, BM25_B = 1.2, 0.75  # tantivy's, too


class Retriever(Protocol):
    """Two ways to find rows; usable from several threads."""

    def lexical(self, text: str, k: int) -> NDArray[np.uint32]:
        """At most k rows that share words with the text, best first; no text is an error."""

    def dense(self, vector: NDArray[np.float32], k: int) -> NDArray[np.uint32]:
        """At most k rows nearest to the vector, shape (dim,), best first."""


def fuse(rankings: Sequence[NDArray[np.uint32]], k: int = RRF_K) -> Order:
    """Reciprocal rank fusion: a row's prior is the sum of 1 / (k + rank) over the rankings that have it, ranks from 1.

    Args:
        rankings: rows, best first, each at most once in a ranking.
        k: how little the first ranks stand out.

    Returns:
        Every row once; equal priors in the order of row ids.
    """
    if not any(len(ranking) for ranking in rankings):
        return Order(np.empty(0, np.uint32), np.empty(0, np.float32))
    rows, places = np.unique(np.concatenate(rankings), return_inverse=True)
    weights = np.concatenate([1.0 / (k + 1 + np.arange(len(ranking))) for ranking in rankings])
    prior = np.bincount(places, weights)
    order = np.argsort(-prior, kind="stable")
    return Order(rows[order].astype(np.uint32), prior[order].astype(np.float32))


class Bm25Index:
    """A lexical index, mapped read only."""

    def __init__(self, files: Sequence[Path], name: str) -> None:
        """Maps the files that a Bm25Writer wrote with the analyzer of that name.

        tantivy locks a file in the folder that it opens, but a sealed snapshot is not written to and may lie on a
        read-only disk: so it is opened through a folder of links that lives only as long as opening takes. Everything
        is mapped afterwards, and a reader that reloads by hand never looks into the folder again.
        """
        import tantivy

        with tempfile.TemporaryDirectory(prefix="millirank-") as folder:
            for file in files:
                (Path(folder) / file.name).symlink_to(file.resolve())
            index = tantivy.Index.open(folder)
            index.config_reader(reload_policy="manual")
            self._searcher = index.searcher()
        self._schema = index.schema
        self._analyzer = analyzer(name)
        self._term, self._any, self._should = (
            tantivy.Query.term_query,
            tantivy.Query.boolean_query,
            tantivy.Occur.Should,
        )

    def search(self, text: str, k: int) -> NDArray[np.uint32]:
        """At most k rows that share words with the text, best first. Punctuation is no syntax here."""
        terms = list(dict.fromkeys(self._analyzer.analyze(text)))[:MAX_TERMS]
        if not terms or k < 1:
            return np.empty(0, np.uint32)
        query = self._any([(self._should, self._term(self._schema, TEXT, term, "freq")) for term in terms])
        hits = self._searcher.search(query, k, count=False).hits
        return np.array(self._searcher.fast_field_values(ROW, [address for _, address in hits]), np.uint32)


class HybridRetriever:
    """A snapshot's indexes, mapped read only and shared by every process that maps them."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Maps the indexes; the snapshot must stay open as long as the retriever is used.

        Raises:
            CatalogError: if an index cannot be read.
        """
        import faiss

        files = [snapshot.path / name for name in snapshot.manifest["files"] if name.startswith("bm25/")]
        try:
            self._bm25 = Bm25Index(files, snapshot.manifest["bm25"]["analyzer"])
            self._dense = faiss.read_index(str(snapshot.path / "dense.faiss"), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, ValueError, OSError) as error:
            raise CatalogError(f"{snapshot.path} cannot be read ({error}): run `millirank index` again") from error
        self._set_threads = faiss.omp_set_num_threads

    def lexical(self, text: str, k: int) -> NDArray[np.uint32]:
        """At most k rows that share words with the text, best first by BM25."""
        return self._bm25.search(text, k)

    def dense(self, vector: NDArray[np.float32], k: int) -> NDArray[np.uint32]:
        """At most k rows nearest to the vector, shape (dim,), best first by inner product."""
        if k < 1:
            return np.empty(0, np.uint32)
        self._set_threads(1)  # OpenMP keeps it per calling thread; 0.1 µs
        _, rows = self._dense.search(np.ascontiguousarray(vector, np.float32).reshape(1, -1), k)
        found: NDArray[np.int64] = rows[0]
        return found[found >= 0].astype(np.uint32)


class ExactIndex:
    """The same answers from memory, by exhaustive search: for tests, and catalogues of a few thousand products."""

    def __init__(self, vectors: NDArray[np.float32], texts: Sequence[str] | None = None) -> None:
        """Takes one vector a row, shape (rows, dim), and the rows' texts; without texts nothing is found by words."""
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        documents = [Counter(_words(text)) for text in texts or ()]
        lengths = np.array([max(1, document.total()) for document in documents], np.float64)
        self._norms = BM25_K1 * (1 - BM25_B + BM25_B * lengths / lengths.mean()) if documents else lengths
        self._postings: dict[str, list[tuple[int, int]]] = {}
        for row, document in enumerate(documents):
            for word, count in document.items():
                self._postings.setdefault(word, []).append((row, count))

    def lexical(self, text: str, k: int) -> NDArray[np.uint32]:
        """At most k rows that share words with the text, best first by BM25; equal ones in the order of rows."""
        scores = np.zeros(len(self._norms))
        for word in list(dict.fromkeys(_words(text)))[:MAX_TERMS]:
            postings = self._postings.get(word, [])
            rarity = math.log(1 + (len(scores) - len(postings) + 0.5) / (len(postings) + 0.5))
            for row, count in postings:
                scores[row] += rarity * count * (BM25_K1 + 1) / (count + self._norms[row])
        best = np.argsort(-scores, kind="stable")[: max(0, k)]
        return best[scores[best] > 0].astype(np.uint32)

    def dense(self, vector: NDArray[np.float32], k: int) -> NDArray[np.uint32]:
        """At most k rows nearest to the vector, shape (dim,), best first; equal ones in the order of rows."""
        return np.argsort(-(self._vectors @ vector), kind="stable")[: max(0, k)].astype(np.uint32)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())

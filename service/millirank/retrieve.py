"""Candidates for a query from the dense and the lexical index; the only online code that knows FAISS and tantivy."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .catalog.codes import WHOLE, Asked, asked
from .catalog.indexes import CODE, LEXICAL_WEIGHT, ROW, TEXT, analyzer, mapped
from .catalog.snapshot import Snapshot
from .catalog.words import FOLDER, Words
from .errors import CatalogError
from .spelling import Speller
from .types import Order, Rows

MAX_TERMS = 32  # different words of a query that BM25 looks up; those after them are left out
RRF_K = 60  # Cormack, Clarke, Buettcher: Reciprocal Rank Fusion outperforms Condorcet …, SIGIR 2009
BM25_K1, BM25_B = 1.2, 0.75  # tantivy's, too
EXACT_PRODUCTS = 10  # a model number that more products have names none of them
EXACT_WORDS = (
    2  # words of a query beside its model numbers; where there are more, the numbers are evidence among others
)
EXACT = 4096.0  # added to the score of a product with a number that was asked for; no sum of 32 words comes near
EXACT_WHOLE = 2048.0  # added where the number is not a part of a longer one


class Retriever(Protocol):
    """Two ways to find rows; usable from several threads."""

    def corrected(self, text: str) -> str:
        """The text that is searched for where this one has words that nobody knows; mostly itself."""

    def lexical(self, text: str, k: int) -> Order:
        """At most k rows that share words with the text, best first; no text is an error."""

    def dense(self, vector: NDArray[np.float32], k: int) -> Rows:
        """At most k rows nearest to the vector, shape (dim,), best first."""

    def fused(self, lexical: Order, dense: Rows | None) -> Order:
        """One order of both; of the lexical one alone where there was no vector."""


@dataclass(frozen=True)
class Fusion:
    """How much each index counts in the fused order; a snapshot keeps what was learned for its catalogue."""

    lexical: float = LEXICAL_WEIGHT  # of 1; the rest is the dense index's

    def __call__(self, lexical: Order, dense: Rows | None) -> Order:
        """One order of both."""
        if dense is None:
            return fuse([lexical.rows], exact=lexical.exact)
        return fuse([lexical.rows, dense], weights=(2 * self.lexical, 2 - 2 * self.lexical), exact=lexical.exact)


def fuse(rankings: Sequence[Rows], *, weights: Sequence[float] = (), exact: int = 0, k: int = RRF_K) -> Order:
    """Reciprocal rank fusion: a row's prior is the sum of w / (k + rank) over the rankings that have it, ranks from 1.

    Args:
        rankings: rows, best first, each at most once in a ranking.
        weights: w of each ranking; 1 if there are none.
        exact: how many of the first ranking's rows stay ahead of all others, in their order: each gets 1 and more.
        k: how little the first ranks stand out.

    Returns:
        Every row once; equal priors in the order of row ids.
    """
    found = np.concatenate(rankings) if rankings else np.empty(0, np.uint32)
    if not len(found):
        return Order(np.empty(0, np.uint32), np.empty(0, np.float32))
    parts = [_reciprocal(k, len(ranking)) for ranking in rankings]
    if weights:
        parts = [weight * part for weight, part in zip(weights, parts, strict=True)]
    if exact:
        parts[0] = parts[0].copy()
        parts[0][:exact] += np.arange(exact, 0, -1)
    by_row = found.argsort(kind="stable")
    rows, values = found[by_row], np.concatenate(parts)[by_row]
    begins = np.flatnonzero(np.concatenate((*_FIRST, rows[1:] != rows[:-1])))
    prior = np.add.reduceat(values, begins)
    order = (-prior).argsort(kind="stable")
    return Order(rows[begins[order]].astype(np.uint32, copy=False), prior[order].astype(np.float32), exact)


_FIRST = (np.ones(1, np.bool_),)


@lru_cache(maxsize=64)
def _reciprocal(k: int, n: int) -> NDArray[np.float64]:
    """1 / (k + rank) of n ranks from 1; nobody may change it."""
    return 1.0 / (k + 1 + np.arange(n))


class Bm25Index:
    """A lexical index, mapped read only."""

    def __init__(self, files: Sequence[Path], name: str) -> None:
        """Maps the files that a Bm25Writer wrote with the analyzer of that name."""
        import tantivy

        index = mapped(files)
        self._schema, self._searcher = index.schema, index.searcher()
        self._analyzer = analyzer(name)
        self._query = tantivy.Query
        self._term, self._any, self._should = (
            tantivy.Query.term_query,
            tantivy.Query.boolean_query,
            tantivy.Occur.Should,
        )

    def search(self, text: str, k: int) -> Order:
        """At most k rows that share words with the text, best first. Punctuation is no syntax here.

        Products with a model number that the text asks for come first, and are counted as exact.
        """
        terms = list(dict.fromkeys(self._analyzer.analyze(text)))[:MAX_TERMS]
        if not terms or k < 1:
            return Order(np.empty(0, np.uint32), np.empty(0, np.float32))
        clauses = [(self._should, self._term(self._schema, TEXT, term, "freq")) for term in terms]
        numbers = self._numbers(text)
        query = self._any(clauses + numbers)
        hits = self._searcher.search(query, k, count=False).hits
        rows = np.array(self._searcher.fast_field_values(ROW, [address for _, address in hits]), np.uint32)
        scores = np.array([score for score, _ in hits], np.float32)
        return Order(rows, scores, int(np.count_nonzero(scores >= EXACT)) if numbers else 0)

    def finds(self, word: str) -> bool:
        """Whether a word, as a query has it, stands in any product."""
        return any(self._searcher.doc_freq(TEXT, term) for term in self._analyzer.analyze(word))

    def numbered(self, text: str) -> set[str]:
        """The folded words of a text that belong to model numbers of the catalogue."""
        return {word for number, _ in self._asked(text)[1] for word in number.words}

    def _asked(self, text: str) -> tuple[int, list[tuple[Asked, int]]]:
        """How many words a text has, and its longest model numbers with the number of products that have each."""
        words, maybe = asked(text)
        counts = [(number, self._searcher.doc_freq(CODE, number.code)) for number in maybe]
        known = [(number, count) for number, count in counts if count]
        return words, [pair for pair in known if not any(pair[0].within(other) for other, _ in known)]

    def _numbers(self, text: str) -> list[Any]:
        """What the model numbers of a text add to its query."""
        words, numbers = self._asked(text)
        naming = [number for number, count in numbers if number.which and count <= EXACT_PRODUCTS]
        covered = {place for number in naming for place in range(number.start, number.start + len(number.words))}
        exact = naming if words - len(covered) <= EXACT_WORDS else []
        clauses = []
        for number, _ in numbers:
            term = self._term(self._schema, CODE, number.code, "basic")
            if number in exact:
                whole = self._term(self._schema, CODE, WHOLE + number.code, "basic")
                clauses.append((self._should, self._query.const_score_query(term, EXACT)))
                clauses.append((self._should, self._query.const_score_query(whole, EXACT_WHOLE)))
            else:
                clauses.append((self._should, term))
        return clauses


class HybridRetriever:
    """A snapshot's indexes, mapped read only and shared by every process that maps them."""

    def __init__(self, snapshot: Snapshot) -> None:
        """Maps the indexes; the snapshot must stay open as long as the retriever is used.

        Raises:
            CatalogError: if an index cannot be read.
        """
        import faiss

        manifest = snapshot.manifest
        files = {
            part: [snapshot.path / name for name in manifest["files"] if name.startswith(f"{part}/")]
            for part in ("bm25", FOLDER)
        }
        try:
            self._bm25 = Bm25Index(files["bm25"], manifest["bm25"]["analyzer"])
            self._speller = Speller(Words(snapshot.path, files[FOLDER]), self._bm25.finds, self._bm25.numbered)
            self._dense = faiss.read_index(str(snapshot.path / "dense.faiss"), faiss.IO_FLAG_MMAP_IFC)
        except (RuntimeError, ValueError, OSError) as error:
            raise CatalogError(f"{snapshot.path} cannot be read ({error}): run `millirank index` again") from error
        self._set_threads = faiss.omp_set_num_threads
        self._fusion = Fusion(manifest["fusion"]["lexical"])

    def corrected(self, text: str) -> str:
        """The text with words that neither the catalogue nor the language knows replaced by what was meant."""
        return self._speller.corrected(text)

    def lexical(self, text: str, k: int) -> Order:
        """At most k rows that share words with the text, best first by BM25."""
        return self._bm25.search(text, k)

    def fused(self, lexical: Order, dense: Rows | None) -> Order:
        """One order of both, by the weights that were learned when the catalogue was indexed."""
        return self._fusion(lexical, dense)

    def dense(self, vector: NDArray[np.float32], k: int) -> Rows:
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

    def corrected(self, text: str) -> str:
        """The text as it is: nothing is corrected here."""
        return text

    def fused(self, lexical: Order, dense: Rows | None) -> Order:
        """One order of both, in which both count alike."""
        return Fusion(0.5)(lexical, dense)

    def lexical(self, text: str, k: int) -> Order:
        """At most k rows that share words with the text, best first by BM25; equal ones in the order of rows."""
        scores = np.zeros(len(self._norms))
        for word in list(dict.fromkeys(_words(text)))[:MAX_TERMS]:
            postings = self._postings.get(word, [])
            rarity = math.log(1 + (len(scores) - len(postings) + 0.5) / (len(postings) + 0.5))
            for row, count in postings:
                scores[row] += rarity * count * (BM25_K1 + 1) / (count + self._norms[row])
        best = np.argsort(-scores, kind="stable")[: max(0, k)]
        best = best[scores[best] > 0]
        return Order(best.astype(np.uint32), scores[best].astype(np.float32))

    def dense(self, vector: NDArray[np.float32], k: int) -> Rows:
        """At most k rows nearest to the vector, shape (dim,), best first; equal ones in the order of rows."""
        return np.argsort(-(self._vectors @ vector), kind="stable")[: max(0, k)].astype(np.uint32)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())

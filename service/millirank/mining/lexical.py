"""Exact BM25 scores of every product for a query: what a teacher needs and a search index does not give."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .words import terms

K1, B = 1.2, 0.75  # Lucene's defaults


class Bm25:
    """BM25 over a catalogue in memory; Robertson and Zaragoza 2009, with Lucene's idf ln(1 + (N - n + ½) / (n + ½))."""

    def __init__(self, texts: Sequence[str]) -> None:
        postings: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
        lengths = np.zeros(len(texts), np.float32)
        for row, text in enumerate(texts):
            words = terms(text)
            lengths[row] = len(words)
            for word, n in Counter(words).items():
                postings[word].append((row, n))
        norm = K1 * (1 - B + B * lengths / max(float(lengths.mean()), 1.0))
        self._size = len(texts)
        self._postings: dict[str, tuple[NDArray[np.int64], NDArray[np.float32]]] = {}
        for word, found in postings.items():
            rows, counts = np.array(found).T
            idf = np.log1p((len(texts) - len(rows) + 0.5) / (len(rows) + 0.5))
            weights = idf * counts * (K1 + 1) / (counts + norm[rows])
            self._postings[word] = rows, weights.astype(np.float32)

    def scores(self, query: str) -> NDArray[np.float32]:
        """The score of every product, shape (products,); 0 where no word is shared."""
        total = np.zeros(self._size, np.float32)
        for word in terms(query):
            if word in self._postings:
                rows, weights = self._postings[word]
                total[rows] += weights  # a row stands once in a posting list
        return total

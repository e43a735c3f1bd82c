"""What a search finds for a judged query beside the products that were judged: weak evidence of what is not right."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .lexical import Bm25
from .teacher import best

RRF_K = 60  # as the service fuses, with even weights
Beside = Callable[[int, Sequence[str]], list[list[int]]]  # a catalogue's number and queries: its rows, best first


def fused(bm25: NDArray[np.float32], dense: NDArray[np.float32], most: int) -> list[int]:
    """The rows that both orders name together first, by reciprocal rank.

    Args:
        bm25: the score of every product, (products,), 0 where no word is shared.
        dense: likewise.
        most: how many rows of each order, and of the answer.
    """
    total: dict[int, float] = {}
    lexical = best(bm25, most)
    for rows in (lexical[bm25[lexical] > 0], best(dense, most)):
        for rank, row in enumerate(rows.tolist(), start=1):
            total[row] = total.get(row, 0.0) + 1 / (RRF_K + rank)
    return sorted(total, key=lambda row: (-total[row], row))[:most]


def beside(
    texts: Sequence[Sequence[str]],
    products: Callable[[int], NDArray[np.float32]],
    queries: Callable[[Sequence[str]], NDArray[np.float32]],
    most: int,
) -> Beside:
    """A search in catalogues that are read only if a query asks for them.

    Args:
        texts: of each catalogue's products.
        products: the vectors of a catalogue's products, (products, dim), of unit length.
        queries: n texts to their vectors, (n, dim), of unit length.
        most: rows of a query.
    """

    def search(number: int, asked: Sequence[str]) -> list[list[int]]:
        words, near = Bm25(texts[number]), queries(asked) @ products(number).T
        return [fused(words.scores(query), dense, most) for query, dense in zip(asked, near, strict=True)]

    return search

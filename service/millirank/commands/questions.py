"""What the gate asks an index: queries with one right product, judged ones, and the orders that it finds for them."""

from collections.abc import Mapping, Sequence
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millirank.catalog.snapshot import Snapshot
from millirank.errors import ConfigError
from millirank.evaluation import Judgments, score
from millirank.retrieve import HybridRetriever
from millirank.segments import segments
from millirank.types import Order, Rows
from millirank_engines import Figure
from millirank_engines.build.quantize.gate import LIMITS

KNOWN = ("title-misspelled", "title-less-two")  # segments with one right product
FOUND = 100  # rows of each ranking
TOP = 10


class Questions:
    """The queries, and what FP32's and INT8's orders of rows say to them; owns the snapshot until close.

    Args:
        index: its folder.
        judged: human judgments; none leaves nDCG@10 out.
        count: known-item queries.

    Raises:
        ConfigError: if the catalogue has fewer such queries, or none of the products that are judged right.
        CatalogError: if the index cannot be read.
    """

    def __init__(self, index: Path, judged: Judgments | None, count: int) -> None:
        self._index = index
        self.snapshot = Snapshot.open(index, hashes=False)
        self.retriever = HybridRetriever(self.snapshot)
        self._ids = self.snapshot.ids(range(len(self.snapshot)))
        self._lexical: dict[str, Order] = {}
        try:
            self.judged = {} if judged is None else self._of_index(judged)
            self.known = self._known_items(count)
        except ConfigError:
            self.snapshot.close()
            raise
        self.texts = (*self.known, *(query for query in self.judged if query not in self.known))
        self.searched = tuple(self.retriever.corrected(text) for text in self.texts)

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
        made = segments(self.snapshot.products(range(len(self.snapshot))), count=count)
        turns = zip_longest(*(made[name].judgments.items() for name in KNOWN))
        drawn = (one for turn in turns for one in turn if one is not None)
        able = ((query, right) for query, right in drawn if not self._by_words(self.retriever.corrected(query)).exact)
        found = dict(islice(able, count))
        if len(found) < count:
            raise ConfigError(
                f"{self._index} has {len(found)} known-item queries, the gate asks {count}: name an index of a larger "
                f"catalogue with --gate, or measure less surely with --gate-queries {len(found)}"
            )
        return found

    def _by_words(self, text: str) -> Order:
        if text not in self._lexical:
            self._lexical[text] = self.retriever.lexical(text, FOUND)
        return self._lexical[text]

    def near(self, vectors: NDArray[np.float32]) -> list[Rows]:
        """The rows whose vectors lie nearest to each query's, float32 (texts, dim)."""
        return [self.retriever.dense(vector, FOUND) for vector in vectors]

    def fused(self, near: Sequence[Rows]) -> list[Order]:
        """The order of every query, of the rows that lie near its vector and those that hold its words."""
        found = zip(self.searched, near, strict=True)
        return [self.retriever.fused(self._by_words(text), rows) for text, rows in found]

    def top1(self, first: Sequence[Rows], second: Sequence[Rows]) -> Figure:
        """How often the right product comes first."""
        alike = [a[:1].tolist() == b[:1].tolist() for a, b in zip(first, second, strict=True)]
        values = [self._share([rows[:1] for rows in some]) for some in (first, second)]
        return _figure("top1", values, alike, len(self.known))

    def recall(self, first: Sequence[Rows], second: Sequence[Rows]) -> Figure:
        """How often the right product is among the rows."""
        alike = [len(set(a.tolist()) & set(b.tolist())) / max(1, len(a)) for a, b in zip(first, second, strict=True)]
        return _figure("recall@100", [self._share(some) for some in (first, second)], alike, len(self.known))

    def ndcg(self, first: Sequence[Rows], second: Sequence[Rows], *, compared: bool = True) -> list[Figure]:
        """nDCG@10 of the judged queries; nothing if there are none.

        Args:
            first: the rows of every query, by FP32.
            second: by INT8.
            compared: whether the first ten can differ, so that how many are the same says something.
        """
        if not self.judged:
            return []
        runs = [
            {query: [self._ids[row] for row in rows[:FOUND]] for query, rows in zip(self.texts, some, strict=True)}
            for some in (first, second)
        ]
        values = [score({query: run[query] for query in self.judged}, self.judged).mean("ndcg@10") for run in runs]
        alike = [len(set(runs[0][q][:TOP]) & set(runs[1][q][:TOP])) / TOP for q in self.judged] if compared else None
        return [_figure("ndcg@10", values, alike, len(self.judged))]

    def _share(self, some: Sequence[Rows]) -> float:
        """Percent of known items that are among the rows of their query."""
        of_known = zip(some[: len(self.known)], self.known.values(), strict=True)
        return 100 * float(np.mean([bool({self._ids[row] for row in rows} & right.keys()) for rows, right in of_known]))


def _figure(name: str, values: Sequence[float], alike: Sequence[float] | None, count: int) -> Figure:
    """A figure of FP32 and INT8, and how often they agree."""
    agreement = None if alike is None else float(np.mean(alike))
    return Figure(name, values[0], values[1], LIMITS[name], agreement, count)

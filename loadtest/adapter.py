"""Adapts the encoder to a catalogue by what was mined from it, and says whether that wins.

python loadtest/adapter.py --index INDEX --work MINED --judgments judgments.csv    docs/benchmarks/encoder-adapter.md

The adapter is a matrix that moves queries alone, to q + qA at unit length, so products need no new vectors. It learns
listwise, KL(softmax(teacher) ‖ softmax(cosine / TAU)) over the mined candidates of each pseudo-query, from the lists
that `millirank train --mine-only --work MINED` made of the index.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from firststage import half
from numpy.typing import NDArray
from report import Row, write
from variants import Asked, FirstStage

from millirank.catalog.indexes import exact_top, read_vectors
from millirank.catalog.vectors import encode_all
from millirank.config import Settings
from millirank.evaluation import Judgments, Scores, compare, score
from millirank_engines.build.lists import TEACHER, Lists

TAU = 0.05  # of cosines: between products of one list they differ by some tenths
EPOCHS, BATCH, LR, SEED = 4, 64, 1e-3, 13
MIXES = {"all": (1.0, 0.5, 1.5), "words and rules": (0.0, 0.5, 1.5)}  # of dense, BM25 and rule, as mined
DECAYS = (0.01, 0.1, 1.0)  # of the squared norm: how near the adapter stays to none
FOUND = Settings.candidates
MEASURES = ("ndcg@10", "ndcg@10 judged", "recall@100")
NOTES = (
    "An adapter of the encoder for queries, learned from mined pseudo-queries by `mix` of the teacher (`all`: the",
    "mined one; `words and rules`: without the encoder itself) and held near to none by `decay`. `dense` is the dense",
    "index alone, `fused` the order of both with the weights that were learned at indexing, `none` the encoder as it",
    "is. `less none` is paired, p by randomization. `rules` are the fifth of rule-made queries that no training sees;",
    "people's queries stand in halves, of which `other` had no say.",
)


@dataclass(frozen=True)
class Mined:
    """Pseudo-queries of one catalogue with their candidates."""

    queries: NDArray[np.float32]  # vectors, (n, dim)
    rows: NDArray[np.int64]  # (n, width), of the catalogue
    parts: NDArray[np.float32]  # (n, width, parts): standard scores of the teacher's parts

    @classmethod
    def of(cls, lists: Lists, name: str, stage: FirstStage) -> "Mined":
        """Those of the catalogue of that name.

        Raises:
            SystemExit: if the lists are of other catalogues.
        """
        names = [catalogue["name"] for catalogue in lists.manifest["catalogues"]]
        if name not in names:
            raise SystemExit(f"mined were {', '.join(names)}, not {name}: mine it with `millirank train --mine-only`")
        number = names.index(name)
        first = sum(catalogue["products"] for catalogue in lists.manifest["catalogues"][:number])
        mine = np.flatnonzero((lists.kind == TEACHER) & (lists.source == number))
        tokens = [lists.queries[int(query)] for query in lists.query[mine]]
        vectors = encode_all(stage.encoder.engine, stage.encoder.spec, tokens)
        return cls(vectors, lists.rows[mine].astype(np.int64) - first, lists.parts[mine].astype(np.float32))


def adapted(queries: NDArray[np.float32], adapter: NDArray[np.float32]) -> NDArray[np.float32]:
    """Queries moved to q + qA, of unit length again, (n, dim)."""
    moved = queries + queries @ adapter
    made: NDArray[np.float32] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    return made


def learned(mined: Mined, products: NDArray[np.float32], mix: tuple[float, ...], decay: float) -> NDArray[np.float32]:
    """The adapter, (dim, dim)."""
    import torch

    drawn = torch.Generator().manual_seed(SEED)
    dim = products.shape[1]
    adapter = torch.zeros(dim, dim, requires_grad=True)
    optimizer = torch.optim.Adam([adapter], lr=LR)
    queries, rows = torch.from_numpy(mined.queries), torch.from_numpy(mined.rows)
    targets = torch.from_numpy(mined.parts @ np.array(mix, np.float32)).softmax(1)
    vectors = torch.from_numpy(products)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(queries), generator=drawn).split(BATCH):
            moved = torch.nn.functional.normalize(queries[batch] + queries[batch] @ adapter, dim=1)
            cosines = torch.einsum("qd,qwd->qw", moved, vectors[rows[batch]])
            apart = -(targets[batch] * (cosines / TAU).log_softmax(1)).sum(1).mean()
            loss = apart + decay * adapter.square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    made: NDArray[np.float32] = adapter.detach().numpy()
    return made


def orders(
    asked: Asked, vectors: NDArray[np.float32], stage: FirstStage, products: NDArray[np.float32], ids: list[str]
) -> dict[str, dict[str, list[str]]]:
    """Product ids of each query by the dense index alone, searched exactly, and by both."""
    found: dict[str, dict[str, list[str]]] = {"dense": {}, "fused": {}}
    near = exact_top(products, vectors, FOUND).astype(np.uint32)
    for query, text, rows in zip(asked.judgments, stage.searched(list(asked.judgments)), near, strict=True):
        fused = stage.retriever.fused(stage.retriever.lexical(text, FOUND), rows)
        found["dense"][query] = [ids[row] for row in rows.tolist()]
        found["fused"][query] = [ids[row] for row in fused.rows[:FOUND].tolist()]
    return found


def rows_of(case: str, scores: Scores, none: Scores | None) -> Iterator[Row]:
    """Figures of one order, and what they differ from those of the encoder as it is."""
    yield Row(case, "queries", len(scores.queries), "")
    for measure in MEASURES:
        yield Row(case, measure, scores.mean(measure), "")
        if none is not None and measure != "recall@100":
            found = compare(scores, none, measure)
            yield Row(case, f"{measure} less none", found.difference, "")
            yield Row(case, f"{measure} p", found.p, "")


def halves(asked: Asked) -> Mapping[str, Judgments]:
    """People's queries in halves, rule-made ones whole."""
    if asked.segment:
        return {asked.name: asked.judgments}
    parts: dict[str, dict[str, Mapping[str, int]]] = {f"{asked.name} development": {}, f"{asked.name} other": {}}
    for query, grades in asked.judgments.items():
        parts[f"{asked.name} {half(query)}"][query] = grades
    return parts


def main() -> None:
    """Trains every adapter, and writes both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="what `millirank train --mine-only` wrote")
    parser.add_argument("--judgments", type=Path, required=True, help="people's: query, docid, rating")
    parser.add_argument("--count", type=int, default=1500, help="rule-made queries of a segment, a fifth is asked")
    given = parser.parse_args()
    stage = FirstStage(given.index)
    products = read_vectors(stage.snapshot.path / "dense.faiss")
    ids = list(stage.snapshot.ids(range(len(stage.snapshot))))
    mined = Mined.of(Lists.open(given.work), given.index.resolve().name, stage)
    adapters = {"none": np.zeros((products.shape[1],) * 2, np.float32)}
    for mix, weights in MIXES.items():
        adapters |= {f"{mix}, decay {decay:g}": learned(mined, products, weights, decay) for decay in DECAYS}
    rows: list[Row] = []
    for asked in (stage.judged(given.judgments, 0), stage.ruled(given.count, 0)):
        texts = stage.searched(list(asked.judgments))
        vectors = encode_all(stage.encoder.engine, stage.encoder.spec, stage.tokens.queries(texts))
        first: dict[str, Scores] = {}
        for name, adapter in adapters.items():
            for kind, run in orders(asked, adapted(vectors, adapter), stage, products, ids).items():
                for part, judgments in halves(asked).items():
                    found = score({query: run[query] for query in judgments}, judgments)
                    rows += rows_of(f"{part}, {kind}/{name}", found, first.get(f"{part} {kind}"))
                    first.setdefault(f"{part} {kind}", found)
    write("encoder-adapter", "An encoder adapted to the catalogue", NOTES, rows)


if __name__ == "__main__":
    main()

"""Heads of fused orders, kept apart from the index: scored on a machine that has nothing but torch, ranked on any.

python loadtest/heads.py make --index INDEX --judgments judgments.csv --count 2000 --out HEADS
python loadtest/heads.py score --heads HEADS MODEL scores.npy
python loadtest/heads.py pick --heads HEADS --others OTHERS scores.npz base@others base@heads picked.npz
"""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millirank.evaluation import Judgments, Scores, score
from millirank.rerank import WEIGHT, blend
from millirank.types import Order
from millirank_engines.build.lists import TEACHER, Lists, Packed
from millirank_engines.model import Template

if TYPE_CHECKING:
    from variants import Asked, FirstStage

FOUND = 100  # products of an order that are kept
TOKENS = 64  # of a product, the most that a model may read
QUERIES = "queries.json"


@dataclass(frozen=True)
class Head:
    """A query's fused order, of which the first depth products behind the exact ones may be reranked."""

    set: str  # where the query is from
    query: str
    segment: str  # of a rule-made query
    ids: Sequence[str]  # of products, best first
    prior: Sequence[float]
    words: Sequence[str]  # the order of BM25 alone
    exact: int
    depth: int  # how many are scored
    grades: Mapping[str, int]

    def ranked(self, scores: NDArray[np.float32], weight: float = WEIGHT) -> list[str]:
        """The final order by scores of the head, (width,), of which the first depth count, and a reranker's weight."""
        order = Order(np.arange(len(self.ids), dtype=np.uint32), np.array(self.prior, np.float32), self.exact)
        return [self.ids[row] for row in blend(order, scores[: self.depth], weight).rows.tolist()]


def scored(heads: Sequence[Head], orders: Sequence[Sequence[str]]) -> Scores:
    """What an order of each query is worth."""
    judged: Judgments = {head.query: head.grades for head in heads}
    return score({head.query: order for head, order in zip(heads, orders, strict=True)}, judged)


def heads_of(folder: Path) -> list[Head]:
    """What was made, in the order of the lists beside it."""
    return [Head(**one) for one in json.loads((folder / QUERIES).read_text(encoding="utf-8"))]


def make(stage: "FirstStage", asked: "Sequence[Asked]", out: Path, fields: Sequence[str] | None = None) -> int:
    """Writes the heads of those queries, and what a reranker reads of them, as lists without targets.

    Args:
        stage: the index.
        asked: sets of queries with their fused orders.
        out: the folder.
        fields: of a product; None takes the reranker's.

    Returns:
        How many queries.
    """
    made = list(_heads(stage, asked))
    spec = stage.encoder.spec
    template: dict[str, Any] = {"query_tokens": spec.template.query_tokens, "product_tokens": TOKENS}
    template["fields"] = list(fields or spec.template.fields)
    width = max(head.depth for head, _ in made)
    used = np.unique(np.concatenate([rows for _, rows in made]))
    text_of = Template(fields=tuple(template["fields"])).product_text
    texts = [text_of(product) for product in stage.snapshot.products(used)]
    place = {row: at for at, row in enumerate(used.tolist())}
    rows = np.full((len(made), width), -1, np.int32)
    for number, (_, found) in enumerate(made):
        rows[number, : len(found)] = [place[row] for row in found.tolist()]
    asked_tokens = stage.tokens.queries(stage.searched([head.query for head, _ in made]))
    special = {"cls": spec.cls_id, "sep": spec.sep_id, "pad": spec.pad_id}
    lists = Lists(
        queries=Packed.of(asked_tokens, spec.template.query_tokens, spec.token_dtype),
        products=Packed.of(stage.tokens.encode_batch(texts, spec.max_length), TOKENS, spec.token_dtype),
        query=np.arange(len(made), dtype=np.int32),
        rows=rows,
        targets=np.zeros(rows.shape, np.float32),
        parts=np.zeros((*rows.shape, 0), np.float16),
        kind=np.full(len(made), TEACHER, np.uint8),
        source=np.zeros(len(made), np.uint8),
        manifest={"template": template, "special": special, "parts": []},
    )
    lists.save(out)
    plain = [vars(head) for head, _ in made]
    (out / QUERIES).write_text(json.dumps(plain, ensure_ascii=False) + "\n", encoding="utf-8")
    return len(made)


def picked(heads: Sequence[Head], others: Sequence[Head], scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a model said of the same candidates for other heads: heads whose products are read with other fields.

    Args:
        heads: the heads.
        others: that were scored, (others, width), float32; every head is among them.
        scores: of the others.

    Raises:
        SystemExit: if a query is not among the others with the same order.
    """
    places = {(other.set, other.query, other.depth, *other.ids): place for place, other in enumerate(others)}
    try:
        return scores[[places[head.set, head.query, head.depth, *head.ids] for head in heads]]
    except KeyError as error:
        raise SystemExit(f"{error.args[0][1]!r} has another order there: make both heads from one index") from error


def _heads(stage: "FirstStage", asked: "Sequence[Asked]") -> "Iterator[tuple[Head, NDArray[np.uint32]]]":
    for one in asked:
        for query, grades in one.judgments.items():
            order = one.orders[query]
            rows = order.rows[order.exact : one.depth]
            ids = list(stage.snapshot.ids(order.rows[:FOUND]))
            prior = [float(value) for value in order.scores[:FOUND]]
            lexical = stage.retriever.lexical(stage.retriever.corrected(query), FOUND).rows
            yield (
                Head(
                    set=one.name,
                    query=query,
                    segment=one.segment.get(query, ""),
                    ids=ids,
                    prior=prior,
                    words=list(stage.snapshot.ids(lexical)),
                    exact=order.exact,
                    depth=len(rows),
                    grades=dict(grades),
                ),
                rows,
            )


def main() -> None:
    """Makes heads, or scores them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make")
    maker.add_argument("--index", type=Path, required=True)
    maker.add_argument("--judgments", type=Path, help="people's: query, docid, rating")
    maker.add_argument("--depth", type=int, default=50, help="of judged queries")
    maker.add_argument("--rule-depth", type=int, default=20)
    maker.add_argument(
        "--count", type=int, default=2000, help="rule-made queries of a segment, a fifth is kept; 0: none"
    )
    maker.add_argument("--fields", help="of a product, between commas")
    maker.add_argument("--out", type=Path, required=True)
    scorer = commands.add_parser("score")
    scorer.add_argument("--heads", type=Path, required=True)
    scorer.add_argument("--device", help="cuda or cpu")
    scorer.add_argument("model", type=Path, help="a folder that `millirank train` wrote")
    scorer.add_argument("scores", type=Path, help="the file that is written, .npy")
    picker = commands.add_parser("pick")
    picker.add_argument("--heads", type=Path, required=True)
    picker.add_argument("--others", type=Path, required=True, help="heads of the same index that were scored")
    picker.add_argument("scores", type=Path, help="an NPZ file of MODEL@NAME")
    picker.add_argument("named", help="MODEL@NAME of the others")
    picker.add_argument("name", help="MODEL@NAME that is written")
    picker.add_argument("out", type=Path, help="the file that is written, .npz")
    given = parser.parse_args()
    if given.command == "pick":
        found = picked(heads_of(given.heads), heads_of(given.others), np.load(given.scores)[given.named])
        np.savez(given.out, **{given.name: found})
        return
    if given.command == "score":
        from millirank_engines.build.teach import scored as logits
        from millirank_engines.build.train import first_device

        lists = Lists.open(given.heads)
        np.save(given.scores, logits(lists, np.arange(len(lists.query)), given.model, given.device or first_device()))
        return
    from variants import FirstStage

    stage = FirstStage(given.index)
    asked = [stage.judged(given.judgments, given.depth)] if given.judgments else []
    asked += [stage.ruled(given.count, given.rule_depth)] if given.count else []
    made = make(stage, asked, given.out, given.fields.split(",") if given.fields else None)
    print(f"{made:,} queries in {given.out}")


if __name__ == "__main__":
    main()

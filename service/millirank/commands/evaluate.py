"""`millirank eval`: how good the order is, by judgments, stage by stage and segment by segment."""

import json
import shlex
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from millirank.errors import ConfigError
from millirank.evaluation import ALL, MEASURES, Comparison, Segment, compare, read_segments
from millirank.evaluation.report import Side, names, page
from millirank.evaluation.result import Result, digest, read_result
from millirank.loadtest.results import published
from millirank.loadtest.results import result as with_source

from .figures import difference_rows, overview, rows_of, table, told
from .orders import CONFIGURATIONS, evaluated

PARTS = ("encoder", "reranker")  # of a folder of engines


def evaluate(
    index: Annotated[Path, typer.Option(help="The folder that `millirank index` wrote.")],
    judgments: Annotated[
        Path, typer.Option(help="CSV with query, docid, rating (0 to 3); `millirank segments` adds segment and meant.")
    ],
    depth: Annotated[int, typer.Option(min=0, help="Candidates to rerank; 0 scores the first stage alone.")] = 50,
    order: Annotated[str | None, typer.Option(help="What is compared.  [default: the last stage]")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Compared with: another order, another index, a folder of engines, or the --out of an earlier run.  "
            "[default: the stage before]"
        ),
    ] = None,
    measure: Annotated[str, typer.Option(help=f"Compared by: {', '.join(MEASURES)}.")] = MEASURES[0],
    engines: Annotated[Path | None, typer.Option(help="Has encoder/ and reranker/.  [default: INDEX/engines]")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write every figure here, as JSON.")] = None,
    report: Annotated[Path | None, typer.Option(help="Also write a page of what got worse, as HTML.")] = None,
) -> None:
    """Score BM25, dense, fused and reranked orders on judged queries, and compare two of them query by query."""
    orders = CONFIGURATIONS if depth else CONFIGURATIONS[:-1]
    order = order or orders[-1]
    against = against or orders[orders.index(order) - 1 if order in orders[1:] else 0]
    _refuse(order, orders, against, measure, (out, report))
    segments = read_segments(judgments)
    stored = None if against in orders else _stored(Path(against), order, segments)
    start = time.monotonic()
    result = evaluated(index.resolve().name, index, segments, depth=depth, engines=engines)
    first = Side(result, order)
    second = Side(stored, order) if stored else _other(first, against, index, segments, depth)
    comparisons = compared(first, second, measure)
    console = Console()
    if set(segments) == {ALL}:
        console.print(table(result, ALL, segments[ALL], depth))
    else:
        console.print(overview(result, segments, measure))
    for name, found in comparisons.items():
        console.print(told(name, found, first, second, measure), markup=False, soft_wrap=True)
    if out:
        rows = [*rows_of(result, segments)]
        for name, found in comparisons.items():
            rows += difference_rows(f"{name}: {' less '.join(names(first, second))}/{measure}", found)
        command = published(["millirank", *sys.argv[1:]])
        data = {**with_source(rows), "command": command, "depth": depth, **result.plain()}
        out.write_text(json.dumps(data, ensure_ascii=False) + "\n", encoding="utf-8")
    if report:
        report.write_text(page(first, second, comparisons, segments, measure), encoding="utf-8")
    queries = sum(len(segment.judgments) for segment in segments.values())
    console.print(f"{queries:,} queries in {time.monotonic() - start:.1f} s", style="dim")


def compared(first: Side, second: Side, measure: str) -> dict[str, Comparison]:
    """Both orders by segment, where both have scored it.

    Raises:
        ConfigError: if they share no scored query.
    """
    found = {
        name: compare(first.scores(name), second.scores(name), measure)
        for name in first.result.scores[first.order]
        if name in second.result.scores[second.order]
    }
    if not found:
        raise ConfigError(f"{second.result.name} has other segments: evaluate both with the same --judgments")
    return found


def _other(first: Side, against: str, index: Path, segments: Mapping[str, Segment], depth: int) -> Side:
    """The order that is compared with: of the same result, or of one that is made now."""
    path = Path(against)
    if against in first.result.scores:
        return Side(first.result, against)
    if (path / "CURRENT").is_file():
        other = evaluated(path.resolve().name, path, segments, depth=depth)
    else:
        other = evaluated(path.resolve().name, index, segments, depth=depth, engines=path)
    return Side(other, first.order)


def _stored(path: Path, order: str, segments: Mapping[str, Segment]) -> Result | None:
    """The result of an earlier run, None where the path is no file.

    Raises:
        ConfigError: if the file holds none, or one of another order or of other judgments.
    """
    if not path.is_file():
        return None
    found = read_result(path)
    if order not in found.scores:
        raise ConfigError(f"{path} has no order {order}: choose one of {', '.join(found.scores)} with --order")
    others = [name for name, one in segments.items() if found.judged.get(name, digest(one)) != digest(one)]
    if others:
        raise ConfigError(
            f"{path} was scored by other judgments of {', '.join(others)}: make it again by those of now, "
            "or give the file that it was scored by with --judgments"
        )
    return found


def _refuse(
    order: str, orders: tuple[str, ...], against: str, measure: str, files: tuple[Path | None, Path | None]
) -> None:
    if order not in orders:
        raise ConfigError(f"there is no order {order} here: choose one of {', '.join(orders)} with --order")
    path = Path(against)
    known = path.is_file() or (path / "CURRENT").is_file() or all((path / part).is_dir() for part in PARTS)
    if against not in orders and not known:
        raise ConfigError(
            f"there is no {against} to compare with: name one of {', '.join(orders)}, an index, "
            "a folder of engines, or a file that --out wrote"
        )
    if measure not in MEASURES:
        raise ConfigError(f"there is no measure {measure}: choose one of {', '.join(MEASURES)}")
    if find_spec("pytrec_eval") is None:
        raise ConfigError("scores need pytrec_eval: pip install 'millirank[eval]'")
    for file in files:
        if file and file.is_dir():
            raise ConfigError(f"{file} is a folder: name a file in it")
        if file and not file.parent.is_dir():
            raise ConfigError(
                f"{file} has no folder to stand in: make it with `mkdir -p {shlex.quote(str(file.parent))}`"
            )

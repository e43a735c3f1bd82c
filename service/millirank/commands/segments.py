"""`millirank segments`: queries with right answers from the catalogue itself, for `millirank eval`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from millirank.catalog.snapshot import Snapshot
from millirank.evaluation import write_segments
from millirank.segments import segments as made_of


def segments(
    index: Annotated[Path, typer.Option(help="The folder that `millirank index` wrote.")],
    out: Annotated[Path, typer.Option(help="The CSV file: query, docid, rating, segment, meant.")],
    count: Annotated[int, typer.Option(min=1, help="Queries of each segment at most.")] = 300,
    seed: Annotated[int, typer.Option(help="Decides what is drawn.")] = 7,
) -> None:
    """Write queries that rules over the catalogue answer: model numbers, types, brands, misspellings, phrases."""
    snapshot = Snapshot.open(index)
    try:
        found = made_of(snapshot.products(range(len(snapshot))), seed=seed, count=count)
    finally:
        snapshot.close()
    write_segments(out, found)
    console = Console()
    for name, segment in found.items():
        console.print(f"{name:>18} {len(segment.judgments):6,}", highlight=False)
    console.print(f"score them with `millirank eval --index {index} --judgments {out}`", soft_wrap=True, markup=False)

"""`millirank eval`: how good the order is, by human judgments, stage by stage."""

import asyncio
import json
import shlex
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from millirank.config import Settings
from millirank.errors import ConfigError
from millirank.evaluation import MEASURES, Comparison, Judgments, Scores, compare, read_judgments, score
from millirank.stack import Stack
from millirank.types import Phase, Query, Rows

CONFIGURATIONS = ("bm25", "dense", "fused", "reranked")
SHOWN = 5  # wins and losses


def evaluate(
    index: Annotated[Path, typer.Option(help="The folder that `millirank index` wrote.")],
    judgments: Annotated[Path, typer.Option(help="CSV with the columns query, docid, rating (0 to 3).")],
    depth: Annotated[int, typer.Option(min=1, help="Candidates to rerank.")] = 50,
    against: Annotated[str, typer.Option(help="The configuration that `reranked` is compared with.")] = "fused",
    engines: Annotated[Path | None, typer.Option(help="Has encoder/ and reranker/.  [default: INDEX/engines]")] = None,
    out: Annotated[Path | None, typer.Option(help="Also write every figure here, as JSON.")] = None,
) -> None:
    """Score BM25, dense, fused and reranked orders on judged queries."""
    if against not in CONFIGURATIONS:
        raise ConfigError(f"there is no configuration {against}: choose one of {', '.join(CONFIGURATIONS)}")
    judged = read_judgments(judgments)
    if find_spec("pytrec_eval") is None:
        raise ConfigError("scores need pytrec_eval: pip install 'millirank[eval]'")
    if out and not out.parent.is_dir():
        raise ConfigError(f"{out} has no folder to stand in: make it with `mkdir -p {shlex.quote(str(out.parent))}`")
    stack = Stack(Settings(index=index, engines=engines, sla_ms=0, rerank_depth=depth))
    start = time.monotonic()
    try:
        runs = asyncio.run(rankings(stack, tuple(judged)))
    finally:
        stack.close()
    scores = {name: score(run, judged) for name, run in runs.items()}
    console = Console()
    console.print(table(scores, judged, depth))
    difference = compare(scores["reranked"], scores[against], "ndcg@10")
    console.print(told(difference, "reranked", against), markup=False)
    if out:
        out.write_text(json.dumps(figures(scores, difference, against), indent=2) + "\n", encoding="utf-8")
    console.print(f"{len(judged)} queries in {time.monotonic() - start:.1f} s", style="dim")


async def rankings(stack: Stack, queries: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """For each configuration, the first 100 product ids of every query."""
    runs: dict[str, dict[str, list[str]]] = {name: {} for name in CONFIGURATIONS}
    for text in track(queries, description="searching", transient=True):
        searched = stack.retriever.corrected(text)
        tokens, _ = stack.encoder_tokens.query(searched)
        vector = (await stack.pipeline.transport.encode(tokens, None)).vector
        runs["bm25"][text] = _ids(stack, stack.retriever.lexical(searched, 100).rows)
        runs["dense"][text] = _ids(stack, stack.retriever.dense(vector, 100))
        async for ranking in stack.pipeline.search(Query(text, limit=100)):
            name = "fused" if ranking.phase is Phase.RETRIEVED else "reranked"
            runs[name][text] = [hit.id for hit in ranking.hits]
    return runs


def _ids(stack: Stack, rows: Rows) -> list[str]:
    return list(stack.snapshot.ids(rows))


def table(scores: dict[str, Scores], judged: Judgments, depth: int) -> Table:
    """A row a configuration, a column a measure, with 95 % intervals."""
    count = sum(len(grades) for grades in judged.values())
    scored = len(next(iter(scores.values())).queries)
    left_out = f" of {len(judged)}, the others have no right answer" if scored < len(judged) else ""
    title = f"{scored} queries{left_out}, {count} judgments, depth {depth}"
    made = Table(title=f"{title}; 95 % bootstrap intervals")
    made.add_column("order")
    for measure in MEASURES:
        made.add_column(measure, justify="right")
    for name, one in scores.items():
        cells = []
        for measure in MEASURES:
            low, high = one.interval(measure)
            cells.append(f"{one.mean(measure):.3f}\n[dim]{low:.3f} to {high:.3f}[/]")
        made.add_row(name, *cells)
    return made


def told(difference: Comparison, first: str, second: str) -> str:
    """A comparison in words."""
    low, high = difference.interval
    head = (
        f"{first} against {second}, nDCG@10: {difference.difference:+.3f} ({low:+.3f} to {high:+.3f}), "
        f"{len(difference.wins)} wins, {len(difference.losses)} losses"
    )
    lines = [head]
    for word, pairs in (("most won", difference.wins), ("most lost", difference.losses)):
        shown = ", ".join(f"{query} {change:+.2f}" for query, change in pairs[:SHOWN])
        lines.append(f"  {word}: {shown or 'none'}")
    return "\n".join(lines)


def figures(scores: dict[str, Scores], difference: Comparison, against: str) -> dict[str, object]:
    """Everything that was measured, as plain data."""
    return {
        "configurations": {
            name: {m: {"mean": s.mean(m), "interval": s.interval(m)} for m in MEASURES} for name, s in scores.items()
        },
        "queries": {
            name: {m: dict(zip(s.queries, s.values[m].tolist(), strict=True)) for m in MEASURES}
            for name, s in scores.items()
        },
        "against": against,
        "difference": difference.difference,
        "interval": difference.interval,
        "wins": difference.wins,
        "losses": difference.losses,
    }

"""Every order that an index gives judged queries: BM25, dense, fused, and reranked to a depth without a time limit."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path

from rich.progress import track

from millirank.config import Settings
from millirank.evaluation.judgments import Segment
from millirank.evaluation.result import Result, result_of, shown
from millirank.stack import Stack
from millirank.types import Phase, Query, Rows

CONFIGURATIONS = ("bm25", "dense", "fused", "reranked")
FOUND = 100  # products of each query


def evaluated(
    name: str, index: Path, segments: Mapping[str, Segment], *, depth: int, engines: Path | None = None
) -> Result:
    """Scores every order of an index on every segment.

    Args:
        name: of the result.
        index: the folder that `millirank index` wrote.
        segments: the queries and what is right for them.
        depth: candidates to rerank; 0 leaves the reranked order out.
        engines: has encoder/ and reranker/; None means those of the index.
    """
    queries = tuple({query: None for segment in segments.values() for query in segment.judgments})
    stack = Stack(Settings(index=index, engines=engines, sla_ms=0, rerank_depth=depth), background=False)
    try:
        runs = asyncio.run(rankings(stack, queries))
        titles = _titles(stack, shown(runs.values()))
    finally:
        stack.close()
    return result_of(name, runs, segments, titles)


async def rankings(stack: Stack, queries: Sequence[str]) -> dict[str, dict[str, list[str]]]:
    """For each configuration, the first FOUND product ids of every query; none is reranked where the depth is 0."""
    names = CONFIGURATIONS if stack.pipeline.limits.rerank_depth else CONFIGURATIONS[:-1]
    runs: dict[str, dict[str, list[str]]] = {name: {} for name in names}
    for text in track(queries, description="searching", transient=True):
        tokens, _ = stack.encoder_tokens.query(text)
        vector = (await stack.pipeline.transport.encode(tokens, None)).vector
        runs["bm25"][text] = _ids(stack, stack.retriever.lexical(text, FOUND))
        runs["dense"][text] = _ids(stack, stack.retriever.dense(vector, FOUND))
        async with aclosing(stack.pipeline.search(Query(text, limit=FOUND))) as answers:
            async for ranking in answers:
                name = "fused" if ranking.phase is Phase.RETRIEVED else "reranked"
                if name in runs:
                    runs[name][text] = [hit.id for hit in ranking.hits]
    return runs


def _ids(stack: Stack, rows: Rows) -> list[str]:
    return list(stack.snapshot.ids(rows))


def _titles(stack: Stack, products: set[str]) -> dict[str, str]:
    every = stack.snapshot.ids(range(len(stack.snapshot)))
    rows = [row for row, id_ in enumerate(every) if id_ in products]
    return {str(product["id"]): str(product["title"]) for product in stack.snapshot.products(rows)}

"""What INT8 answers on this processor and what a default build chooses: the gate's figures, the path of a query."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, closing
from pathlib import Path

import numpy as np
from int8_shared import choice_rows
from int8_subject import MODELS, Int8Subject
from report import Row, percentiles
from rich.console import Console

from millirank.commands.accuracy import Accuracy
from millirank.commands.calibration import Texts
from millirank.commands.orders import rankings
from millirank.commands.told import Lines
from millirank.config import Settings
from millirank.evaluation import Judgments, Scores, score
from millirank.stack import MODELS as FOLDERS
from millirank.stack import Stack
from millirank.tokens import Tokenizer
from millirank.types import Query
from millirank_engines import Figure, Manifest
from millirank_engines.build.compile import build_engine
from millirank_engines.build.openvino import default_profiles
from millirank_engines.build.quantize.gate import held_to
from millirank_engines.build.quantize.int8 import AUTO, INT8
from millirank_engines.device import this_cpu

HELD = 512  # queries of the catalogue, and as many products, for the encoder's cosine
DEPTHS, FINAL = (10, 50), 50  # candidates that are reranked
TURNS = 2  # of every query on every set of engines
TOP = 10
STAGES = ("encode", "rerank")


def built_rows(subject: Int8Subject, engines: Path, precisions: Sequence[str]) -> Iterator[list[Row | str]]:
    """Builds the model at each precision; what auto chose, by which times, and why."""
    folder = FOLDERS[list(MODELS).index(subject.task)]
    for precision in precisions:
        if precision == "bf16" and not this_cpu().has_bf16:
            continue
        begin = time.perf_counter()
        manifest = build_engine(
            subject.source,
            engines / precision / folder,
            task=subject.task,
            precision=precision,
            int8=subject.int8 if precision in {INT8, AUTO} else None,
            progress=lambda line: print(f"  {line}", flush=True),
        ).manifest
        built = Row(f"{subject.name}/build/{precision}", "build", time.perf_counter() - begin, "s")
        yield [built, *(_chosen(subject.name, manifest) if precision == AUTO else ())]


def _chosen(name: str, manifest: Manifest) -> Iterator[Row | str]:
    if reason := manifest.quantization.get("left_out"):
        yield f"{name}: auto leaves INT8 out, {reason}."
    base = next(precision for choice in manifest.choices for precision in choice.times if INT8 not in precision)
    yield from choice_rows(f"{name}/choice of auto", manifest, base)
    count = sum(choice.precision == INT8 for choice in manifest.choices)
    yield f"{name}: auto runs {count} of {len(manifest.choices)} profiles in INT8, the others in {base}."


def gate_rows(
    subject: Int8Subject,
    index: Path,
    judged: Judgments,
    cache: Path,
    *,
    hows: Sequence[str],
    queries: int,
    depth: int,
) -> Iterator[list[Row]]:
    """The figures of the gate, INT8 as this processor multiplies it: top-1, nDCG@10 and what the task has besides."""
    made = subject.float
    tokenizer = Tokenizer(made.folder / "tokenizer.json", made.spec)
    held = Texts(str(index), tokenizer, index=index, count=HELD, seed=1).data()
    profiles = default_profiles(made.spec)
    judge = Accuracy(index, tokenizer, held=held, cache=cache, judged=judged, queries=queries, depth=depth)
    with closing(judge), ExitStack() as opened:
        engines = subject.engines(profiles, 0, ("fp32", *hows))
        for engine in engines.values():
            opened.callback(engine.close)
        for how in (how for how in hows if how in engines and how != "fp32"):
            figures = held_to(judge(engines["fp32"], engines[how], Lines(Console())), {})
            yield [
                row
                for figure in figures
                for row in _figure_rows(f"{subject.name}/gate, {how}/{figure.name}", how, figure)
            ]


def _figure_rows(case: str, how: str, figure: Figure) -> Iterator[Row]:
    yield Row(case, "fp32", figure.fp32, "")
    yield Row(case, how, figure.int8, "")
    yield Row(case, "lost", figure.loss, "")
    yield Row(case, "may lose", figure.limit, "")
    yield Row(case, "inputs", figure.count, "")
    if figure.agreement is not None:
        yield Row(case, "agreement", 100 * figure.agreement, "%")


def path_rows(index: Path, engines: Mapping[str, Path], judged: Judgments) -> Iterator[list[Row]]:
    """Judged queries through the whole path with each set of engines, in turns; then the nDCG@10 of each.

    Args:
        index: with its snapshot; its engines are not used unless they are named.
        engines: folders that have encoder/ and reranker/, by what they are called; fp32 among them.
        judged: the queries.
    """
    with ExitStack() as opened, asyncio.Runner() as loop:
        stacks = {}
        for how, folder in engines.items():
            settings = Settings(index=index, engines=folder, sla_ms=0, rerank_depth=FINAL)
            stacks[how] = Stack(settings, background=False)
            opened.callback(stacks[how].close)
        for depth in DEPTHS:
            yield _against(loop.run(_asked(stacks, tuple(judged), depth)))
        yield loop.run(_scored(stacks, tuple(judged), judged))


def _against(rows: list[Row]) -> list[Row]:
    medians = {row.case: row.value for row in rows if row.metric == "p50"}
    compared = []
    for case, value in medians.items():
        stage, _, how = case.rpartition("/")
        if how != "fp32":
            compared.append(Row(case, "against fp32", medians[f"{stage}/fp32"] / value, "x"))
    return [*rows, *compared]


async def _asked(stacks: Mapping[str, Stack], queries: Sequence[str], depth: int) -> list[Row]:
    dice, rows = np.random.default_rng(0), []
    names = list(stacks)
    taken: dict[tuple[str, str], list[float]] = {}
    for turn in range(-1, TURNS):  # the first is not counted
        for place in dice.permutation(len(queries) * len(names)):
            query, how = queries[place % len(queries)], names[place // len(queries)]
            begin = time.perf_counter()
            async with aclosing(stacks[how].pipeline.search(Query(query, rerank_depth=depth))) as answers:
                async for answer in answers:
                    last = answer
            seconds = {"path": time.perf_counter() - begin}
            seconds |= {stage: getattr(last.timings, stage) / 1e6 for stage in STAGES}
            for stage, value in seconds.items() if turn >= 0 else ():
                taken.setdefault((stage, how), []).append(value)
    for (stage, how), values in sorted(taken.items()):
        rows += percentiles(f"path/depth {depth}/{stage}/{how}", values)
        rows.append(Row(f"path/depth {depth}/{stage}/{how}", "calls", len(values), "calls"))
    return rows


async def _scored(stacks: Mapping[str, Stack], queries: Sequence[str], judged: Judgments) -> list[Row]:
    rows = []
    runs = {how: await rankings(stack, queries) for how, stack in stacks.items()}
    for how, orders in runs.items():
        for order, run in orders.items():
            scored: Scores = score(run, judged)
            case = f"path/nDCG@10, {len(queries)} judged queries/{order}/{how}"
            rows.append(Row(case, "ndcg@10", scored.mean("ndcg@10"), ""))
        same = [
            len({*run[:TOP]} & {*runs["fp32"]["reranked"][query][:TOP]}) / max(1, len(run[:TOP]))
            for query, run in orders["reranked"].items()
        ]
        case = f"path/nDCG@10, {len(queries)} judged queries/reranked/{how}"
        rows.append(Row(case, "top 10 shared with fp32", 100 * float(np.mean(same)), "%"))
    return rows

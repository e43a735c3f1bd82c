"""What INT8 answers on this processor and what a default build chooses: the gate's figures, the path of a query."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, aclosing, closing
from pathlib import Path

import numpy as np
from int8_subject import MODELS, Int8Subject
from report import Row, percentiles

from millirank.commands.accuracy import Accuracy
from millirank.commands.calibration import Texts
from millirank.commands.orders import rankings
from millirank.config import Settings
from millirank.evaluation import ALL, Judgments, Scores, score
from millirank.stack import MODELS as FOLDERS
from millirank.stack import Stack
from millirank.tokens import Tokenizer
from millirank.types import Query
from millirank_engines import Manifest
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


def choice_rows(subject: Int8Subject, engines: Path) -> Iterator[Row | str]:
    """Builds the model at each precision and as auto; what auto chose, by which times, and why."""
    folder = FOLDERS[list(MODELS).index(subject.task)]
    for precision in ("fp32", *["bf16"] * this_cpu().has_bf16, INT8, AUTO):
        begin = time.perf_counter()
        manifest = build_engine(
            subject.source,
            engines / precision / folder,
            task=subject.task,
            precision=precision,
            int8=subject.int8 if precision in {INT8, AUTO} else None,
            progress=lambda line: print(f"  {line}", flush=True),
        ).manifest
        yield Row(f"{subject.name}/build/{precision}", "build", time.perf_counter() - begin, "s")
    yield from _chosen(subject.name, manifest)


def _chosen(name: str, manifest: Manifest) -> Iterator[Row | str]:
    if reason := manifest.quantization.get("left_out"):
        yield f"{name}: auto leaves INT8 out, {reason}."
    base = next(precision for choice in manifest.choices for precision in choice.times if precision != INT8)
    for choice in manifest.choices:
        case = f"{name}/choice of auto/{choice.profile}"
        yield from (Row(case, precision, value, "ms") for precision, value in choice.times.items())
        yield Row(case, "runs in INT8", float(choice.precision == INT8), "")
        if choice.times:
            yield Row(case, f"chosen / {base}", choice.times[choice.precision] / choice.times[base], "x")
    count = sum(choice.precision == INT8 for choice in manifest.choices)
    yield f"{name}: auto runs {count} of {len(manifest.choices)} profiles in INT8, the others in {base}."


def gate_rows(
    subject: Int8Subject, index: Path, judged: Judgments, cache: Path, *, queries: int, depth: int
) -> Iterator[Row]:
    """The figures of the gate, INT8 as this processor multiplies it: top-1, nDCG@10 and what the task has besides."""
    made = subject.float
    tokenizer = Tokenizer(made.folder / "tokenizer.json", made.spec)
    held = Texts(str(index), tokenizer, index=index, count=HELD, seed=1).data()
    profiles = default_profiles(made.spec)
    judge = Accuracy(index, tokenizer, held=held, cache=cache, judged=judged, queries=queries, depth=depth)
    with closing(judge), ExitStack() as opened:
        engines = subject.engines(profiles, 0)
        for engine in engines.values():
            opened.callback(engine.close)
        for how in (how for how in engines if how != "fp32"):
            for figure in held_to(judge(engines["fp32"], engines[how], print), {}):
                case = f"{subject.name}/gate, {how}/{figure.name}"
                yield Row(case, "fp32", figure.fp32, "")
                yield Row(case, how, figure.int8, "")
                yield Row(case, "lost", figure.loss, "")
                yield Row(case, "may lose", figure.limit, "")
                yield Row(case, "inputs", figure.count, "")
                if figure.agreement is not None:
                    yield Row(case, "agreement", 100 * figure.agreement, "%")


def path_rows(index: Path, engines: Path, judged: Judgments) -> Iterator[Row]:
    """All judged queries through the whole path with each set of engines, in turns, and the nDCG@10 of each."""
    found: list[Row] = []
    with ExitStack() as opened:
        stacks = {}
        for folder in sorted(engines.iterdir()):
            settings = Settings(index=index, engines=folder, sla_ms=0, rerank_depth=FINAL)
            stacks[folder.name] = Stack(settings, background=False)
            opened.callback(stacks[folder.name].close)
        found = asyncio.run(_asked(stacks, tuple(judged), judged))
    medians = {(row.case, row.metric): row.value for row in found}
    yield from found
    for (case, metric), value in medians.items():
        first = f"{case.rpartition('/')[0]}/fp32"
        if metric == "p50" and case != first:
            yield Row(case, "against fp32", medians[first, metric] / value, "x")


async def _asked(stacks: Mapping[str, Stack], queries: Sequence[str], judged: Judgments) -> list[Row]:
    dice, rows = np.random.default_rng(0), []
    names = list(stacks)
    taken: dict[tuple[int, str, str], list[float]] = {}
    for turn in range(-1, TURNS):  # the first is not counted
        for depth in DEPTHS:
            for place in dice.permutation(len(queries) * len(names)):
                query, how = queries[place % len(queries)], names[place // len(queries)]
                begin = time.perf_counter()
                async with aclosing(stacks[how].pipeline.search(Query(query, rerank_depth=depth))) as answers:
                    async for answer in answers:
                        last = answer
                seconds = {"path": time.perf_counter() - begin}
                seconds |= {stage: getattr(last.timings, stage) / 1e6 for stage in STAGES}
                for stage, value in seconds.items() if turn >= 0 else ():
                    taken.setdefault((depth, stage, how), []).append(value)
    for (depth, stage, how), values in sorted(taken.items()):
        rows += percentiles(f"path/depth {depth}/{stage}/{how}", values)
    runs = {how: await rankings(stack, queries) for how, stack in stacks.items()}
    for how, orders in runs.items():
        for order, run in orders.items():
            scored: Scores = score(run, judged)
            rows.append(Row(f"path/nDCG@10, {ALL} judged queries/{order}/{how}", "ndcg@10", scored.mean("ndcg@10"), ""))
        same = [
            len({*run[:TOP]} & {*runs["fp32"]["reranked"][query][:TOP]}) / max(1, len(run[:TOP]))
            for query, run in orders["reranked"].items()
        ]
        case = f"path/nDCG@10, {ALL} judged queries/reranked/{how}"
        rows.append(Row(case, "top 10 shared with fp32", 100 * float(np.mean(same)), "%"))
    return rows

"""What a page has to show, and whether its rows show it: a table that a reader sees first."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from millirank.loadtest.results import Row

SHAPED = 5  # parts of the case of a shape that was timed
NINES = 0.99  # from this bound on, four digits say too little


@dataclass(frozen=True)
class Target:
    """A bound on a metric of some cases; the last part of a case says by what it was reached."""

    what: str
    cases: str  # a pattern that a whole case matches; its group `by` is what reached it
    metric: str
    bound: float
    unit: str = ""
    least: bool = False  # whether the bound is a least value
    each: bool = False  # whether all cases of what reached it count, and so the worst

    def found(self, rows: Iterable[Row]) -> tuple[float, str, str] | None:
        """The best value, what reached it and its case; None if nothing was measured."""
        values: dict[str, list[tuple[float, str]]] = {}
        for row in rows:
            match = re.fullmatch(self.cases, row.case)
            if match and row.metric == self.metric:
                values.setdefault(match["by"], []).append((row.value, row.case))
        better, worse = (max, min) if self.least else (min, max)
        chosen = {by: (worse if self.each else better)(found) for by, found in values.items()}
        if not chosen:
            return None
        by = better(chosen, key=lambda name: chosen[name][0])
        return chosen[by][0], by, chosen[by][1]

    def line(self, rows: Iterable[Row]) -> str:
        """Its line of the table."""
        sign, unit = "≥" if self.least else "≤", f" {self.unit}" if self.unit else ""
        asked = f"{sign} {self.bound:g}{unit}"
        best = self.found(rows)
        if best is None:
            return f"| {self.what} | {asked} | not measured | |"
        value, by, case = best
        met = value >= self.bound if self.least else value <= self.bound
        told = f"{value:.6g}" if NINES <= self.bound < 1 else f"{value:.4g}"
        mark = f"**{told}{unit}**" if met else f"{told}{unit}, missed"
        return f"| {self.what} | {asked} | {mark} | {by}: {case} |"


def table(targets: Sequence[Target], rows: Sequence[Row]) -> list[str]:
    """The lines of a Markdown table; none without targets."""
    if not targets:
        return []
    head = ["", "| target | to reach | reached | by |", "|---|---|---|---|"]
    return [*head, *(target.line(rows) for target in targets)]


def overview(rows: Sequence[Row], metric: str) -> list[str]:
    """A metric of all cases SUBJECT/TASK/SHAPE/PRECISION/HOW as a Markdown table: a line a shape, a column a HOW."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        parts = row.case.split("/")
        if row.metric == metric and len(parts) == SHAPED:
            found.setdefault(" ".join(parts[:3]), {})[parts[-1]] = row.value
    hows = list(dict.fromkeys(how for values in found.values() for how in values))
    if not hows:
        return []
    unit = next(row.unit for row in rows if row.metric == metric)
    lines = ["", f"| {metric} ({unit}) | {' | '.join(hows)} |", "|---" * (len(hows) + 1) + "|"]
    for shape, values in found.items():
        cells = [f"{values[how]:.4g}" if how in values else "" for how in hows]
        lines.append(f"| {shape} | {' | '.join(cells)} |")
    return lines


_HOW = r"(?P<by>graph|fused)"
ENGINES = (
    Target("MiniLM encode 1x16, p50", rf"minilm-encoder/embed/1x16/fp16/{_HOW}", "p50", 0.14, "ms"),
    Target("MiniLM rerank 50x32, p50", rf"minilm-reranker/rerank/50x32/fp16/{_HOW}", "p50", 0.29, "ms"),
    Target("MiniLM rerank 50x64, p50", rf"minilm-reranker/rerank/50x64/fp16/{_HOW}", "p50", 0.38, "ms"),
    Target(
        "encode 1x16 against torch.compile",
        rf"minilm-encoder/embed/1x16/fp16/{_HOW}",
        "against torch-compile",
        3.2,
        "x",
        least=True,
    ),
    Target(
        "rerank 50x64 against torch.compile",
        rf"minilm-reranker/rerank/50x64/fp16/{_HOW}",
        "against torch-compile",
        1.7,
        "x",
        least=True,
    ),
    Target(
        "MiniLM rerank at its best batch, valid tokens only",
        rf"minilm-reranker/rerank/\w+/fp16/{_HOW}",
        "tflops valid",
        320,
        "TFLOP/s",
        least=True,
    ),
    Target(
        "BERT-base rerank at its best batch, all tokens valid",
        rf"bert-base-reranker/rerank/\w+/fp16/{_HOW}",
        "tflops valid",
        450,
        "TFLOP/s",
        least=True,
    ),
    Target(
        "MiniLM rerank at its best batch, valid tokens, all of the published network",
        rf"minilm-reranker/rerank/\w+/fp16/{_HOW}",
        "tflops model",
        320,
        "TFLOP/s",
        least=True,
    ),
    Target(
        "BERT-base rerank at its best batch, all of the published network",
        rf"bert-base-reranker/rerank/\w+/fp16/{_HOW}",
        "tflops model",
        450,
        "TFLOP/s",
        least=True,
    ),
    Target(
        "kernels fewer than torch eager, MiniLM, both by profiler, worst shape",
        rf"minilm-\w+/\w+/launches/{_HOW}",
        "fewer kernels than torch eager",
        80,
        "%",
        least=True,
        each=True,
    ),
    Target(
        "kernels fewer than torch eager, MiniLM, both by profiler, 50x32 and 50x64",
        rf"minilm-reranker/50x\d+/launches/{_HOW}",
        "fewer kernels than torch eager",
        80,
        "%",
        least=True,
        each=True,
    ),
    Target(
        "launches by the host fewer than torch eager, MiniLM, both by profiler, worst shape",
        rf"minilm-\w+/\w+/launches/{_HOW}",
        "fewer launches than torch eager",
        80,
        "%",
        least=True,
        each=True,
    ),
    Target("p99 / p50, MiniLM, shapes by turns, worst", rf"minilm-\w+/\w+/\w+/fp16/{_HOW}", "p99/p50", 1.1, each=True),
    Target(
        "p99 / p50, MiniLM, a shape replayed in a row, worst",
        rf"minilm-\w+/\w+/\w+/fp16/{_HOW}, in a row",
        "p99/p50",
        1.1,
        each=True,
    ),
    Target(
        "cosine with FP32, Chorus products, the least",
        r"minilm-encoder/Chorus texts, (?P<by>\w+)",
        "products least cosine",
        0.9995,
        least=True,
    ),
    Target(
        "cosine with FP32, Chorus queries, the least",
        r"minilm-encoder/Chorus texts, (?P<by>\w+)",
        "queries least cosine",
        0.9995,
        least=True,
    ),
    Target("load to ready, engines cached, worst", rf"[\w-]+/\w+/fp16/{_HOW}", "load to ready", 3, "s", each=True),
)
SERVICE = (
    Target(
        "top-10 overlap of the final ranking with FP32, Chorus",
        r"(?P<by>[\w-]+)/ranking",
        "top-10 overlap with torch-eager-fp32",
        0.99,
        least=True,
    ),
)
INT8 = (
    Target(
        "BERT-base INT8 at 50x64, times as fast as torch FP32 eager",
        r"bert-base-reranker/rerank/50x64/(?P<by>int8)",
        "against torch-eager-fp32",
        3.8,
        "x",
        least=True,
    ),
    Target(
        "BERT-base INT8 at its best batch, times as fast as TensorRT FP16",
        r"bert-base-reranker/rerank/\w+/(?P<by>int8)",
        "against fp16",
        1.3,
        "x",
        least=True,
    ),
    Target(
        "`auto`, share of FP16's time by the times that it chose by, worst profile",
        r"[\w-]+/(?P<by>choice)/\w+",
        "chosen / fp16",
        1,
        each=True,
    ),
    Target(
        "`auto` timed again, times as fast as FP16 but for 3 % of noise, worst profile",
        r"[\w-]+/\w+/\w+/(?P<by>auto)",
        "against fp16",
        0.97,
        "x",
        least=True,
        each=True,
    ),
)

"""Where the time of each answer went, from the client's clock and the server's trace, and what the late ones share.

Client and server share a machine, so their clocks are one. The stages of a query follow each other without a gap: their
sum is its latency from the intended time.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from .call import Call
from .results import Row
from .summary import quantile

INTENDED, SENT, FIRST, FINAL = "intended", "sent", "first", "final"  # of the client
# A step, and the stage that ends with it; one that a query skipped has no time. The rest are the server's marks.
STEPS = {
    INTENDED: "",
    SENT: "client is late",
    "seen": "to the frontend",
    "admitted": "parse, admission",
    "tokens": "spelling, tokens",
    "encode_sent": "ask the encoder",
    "words": "lexical",
    "encoded": "wait for the encoder",
    "found": "dense, fusion, products",
    "rerank_sent": "ask the reranker",
    "first_made": "make the first message",
    "first_sent": "write the first message",
    "reranked": "wait for the reranker",
    "final_made": "blend, make the final message",
    FINAL: "to the client",
}
WITHIN = {  # what the core says of the waits, in Timings' names
    "encode_queue": "of it queued for encode",
    "encode": "of it encode",
    "rerank_queue": "of it queued for rerank",
    "rerank": "of it rerank",
}
SLOWEST = 0.01  # share of the answers that are looked at if none is late


@dataclass(frozen=True)
class Pause:
    """Something that stopped a process."""

    begin: float  # monotonic seconds
    seconds: float
    what: str


@dataclass
class Traces:
    """What the processes of a server have written."""

    queries: dict[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)  # by id: at, took
    pauses: list[Pause] = field(default_factory=list)


@dataclass(frozen=True)
class Timeline:
    """One answered query."""

    begin: float  # monotonic seconds
    end: float
    stages: Mapping[str, float]  # seconds; they sum up to the latency
    within: Mapping[str, float]  # seconds, of WITHIN

    @property
    def latency(self) -> float:
        """Seconds from the intended time to the final message."""
        return self.end - self.begin


def read_traces(folder: Path) -> Traces:
    """All that was written to the folder of `millirank serve --trace`, by whichever runs.

    A line that is not whole is left out. Only Search calls that were answered are there.
    """
    found = Traces()
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                event: dict[str, Any] = json.loads(line)
            except ValueError:
                continue
            if "query" in event:
                found.queries[event["query"]] = event
            elif "gc" in event:
                what = f"collection of generation {event['gc']} in {path.stem}"
                found.pauses.append(Pause(event["at"], event["seconds"], what))
    return found


def timelines(calls: Iterable[Call], traces: Traces) -> list[Timeline]:
    """The answered calls that were traced."""
    found = []
    for call in calls:
        event = traces.queries.get(call.query)
        if event is None or not call.answered:
            continue
        at = {INTENDED: call.intended, SENT: call.sent, **event["at"], FINAL: call.final}
        steps = [(step, at[step]) for step in STEPS if step in at]
        stages = {STEPS[step]: end - begin for (_, begin), (step, end) in pairwise(steps)}
        within = {words: event["took"].get(name, 0.0) for name, words in WITHIN.items()}
        within["first message, whole"] = call.first - call.intended
        found.append(Timeline(call.intended, call.final, stages, within))
    return found


def late_ones(lines: Sequence[Timeline], bound: float) -> list[Timeline]:
    """Those that took longer than bound in seconds; the slowest hundredth where there are none."""
    late = [line for line in lines if line.latency > bound]
    if late or not lines:
        return late
    return sorted(lines, key=lambda line: -line.latency)[: math.ceil(SLOWEST * len(lines))]


def breakdown(case: str, lines: Sequence[Timeline], bound: float, pauses: Sequence[Pause] = ()) -> list[Row]:
    """Each stage's median and p99 over all answers, its mean over the late ones, and how often it made one late.

    A stage made an answer late if it exceeded its median by more than any other did. Where none is late, the rows say
    `slowest` in the place of `late`: they are about the slowest hundredth.

    Args:
        case: begins the rows'.
        lines: of one load.
        bound: seconds within which an answer is in time.
        pauses: that the server or a canary has seen; how many late answers each kind met is told, and how many percent
            of those in time, without which it would say nothing.
    """
    if not lines:
        return []
    late, in_time = late_ones(lines, bound), [line for line in lines if line.latency <= bound]
    word = "late" if len(in_time) < len(lines) else "slowest"
    usual = {stage: quantile([line.stages.get(stage, 0.0) for line in lines], 0.5) for stage in _stages(lines)}
    blamed = Counter(max(usual, key=lambda stage: line.stages.get(stage, 0.0) - usual[stage]) for line in late)
    rows = [
        Row(f"{case}/whole", "p50", 1e3 * quantile([line.latency for line in lines], 0.5), "ms"),
        Row(f"{case}/whole", "p99", 1e3 * quantile([line.latency for line in lines], 0.99), "ms"),
        Row(f"{case}/whole", f"mean of {word}", 1e3 * _mean([line.latency for line in late]), "ms"),
        Row(f"{case}/whole", "late", len(lines) - len(in_time), "answers"),
        Row(f"{case}/whole", "answers", len(lines), "answers"),
    ]
    for stage in [*usual, *dict.fromkeys(name for line in lines for name in line.within)]:
        values = [line.stages.get(stage, line.within.get(stage, 0.0)) for line in lines]
        rows.append(Row(f"{case}/{stage}", "p50", 1e3 * quantile(values, 0.5), "ms"))
        rows.append(Row(f"{case}/{stage}", "p99", 1e3 * quantile(values, 0.99), "ms"))
        those = [line.stages.get(stage, line.within.get(stage, 0.0)) for line in late]
        rows.append(Row(f"{case}/{stage}", f"mean of {word}", 1e3 * _mean(those), "ms"))
        if stage in usual:
            rows.append(Row(f"{case}/{stage}", word, blamed[stage], "answers"))
    for what in sorted({_kind(pause) for pause in pauses}):
        own = [pause for pause in pauses if _kind(pause) == what]
        rows.append(Row(f"{case}/{what}", word, _met(late, own), "answers"))
        if in_time:
            rows.append(Row(f"{case}/{what}", "of those in time", 100 * _met(in_time, own) / len(in_time), "%"))
        rows.append(Row(f"{case}/{what}", "p99", 1e3 * quantile([pause.seconds for pause in own], 0.99), "ms"))
    return rows


def _stages(lines: Sequence[Timeline]) -> list[str]:
    seen = {stage for line in lines for stage in line.stages}
    return [stage for stage in STEPS.values() if stage in seen]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _kind(pause: Pause) -> str:
    """What it is, without the process."""
    return pause.what.partition(" in ")[0]


def _met(lines: Sequence[Timeline], pauses: Sequence[Pause]) -> int:
    """How many of the lines met one of the pauses."""
    return sum(any(_overlap(line, pause) for pause in pauses) for line in lines)


def _overlap(line: Timeline, pause: Pause) -> bool:
    return line.begin < pause.begin + pause.seconds and pause.begin < line.end

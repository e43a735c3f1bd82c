"""Processor time that a query takes in the core, besides the engines: docs/benchmarks/core-work.json and core-work.md.

python loadtest/core_work.py --index INDEX [--before OTHER_CHECKOUT]

With another checkout nothing is written: the two take turns, each in a process of its own, and what is printed is the
median of each and of the ratios of the rounds.

The engines compute nothing here, so what is left is Python's: queues, cost tables, depth, plans and packing, with the
products' tokens of a real index. Of processor time, so that other work on the machine hardly counts; the median of
several rounds, the cases in turn.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from frontend_work import code_of, compared
from numpy.typing import NDArray
from report import Row, show, write

from millirank.catalog.snapshot import Snapshot
from millirank.core import Core
from millirank.costs import CostTable
from millirank.jobs import EncodeJob, Reranked, RerankJob
from millirank.lane import Model
from millirank_engines import read_manifest
from millirank_engines.base import Profile, Tensors

QUERIES, ROUNDS, DEPTH = 500, 7, 50
CASES = {"case/far deadline": 1.0, "case/10 ms": 0.01}  # seconds that are left
CALL, TOKEN = 1e-4, 1.5e-7  # seconds of an engine call and of a padded token, about those of an H100
ENCODES = tuple(Profile(batch, length) for batch in (1, 2, 4, 8, 16) for length in (8, 16, 32))
RERANKS = tuple(Profile(batch, length) for batch in (1, 2, 4, 8, 16, 32, 50, 64) for length in (16, 24, 32, 48, 64))
NOTES = (
    "One query at a time: an encode of 3 tokens and a rerank of 50 products drawn at random, with engines that",
    "compute nothing and answer at once. Without sockets and without threads. The cases are the time that is left.",
)


class Idle:
    """An engine that answers zeros."""

    def __init__(self, output: str, profiles: tuple[Profile, ...], dim: int = 0) -> None:
        self.name, self.profiles, self._output, self._dim = "idle", profiles, output, dim

    def infer(self, feeds: Tensors) -> dict[str, NDArray[np.float32]]:
        """Zeros of the right shape."""
        batch = len(feeds["input_ids"])
        return {self._output: np.zeros((batch, self._dim) if self._dim else batch, np.float32)}

    def close(self) -> None:
        """Holds nothing."""


def core_of(index: Path) -> tuple[Core, Snapshot]:
    """A core of idle engines over an index."""
    encoder, reranker = (read_manifest(index / "engines" / name).model for name in ("encoder", "reranker"))
    snapshot = Snapshot.open(index, encoder=encoder, reranker=reranker, hashes=False)
    core = Core(
        Model(Idle("embedding", ENCODES, 384), encoder), Model(Idle("score", RERANKS), reranker), background=False
    )
    core.encode_costs = CostTable({p: CALL + TOKEN * p.tokens for p in ENCODES})
    core.rerank_costs = CostTable({p: CALL + TOKEN * p.tokens for p in RERANKS})
    core.snapshots[snapshot.version] = snapshot.tokens
    return core, snapshot


def seconds(core: Core, snapshot: Snapshot, sla: float) -> tuple[float, float]:
    """Seconds of processor time a query, and the mean depth."""
    rng, query, answers = np.random.default_rng(0), np.array([2000, 3000, 4000], np.uint16), list[object]()
    rows = rng.integers(0, len(snapshot), (QUERIES, DEPTH)).astype(np.uint32)
    start = time.process_time()
    for some in rows:
        core.submit(EncodeJob(answers.append, time.monotonic() + sla, query))
        core.submit(RerankJob(answers.append, time.monotonic() + sla, query, some, snapshot.version))
        core.step()
    taken = time.process_time() - start
    depths = [len(answer.scores) for answer in answers if isinstance(answer, Reranked)]
    return taken / QUERIES, sum(depths) / QUERIES


def by_turns(index: Path, checkouts: Mapping[str, Path]) -> list[Row]:
    """Checkouts called before and after, each in a process of its own; their first rounds are not counted."""
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in checkouts}
    children = {
        name: subprocess.Popen(  # noqa: S603 - our own arguments
            [sys.executable, __file__, "--index", str(index), "--child"],
            env=code_of(path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name, path in checkouts.items()
    }
    for number in range(ROUNDS + 1):
        for name in sorted(children, reverse=bool(number % 2)):
            told, heard = children[name].stdin, children[name].stdout
            assert told is not None  # noqa: S101 - asked for
            assert heard is not None  # noqa: S101
            print(file=told, flush=True)
            for case, taken in zip(CASES, map(float, heard.readline().split()), strict=True):
                if number:
                    figures[name].setdefault(f"{case} (µs a query)", []).append(1e6 * taken)
    for child in children.values():
        child.communicate()
    return list(compared("core", figures))


def main() -> None:
    """Measures and writes both files, or compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="what `millirank index` wrote")
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--child", action="store_true", help="measures at every line of its input, for --before")
    given = parser.parse_args()
    if given.before is not None:
        show(by_turns(given.index, {"before": given.before.resolve(), "after": Path(__file__).parent.parent}))
        return
    core, snapshot = core_of(given.index)
    if given.child:
        for _ in sys.stdin:
            print(*(seconds(core, snapshot, sla)[0] for sla in CASES.values()), flush=True)
        return
    measured = {case: [seconds(core, snapshot, sla)] for case, sla in CASES.items()}  # the first of each is not counted
    for _ in range(ROUNDS):
        for case, sla in CASES.items():
            measured[case].append(seconds(core, snapshot, sla))
    rows: list[Row] = []
    for case, runs in measured.items():
        taken, depths = zip(*runs[1:], strict=True)
        rows.append(Row(case, "processor time", 1e6 * float(np.median(taken)), "µs a query"))
        rows.append(Row(case, "least", 1e6 * min(taken), "µs a query"))
        rows.append(Row(case, "most", 1e6 * max(taken), "µs a query"))
        rows.append(Row(case, "depth mean", float(np.mean(depths)), "candidates"))
    snapshot.close()
    write("core-work", "The core's own work", NOTES, rows)


if __name__ == "__main__":
    main()

"""The processes that frontend_work.py measures: the real service on engines that only wait as long as an H100's work.

python loadtest/frontend_side.py ROLE INDEX ENDPOINT [SLA_MS [FOLDER_OF_TRACES]]

both: everything in one process; core and front: one process each; stages: what each stage takes, one by one. It runs
on whatever checkout PYTHONPATH names. A server prints its port once it is SERVING.
"""

import asyncio
import contextlib
import ctypes
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from core_work import ENCODES, RERANKS
from numpy.typing import NDArray

from millirank.catalog.snapshot import Snapshot
from millirank.config import Settings
from millirank.core import Core
from millirank.costs import CostTable
from millirank.interpreter import settle
from millirank.lane import Model
from millirank.messages import parsed, query_from_proto, response_from_ranking
from millirank.metrics import Metrics
from millirank.rerank import blend
from millirank.server import Listener
from millirank.stack import FrontSide
from millirank.transport import InProcess
from millirank.types import Phase, Ranking
from millirank.v1 import search_pb2
from millirank_engines import read_manifest
from millirank_engines.base import Profile, Tensors

ENCODE, RERANK = 0.15e-3, 0.35e-3  # seconds of one query on an H100: 1x16 and 50x32
TIMER_SLACK = 29  # PR_SET_TIMERSLACK of prctl(2): a thread may ask for sleeps that end in time
WAKING = 0.05e-3  # seconds that a sleep takes longer


class Waiting:
    """An engine that takes a GPU's time, and answers what it found in the index."""

    def __init__(
        self, output: str, profiles: tuple[Profile, ...], seconds: float, answers: NDArray[np.float32]
    ) -> None:
        self.name, self.profiles = "waiting", profiles
        self._output, self._seconds, self._answers = output, seconds, answers
        self._exact = False

    def infer(self, feeds: Tensors) -> dict[str, NDArray[np.float32]]:
        """A row of the answers for each sequence, chosen by its tokens."""
        if not self._exact:
            self._exact = ctypes.CDLL(None).prctl(TIMER_SLACK, 1) == 0
        end = time.perf_counter() + self._seconds
        places = feeds["input_ids"].sum(axis=1) % len(self._answers)
        answer = self._answers[places]
        time.sleep(max(0.0, end - time.perf_counter()))
        return {self._output: answer}

    def close(self) -> None:
        """Holds nothing."""


def core_of(snapshot: Snapshot, folder: Path) -> Core:
    """A core of waiting engines."""
    import faiss

    encoder, reranker = (read_manifest(folder / name).model for name in ("encoder", "reranker"))
    vectors = faiss.read_index(str(snapshot.path / "dense.faiss")).reconstruct_n(0, 1000)
    scores = np.random.default_rng(0).standard_normal(1000, np.float32)
    encode, rerank = (seconds - WAKING for seconds in (ENCODE, RERANK))
    core = Core(
        Model(Waiting("embedding", ENCODES, encode, vectors), encoder),
        Model(Waiting("score", RERANKS, rerank, scores), reranker),
        background=False,
    )
    core.encode_costs = CostTable({p: ENCODE * (1 + p.tokens / 4096) for p in ENCODES})
    core.rerank_costs = CostTable({p: RERANK * (1 + p.tokens / 2048) / 2 for p in RERANKS})
    core.snapshots[snapshot.version] = snapshot.tokens
    core.start()
    return core


async def front(settings: Settings, side: FrontSide, metrics: Metrics) -> None:
    """Serves until the process is killed."""
    listener = Listener(settings, shared=False, metrics=metrics)
    await listener.start()
    await listener.rehearse(side.pipeline)
    await listener.resume(side.pipeline)
    settle()
    print(listener.port, flush=True)
    await asyncio.Event().wait()


async def apart(settings: Settings, endpoint: str) -> None:
    """A frontend whose core is another process."""
    from millirank.processes.fleet import CoreAddress, Fleet

    fleet, metrics = Fleet(), Metrics()
    fleet.announce([CoreAddress(0, 1, endpoint)])
    await front(settings, FrontSide(settings, fleet, metrics=metrics), metrics)


def stages(settings: Settings, queries: list[str]) -> dict[str, float]:
    """Seconds of processor time that each stage takes a query, on one thread."""
    snapshot = Snapshot.open(settings.index, hashes=False)
    side = FrontSide(settings, InProcess(core_of(snapshot, settings.engine_folder)))
    reader, tokens = side.retriever, side.encoder_tokens
    rng = np.random.default_rng(0)
    scores = [rng.standard_normal(50).astype(np.float32) for _ in queries]
    vectors = [np.asarray(v / np.linalg.norm(v), np.float32) for v in rng.standard_normal((len(queries), 384))]
    data = [search_pb2.SearchRequest(query=query).SerializeToString() for query in queries]
    taken: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[int], Any]) -> list[Any]:
        for _ in range(3):
            start = time.thread_time()
            results = [call(i) for i in range(len(queries))]
            taken.setdefault(name, []).append((time.thread_time() - start) / len(queries))
        return results

    timed("parse", lambda i: query_from_proto(parsed(data[i], search_pb2.SearchRequest), 0.0, 1.0))
    texts = timed("spelling", lambda i: reader.corrected(queries[i]))
    timed("tokens", lambda i: tokens.query(texts[i]))
    words = timed("lexical", lambda i: reader.lexical(texts[i], 100))
    dense = timed("dense", lambda i: reader.dense(vectors[i], 100))
    fused = timed("fusion", lambda i: reader.fused(words[i], dense[i]))
    products = timed("products", lambda i: side.pipeline._products(fused[i].rows[:10].tolist()))  # noqa: SLF001
    final = timed("blending", lambda i: blend(fused[i], scores[i][: max(0, len(fused[i].rows) - fused[i].exact)]))

    def answer(i: int) -> bytes:
        from millirank.pipeline import _hits

        order = fused[i].head(10)
        return response_from_ranking(Ranking(phase=Phase.RANKED, hits=_hits(order, products[i])), "q")

    timed("one message", answer)
    del final
    return {name: min(runs) for name, runs in taken.items()}


def main() -> None:
    """Does what the role asks."""
    import uvloop

    role, index, endpoint = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    sla, traces = (sys.argv[4:] + ["10", ""][len(sys.argv[4:]) :])[:2]
    settings = Settings(index=index, port=0, sla_ms=float(sla))
    if traces:
        settings = replace(settings, trace=Path(traces))
    if role == "front":
        uvloop.run(apart(settings, endpoint))
        return
    if role == "stages":
        print(json.dumps(stages(settings, json.load(sys.stdin))), flush=True)
        return
    snapshot = Snapshot.open(index, hashes=False)
    core = core_of(snapshot, settings.engine_folder)
    if role == "core":
        from millirank.processes.host import CoreHost

        host = CoreHost(core, endpoint)
        settle()
        print(0, flush=True)
        host.run()
        return
    metrics = Metrics()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(front(settings, FrontSide(settings, InProcess(core), snapshot=snapshot, metrics=metrics), metrics))


if __name__ == "__main__":
    main()

"""The core owns one device: its engines, their batches, and the product tokens. One thread runs it.

A job goes in with `submit` and ends exactly once, with a result or an error, through its `done`; whatever the mix of
cancellations, deadlines and engine failures.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import Engine, EngineError, EngineFailed, Profile, Tensors
from millirank_engines.model import ModelSpec
from millirank_engines.pack import Ids, pack_pairs, pack_sequences, pair_length

from .batching import Batcher
from .errors import DeadlineExceeded, Unavailable
from .sla import CostTable, Pace
from .types import Priority


class ProductTokens(Protocol):
    """The tokens of one snapshot's products, made at indexing."""

    def __getitem__(self, row: int) -> Ids:
        """The token ids of one product."""

    def lengths(self, rows: NDArray[np.uint32]) -> NDArray[np.integer]:
        """How many tokens each of these products has."""


@dataclass(frozen=True)
class Model:
    """An engine and the model that it runs."""

    engine: Engine
    spec: ModelSpec


@dataclass(frozen=True)
class Encoded:
    """A query's embedding, and where the time went."""

    vector: NDArray[np.float32]  # (dim,), of unit length
    queued: float  # seconds
    ran: float  # seconds, with the rest of its batch


@dataclass(frozen=True)
class Reranked:
    """Scores of the first candidates, and where the time went."""

    scores: NDArray[np.float32]  # (depth,): of rows[:depth], in their order; depth is 0 if no time was left
    queued: float  # seconds
    ran: float  # seconds, with the rest of its batch


Result = Encoded | Reranked


@dataclass(frozen=True)
class Backlog:
    """How long a core is busy with what it has accepted: seconds of work, running and waiting, at its present pace."""

    encode: float = 0.0
    rerank: float = 0.0


@dataclass
class Job:
    """One request to the core. The sender owns cancelled; the core owns what is not an argument."""

    done: Callable[
        [Result | Exception], None
    ]  # called exactly once, from the core's thread or from submit; never raises
    deadline: float | None  # monotonic seconds
    priority: Priority = field(default=Priority.INTERACTIVE, kw_only=True)
    cancelled: bool = field(default=False, init=False)
    submitted: float = field(default=0.0, init=False)  # monotonic seconds
    sequences: int = field(default=1, init=False)
    length: int = field(default=0, init=False)  # tokens of the longest sequence, special ones included


@dataclass
class EncodeJob(Job):
    """A query to embed."""

    ids: Ids


@dataclass
class RerankJob(Job):
    """A query and the candidates to score, in prior order."""

    query: Ids
    rows: NDArray[np.uint32]  # (cap,): products of the snapshot
    snapshot: int
    pairs: NDArray[np.integer] = field(init=False)  # (cap,): tokens of each pair


J = TypeVar("J", bound=Job)


class _Lane(Generic[J]):
    """One kind of job: its queue, and how a batch of it runs."""

    def __init__(self, queue: Batcher[J], run: Callable[[list[J], float], Sequence[Result]]) -> None:
        self.queue = queue
        self.run = run

    def step(self, now: float, lock: threading.Condition) -> None:
        """Runs one batch and ends every one of its jobs; the lock is held while the queue is read."""
        with lock:
            batch = self.queue.pop(now)
        for job in batch.cancelled:
            job.done(DeadlineExceeded("the client has left"))
        for job in batch.expired:
            job.done(DeadlineExceeded("the deadline passed in the queue: allow more time or send less at once"))
        if not batch.ready:
            return
        results: Sequence[Result | Exception]
        try:
            results = self.run(batch.ready, now)
        except EngineError as error:
            results = [error] * len(batch.ready)
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises, every job of the batch must end
            results = [EngineFailed(f"{type(error).__name__}: {error}")] * len(batch.ready)
        for job, result in zip(batch.ready, results, strict=True):
            job.done(result)


class Core:
    """Runs encode and rerank jobs on one device, one batch at a time.

    Args:
        encoder: embeds queries; owned and closed by the core.
        reranker: scores (query, product) pairs; owned and closed by the core.
        clock: monotonic seconds.
    """

    def __init__(self, encoder: Model, reranker: Model, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.encoder, self.reranker = encoder, reranker
        self.encode_costs = self.rerank_costs = CostTable({})  # filled by warm_up
        self.pace = Pace()  # of the reranker, learned from every batch
        self.snapshots: dict[int, ProductTokens] = {}
        self._clock = clock
        self._encodes = _Lane(Batcher[EncodeJob](max(p.tokens for p in encoder.engine.profiles)), self._encode)
        self._reranks = _Lane(Batcher[RerankJob](max(p.tokens for p in reranker.engine.profiles)), self._rerank)
        self._wake = threading.Condition()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def warm_up(self, rounds: int = 5, budget: float = 2.0, idle: float = 0.01) -> None:
        """Runs every profile of both engines, interleaved, and measures what each costs (its 90th percentile).

        Each run comes after a pause, because that is how a query finds a server that is not busy: with caches that
        others have used meanwhile and cores that sleep. On two shared cores such a run takes 1.3 to 1.8 times as long
        as one of many in a row.

        Args:
            rounds: measured runs of each profile at most, after one that is not measured.
            budget: seconds for the measured runs of one engine, shared evenly by its profiles; each has at least one.
            idle: seconds of pause before each measured run.
        """
        self.encode_costs = self._measured(self.encoder, rounds, budget, idle)
        self.rerank_costs = self._measured(self.reranker, rounds, budget, idle)

    def _measured(self, model: Model, rounds: int, budget: float, idle: float) -> CostTable:
        texts = {p: [np.full(p.length, model.spec.sep_id)] * p.batch for p in model.engine.profiles}
        for profile, sequences in texts.items():
            model.engine.infer(pack_sequences(sequences, profile, model.spec))
        seconds: dict[Profile, list[float]] = {profile: [] for profile in texts}
        for _ in range(rounds):
            for profile, sequences in texts.items():
                if sum(seconds[profile]) < budget / len(texts):
                    time.sleep(idle)
                    start = self._clock()
                    model.engine.infer(pack_sequences(sequences, profile, model.spec))
                    seconds[profile].append(self._clock() - start)
        return CostTable({profile: float(np.quantile(runs, 0.9)) for profile, runs in seconds.items()})

    def start(self) -> None:
        """Starts the thread, after a warm-up if there was none."""
        if not self.rerank_costs.seconds:
            self.warm_up()
        self._thread = threading.Thread(target=self._loop, name="millirank-core", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread after the batch that runs, fails what still waits, and frees the engines."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()
        for job in (*self._encodes.queue.drain(), *self._reranks.queue.drain()):
            job.done(Unavailable(_STOPPED))
        self.encoder.engine.close()
        self.reranker.engine.close()

    def backlog(self) -> Backlog:
        """What a new job would wait for; from any thread."""
        return Backlog()

    def submit(self, job: EncodeJob | RerankJob) -> None:
        """Lets a job wait for its batch; from any thread. Its done is called exactly once, sooner or later."""
        job.submitted = self._clock()
        if isinstance(job, EncodeJob):
            job.length = len(job.ids) + 2
        else:
            job.pairs = pair_length(len(job.query), 0, self.reranker.spec) + self.snapshots[job.snapshot].lengths(
                job.rows
            )
            job.sequences = len(job.rows)
            job.length = int(job.pairs.max(initial=0))
        with self._wake:
            stopping = self._stopping
            if not stopping:
                if isinstance(job, EncodeJob):
                    self._encodes.queue.push(job)
                else:
                    self._reranks.queue.push(job)
                self._wake.notify()
        if stopping:
            job.done(Unavailable(_STOPPED))

    def _loop(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or self._encodes.queue or self._reranks.queue)
                if self._stopping:
                    return
            self.step()

    def step(self) -> None:
        """Runs one batch: queries to encode before pairs to rerank, because they are short and unblock more."""
        lane = self._encodes if self._encodes.queue else self._reranks
        lane.step(self._clock(), self._wake)

    def _encode(self, jobs: list[EncodeJob], start: float) -> list[Encoded]:
        ids = [job.ids for job in jobs]
        vectors: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(jobs)
        for chunk in self.encode_costs.plan(np.array([job.length for job in jobs])):
            feeds = pack_sequences([ids[i] for i in chunk.members], chunk.profile, self.encoder.spec)
            embedding = _finite(self.encoder.engine, "embedding", feeds)
            for i, vector in zip(chunk.members, embedding, strict=False):  # the rest of the batch is padding
                vectors[i] = vector
        ran = self._clock() - start
        return [Encoded(vector, start - job.submitted, ran) for job, vector in zip(jobs, vectors, strict=True)]

    def _rerank(self, jobs: list[RerankJob], start: float) -> list[Reranked]:
        depth = max(job.sequences for job in jobs)
        deadlines = [job.deadline for job in jobs if job.deadline is not None]
        if deadlines:
            budget = (min(deadlines) - start) / self.pace.value
            fits = self.rerank_costs.depth_that_fits([job.pairs for job in jobs], budget)
            depth = fits if fits >= min(2, depth) else 0  # one candidate of several has no order to change
            if not depth:
                self.pace.doubt()
        pairs = [(job, row) for job in jobs for row in job.rows[:depth].tolist()]
        scores = np.empty(len(pairs), np.float32)
        if pairs:
            plan = self.rerank_costs.plan(np.concatenate([job.pairs[:depth] for job in jobs]))
            products = [self.snapshots[job.snapshot][row] for job, row in pairs]
            for chunk in plan:
                queries = [pairs[i][0].query for i in chunk.members]
                feeds = pack_pairs(queries, [products[i] for i in chunk.members], chunk.profile, self.reranker.spec)
                scores[list(chunk.members)] = _finite(self.reranker.engine, "score", feeds)[: len(chunk.members)]
            self.pace.observe(self.rerank_costs.predicted(plan), self._clock() - start)
        ran = self._clock() - start
        ends = np.cumsum([min(depth, job.sequences) for job in jobs])
        return [
            Reranked(own, start - job.submitted, ran)
            for job, own in zip(jobs, np.split(scores, ends[:-1]), strict=True)
        ]


def _finite(engine: Engine, output: str, feeds: Tensors) -> NDArray[np.float32]:
    """An engine's output; what is not a number would be ranked like one."""
    values = engine.infer(feeds)[output]
    if not np.isfinite(values).all():
        raise EngineFailed(
            f"{engine.name} gave a {output} that is not finite: hold it to its reference with "
            f"`millirank engine verify`, and if it fails build it again with `--precision fp32`"
        )
    return values


_STOPPED = "the core has stopped: send the request to another server"

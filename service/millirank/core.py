"""The core owns one device: its engines, their batches, and the product tokens.

A job goes in with `submit` and ends exactly once, with a result or an error, through its `done`; whatever the mix of
cancellations, deadlines and engine failures. Encoder and reranker have a lane each and run side by side: a query never
waits for the pairs of another before it is embedded, and the reranker yields the device to the encoder.
"""

import itertools
import logging
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from millirank_engines import device
from millirank_engines.base import DeviceLost
from millirank_engines.pack import Ragged, pack_pairs, pack_sequences, pair_length

from .costs import CostTable
from .jobs import Backlog, Encoded, EncodeJob, Job, Reranked, RerankJob
from .lane import Lane, Model
from .metrics import Metrics
from .sla import Depth

log = logging.getLogger(__name__)


class ProductTokens(Protocol):
    """The tokens of one snapshot's products, made at indexing."""

    def gather(self, rows: NDArray[np.uint32]) -> Ragged:
        """The token ids of these products; it is called for every job, so nothing should be copied."""


class Core:
    """Runs encode and rerank jobs on one device.

    Args:
        encoder: embeds queries; owned and closed by the core.
        reranker: scores (query, product) pairs; owned and closed by the core.
        clock: monotonic seconds.
        metrics: of this process.
        max_requests: of a batch; None for as many as the time and the largest profile hold.
        background: whether the reranker's thread lets every other go first, as it must where it computes itself; the
            engines of a GPU have streams of two priorities instead.
    """

    def __init__(
        self,
        encoder: Model,
        reranker: Model,
        *,
        clock: Callable[[], float] = time.monotonic,
        metrics: Metrics | None = None,
        max_requests: int | None = None,
        background: bool = True,
    ) -> None:
        metrics = metrics or Metrics()
        self._clock, self._background = clock, background
        self.on_lost: Callable[[DeviceLost], object] = lambda error: log.critical("%s", error)  # from any thread
        self._encodes: Lane[EncodeJob] = Lane(
            "encode",
            encoder,
            self._encode,
            clock=clock,
            metrics=metrics,
            lost=self._lose,
            max_requests=max_requests,
        )
        self._reranks: Lane[RerankJob] = Lane(
            "rerank",
            reranker,
            self._rerank,
            clock=clock,
            metrics=metrics,
            lost=self._lose,
            max_requests=max_requests,
            background=background,
            hopes=False,  # an embedding that fails costs what a rerank that fails costs, and is worth more
        )
        self._depth = Depth(self._reranks.costs)
        self.snapshots: dict[int, ProductTokens] = {}

    @property
    def encode_costs(self) -> CostTable:
        """What the encoder's calls take; set by warm_up, or from an earlier one before start."""
        return self._encodes.costs

    @encode_costs.setter
    def encode_costs(self, costs: CostTable) -> None:
        self._encodes.costs = costs

    @property
    def rerank_costs(self) -> CostTable:
        """What the reranker's calls take; set by warm_up, or from an earlier one before start."""
        return self._reranks.costs

    @rerank_costs.setter
    def rerank_costs(self, costs: CostTable) -> None:
        self._reranks.costs = self._depth.costs = costs

    def after_each_batch(self, call: Callable[[], object]) -> None:
        """Has this called whenever jobs have ended, by the thread that ended them; set before start."""
        self._encodes.ended = self._reranks.ended = call

    def warm_up(self, rounds: int = 5, budget: float = 2.0, idle: float = 0.01) -> None:
        """Measures what every profile of both engines costs.

        Each measured run comes after a pause, because that is how a query finds a server that is not busy: with caches
        that others have used meanwhile and cores that sleep. On two shared cores such a run takes 1.3 to 1.8 times as
        long as one of many in a row.

        Args:
            rounds: measured runs of each profile at most, after one that is not measured.
            budget: seconds for the measured runs of one engine, shared evenly by its profiles; each has at least one.
            idle: seconds of pause before each measured run.
        """
        self.encode_costs = self._encodes.measured(rounds, budget, lambda: time.sleep(idle))
        self.rerank_costs = self._reranks.measured(rounds, budget, lambda: time.sleep(idle))

    def start(self) -> None:
        """Starts the lanes, after a warm-up where the costs are not known."""
        if not self.rerank_costs.seconds:
            self.warm_up()
        if self._background:
            device.background_now()
        self._encodes.start()
        self._reranks.start()

    def close(self) -> None:
        """Ends the lanes after the batches that run, fails what still waits, and frees the engines."""
        self._encodes.close()
        self._reranks.close()

    def _lose(self, error: DeviceLost) -> None:
        """Tells whoever runs this core, who must end the process."""
        self.on_lost(error)

    def backlog(self) -> Backlog:
        """What a new job would wait for; from any thread."""
        return Backlog(self._encodes.backlog(), self._reranks.backlog())

    @property
    def each(self) -> Backlog:
        """Seconds that one more job of each kind has cost lately; 0 while unknown."""
        return Backlog(self._encodes.each, self._reranks.each)

    def submit(self, job: Job) -> None:
        """Lets a job wait for its batch; from any thread. Its done is called exactly once, sooner or later.

        Raises:
            KeyError: if the core does not hold the snapshot of a RerankJob.
        """
        job.submitted = self._clock()
        if isinstance(job, EncodeJob):
            job.length = len(job.ids) + 2
            self._encodes.submit(job)
        elif isinstance(job, RerankJob):
            special = pair_length(len(job.query), 0, self._reranks.model.spec)
            job.products = self.snapshots[job.snapshot].gather(job.rows)
            job.pairs = special + job.products.lengths
            job.sequences = min(Depth.LEAST, len(job.rows))
            job.length = max(job.pairs[: job.sequences].tolist(), default=0)
            self._depth.rate.observe(job.submitted)
            self._reranks.submit(job)

    def step(self) -> None:
        """Runs a batch of each lane, in the caller's thread: for tests."""
        self._encodes.step()
        self._reranks.step()

    def _encode(self, jobs: list[EncodeJob], start: float) -> list[Encoded]:
        lane = self._encodes
        vectors = lane.infer(
            "embedding",
            lane.costs.plan(np.array([job.length for job in jobs])),
            lambda chunk: pack_sequences([jobs[i].ids for i in chunk.members], chunk.profile, lane.model.spec),
            len(jobs),
        )
        ran = self._clock() - start
        return [Encoded(vector, start - job.submitted, ran) for job, vector in zip(jobs, vectors, strict=True)]

    def _rerank(self, jobs: list[RerankJob], start: float) -> list[Reranked]:
        lane = self._reranks
        depth = self._depth.choose([job.pairs for job in jobs], [job.deadline for job in jobs], start)
        counts = [min(depth, len(job.rows)) for job in jobs]
        scores = np.empty(0, np.float32)
        if any(counts):
            queries = [job.query for job in jobs]
            products = Ragged.joined([job.products.head(depth) for job in jobs])
            owners = np.arange(len(jobs)).repeat(counts)
            scores = lane.infer(
                "score",
                lane.costs.plan(np.concatenate([job.pairs[:depth] for job in jobs])),
                lambda chunk: pack_pairs(
                    queries,
                    products.take(chunk.members),
                    chunk.profile,
                    lane.model.spec,
                    owners.take(chunk.members),
                ),
                len(jobs),
            )
        else:
            lane.costs.doubt(start)
        ran = self._clock() - start
        ends = itertools.accumulate(counts)
        return [
            Reranked(scores[end - count : end], start - job.submitted, ran)
            for job, count, end in zip(jobs, counts, ends, strict=True)
        ]

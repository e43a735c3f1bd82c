"""A simulated core: two lanes of one device, with the real policies for batches, depth and costs."""

from collections.abc import Callable, Sequence

import numpy as np

from millirank.costs import Chunk, CostTable
from millirank.sla import Depth

from .device import MEASURED_QUANTILE, Device, Seconds
from .events import Events
from .lane import Factor, Lane, Work
from .noise import stream

SEEN = 3.0  # seconds of arrivals before the first, many times what a rate remembers


class Core:
    """One device.

    Args:
        events: the simulated time.
        device: what its engines take.
        rng: of the noise.
        trouble: a factor on everything, by simulated seconds.
        depth: makes the policy of the depth.
        max_requests: of a batch.
        rate_before: arrivals a second until now, which the depth's policy has seen.
    """

    def __init__(
        self,
        events: Events,
        device: Device,
        *,
        rng: np.random.Generator,
        trouble: Factor,
        depth: Callable[[CostTable], Depth],
        max_requests: int | None,
        rate_before: float,
    ) -> None:
        def lane(seconds: Seconds, slowdown: float, *, hopes: bool) -> Lane:
            return Lane(
                events,
                seconds,
                CostTable({p: cost * device.noise.quantile(MEASURED_QUANTILE) for p, cost in seconds.items()}),
                noise=stream(device.noise, rng.spawn(1)[0]),
                trouble=trouble,
                slowdown=slowdown,
                around=device.around.batch,
                hopes=hopes,
                max_requests=max_requests,
            )

        self.encodes = lane(device.encode, device.slowdown.encode, hopes=True)
        self.reranks = lane(device.rerank, device.slowdown.rerank, hopes=False)
        self.encodes.beside, self.reranks.beside = self.reranks, self.encodes
        self.encodes.planner, self.reranks.planner = self._encode, self._rerank
        self._depth = depth(self.reranks.costs)
        for arrival in np.arange(-SEEN, 0, 1 / rate_before).tolist() if rate_before else ():
            self._depth.rate.observe(arrival)
        self._events = events

    def encode(self, work: Work) -> None:
        """Takes a query to embed."""
        self.encodes.submit(work)

    def rerank(self, work: Work) -> None:
        """Takes a query's pairs."""
        work.sequences = min(Depth.LEAST, len(work.pairs))
        work.length = int(work.pairs[: work.sequences].max(initial=0))
        self._depth.rate.observe(self._events.now)
        self.reranks.submit(work)

    def _encode(self, jobs: Sequence[Work], _now: float) -> tuple[list[Chunk], list[int]]:
        return self.encodes.costs.plan(np.array([job.length for job in jobs])), [1] * len(jobs)

    def _rerank(self, jobs: Sequence[Work], now: float) -> tuple[list[Chunk], list[int]]:
        depth = self._depth.choose([job.pairs for job in jobs], [job.deadline for job in jobs], now)
        if not depth:
            return [], []
        lengths = np.concatenate([job.pairs[:depth] for job in jobs])
        return self.reranks.costs.plan(lengths), [min(depth, len(job.pairs)) for job in jobs]


class Fleet:
    """Every core, as a frontend sees them; what each promises is known exactly, with what is on its way to it."""

    def __init__(self, cores: Sequence[Core]) -> None:
        self.cores = list(cores)
        self._turn = 0

    def earliest(self, *, encode: bool) -> int:
        """Which core promises the earliest finish of one more job; those that promise the same take turns."""
        n = len(self.cores)
        if n == 1:
            return 0
        self._turn = (self._turn + 1) % n
        promises = [self._promise(core, encode=encode) for core in self.cores]
        order = [(self._turn + step) % n for step in range(n)]
        return min(order, key=lambda place: promises[place])

    @staticmethod
    def _promise(core: Core, *, encode: bool) -> tuple[float, float]:
        """The lane of the job, the job included: a slow core that has nothing to do is no early one. Then the other."""
        encodes, reranks = core.encodes.backlog(), core.reranks.backlog()
        if encode:
            return encodes + core.encodes.each, reranks
        return reranks + core.reranks.each, encodes

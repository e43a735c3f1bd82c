"""A lane of the core: one engine, the queue before it, and the thread that runs its batches."""

import math
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from millirank_engines import device
from millirank_engines.base import DeviceLost, Engine, EngineError, EngineFailed, Profile, Tensors
from millirank_engines.model import ModelSpec
from millirank_engines.pack import pack_sequences

from .batching import Batcher, Seconds
from .costs import Chunk, CostTable
from .errors import DeadlineExceeded, Unavailable
from .jobs import Job, Result
from .metrics import Metrics

STOPPED = "the core has stopped: send the request to another server"
TOO_LATE = "the time left is too short for the work: allow more time or send less at once"
SMOOTHING = 0.2  # weight of the newest batch in the seconds of a job
J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class Model:
    """An engine and the model that it runs."""

    engine: Engine
    spec: ModelSpec

    def rehearse(self, profiles: Iterable[Profile]) -> None:
        """Runs each profile once, so that none is met for the first time by a query."""
        for profile in profiles:
            self.engine.infer(pack_sequences([], profile, self.spec))


class Lane(Generic[J]):
    """Runs the jobs of one kind, one batch at a time; every job ends exactly once.

    Args:
        name: encode or rerank.
        model: what runs; owned and closed by the lane.
        run: runs the jobs of a batch that began at a time, and gives each its result.
        clock: monotonic seconds.
        metrics: of this process.
        lost: told once, from whatever thread found out, that the engine's device answers nothing more. Every job still
            ends, but no later one will run.
        background: whether its thread lets every other go first.
        hopes: whether a job that keeps nobody waiting is run if it is in time as often as not.
        max_requests: of a batch; None for as many as the largest profile holds tokens.
    """

    def __init__(
        self,
        name: str,
        model: Model,
        run: Callable[[list[J], float], Sequence[Result]],
        *,
        clock: Callable[[], float],
        metrics: Metrics,
        lost: Callable[[DeviceLost], None],
        background: bool = False,
        hopes: bool = True,
        max_requests: int | None = None,
    ) -> None:
        self.name, self.model, self.costs = name, model, CostTable({})
        self.queue: Batcher[J] = Batcher(max(p.tokens for p in model.engine.profiles), max_requests)
        self._hopes = hopes
        self._run, self._clock, self._metrics, self._background = run, clock, metrics, background
        self._lost = lost
        self.ended: Callable[[], object] = lambda: None  # called by whatever thread has ended some jobs
        self.each = 0.0  # seconds that one more job has cost lately; 0 while unknown
        self._busy_until = 0.0  # monotonic seconds, predicted
        self._lock = threading.Lock()  # of the queue
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()  # rung where the thread may sleep
        self._stopping = False
        self._thread: threading.Thread | None = None

    def measured(self, rounds: int, budget: float, idle: Callable[[], None]) -> CostTable:
        """Runs every profile, interleaved, and measures what each costs: its median, which outlives a noisy start.

        Args:
            rounds: measured runs of each profile at most, after one that is not measured.
            budget: seconds for the measured runs, shared evenly by the profiles; each has at least one.
            idle: what is done before each measured run.
        """
        engine, spec = self.model.engine, self.model.spec
        texts = {p: [np.full(p.length, spec.sep_id)] * p.batch for p in engine.profiles}
        self.model.rehearse(engine.profiles)
        seconds: dict[Profile, list[float]] = {profile: [] for profile in texts}
        for _ in range(rounds):
            for profile, sequences in texts.items():
                if sum(seconds[profile]) < budget / len(texts):
                    idle()
                    start = self._clock()
                    engine.infer(pack_sequences(sequences, profile, spec))
                    seconds[profile].append(self._clock() - start)
        return CostTable({profile: float(np.median(runs)) for profile, runs in seconds.items()})

    def submit(self, job: J) -> None:
        """Lets a job wait for its batch, or ends it now if it would come too late; from any thread."""
        with self._lock:
            now = self._clock()
            stopping = self._stopping
            hopeless = not stopping and self.queue.hopeless(job, now, self._busy(now), *self._predictions)
            if not stopping and not hopeless:
                sleeps = not self.queue
                self.queue.push(job)
                if sleeps:  # only now: the thread looks at the queue without the lock
                    self._bell.put(None)
        if stopping:
            job.done(Unavailable(STOPPED))
        elif hopeless:
            self._give_up(job, now)

    def backlog(self) -> float:
        """Seconds of what runs and what waits; from any thread."""
        with self._lock:
            waiting = self.costs.predicted(self.queue.sequences, self.queue.longest)
            return self._busy(self._clock()) + waiting

    @property
    def _predictions(self) -> tuple[Seconds, Seconds]:
        """What a batch takes at most, and as often as not."""
        return self.costs.predicted, self.costs.typical if self._hopes else self.costs.predicted

    def _busy(self, now: float) -> float:
        """Seconds until the batch that runs is done."""
        return max(0.0, self._busy_until - now)

    def _give_up(self, job: J, now: float) -> None:
        """Ends a job that was not tried because it would come too late."""
        self.costs.doubt(now)
        job.done(DeadlineExceeded(TOO_LATE))

    def start(self) -> None:
        """Starts the thread."""
        self._thread = threading.Thread(target=self._loop, name=f"millirank-{self.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread after the batch that runs, fails what still waits, and frees the engine."""
        with self._lock:
            self._stopping = True
        self._bell.put(None)
        if self._thread is not None:
            self._thread.join()
        self._refuse_waiting()
        self.model.engine.close()

    def _refuse_waiting(self) -> None:
        with self._lock:
            waiting = self.queue.drain()
        for job in waiting:
            job.done(Unavailable(STOPPED))
        self.ended()

    def step(self) -> None:
        """Runs one batch and ends every one of its jobs; the lock is held while the queue is read."""
        with self._lock:
            now = self._clock()
            batch = self.queue.pop(now, *self._predictions)
        for job in batch.cancelled:
            job.done(DeadlineExceeded("the client has left"))
        for job in batch.hopeless:
            self._give_up(job, now)
        if not batch.ready:
            self.ended()
            return
        results: Sequence[Result | Exception]
        lost: DeviceLost | None = None
        try:
            results = done = self._run(batch.ready, now)
            self._learn(done[0].ran / len(done))
        except EngineError as error:
            results = [error] * len(batch.ready)
            lost = error if isinstance(error, DeviceLost) else None
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises, every job of the batch must end
            results = [EngineFailed(f"{type(error).__name__}: {error}")] * len(batch.ready)
        self._busy_until = 0.0
        for job, result in zip(batch.ready, results, strict=True):
            self._metrics.queued(self.name, now - job.submitted)
            if job.cancelled:
                self._metrics.overran(self.name)
            job.done(result)
        self.ended()
        if lost is not None:
            self._lose(lost)

    def _learn(self, each: float) -> None:
        self.each += (SMOOTHING if self.each else 1) * (each - self.each)

    def _lose(self, error: DeviceLost) -> None:
        """Takes no more jobs: none would be answered."""
        with self._lock:
            self._stopping = True
        self._refuse_waiting()
        self._lost(error)

    def infer(
        self, output: str, plan: Sequence[Chunk], feeds: Callable[[Chunk], Tensors], requests: int
    ) -> NDArray[np.float32]:
        """Runs a plan call by call, and learns what each costs.

        Args:
            output: which output of the engine.
            plan: its calls, at least one.
            feeds: packs the inputs of a call.
            requests: that the plan serves.

        Returns:
            The output's rows, in the order of the lengths that were planned.

        Raises:
            EngineFailed: if the runtime failed, or gave what is no number.
        """
        start = self._clock()
        self._busy_until = start + sum(self.costs.predicted(len(c.members), c.profile.length) for c in plan)
        parts: list[NDArray[np.float32]] = []
        valid = 0
        for chunk in plan:
            began, n = self._clock(), len(chunk.members)
            packed = feeds(chunk)
            values = self.model.engine.infer(packed)[output][:n]  # the rest is padding
            self.costs.observe(chunk.profile, self._clock() - began)
            if not math.isfinite(np.vdot(values, values)):  # it would be ranked like a number
                raise EngineFailed(
                    f"{self.model.engine.name} gave a {output} that is not finite: hold it to its reference with "
                    f"`millirank engine verify`, and if it fails build it again with `--precision fp32`"
                )
            parts.append(values)
            valid += int(np.count_nonzero(packed["attention_mask"][:n]))
        padded = sum(chunk.profile.tokens for chunk in plan)
        self._metrics.ran(self.name, requests, sum(map(len, parts)), valid, padded, self._clock() - start)
        if len(parts) == 1:
            return parts[0]
        whole = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), np.float32)
        for chunk, values in zip(plan, parts, strict=True):
            whole[chunk.members] = values
        return whole

    def _loop(self) -> None:
        if self._background:
            device.background()
        while not self._stopping:
            self._bell.get()
            while self.queue and not self._stopping:
                self.step()

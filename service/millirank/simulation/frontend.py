"""A simulated frontend: admission, the way of a query through the stages, and the deadlines that end them."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial

import numpy as np
from numpy.typing import NDArray

from millirank.sla import Admission, Margin, Ticket
from millirank.types import Degraded

from .core import Fleet
from .device import Around
from .events import Events, Then, Worker
from .lane import Work
from .outcome import REASONS, Ended
from .traces import Trace


class _Stage(IntEnum):
    ENCODE = 1
    RETRIEVE = 2
    RERANK = 3
    FINAL = 4


@dataclass(eq=False, slots=True)
class _Query:
    """A query that was admitted."""

    index: int
    arrived: float
    ticket: Ticket
    due: float  # simulated seconds, when its final message begins to leave at the latest
    stage: _Stage = _Stage.ENCODE
    asked: float = 0.0  # simulated seconds, when it was sent to the encoder, then to the reranker
    encoding: float = 0.0  # seconds that it waited for the encoder
    reranking: float = 0.0  # and for the reranker
    work: Work | None = None  # that runs or waits for it
    degraded: Degraded | None = None
    depth: int = 0


class Records:
    """What becomes of every query of a trace; each ends exactly once."""

    def __init__(self, n: int) -> None:
        self.ended = np.full(n, Ended.OPEN, np.uint8)
        self.first, self.final = np.full(n, np.nan), np.full(n, np.nan)
        self.depth, self.core = np.full(n, -1, np.int32), np.full(n, -1, np.int32)
        self.degraded = np.zeros(n, np.uint8)

    def end(self, index: int, how: Ended) -> None:
        """Ends a query.

        Raises:
            RuntimeError: if it has ended before: the simulation is wrong.
        """
        if self.ended[index]:
            raise RuntimeError(f"query {index} ended twice: report this with the scenario and its seed")
        self.ended[index] = how


class Frontend:
    """One process: an event loop, a thread that reads the indexes, and its own admission.

    Args:
        events: the simulated time.
        fleet: the cores.
        around: what its work takes.
        idle: seconds of the first stage's own work on an idle service.
        sla: seconds from arrival to the final message.
        reply: seconds kept back for sending the final message.
        trace: the queries.
        peers: the connection of each query, (n,).
        records: where it is written how they end.
    """

    def __init__(
        self,
        events: Events,
        fleet: Fleet,
        *,
        around: Around,
        idle: float,
        sla: float,
        reply: float,
        trace: Trace,
        peers: NDArray[np.int64],
        records: Records,
    ) -> None:
        self.loop, self._reader = Worker(events), Worker(events)
        self._admission, self._margin = Admission(idle), Margin(sla)
        self._events, self._fleet, self._around, self._records = events, fleet, around, records
        self._sla, self._reserve, self._least = sla, reply, idle + reply
        self._trace, self._peers = trace, peers.tolist()

    def arrive(self, index: int) -> None:
        """A query comes in; it waits for the event loop first."""
        self.loop.post(partial(self._accept, index, self._events.now))

    def _accept(self, index: int, arrived: float) -> tuple[float, Then | None]:
        now = self._events.now
        refusal = Ended.TOO_LATE if self._sla < self._least else None
        due = arrived + self._sla - self._reserve - self._margin.of(self._admission.waiting)
        slack = due - now
        peer = self._peers[index]
        if refusal is None and self._admission.wait(peer, slack, now):
            refusal = Ended.REFUSED
        if refusal is not None:
            self._records.end(index, refusal)
            return self._around.refuse, None
        query = _Query(index, arrived, self._admission.enter(peer, now), due)
        return self._around.accept, partial(self._encode, query)

    def _encode(self, query: _Query) -> None:
        now = self._events.now
        if query.arrived + self._sla <= now:
            self._admission.leave(query.ticket, None)
            self._records.end(query.index, Ended.TOO_LATE)
            return
        query.asked = now
        due = query.due - query.ticket.own
        if due <= now:
            self._retrieve(query, Degraded.ENCODER_OVERRUN)
            return
        at = self._fleet.earliest(encode=True)
        self._records.core[query.index] = at
        core = self._fleet.cores[at]
        core.encodes.coming += 1
        query.work = Work(partial(self._back, self._encoded, query), due, int(self._trace.tokens[query.index]))
        self._events.at(now + self._around.hop, core.encode, query.work)
        self._events.at(due, self._overrun, query, _Stage.ENCODE)

    def _encoded(self, query: _Query, sequences: int) -> None:
        if query.stage is _Stage.ENCODE:
            self._retrieve(query, None if sequences else Degraded.ENCODER_OVERRUN)

    def _retrieve(self, query: _Query, loss: Degraded | None) -> None:
        query.stage, query.degraded, query.encoding = _Stage.RETRIEVE, loss, self._events.now - query.asked
        self._reader.post(lambda: (self._around.retrieve, partial(self.loop.post, partial(self._reply, query))))

    def _reply(self, query: _Query) -> tuple[float, Then]:
        """The reranker starts while the first message leaves."""
        self._admission.leave(query.ticket, self._events.now, query.encoding)
        self._rerank(query)
        return self._around.reply, partial(self._provisional, query)

    def _provisional(self, query: _Query) -> None:
        """The first message has left."""
        self._records.first[query.index] = self._events.now - query.arrived + self._around.wire

    def _rerank(self, query: _Query) -> None:
        now = self._events.now
        query.stage = _Stage.RERANK
        pairs = self._trace.pairs[query.index]
        due, query.asked = query.due, now
        if not len(pairs):
            self._finish(query, 0, None)
        elif due <= now:
            self._finish(query, 0, Degraded.DEADLINE)
        else:
            core = self._fleet.cores[self._fleet.earliest(encode=False)]
            core.reranks.coming += 1
            query.work = Work(partial(self._back, self._reranked, query), due, 0, pairs=pairs)
            self._events.at(now + self._around.hop, core.rerank, query.work)
            self._events.at(due, self._overrun, query, _Stage.RERANK)

    def _reranked(self, query: _Query, sequences: int) -> None:
        if query.stage is _Stage.RERANK:
            self._finish(query, sequences, None if sequences else Degraded.DEADLINE)

    def _overrun(self, query: _Query, stage: _Stage) -> None:
        """The timer of a stage: whatever the engine does, the query goes on."""
        if query.stage is not stage:
            return
        if query.work is not None:
            query.work.cancelled = True
        if stage is _Stage.ENCODE:
            self._retrieve(query, Degraded.ENCODER_OVERRUN)
        else:
            self._finish(query, 0, Degraded.RERANKER_OVERRUN)

    def _finish(self, query: _Query, depth: int, loss: Degraded | None) -> None:
        query.stage, query.depth, query.degraded = _Stage.FINAL, depth, query.degraded or loss
        query.reranking = self._events.now - query.asked
        self.loop.post(lambda: (self._around.reply, partial(self._ended, query)))

    def _ended(self, query: _Query) -> None:
        """The final message has left."""
        records, index = self._records, query.index
        late = self._events.now - (query.arrived + self._sla - self._reserve)
        self._margin.observe(query.ticket.ahead, late, query.encoding + query.reranking)
        records.end(index, Ended.ANSWERED)
        records.final[index] = self._events.now - query.arrived + self._around.wire
        records.depth[index] = query.depth
        records.degraded[index] = 0 if query.degraded is None else 1 + REASONS.index(query.degraded)

    def _back(self, then: Callable[[_Query, int], None], query: _Query, sequences: int) -> None:
        """An answer of the core travels back."""
        self._events.at(self._events.now + self._around.hop, then, query, sequences)

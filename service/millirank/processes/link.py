"""The way from a frontend to one life of a core."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from millirank.errors import Unavailable
from millirank.jobs import Encoded, Reranked, Result
from millirank_engines.base import EngineFailed

from . import wire
from .codec import result_from_record
from .control import Address as CoreAddress
from .estimate import Estimate

if TYPE_CHECKING:
    import zmq

log = logging.getLogger(__name__)
R = TypeVar("R", Encoded, Reranked)


@dataclass(frozen=True)
class _Call:
    """A job that has no answer yet, though its caller may have left."""

    kind: type[Result]
    future: asyncio.Future[Any]  # of that kind


class Link:
    """The way to one life of a core: its socket, the calls that are open there, and what is known of its load."""

    def __init__(self, address: CoreAddress, context: "zmq.Context[zmq.Socket[bytes]]", limit: int) -> None:
        import zmq

        self.address = address
        self.refused: str | None = None  # why it cannot be used, though it lives
        self.estimate = Estimate()
        self.calls: dict[int, _Call] = {}
        self._limit = limit  # of calls
        self._last = 0  # id
        self._outbox: list[wire.Request] = []
        self._loop = asyncio.get_running_loop()
        self._me = f"frontend with pid {os.getpid()}"
        self._socket = context.socket(zmq.DEALER)
        self._socket.set_hwm(wire.HIGH_WATER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(address.endpoint)
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._drain)
        self._hello()

    @property
    def free(self) -> bool:
        """Whether it may take one more job."""
        return self.refused is None and len(self.calls) < self._limit

    def send(self, kind: type[R], make: Callable[[int], wire.Request]) -> "asyncio.Future[R]":
        """Sends a job with everything else of this tick; a cancelled one keeps its credit until it is answered."""
        record = make(self._last + 1)
        self._last += 1
        call = self.calls[self._last] = _Call(kind, self._loop.create_future())
        call.future.add_done_callback(partial(self._leave, self._last))
        self.estimate.sent(self._last, kind)
        self._post(record)
        return call.future

    def _leave(self, job: int, _: "asyncio.Future[Any]") -> None:
        if job in self.calls:  # it was not answered: nobody waits for it any more
            self._post(wire.Cancel(job))

    def lose(self, kind: type[EngineFailed | Unavailable], why: str) -> None:
        """Fails every open call."""
        calls, self.calls = self.calls, {}
        self.estimate = Estimate()
        for call in calls.values():
            if not call.future.done():
                call.future.set_exception(kind(why))

    def close(self, kind: type[EngineFailed | Unavailable], why: str) -> None:
        """Fails every open call and frees the socket."""
        self.refused, self._outbox = why, []
        self._loop.remove_reader(self._descriptor)
        self._socket.close()
        self.lose(kind, why)

    def _hello(self) -> None:
        self._send([wire.Hello(wire.VERSION, self._me)])

    def _post(self, record: wire.Request) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(record)

    def _flush(self) -> None:
        records, self._outbox = self._outbox, []
        if records and not self._socket.closed:
            self._send(records)

    def _send(self, records: Sequence[wire.Request]) -> None:
        import zmq

        try:
            self._socket.send(wire.packed(records), zmq.NOBLOCK)
        except zmq.Again:  # beyond every credit: it has read nothing for a very long time
            self.lose(EngineFailed, f"the core {self.address.index} takes no more messages: restart it")
        if int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:  # a send may swallow the edge that tells of an answer
            self._drain()

    def _drain(self) -> None:
        """Reads until there is nothing more: the descriptor tells of the first message only."""
        import zmq

        while not self._socket.closed:
            try:
                data = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                answers = wire.answers_from(data)
            except wire.BadMessage as error:
                log.warning("dropped from the core %d: %s", self.address.index, error)
                self.lose(EngineFailed, f"the core {self.address.index} may have answered, but: {error}")
                continue
            for answer in answers:
                self._take(answer)

    def _take(self, answer: wire.Answer) -> None:
        if isinstance(answer, wire.Load):
            self.estimate.reported(answer)
        elif isinstance(answer, wire.Hello):
            if why := wire.mismatch(answer, self._me):
                log.error("refused: %s", why)
                self.refused = why
                self.lose(EngineFailed, why)
        elif answer.id == wire.EVERY_JOB and isinstance(answer, wire.Failed):
            log.warning("the core %d dropped every job: %s", self.address.index, answer.message)
            self.lose(EngineFailed, answer.message)
            self._hello()
        elif call := self.calls.pop(answer.id, None):
            self.estimate.ended(call.kind)
            if not call.future.done():
                result = result_from_record(call.kind, answer)
                if isinstance(result, Exception):
                    call.future.set_exception(result)
                else:
                    call.future.set_result(result)

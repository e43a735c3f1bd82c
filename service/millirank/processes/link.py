"""The way from a frontend to one life of a core."""

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from millirank.errors import Unavailable
from millirank.jobs import Encoded, Reranked, Result
from millirank_engines.base import EngineFailed

from . import wire
from .codec import result_from_record
from .control import Address as CoreAddress
from .estimate import Estimate
from .post import Ended, Post, TooLarge, connected

RETRY = 0.05  # seconds until it is tried again to connect: a core may be announced before it listens
log = logging.getLogger(__name__)
R = TypeVar("R", Encoded, Reranked)


@dataclass(frozen=True)
class _Call:
    """A job that has no answer yet, though its caller may have left."""

    kind: type[Result]
    future: asyncio.Future[Any]  # of that kind


class Link:
    """The way to one life of a core: its socket, the calls that are open there, and what is known of its load.

    What is sent before the core listens waits until it does.
    """

    def __init__(self, address: CoreAddress, limit: int) -> None:
        """Connects, or begins to try.

        Args:
            address: of the core.
            limit: of calls that are open.

        Raises:
            ConfigError: if the endpoint cannot be one.
        """
        self.address = address
        self.refused: str | None = None  # why it cannot be used, though it lives
        self.estimate = Estimate()
        self.calls: dict[int, _Call] = {}
        self._limit, self._last = limit, 0  # id
        self._outbox: list[wire.Request] = []
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._me = f"frontend with pid {os.getpid()}"
        wire.path_of(address.endpoint)
        self._post: Post | None = None
        self._connect()

    @property
    def free(self) -> bool:
        """Whether it may take one more job."""
        return self.refused is None and len(self.calls) < self._limit

    @property
    def connected(self) -> bool:
        """Whether somebody listens there, as far as is known; what is sent meanwhile waits."""
        return self._post is not None

    def send(self, kind: type[R], make: Callable[[int], wire.Request]) -> "asyncio.Future[R]":
        """Sends a job with everything else of this tick; a cancelled one keeps its credit until it is answered."""
        record = make(self._last + 1)
        self._last += 1
        call = self.calls[self._last] = _Call(kind, self._loop.create_future())
        call.future.add_done_callback(partial(self._leave, self._last))
        self.estimate.sent(self._last, kind)
        self._queue(record)
        return call.future

    def _leave(self, job: int, _: "asyncio.Future[Any]") -> None:
        if job in self.calls:  # it was not answered: nobody waits for it any more
            self._queue(wire.Cancel(job))

    def lose(self, kind: type[EngineFailed | Unavailable], why: str) -> None:
        """Fails every open call."""
        calls, self.calls = self.calls, {}
        self.estimate = Estimate()
        for call in calls.values():
            if not call.future.done():
                call.future.set_exception(kind(why))

    def close(self, kind: type[EngineFailed | Unavailable], why: str) -> None:
        """Fails every open call and frees the socket."""
        self.refused, self._closed = why, True
        self._disconnect()
        self.lose(kind, why)

    def _connect(self) -> None:
        if self._closed or self._post is not None:
            return
        try:
            self._post = Post(connected(self.address.endpoint))
        except OSError:
            self._loop.call_later(RETRY, self._connect)
            return
        self._loop.add_reader(self._post.fileno(), self._drain)
        self._hello()
        self._flush()

    def _disconnect(self) -> None:
        post, self._post, self._outbox = self._post, None, []
        if post is not None:
            self._loop.remove_reader(post.fileno())
            self._loop.remove_writer(post.fileno())
            post.close()

    def _hello(self) -> None:
        self._send([wire.Hello(wire.VERSION, self._me)])

    def _queue(self, record: wire.Request) -> None:
        if not self._outbox:
            self._loop.call_soon(self._flush)
        self._outbox.append(record)

    def _flush(self) -> None:
        if self._post is not None:  # else it goes when we are connected
            records, self._outbox = self._outbox, []
            self._send(records)

    def _send(self, records: Sequence[wire.Request] = ()) -> None:
        """Sends records, and what the core has not taken before; what it does not take now waits for its turn."""
        if self._post is None:
            return
        before = self._post.waiting
        try:
            self._post.send(records)
        except Ended:
            self._gone()
            return
        except TooLarge as error:
            self.lose(EngineFailed, f"a message to the core {self.address.index} is too large ({error}): ask for less")
        if self._post.waiting and not before:
            self._loop.add_writer(self._post.fileno(), self._send)
        elif before and not self._post.waiting:
            self._loop.remove_writer(self._post.fileno())

    def _gone(self) -> None:
        """The core has ended the connection: it is dying, which we will be told, or we may connect anew."""
        self._disconnect()
        self.lose(EngineFailed, f"the core {self.address.index} has hung up: send the request again")
        self._loop.call_later(RETRY, self._connect)

    def _drain(self) -> None:
        """Takes a message; the loop calls again while there is one."""
        if self._post is None:
            return
        try:
            data = self._post.receive()
        except Ended:
            self._gone()
            return
        if data is None:
            return
        try:
            answers = wire.answers_from(data)
        except wire.BadMessage as error:
            log.warning("dropped from the core %d: %s", self.address.index, error)
            self.lose(EngineFailed, f"the core {self.address.index} may have answered, but: {error}")
            return
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

"""A core behind a socket: takes the records of many frontends, gives them to the core, and answers each job once.

One thread reads all that comes. The threads of the core run batches meanwhile, and send what has ended themselves: the
jobs of a batch go out together, one message a frontend, and wake nobody here.
"""

import logging
import os
import select
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial

from millirank.core import Core
from millirank.errors import ConfigError, Overloaded, Unavailable
from millirank.jobs import EncodeJob, RerankJob, Result
from millirank.lane import STOPPED

from . import codec, wire
from .post import Ended, Post, TooLarge, listening

FAREWELL = 0.2  # seconds that the last messages have to leave
log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Peer:
    """One connection of a frontend, from when it is accepted until it ends."""

    post: Post
    who: str | None = None  # None before its hello, and after it was told that all is lost
    jobs: dict[int, EncodeJob | RerankJob] = field(default_factory=dict)  # open
    seen: int = 0  # the last job that came


class CoreHost:
    """Serves a core over a Unix socket; the constructor listens, so frontends may connect before run.

    Args:
        core: started, after this is made, and closed by the caller.
        endpoint: ipc://PATH.

    Raises:
        ConfigError: if the endpoint cannot be bound.
    """

    def __init__(self, core: Core, endpoint: str) -> None:
        self._core = core
        self._me = f"core with pid {os.getpid()}"
        self._peers: dict[int, _Peer] = {}  # by descriptor
        self._ended: deque[tuple[_Peer, int, Result | Exception]] = deque()  # filled by any thread
        self._stopping = self._closed = False
        self._sending = threading.RLock()  # of all posts; reentrant, for a stop in a signal handler
        try:
            self._listener = listening(endpoint)
        except OSError as error:
            raise ConfigError(f"{endpoint} cannot be bound ({error}): choose a folder that can be written") from error
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.epoll()
        self._poll.register(self._listener, select.EPOLLIN)
        self._poll.register(self._wake, select.EPOLLIN)
        core.after_each_batch(self._flush)

    def run(self) -> None:
        """Serves until stop, then fails what waits and frees the socket; once only."""
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._stopping = True
            try:
                self._farewell()
            finally:
                self._close()

    def stop(self) -> None:
        """Ends run; from any thread or a signal handler."""
        self._stopping = True
        with self._sending:
            if not self._closed:
                os.eventfd_write(self._wake, 1)

    def _turn(self, timeout: float | None = None) -> None:
        """One round: what has come in is submitted, what that ended is answered; timeout in seconds, None waits."""
        for descriptor, event in self._poll.poll(timeout):
            if peer := self._peers.get(descriptor):
                if event & select.EPOLLOUT:
                    self._send(peer)
                if event & ~select.EPOLLOUT:
                    self._receive(peer)
            elif descriptor == self._wake:
                os.eventfd_read(self._wake)
            elif descriptor == self._listener.fileno():
                self._accept()
        self._flush()

    def _accept(self) -> None:
        try:
            own, _ = self._listener.accept()
        except BlockingIOError:  # it has left again
            return
        peer = _Peer(Post(own))
        self._peers[peer.post.fileno()] = peer
        self._poll.register(peer.post, select.EPOLLIN)

    def _receive(self, peer: _Peer) -> None:
        """Takes a message of a frontend; there may be more, which the next turn finds."""
        try:
            data = peer.post.receive()
        except Ended:
            self._leave(peer)
            return
        if data is None:
            return
        if peer.post.waiting > wire.HIGH_WATER:
            log.warning("the %s reads no answers: it is dropped", peer.who)
            self._leave(peer)
            return
        try:
            records = wire.requests_from(data)
        except wire.BadMessage as error:
            log.warning("dropped from a frontend: %s", error)
            self._lost(peer, str(error))
            return
        if records and isinstance(records[0], wire.Hello):
            self._greet(peer, records[0])
        elif peer.who is None:
            self._lost(peer, "this core does not know the frontend: say hello first")
        else:
            for record in records:
                self._take(peer, record)

    def _take(self, peer: _Peer, record: wire.Request) -> None:
        if isinstance(record, wire.Cancel):
            if job := peer.jobs.get(record.id):
                job.cancelled = True
        elif isinstance(record, wire.Hello) or record.id in peer.jobs:
            log.warning("dropped from the %s: %r came twice", peer.who, record)
        else:
            self._submit(peer, record)

    def _greet(self, peer: _Peer, hello: wire.Hello) -> None:
        self._forget(peer)
        self._send(peer, [wire.Hello(wire.VERSION, self._me)])
        if why := wire.mismatch(hello, self._me):
            log.error("refused: %s", why)
        else:
            peer.who, peer.seen = hello.who, 0
            self._send(peer, [wire.Load(*self._load(), peer.seen)])

    def _submit(self, peer: _Peer, record: wire.Encode | wire.Rerank) -> None:
        peer.seen = record.id
        try:
            if self._stopping:
                raise Unavailable(STOPPED)  # noqa: TRY301 - whatever is raised here ends the job
            if len(peer.jobs) >= wire.MAX_CREDITS:
                raise Overloaded(  # noqa: TRY301
                    f"the {peer.who} has {len(peer.jobs)} jobs open: lower its credits",
                    retry_after=self._core.backlog().rerank,
                )
            job = peer.jobs[record.id] = codec.job_from_record(record, partial(self._done, peer, record.id))
            self._core.submit(job)
        except Exception as error:  # noqa: BLE001 - whatever a record makes the core raise, the job must end
            peer.jobs.pop(record.id, None)
            self._send(peer, [codec.failed_from(record.id, error)])

    def _done(self, peer: _Peer, job: int, result: Result | Exception) -> None:
        """Takes the end of a job, from whatever thread."""
        self._ended.append((peer, job, result))

    def _flush(self) -> None:
        """Sends each frontend what has ended for it, in one message; from whatever thread."""
        if not self._ended:
            return
        with self._sending:
            answers: dict[_Peer, list[wire.Answer]] = {}
            while self._ended:
                peer, job, result = self._ended.popleft()
                if peer.jobs.pop(job, None) is not None:
                    answers.setdefault(peer, []).append(codec.record_from_result(job, result))
            load = self._load()
            for peer, records in answers.items():
                self._send(peer, [*records, wire.Load(*load, peer.seen)])

    def _load(self) -> tuple[float, float, float, float, float]:
        """What all frontends are told: the time, what a new encode and rerank wait for, and what one more costs."""
        backlog, each = self._core.backlog(), self._core.each
        return time.monotonic(), backlog.encode, backlog.rerank, each.encode, each.rerank

    def _send(self, peer: _Peer, records: list[wire.Answer] | tuple[()] = ()) -> None:
        """Sends a frontend records, and what it has not taken before; what it does not take now waits for its turn."""
        with self._sending:
            before = peer.post.waiting
            try:
                peer.post.send(records)
            except Ended:  # it has left, and the next turn notices
                return
            except TooLarge as error:
                log.warning("an answer to the %s is too large: %s", peer.who, error)
                self._lost(peer, f"an answer of this core is too large ({error}): ask for less")
            if bool(before) != bool(peer.post.waiting):
                out = select.EPOLLOUT if peer.post.waiting else 0
                self._poll.modify(peer.post, select.EPOLLIN | out)

    def _lost(self, peer: _Peer, why: str) -> None:
        """Tells a frontend that none of its jobs will be answered: nobody knows which ones it believes to be open."""
        self._forget(peer)
        self._send(peer, [wire.Failed(wire.EVERY_JOB, "EngineFailed", why)])

    def _forget(self, peer: _Peer) -> None:
        """Cancels a frontend's jobs, and expects its hello."""
        peer.who = None
        for job in list(peer.jobs.values()):
            job.cancelled = True
        peer.jobs = {}

    def _leave(self, peer: _Peer) -> None:
        """Ends a connection."""
        if peer.jobs:
            log.warning("the %s has left: what it waited for is cancelled", peer.who)
        self._forget(peer)
        with self._sending:
            del self._peers[peer.post.fileno()]
            self._poll.unregister(peer.post)
            peer.post.close()

    def _farewell(self) -> None:
        """Fails what waits, and what comes in while we leave."""
        self._turn(0)
        with self._sending:
            for peer in self._peers.values():
                failed = [codec.failed_from(number, Unavailable(STOPPED)) for number in peer.jobs]
                self._forget(peer)
                self._send(peer, [*failed])
        until = time.monotonic() + FAREWELL
        while time.monotonic() < until and any(peer.post.waiting for peer in self._peers.values()):
            self._turn(FAREWELL / 10)

    def _close(self) -> None:
        with self._sending:
            self._closed = True
            self._core.after_each_batch(lambda: None)
            for peer in self._peers.values():
                peer.post.close()
            self._listener.close()
            self._poll.close()
            os.close(self._wake)

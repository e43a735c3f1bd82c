"""A core behind a socket: takes the records of many frontends, gives them to the core, and answers each job once.

One thread does all the I/O. The core runs its batches in its own thread meanwhile; a job that ends there is put into a
deque, and an eventfd wakes the I/O thread. What has ended by then goes out together, one message a frontend.
"""

import errno
import itertools
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from millirank.core import Core
from millirank.errors import ConfigError, Overloaded, Unavailable
from millirank.jobs import Backlog, Encoded, EncodeJob, Reranked, RerankJob, Result
from millirank.lane import STOPPED

from . import codec, wire

BURST = 64  # messages taken before what has ended is answered
FAREWELL = 200  # ms that the last messages have to leave
SMOOTHING = 0.2  # weight of the newest batch in the seconds of a job
log = logging.getLogger(__name__)


@dataclass
class _Peer:
    """One frontend, from its hello until it vanishes."""

    name: bytes  # ZeroMQ's routing id
    who: str
    jobs: dict[int, EncodeJob | RerankJob] = field(default_factory=dict)  # open
    outbox: list[wire.Answer] = field(default_factory=list)
    seen: int = 0  # the last job that came


class CoreHost:
    """Serves a core over a ROUTER; the constructor binds it, so frontends may connect before run.

    Args:
        core: started and closed by the caller.
        endpoint: ipc://PATH.

    Raises:
        ConfigError: if the endpoint cannot be bound.
    """

    def __init__(self, core: Core, endpoint: str) -> None:
        import zmq

        wire.checked_endpoint(endpoint)
        self._core = core
        self._me = f"core with pid {os.getpid()}"
        self._peers: dict[bytes, _Peer] = {}
        self._ended: deque[tuple[_Peer, int, Result | Exception]] = deque()  # filled by any thread
        self._each: dict[type[Result], float] = {}  # seconds a job
        self._signalled = self._stopping = self._closed = False
        self._lock = threading.RLock()  # of the eventfd's life; reentrant, for a stop in a signal handler
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.set_hwm(wire.HIGH_WATER)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._router.setsockopt(zmq.LINGER, FAREWELL)
        try:
            self._router.bind(endpoint)
        except zmq.ZMQError as error:
            self._context.destroy(linger=0)
            raise ConfigError(f"{endpoint} cannot be bound ({error}): choose a folder that can be written") from error
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._wake, zmq.POLLIN)

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
        self._wake_up()

    def _wake_up(self) -> None:
        with self._lock:
            if not self._closed:
                os.eventfd_write(self._wake, 1)

    def _done(self, peer: _Peer, job: int, result: Result | Exception) -> None:
        """Takes the end of a job, from whatever thread."""
        self._ended.append((peer, job, result))
        if not self._signalled:  # two threads may both see it unset: one wake-up too many does no harm
            self._signalled = True
            self._wake_up()

    def _turn(self, timeout: int | None = None) -> None:
        """One round: what has come in is submitted, what has ended is answered; timeout in ms, None waits."""
        ready = dict(self._poller.poll(timeout))
        if self._router in ready:
            self._receive()
        if self._wake in ready:
            os.eventfd_read(self._wake)
            self._signalled = False  # before the deque is read: what comes later wakes again
            self._answer()
        self._flush()

    def _receive(self, limit: int = BURST) -> None:
        import zmq

        for _ in range(limit):
            try:
                name, *frames = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                if len(frames) != 1:
                    raise wire.BadMessage(f"a message of {len(frames)} frames: send one")  # noqa: TRY301 - as below
                records = wire.requests_from(frames[0])
            except wire.BadMessage as error:
                log.warning("dropped from a frontend: %s", error)
                self._lost(name, str(error))
                continue
            if records and isinstance(records[0], wire.Hello):
                self._greet(name, records[0])
            elif peer := self._peers.get(name):
                for record in records:
                    self._take(peer, record)
            else:
                self._lost(name, "this core does not know the frontend: say hello first")

    def _take(self, peer: _Peer, record: wire.Request) -> None:
        if isinstance(record, wire.Cancel):
            if job := peer.jobs.get(record.id):
                job.cancelled = True
        elif isinstance(record, wire.Hello) or record.id in peer.jobs:
            log.warning("dropped from the %s: %r came twice", peer.who, record)
        else:
            self._submit(peer, record)

    def _greet(self, name: bytes, hello: wire.Hello) -> None:
        self._drop(name)
        self._send(name, [wire.Hello(wire.VERSION, self._me)])
        if why := wire.mismatch(hello, self._me):
            log.error("refused: %s", why)
        else:
            peer = self._peers[name] = _Peer(name, hello.who)
            self._send(name, [self._load(peer, self._core.backlog())])

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
            peer.outbox.append(codec.failed_from(record.id, error))

    def _answer(self) -> None:
        """Turns what has ended into records."""
        ended = [self._ended.popleft() for _ in range(len(self._ended))]
        results = [result for _, _, result in ended if not isinstance(result, Exception)]
        for (kind, ran), batch in itertools.groupby(results, lambda result: (type(result), result.ran)):
            each = ran / sum(1 for _ in batch)
            before = self._each.get(kind, each)
            self._each[kind] = before + SMOOTHING * (each - before)
        for peer, job, result in ended:
            if peer.jobs.pop(job, None) is not None:
                peer.outbox.append(codec.record_from_result(job, result))

    def _flush(self) -> None:
        """Sends each frontend what there is for it, in one message."""
        full = [peer for peer in self._peers.values() if peer.outbox]
        backlog = self._core.backlog() if full else Backlog()
        for peer in full:
            records, peer.outbox = peer.outbox, []
            self._send(peer.name, [*records, self._load(peer, backlog)])

    def _load(self, peer: _Peer, backlog: Backlog) -> wire.Load:
        each = self._each
        return wire.Load(
            at=time.monotonic(),
            encode=backlog.encode,
            rerank=backlog.rerank,
            encode_each=each.get(Encoded, 0.0),
            rerank_each=each.get(Reranked, 0.0),
            seen=peer.seen,
        )

    def _send(self, name: bytes, records: Sequence[wire.Answer]) -> None:
        import zmq

        try:
            self._router.send_multipart([name, wire.packed(records)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (errno.EHOSTUNREACH, errno.EAGAIN):  # gone, or it reads no more
                raise
            if peer := self._drop(name):
                log.warning("the %s has left (%s): what it waited for is cancelled", peer.who, error)

    def _lost(self, name: bytes, why: str) -> None:
        """Tells a frontend that none of its jobs will be answered: nobody knows which ones it believes to be open."""
        self._drop(name)
        self._send(name, [wire.Failed(wire.EVERY_JOB, "EngineFailed", why)])

    def _drop(self, name: bytes) -> _Peer | None:
        """Forgets a frontend and cancels its jobs."""
        peer = self._peers.pop(name, None)
        if peer:
            for job in peer.jobs.values():
                job.cancelled = True
            peer.jobs.clear()
        return peer

    def _farewell(self) -> None:
        """Fails what waits, and what comes in while we leave."""
        self._receive(wire.HIGH_WATER)
        self._answer()
        for peer in self._peers.values():
            for number, job in peer.jobs.items():
                job.cancelled = True
                peer.outbox.append(codec.failed_from(number, Unavailable(STOPPED)))
            peer.jobs.clear()
        self._flush()

    def _close(self) -> None:
        with self._lock:
            self._closed = True
            os.close(self._wake)
        self._router.close()
        self._context.term()  # returns when the last messages have left, after FAREWELL at the latest

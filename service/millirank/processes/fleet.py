"""The cores as a frontend sees them: a transport that sends each job to the core that promises the earliest finish."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from millirank.errors import ConfigError, Overloaded, Unavailable
from millirank.jobs import Backlog, Encoded, Reranked
from millirank.types import Priority
from millirank_engines.base import EngineFailed
from millirank_engines.pack import Ids

from . import wire
from .codec import bytes_from_ids
from .control import Address as CoreAddress
from .link import Link

__all__ = ["CoreAddress", "Fleet"]
R = TypeVar("R", Encoded, Reranked)
LEAST_WAIT = 0.001  # seconds that a client is told to wait at least


class Fleet:
    """Implements Transport over every core that lives; all of it is called from one running event loop.

    Args:
        clock: monotonic seconds of this machine, the cores' own.
        credits: jobs open in one core at most, those included whose caller has left.

    Raises:
        ConfigError: if the credits are none that a core grants.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, credits: int = 256) -> None:  # noqa: A002
        if not 1 <= credits <= wire.MAX_CREDITS:
            raise ConfigError(f"credits is {credits}: set it to between 1 and {wire.MAX_CREDITS}")
        self._clock, self._credits = clock, credits
        self._links: dict[CoreAddress, Link] = {}
        self._turn = 0  # who is asked first, of those that promise the same
        self._closed = False

    def announce(self, cores: Sequence[CoreAddress]) -> None:
        """Takes the complete list of the cores that live; what is open in a core that is missing fails at once.

        Raises:
            ConfigError: if an endpoint cannot be one; the list holds otherwise.
        """
        for address in self._links.keys() - set(cores):
            core = f"the core {address.index} died (epoch {address.epoch})"
            self._links.pop(address).close(EngineFailed, f"{core}: send the request again, it is being restarted")
        if self._closed:
            return
        for address in cores:
            if address not in self._links:
                self._links[address] = Link(address, self._credits)

    @property
    def available(self) -> bool:
        """Whether any core is alive and speaks our version."""
        return any(link.refused is None for link in self._links.values())

    def backlog(self) -> Backlog:
        """See Transport; nothing if none is alive."""
        now = self._clock()
        backlogs = [link.estimate.backlog(now) for link in self._links.values() if link.refused is None]
        return min(backlogs, key=lambda backlog: backlog.encode + backlog.rerank, default=Backlog())

    def encode(
        self, ids: Ids, deadline: float | None, priority: Priority = Priority.INTERACTIVE
    ) -> "asyncio.Future[Encoded]":
        """See Transport; raises Overloaded, too, if every core has as many jobs as it may."""
        data, width = bytes_from_ids(ids)
        return self._call(Encoded, lambda job: wire.Encode(job, data, width, deadline, priority))

    def rerank(
        self,
        query: Ids,
        rows: NDArray[np.uint32],
        snapshot: int,
        deadline: float | None,
        priority: Priority = Priority.INTERACTIVE,
    ) -> "asyncio.Future[Reranked]":
        """See Transport; raises Overloaded, too, if every core has as many jobs as it may."""
        data, width = bytes_from_ids(query)
        candidates = rows.astype("<u4", copy=False).tobytes()
        return self._call(Reranked, lambda job: wire.Rerank(job, data, width, candidates, snapshot, deadline, priority))

    def _call(self, kind: type[R], make: Callable[[int], wire.Encode | wire.Rerank]) -> "asyncio.Future[R]":
        try:
            return self._earliest(kind).send(kind, make)
        except (Unavailable, Overloaded) as error:  # it is raised where the result is awaited, as all others
            future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
            future.set_exception(error)
            return future

    def _earliest(self, kind: type[R]) -> Link:
        """The core that promises the earliest finish for a job of that kind; those that promise the same take turns."""
        links = list(self._links.values())
        if len(links) == 1 and links[0].free:
            return links[0]
        if not self.available:
            raise Unavailable(next((link.refused for link in links if link.refused), None) or _NONE)
        self._turn = (self._turn + 1) % len(links)
        free = [link for link in links[self._turn :] + links[: self._turn] if link.free]
        if not free:
            backlog = self.backlog()
            raise Overloaded(
                f"every core has {self._credits} jobs of this frontend: retry later",
                retry_after=max(LEAST_WAIT, backlog.encode, backlog.rerank),
            )
        known = [link.estimate.each for link in links]
        usual = Backlog(
            min((each.encode for each in known if each.encode), default=0.0),
            min((each.rerank for each in known if each.rerank), default=0.0),
        )
        return min(free, key=partial(_finish, kind, self._clock(), usual))

    def close(self) -> None:
        """Fails what is open and frees the sockets."""
        self._closed = True
        while self._links:
            self._links.popitem()[1].close(Unavailable, "the frontend has stopped: send the request to another server")


def _finish(kind: type[Encoded | Reranked], now: float, usual: Backlog, link: Link) -> tuple[bool, float, float, int]:
    """What is compared of two cores: whether it has hung up, the lane of the job, the other lane, then our open jobs.

    A job's own time counts, because a slow core that is idle is slow; a core that has not told its own is taken for the
    fastest, so that it is tried.
    """
    backlog, each = link.estimate.backlog(now), link.estimate.each
    encode = backlog.encode + (each.encode or usual.encode * (1 + len(link.calls)))
    rerank = backlog.rerank + (each.rerank or usual.rerank * (1 + len(link.calls)))
    own, other = (encode, rerank) if kind is Encoded else (rerank, encode)
    return not link.connected, round(own, 3), round(other, 3), len(link.calls)  # milliseconds: less is noise


_NONE = "no core is running: retry in a moment, it is being restarted"

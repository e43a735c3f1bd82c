"""Starts the frontends and the cores, keeps them alive, and tells the ones of the other."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from millirank.config import Settings
from millirank.errors import MillirankError, Unavailable
from millirank.metrics import Metrics

from .control import Address, Assignment, CoreAssignment, Cores, Deltas, Fatal, Message, Ready, Serving, Stop
from .place import Place

GRACE = 5.0  # seconds that a process may take to end, beyond what it drains
log = logging.getLogger(__name__)


class Supervisor:
    """All processes of one service.

    Args:
        settings: of the service; the port is held already.
        directory: private to the service: sockets, measured costs.
        metrics: the sum of all processes.
        clock: monotonic seconds.
    """

    def __init__(
        self, settings: Settings, directory: Path, metrics: Metrics, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._directory, self._metrics, self._clock = settings, directory, metrics, clock
        self.frontends = [Place(f"frontend-{n}", "frontend") for n in range(settings.frontends)]
        self.cores = [Place(f"core-{n}", "corehost") for n in range(len(settings.devices))]
        self._stop = asyncio.Event()
        self._served = False

    async def run(self) -> None:
        """Serves until stop.

        Raises:
            Unavailable: with its words, if a process cannot be started.
        """
        keeping = {place: asyncio.create_task(self._keep(place)) for place in (*self.cores, *self.frontends)}
        stopping = asyncio.create_task(self._stop.wait())
        try:
            ended, _ = await asyncio.wait({*keeping.values(), stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stopping in ended:
                log.info("draining")
                await self._end(self.frontends, keeping, self._settings.drain_seconds + GRACE)
                await self._end(self.cores, keeping, GRACE)
            for task in ended - {stopping}:
                task.result()
        finally:
            self._stop.set()
            self.kill()
            await asyncio.gather(*keeping.values(), stopping, return_exceptions=True)

    def stop(self) -> None:
        """Lets frontends finish what was accepted, then ends all; the second time it ends all at once."""
        if self._stop.is_set():
            self.kill()
        self._stop.set()

    def kill(self) -> None:
        """Ends every process at once."""
        for place in (*self.frontends, *self.cores):
            place.kill()

    async def _keep(self, place: Place) -> None:
        """Lets a process fill the place, until the service stops."""
        while not self._stop.is_set():
            await self._fill(place)
            if self._stop.is_set():
                return
            wait = place.restarts.died(self._clock())
            if wait is None or (place.foreseen and not place.restarts.was_ready):
                raise Unavailable(f"{place.name} cannot be started: {place.words}")
            log.error("%s is started again: %s", place.name, place.words)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), wait)

    async def _fill(self, place: Place) -> None:
        """Starts a process, takes what it says, and leaves the place when it is dead."""
        epoch = place.epoch + 1
        await place.start(self._assignment(place, epoch))
        if self._stop.is_set():
            place.kill()  # it has missed the word
        if place in self.frontends:
            place.send(self._alive())
        if epoch > 1:
            self._metrics.restarted(place.name)
        while (message := await place.receive()) is not None:
            self._take(place, message)
        place.snapshot, place.serving = None, False
        if place in self.cores:
            self._announce()  # before anything else: its jobs have failed
        await place.ended()
        self._metrics.forget(place.name)
        self._metrics.alive(place.name, False)  # noqa: FBT003 - a gauge's value

    def _take(self, place: Place, message: Message) -> None:
        if isinstance(message, Ready):
            self._ready(place, message.snapshot)
        elif isinstance(message, Serving):
            place.serving = True
            if not self._served and all(frontend.serving for frontend in self.frontends):
                self._served = True
                log.info("serving on %s:%d", self._settings.host, self._settings.port)
        elif isinstance(message, Deltas):
            try:
                self._metrics.merge(place.name, message.data)
            except MillirankError as error:  # of another version: it still answers queries
                log.error("%s", error)  # noqa: TRY400 - it says all
        elif isinstance(message, Fatal):
            place.words, place.foreseen = message.words, message.foreseen

    def _ready(self, place: Place, snapshot: int) -> None:
        if self._pinned() not in (None, snapshot):
            log.warning(
                "%s opened snapshot %d, the others serve %s: it is started again", place.name, snapshot, self._pinned()
            )
            place.kill()
            return
        place.snapshot = snapshot
        place.restarts.ready()
        self._metrics.alive(place.name, True)  # noqa: FBT003 - a gauge's value
        log.info("%s is ready with pid %d", place.name, place.pid)
        if place in self.cores:
            self._announce()

    def _pinned(self) -> int | None:
        """The snapshot that is served: a process that is started again opens it though there may be a newer one."""
        return next((place.snapshot for place in (*self.cores, *self.frontends) if place.snapshot is not None), None)

    def _alive(self) -> Cores:
        ready = [place for place in self.cores if place.snapshot is not None]
        return Cores(tuple(Address(self.cores.index(p), p.epoch, self._endpoint(p, p.epoch)) for p in ready))

    def _announce(self) -> None:
        for frontend in self.frontends:
            frontend.send(self._alive())

    def _endpoint(self, core: Place, epoch: int) -> str:
        return f"ipc://{self._directory}/{core.name}-{epoch}"

    def _assignment(self, place: Place, epoch: int) -> Assignment:
        settings = self._settings
        if place in self.frontends:
            return Assignment(name=place.name, directory=self._directory, settings=settings, snapshot=self._pinned())
        return CoreAssignment(
            name=place.name,
            directory=self._directory,
            settings=settings,
            snapshot=self._pinned(),
            device=settings.devices[self.cores.index(place)],
            endpoint=self._endpoint(place, epoch),
        )

    async def _end(self, places: Sequence[Place], keeping: "dict[Place, asyncio.Task[None]]", seconds: float) -> None:
        """Tells processes to stop, waits for them, and kills those that do not."""
        for place in places:
            place.send(Stop())
        _, late = await asyncio.wait([keeping[place] for place in places], timeout=seconds)
        if late:
            log.warning("%d processes did not end within %g s and are killed", len(late), seconds)
            for place in places:
                place.kill()
            await asyncio.wait(late)

"""The process of a frontend: speaks gRPC on the port that all frontends share, retrieves, and asks the cores.

python -m millirank.processes.frontend CONTROL ASSIGNMENT
"""

import asyncio
import logging
import sys
from collections.abc import Callable

from millirank.errors import MillirankError
from millirank.metrics import Metrics
from millirank.server import Listener
from millirank.stack import FrontSide
from millirank_engines.base import EngineError

from . import child
from .control import Assignment, Cores, Message, Serving, from_json
from .fleet import Fleet

RETRY = 1.0  # seconds
log = logging.getLogger("millirank.processes.frontend")  # this module is __main__


class FrontendRole:
    """Serves while a core is alive; later, without one, it refuses queries and says so in its health.

    It listens only when it can answer: frontends share a port, and the kernel hands connections to all that listen.
    """

    def __init__(self, assignment: Assignment, metrics: Metrics) -> None:
        self._assignment, self._metrics = assignment, metrics
        self._changed = asyncio.Event()  # set by each announcement
        self._fleet = Fleet()
        self._listens = False

    async def start(self) -> int:
        """See Role."""
        a = self._assignment
        self._listener = Listener(a.settings, shared=True, metrics=self._metrics)
        self._side = await asyncio.to_thread(
            FrontSide, a.settings, self._fleet, snapshot=a.snapshot, metrics=self._metrics
        )
        return self._side.snapshot.version

    def heard(self, cores: Cores) -> None:
        """See Role: jobs of cores that are missing have failed when this returns."""
        self._fleet.announce(cores.alive)
        self._changed.set()

    async def serve(self, tell: Callable[[Message], None]) -> None:
        """See Role."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not self._fleet.available:
                await self._listener.pause()
                continue
            try:
                if not self._listens:
                    await self._listener.rehearse(self._side.pipeline)
            except (MillirankError, EngineError) as error:
                log.warning("the rehearsal is tried again in %g s: %s", RETRY, error)
                await asyncio.sleep(RETRY)
                self._changed.set()
                continue
            if self._fleet.available:  # still
                await self._listener.resume(self._side.pipeline)
                if not self._listens:
                    await self._listener.start()
                    self._listens = True
                    tell(Serving())

    async def stop(self) -> None:
        """See Role."""
        if self._listens:
            await self._listener.drain()
            await self._listener.stop()
        self._fleet.close()
        self._side.close()


def main() -> None:
    """Serves."""
    assignment = from_json(sys.argv[2], Assignment)
    child.log_as(assignment.name)
    metrics = Metrics()
    child.run(int(sys.argv[1]), assignment, FrontendRole(assignment, metrics), metrics)


if __name__ == "__main__":
    main()

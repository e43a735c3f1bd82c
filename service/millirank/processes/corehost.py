"""The process of a core: one device, its engines, and the socket on which frontends reach it.

python -m millirank.processes.corehost CONTROL ASSIGNMENT
"""

import asyncio
import os
import sys
from collections.abc import Callable

from millirank.device import device_from_name
from millirank.metrics import Metrics
from millirank.stack import CoreSide
from millirank.trace import Trace
from millirank_engines.base import DeviceLost

from . import child
from .control import CoreAssignment, Cores, Message, from_json
from .host import CoreHost
from .measured import save_costs, saved_costs


class CoreRole:
    """Opens the engines of one device and serves them."""

    def __init__(self, assignment: CoreAssignment, metrics: Metrics) -> None:
        self._assignment, self._metrics = assignment, metrics
        self.lost = False  # whether the device is: then the process ends at once, and no destructor calls it

    async def start(self) -> int:
        """See Role."""
        loop = asyncio.get_running_loop()
        self._loss: asyncio.Future[DeviceLost] = loop.create_future()
        folder = self._assignment.settings.trace
        self._trace = Trace(folder) if folder is not None else None  # refused before engines are loaded
        self._side = await asyncio.to_thread(self._load)
        self._side.core.on_lost = lambda error: loop.call_soon_threadsafe(self._lose, error)
        self._host = CoreHost(self._side.core, self._assignment.endpoint)
        if self._trace is not None:
            self._trace.start()
        return self._side.snapshot.version

    def heard(self, cores: Cores) -> None:
        """Cores do not speak to each other."""

    async def serve(self, tell: Callable[[Message], None]) -> None:  # noqa: ARG002 - Ready has said it
        """See Role.

        Raises:
            DeviceLost: if the device is; every job was told so before.
        """
        self._serving = asyncio.create_task(asyncio.to_thread(self._host.run))
        self._loss.add_done_callback(lambda _: self._host.stop())
        await asyncio.shield(self._serving)
        if self._loss.done():
            raise self._loss.result()

    async def stop(self) -> None:
        """See Role; the frontends have ended."""
        if self._trace is not None:
            await asyncio.to_thread(self._trace.close)
        self._host.stop()
        await self._serving
        await asyncio.to_thread(self._side.close)

    def _lose(self, error: DeviceLost) -> None:
        self.lost = True
        if not self._loss.done():  # both engines may tell
            self._loss.set_result(error)

    def _load(self) -> CoreSide:
        a = self._assignment
        path = a.directory / f"costs-{a.device.replace('/', '_')}.json"
        costs = saved_costs(path)
        device = device_from_name(a.device)
        side = CoreSide(a.settings, device=device, snapshot=a.snapshot, costs=costs, metrics=self._metrics)
        if costs is None:
            save_costs(path, (side.core.encode_costs, side.core.rerank_costs))
        return side


def main() -> None:
    """Claims the device before anything looks for it, then serves."""
    assignment = from_json(sys.argv[2], CoreAssignment)
    child.log_as(assignment.name)
    device_from_name(assignment.device).claim()
    metrics = Metrics()
    role = CoreRole(assignment, metrics)
    try:
        child.run(int(sys.argv[1]), assignment, role, metrics)
    finally:
        if role.lost:
            os._exit(1)


if __name__ == "__main__":
    main()

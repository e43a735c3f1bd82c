"""The service of several processes: what `millirank serve --frontends N` becomes.

    python -m millirank.processes.service SETTINGS

This process holds the port, serves /metrics, and supervises the others; it touches no query. So it imports neither gRPC
nor an engine, stays small, and outlives them.
"""

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from millirank.config import Settings
from millirank.device import device_from_name
from millirank.errors import ConfigError, MillirankError
from millirank.metrics import Exposition, Metrics

from .control import from_json, to_json
from .port import hold_port
from .supervisor import Supervisor

LONGEST = 80  # bytes of the private folder's path: that of a Unix socket in it may have 107


async def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT, then finishes what was accepted; a second signal ends it at once.

    Raises:
        ConfigError: if a device is unknown or a port taken.
        Unavailable: if a process cannot be started.
    """
    for device in settings.devices:
        device_from_name(device)
    metrics = Metrics()
    with contextlib.ExitStack() as opened:
        directory = _private_directory()
        opened.callback(shutil.rmtree, directory, ignore_errors=True)
        held = opened.enter_context(hold_port(settings.host, settings.port))
        if settings.metrics_port:
            opened.enter_context(Exposition(metrics).serve(settings.metrics_port, settings.host))
        supervisor = Supervisor(replace(settings, port=held.getsockname()[1]), directory, metrics)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, supervisor.stop)
        await supervisor.run()


def _private_directory() -> Path:
    """An empty folder of mode 0700."""
    directory = Path(tempfile.mkdtemp(prefix="millirank-"))
    if len(os.fsencode(directory)) > LONGEST:
        directory.rmdir()
        raise ConfigError(f"the sockets cannot lie in {directory}, its path is too long: set TMPDIR=/tmp")
    return directory


def main() -> None:
    """The entry point; an error that was foreseen is one line on stderr and exit status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s supervisor %(name)s: %(message)s")
    logging.getLogger("millirank").setLevel(logging.INFO)
    try:
        asyncio.run(serve(from_json(sys.argv[1], Settings)))
    except MillirankError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(1)


def become(settings: Settings) -> None:
    """Replaces this process, whatever it has imported, by a supervisor; never returns.

    Raises:
        ConfigError: on another system than Linux, which lacks what the processes speak through.
    """
    if not sys.platform.startswith("linux"):
        raise ConfigError(f"several processes need Linux, this is {sys.platform}: serve from one with --frontends 0")
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "millirank.processes.service", to_json(settings)])  # noqa: S606 - no shell


if __name__ == "__main__":
    main()

"""TensorRT's Python module: one factory, because it comes under four names in two families; and its logger."""

import logging
from collections import deque
from functools import cache
from importlib import import_module
from typing import Any

from .base import BackendUnavailable

log = logging.getLogger(__name__)
KEPT = 20  # errors that a logger remembers until they are asked for
BACKENDS = ("tensorrt", "tensorrt-rtx")
# What is imported, in turn, until one of them can be; of each the last is the module. The lean ones cannot build, and
# run version-compatible plans only.
_IMPORTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "tensorrt": (
        ("tensorrt",),
        ("tensorrt_bindings",),
        ("tensorrt_lean",),
        ("tensorrt_lean_libs", "tensorrt_lean_bindings"),
    ),
    "tensorrt-rtx": (("tensorrt_rtx",), ("tensorrt_rtx_libs", "tensorrt_rtx_bindings")),
}
_FIXES = {
    "tensorrt": "pip install 'millirank[tensorrt]'",
    "tensorrt-rtx": "pip install 'millirank[tensorrt-rtx]'",
}


@cache
def trt_module(backend: str) -> Any:  # noqa: ANN401 - a module, whose name depends on what is installed
    """The module of TensorRT (backend tensorrt) or of TensorRT-RTX (tensorrt-rtx); both have the same names in them.

    Raises:
        BackendUnavailable: if none can be imported; it names the command that installs one and what each import said.
    """
    said = []
    for names in _IMPORTS.get(backend, ()):
        try:
            return [import_module(name) for name in names][-1]
        except (ImportError, OSError) as error:  # OSError: its libraries are not those that it was linked to
            said.append(f"{names[-1]}: {error}")
    fix = _FIXES.get(backend, f"choose one of {', '.join(BACKENDS)}")
    raise BackendUnavailable(backend, f"{fix} ({'; '.join(said)})" if said else fix)


@cache
def trt_logger(backend: str) -> Any:  # noqa: ANN401 - an ILogger of that module
    """The logger of that module, one in a process: TensorRT keeps the first and ignores every other.

    Its errors are kept until taken() returns them, the oldest first, so that they become the text of an exception;
    everything goes to Python's logging, warnings as INFO.

    Raises:
        BackendUnavailable: as trt_module.
    """
    trt: Any = trt_module(backend)
    base: Any = trt.ILogger
    levels = {trt.ILogger.WARNING: logging.INFO, trt.ILogger.INFO: logging.DEBUG, trt.ILogger.VERBOSE: logging.DEBUG}

    class Logger(base):  # type: ignore[misc]  # its base is known at run time only
        def __init__(self) -> None:
            super().__init__()  # TensorRT's classes want it called by name and without arguments
            self._errors: deque[str] = deque(maxlen=KEPT)

        def log(self, severity: Any, message: str) -> None:  # noqa: ANN401 - an ILogger.Severity
            if severity in levels:
                log.log(levels[severity], "%s", message)
            else:
                self._errors.append(message)
                log.info("%s", message)  # who takes it raises it

        def taken(self) -> list[str]:
            """The errors since the last call."""
            taken = list(self._errors)
            self._errors.clear()
            return taken

    return Logger()

"""TensorRT's Python module: one factory, because it comes under four names in two families."""

from functools import cache
from importlib import import_module
from typing import Any

from .base import BackendUnavailable

BACKENDS = ("tensorrt", "tensorrt-rtx")
# What is imported, in turn, until one of them can be; of each the last is the module.
_IMPORTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "tensorrt": (("tensorrt",), ("tensorrt_bindings",)),
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

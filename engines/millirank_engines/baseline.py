"""The baseline: which versions of CUDA, driver and TensorRT belong together, and on which GPUs, as data.

A baseline.toml declares them, an entry each; a build on a machine that no entry holds is refused. What the entry says
is recorded in the artifact, is part of its key, and is compared when it is loaded. A value is one of

    "*"             anything
    ">=550,<600"    versions within all of these bounds
    "10.6"          that version, or one that begins with it; a name is itself
    "a|b"           one of several
"""

import operator
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import EngineError
from .gpu import Gpu

NAME = "baseline.toml"
KEYS = ("cuda", "driver", "tensorrt", "gpu", "mig")
_BOUND = re.compile(r"(>=|<=|<|>)\s*([\d.]+)")
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
    ">": operator.gt,
}


@dataclass(frozen=True)
class Baseline:
    """One entry: what belongs together."""

    name: str
    backend: str
    values: Mapping[str, str]  # by KEYS

    def misfits(self, here: Mapping[str, str]) -> tuple[str, ...]:
        """What differs between the entry and what was read here."""
        return misfits(self.values, here)


def version_of(text: str) -> tuple[int, ...]:
    """The numbers of a version, trailing zeros left out, so that 600 is 600.0."""
    numbers = [int(n) for n in re.findall(r"\d+", text)]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


def within(declared: str, read: str) -> bool:
    """Whether what was read is what was declared; nothing read is within "*" alone."""
    if declared == "*":
        return True
    if not read:
        return False
    if bounds := _BOUND.findall(declared):
        return all(_COMPARE[sign](version_of(read), version_of(bound)) for sign, bound in bounds)
    return any(read == one or (one[:1].isdecimal() and read.startswith(f"{one}.")) for one in declared.split("|"))


def misfits(declared: Mapping[str, str], here: Mapping[str, str]) -> tuple[str, ...]:
    """What differs, in words that name both sides; keys that here does not have are not compared."""
    return tuple(
        f"{key} is {here[key] or 'unknown'}, not {declared[key]}"
        for key in KEYS
        if key in here and not within(declared[key], here[key])
    )


def readings(backend: str, tensorrt: str, gpu: Gpu) -> dict[str, str]:
    """What is here, by KEYS; what is not TensorRT proper is built for a compute capability, not for one GPU of it."""
    name = gpu.name if backend == "tensorrt" else gpu.feature
    return {"cuda": gpu.cuda, "driver": gpu.driver, "tensorrt": tensorrt, "gpu": name, "mig": gpu.mig}


def read_baselines(path: Path) -> tuple[Baseline, ...]:
    """The entries of a baseline.toml.

    Raises:
        EngineError: if it cannot be read, or an entry lacks a key or has an unknown one.
    """
    try:
        entries = tomllib.loads(path.read_text("utf-8"))["baseline"]
        return tuple(_entry(path, entry) for entry in entries)
    except OSError as error:
        raise EngineError(f"{path} cannot be read ({error.strerror}): give a baseline.toml to --baseline") from error
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise EngineError(f"{path} is no baseline ({error!r}): write [[baseline]] entries as in {NAME}") from error


def _entry(path: Path, entry: Mapping[str, Any]) -> Baseline:
    known = {"name", "backend", *KEYS}
    if wrong := sorted(known.symmetric_difference(entry)):
        raise EngineError(
            f"the entry {entry.get('name', '?')} of {path} lacks or has too much: {', '.join(wrong)}; "
            f"use exactly {', '.join(sorted(known))}"
        )
    values = {key: "|".join(entry[key]) if isinstance(entry[key], list) else str(entry[key]) for key in KEYS}
    return Baseline(str(entry["name"]), str(entry["backend"]), values)


def pinned(path: Path, entries: Sequence[Baseline], backend: str, here: Mapping[str, str]) -> dict[str, str]:
    """The tuple that an artifact built here is bound to: what was read, and the ranges of CUDA and driver as declared.

    Args:
        path: the file of the entries, to name it.
        entries: of the file.
        backend: tensorrt or tensorrt-rtx.
        here: what was read, by KEYS; keys that it lacks are taken as declared.

    Raises:
        EngineError: if no entry holds this machine; it names both sides of the entry that comes closest.
    """
    fitting = [entry for entry in entries if entry.backend == backend]
    if not fitting:
        raise EngineError(f"{path} has no entry for {backend}: add a [[baseline]] with what you tested: {_said(here)}")
    closest = min(fitting, key=lambda entry: len(entry.misfits(here)))
    if wrong := closest.misfits(here):
        raise EngineError(
            f"this machine is outside the baseline {closest.name} of {path}: {'; '.join(wrong)}. "
            f"Install what the baseline says, or, once tested, extend {path}, or give another file to --baseline"
        )
    exact = {key: value for key, value in here.items() if key not in {"cuda", "driver"}}
    return {**closest.values, **exact}


def _said(here: Mapping[str, str]) -> str:
    return ", ".join(f"{key} = {value or 'unknown'}" for key, value in here.items())

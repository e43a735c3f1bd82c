"""What an artifact was built for and is loaded on: the processor's instruction sets, the versions of the libraries."""

import contextlib
import ctypes
import os
import platform
import struct
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # number of the system call; Python has no function for it
LONG_SLICE = 20_000_000  # ns; the system's own are about 1 ms
_CPUINFO = Path("/proc/cpuinfo")
_THREADS = Path("/proc/self/task")
# The instruction sets that decide which kernels an engine gets, spelt as in cpuinfo: flags on x86, Features on Arm.
_X86 = {"avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni", "avx512_bf16"}
_X86_LATER = {"avx512_fp16", "amx_tile", "amx_bf16", "amx_int8"}
_ARM = {"asimd", "asimddp", "asimdhp", "bf16", "i8mm", "sve", "sve2"}
_MATTERS = _X86 | _X86_LATER | _ARM
_BF16 = frozenset({"avx512_bf16", "amx_bf16"})


@dataclass(frozen=True)
class Device:
    """A processor or a GPU, as far as an engine depends on it."""

    kind: str  # cpu or gpu
    machine: str  # x86_64, aarch64
    name: str  # for people; not compared
    features: tuple[str, ...]  # instruction sets, sorted; of a GPU its compute capabilities, such as sm_90

    @property
    def has_bf16(self) -> bool:
        """Whether it multiplies bfloat16 in hardware."""
        return not _BF16.isdisjoint(self.features)

    def lacks(self, built_for: "Device") -> str:
        """What this device lacks of the one that an artifact was built for; empty if nothing."""
        if (self.kind, self.machine) != (built_for.kind, built_for.machine):
            return f"a {built_for.machine} {built_for.kind} (this is a {self.machine} {self.kind})"
        return ", ".join(sorted(set(built_for.features) - set(self.features)))

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a manifest."""
        return {**asdict(self), "features": list(self.features)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Device":
        """Reads what to_json wrote."""
        return cls(**{**data, "features": tuple(data["features"])})


def cpu_from_cpuinfo(text: str, machine: str) -> Device:
    """The processor that /proc/cpuinfo describes; without features where the text names none (not Linux)."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    return Device("cpu", machine, fields.get("model name", machine), tuple(sorted(_MATTERS.intersection(flags))))


@cache
def this_cpu() -> Device:
    """The processor of this machine."""
    text = _CPUINFO.read_text(encoding="utf-8", errors="replace") if _CPUINFO.exists() else ""
    return cpu_from_cpuinfo(text, platform.machine())


def cores() -> int:
    """The cores that this process may use: fewer than the machine has, in a container pinned to some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def library_version(package: str) -> str:
    """The installed version of a distribution, or an empty string; read from its metadata, nothing is imported."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def background() -> None:
    """Puts the calling thread, and those that it will start, behind everything else that wants to run."""
    if sys.platform == "linux":
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_IDLE, os.sched_param(0))


def background_soon() -> None:
    """Marks the calling thread, and those that it will start: they run as all others do until `background_now`.

    A model that is compiled and warmed up behind everything else is not ready for minutes on a busy machine.
    """
    if sys.platform == "linux":
        os.sched_setscheduler(threading.get_native_id(), os.SCHED_BATCH, os.sched_param(0))


def background_now() -> None:
    """Puts every thread of this process that `background_soon` has marked behind everything else."""
    if sys.platform == "linux":
        for thread in (int(folder.name) for folder in _THREADS.iterdir()):
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                if os.sched_getscheduler(thread) == os.SCHED_BATCH:
                    os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


def long_slices() -> None:
    """Lets whatever wakes run before the calling thread, and before those that it will start, goes on.

    Linux gives a waking thread the processor at once if its time slice is the shorter one (EEVDF, since 6.12; nothing
    changes before): an event loop then does not wait until an engine's threads have used up theirs. Median of three
    servers in turn at 150 queries/s on two cores: p99 of the final message 10.6 ms without, 9.3 ms with.
    """
    number = SCHED_SETATTR.get(platform.machine())
    if sys.platform == "linux" and number:
        attributes = struct.pack("=IIQiIQQQ", 48, os.SCHED_OTHER, 0, 0, 0, LONG_SLICE, 0, 0)  # struct sched_attr
        ctypes.CDLL(None).syscall(number, 0, attributes, 0)

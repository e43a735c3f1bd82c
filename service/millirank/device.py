"""What a core runs on, by the name that `--device` gives."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ConfigError

NODES = Path("/sys/devices/system/node")
_GPU = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]+")


@dataclass(frozen=True)
class Device:
    """One processor socket, all of them, or one GPU or MIG slice."""

    name: str
    kind: str  # cpu or gpu
    cores: frozenset[int] | None = None  # that its process may use; None for all it has
    environment: Mapping[str, str] = field(default_factory=dict)  # of its process

    def claim(self) -> None:
        """Binds this process to the device: before it starts threads, counts cores or loads a runtime."""
        os.environ.update(self.environment)
        if self.cores is not None:
            os.sched_setaffinity(0, self.cores)


def device_from_name(name: str, nodes: Path = NODES) -> Device:
    """The device of a name: cpu, cpu:NODE, GPU-UUID or MIG-UUID.

    Args:
        name: as in the setting `devices`.
        nodes: where Linux lists the NUMA nodes.

    Raises:
        ConfigError: if it is none of these, or a node that this process may not use.
    """
    if name == "cpu":
        return Device(name, "cpu")
    if _GPU.fullmatch(name):
        return Device(name, "gpu", environment={"CUDA_VISIBLE_DEVICES": name})
    kind, _, node = name.partition(":")
    if kind != "cpu" or not node.isdecimal():
        raise ConfigError(
            f"device {name!r} is none: write cpu, cpu:NODE, or the UUID of a GPU or MIG slice as `nvidia-smi -L` says"
        )
    usable = _usable_nodes(nodes)
    if int(node) not in usable:
        there = ", ".join(f"cpu:{number}" for number in sorted(usable)) or "none (this system lists no NUMA nodes)"
        raise ConfigError(f"device {name} is not there for this process: choose of {there}, or write cpu")
    return Device(name, "cpu", usable[int(node)])


def _usable_nodes(nodes: Path) -> dict[int, frozenset[int]]:
    """The cores of each NUMA node that this process may use; nodes without any are left out."""
    allowed = os.sched_getaffinity(0)
    usable = {}
    for folder in nodes.glob("node[0-9]*"):
        cores = _numbers((folder / "cpulist").read_text(encoding="ascii")) & allowed
        if cores:
            usable[int(folder.name.removeprefix("node"))] = frozenset(cores)
    return usable


def _numbers(text: str) -> set[int]:
    """The numbers of a list such as 0-3,8."""
    spans = (span.partition("-") for span in text.strip().split(",") if span)
    return {number for first, _, last in spans for number in range(int(first), int(last or first) + 1)}

"""A network as kernels to launch: what a build writes for the fused engine, and what that reads.

One safetensors file holds all of it: weights by their names, the machine code of every kernel as KERNEL/name (uint8),
and as metadata the program, which says for each bucket which kernels run in which order on which addresses. An address
goes by a name: an input's, a buffer's, a weight's, or output.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .base import EngineError, Profile
from .manifest import parse_profile

FUSED = "fused"  # the backend
PROGRAM = "model.fused"
CODE = "KERNEL/"
TOKENS, TYPES = "input_ids", "token_type_ids"  # int32 (batch, length)
STARTS = "starts"  # int32 (batch + 2,): where each sequence begins among the valid tokens, then ROWS and SEQUENCES
ROWS, SEQUENCES = "rows", "sequences"  # the last two of starts: how many valid tokens there are, how many sequences
OUTPUT = "output"
PROGRESS = "progress"  # int32, 0 when an inference starts: what a kernel whose blocks wait for others counts in
ALL = "all."  # begins the name of an array of equal parts, which go by 0.NAME, 1.NAME, … too


@dataclass(frozen=True)
class Kernel:
    """How a kernel is started."""

    symbol: str  # in its code
    threads: int  # a block
    shared: int  # bytes of shared memory a block


@dataclass(frozen=True)
class Launch:
    """One kernel on one grid."""

    kernel: str
    grid: tuple[int, int, int]
    addresses: tuple[str, ...]  # its arguments, by name


@dataclass(frozen=True)
class Program:
    """What a fused engine runs."""

    kernels: Mapping[str, Kernel]
    buffers: Mapping[str, int]  # bytes of device memory; all buckets use the same
    launches: Mapping[Profile, tuple[Launch, ...]]
    counters: Mapping[Profile, int]  # numbers at PROGRESS; those that have none are left out
    output: str  # embedding or score
    width: int  # of a row of the output; 0: it is a vector
    types: bool  # whether token_type_ids is an input

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kernels": {name: asdict(kernel) for name, kernel in self.kernels.items()},
            "buffers": dict(self.buffers),
            "launches": {
                str(profile): [[one.kernel, one.grid, one.addresses] for one in row]
                for profile, row in self.launches.items()
            },
            "counters": {str(profile): count for profile, count in self.counters.items()},
            "output": self.output,
            "width": self.width,
            "types": self.types,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Program":
        """Reads what to_json wrote; KeyError, TypeError, ValueError or EngineError if it is something else."""
        program = cls(
            kernels={name: Kernel(**kernel) for name, kernel in data["kernels"].items()},
            buffers=data["buffers"],
            launches={
                parse_profile(profile): tuple(Launch(k, (g[0], g[1], g[2]), tuple(a)) for k, g, a in row)
                for profile, row in data["launches"].items()
            },
            counters={parse_profile(profile): count for profile, count in data["counters"].items()},
            output=data["output"],
            width=data["width"],
            types=data["types"],
        )
        for profile, row in program.launches.items():
            if not program.counters.get(profile) and any(PROGRESS in launch.addresses for launch in row):
                raise ValueError(f"{profile} counts progress, but has no counters")
        return program


def write_program(
    path: Path, program: Program, weights: Mapping[str, NDArray[np.generic]], code: Mapping[str, bytes]
) -> None:
    """Writes a program with its weights and the code of its kernels."""
    from safetensors.numpy import save

    machine = {CODE + name: np.frombuffer(text, np.uint8) for name, text in code.items()}
    tensors = {name: np.ascontiguousarray(value) for name, value in {**weights, **machine}.items()}
    about = {"program": json.dumps(program.to_json(), separators=(",", ":"))}
    path.write_bytes(save(tensors, about))  # save_file would make it readable by its owner only


def read_program(path: Path) -> tuple[Program, dict[str, NDArray[np.generic]], dict[str, bytes]]:
    """The program with its weights and the code of its kernels.

    Raises:
        EngineError: if the file is none; it names the fix.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as tensors:
            program = Program.from_json(json.loads((tensors.metadata() or {})["program"]))
            held = {name: tensors.get_tensor(name) for name in tensors.keys()}  # noqa: SIM118 - it is no mapping
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EngineError(
            f"{path} is no program ({error!r}): build it: `millirank engine build --backend fused`"
        ) from error
    code = {name.removeprefix(CODE): held.pop(name).tobytes() for name in [n for n in held if n.startswith(CODE)]}
    return program, held, code

"""Kernels with their constants filled in, and the machine code of each."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from millirank_engines.base import BackendUnavailable, EngineError
from millirank_engines.device import cores
from millirank_engines.program import FUSED, Kernel

INSTALL = "pip install 'millirank[fused]'"
INT, HALF, WIDE = "*i32", "*fp16", "*fp32"
# The arguments of each kernel that are addresses, with what lies there; all others are constants.
ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "embed": {
        "ids": INT,
        "types": INT,
        "starts": INT,
        "words": HALF,
        "positions": HALF,
        "kinds": HALF,
        "out": HALF,
        "moments": WIDE,
    },
    "linear": {
        "x": HALF,
        "x_moments": WIDE,
        "weight": HALF,
        "bias": WIDE,
        "sums": WIDE,
        "residual": HALF,
        "residual_moments": WIDE,
        "gain": WIDE,
        "shift": WIDE,
        "starts": INT,
        "rows_at": INT,
        "out": HALF,
        "moments": WIDE,
    },
    "attention": {"qkv": HALF, "starts": INT, "out": HALF},
    "pool": {"x": HALF, "gain": WIDE, "shift": WIDE, "starts": INT, "out": WIDE},
    "score": {"x": HALF, "last": WIDE, "last_bias": WIDE, "out": WIDE},
    "network": {
        **dict.fromkeys(("ids", "types", "starts", "rows_at", "progress"), INT),
        **dict.fromkeys(("words", "positions", "kinds"), HALF),
        **dict.fromkeys(("gains", "shifts"), WIDE),
        "qkv_weight": HALF,
        "qkv_bias": WIDE,
        "qkv_sums": WIDE,
        "attended_weight": HALF,
        "attended_bias": WIDE,
        "inner_weight": HALF,
        "inner_bias": WIDE,
        "inner_sums": WIDE,
        "outer_weight": HALF,
        "outer_bias": WIDE,
        "pooler_weight": HALF,
        **dict.fromkeys(("pooler_bias", "pooler_sums", "last", "last_bias"), WIDE),
        "x": HALF,
        "x_moments": WIDE,
        "y": HALF,
        "y_moments": WIDE,
        **dict.fromkeys(("qkv", "context", "wide"), HALF),
        "first_x": HALF,
        "first_x_moments": WIDE,
        "first_y": HALF,
        "first_y_moments": WIDE,
        **dict.fromkeys(("first_context", "first_wide", "pooled"), HALF),
        "out": WIDE,
    },
}
NETWORK = "network"  # the kernel that is all of them in one
UNALIGNED = {"rows_at"}  # addresses within an array; all others are multiples of 16
SCRATCH = 2  # addresses that Triton adds to every kernel's arguments, for what ours do not use


@dataclass(frozen=True)
class Variant:
    """A kernel with its constants."""

    kernel: str
    constants: tuple[tuple[str, int | float | bool], ...]
    warps: int
    stages: int

    @property
    def name(self) -> str:
        """Unique among all variants."""
        values = "-".join(f"{value:g}" for _, value in self.constants)
        return f"{self.kernel}-{values}-w{self.warps}-s{self.stages}"


@dataclass(frozen=True)
class Compiled:
    """A variant's machine code, and how it is started."""

    kernel: Kernel
    code: bytes


def available() -> bool:
    """Whether the compiler is installed."""
    from importlib.util import find_spec

    return find_spec("triton") is not None


def compiled(variant: Variant, capability: tuple[int, int]) -> Compiled | None:
    """The code of a variant for a compute capability; None if it takes more shared memory than a block has.

    Raises:
        BackendUnavailable: if the compiler is not installed.
    """
    os.environ.setdefault("TRITON_DISABLE_LINE_INFO", "1")  # debug information is three quarters of the code
    try:
        from triton import compile as compile_kernel
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
    except ImportError as error:
        raise BackendUnavailable(FUSED, INSTALL) from error
    from . import kernels, network

    function = getattr(network if variant.kernel == NETWORK else kernels, variant.kernel)
    addresses, constants = ARGUMENTS[variant.kernel], dict(variant.constants)
    names = function.arg_names
    if set(names) != set(addresses) | set(constants):
        raise EngineError(
            f"{variant.name} does not fit its kernel: {sorted(set(names) ^ (set(addresses) | set(constants)))}"
        )
    source = ASTSource(
        function,
        {name: addresses.get(name, "constexpr") for name in names},
        constants,
        {
            (place,): [["tt.divisibility", 16]]
            for place, name in enumerate(names)
            if name in addresses.keys() - UNALIGNED
        },
    )
    major, minor = capability
    options = {"num_warps": variant.warps, "num_stages": variant.stages, "enable_fp_fusion": True}
    made: Any = compile_kernel(source, target=GPUTarget("cuda", 10 * major + minor, 32), options=options)
    if made.metadata.shared > SHARED.get(capability, 99 << 10):
        return None
    return Compiled(Kernel(made.metadata.name, 32 * made.metadata.num_warps, made.metadata.shared), made.asm["cubin"])


SHARED = {(8, 0): 163 << 10, (8, 7): 163 << 10, (9, 0): 227 << 10, (10, 0): 227 << 10}  # bytes a block may take


def all_compiled(
    variants: Iterable[Variant],
    capability: tuple[int, int],
    tell: Callable[[int, int], None] = lambda _done, _all: None,
) -> dict[Variant, Compiled]:
    """Compiles variants side by side; those that take too much shared memory are left out.

    Raises:
        BackendUnavailable: if the compiler is not installed.
        EngineError: if a process of it was ended.
    """
    try:
        return _compiled_in_processes(list(dict.fromkeys(variants)), capability, tell)
    except BrokenProcessPool as error:
        raise EngineError(
            "a process that compiled kernels was ended: free memory or give the build fewer cores (`taskset`); a "
            'script that builds must do so under `if __name__ == "__main__":`'
        ) from error


def _compiled_in_processes(
    todo: Sequence[Variant], capability: tuple[int, int], tell: Callable[[int, int], None]
) -> dict[Variant, Compiled]:
    found: dict[Variant, Compiled] = {}
    with ProcessPoolExecutor(min(len(todo), cores()), mp_context=get_context("spawn")) as pool:
        asked = {pool.submit(compiled, variant, capability): variant for variant in todo}
        for done, future in enumerate(as_completed(asked), 1):
            if (made := future.result()) is not None:
                found[asked[future]] = made
            tell(done, len(todo))
    return found

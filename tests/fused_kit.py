"""Runs programs of the fused engine without a GPU, each kernel in Triton's interpreter; as a script, in a process of
its own, because Triton decides when it is imported. Prints the largest error of every model that it is asked for."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import numpy as np
import triton.language as tl
from models import Tiny, write_model
from triton.runtime import interpreter as triton_interpreter

from millirank_engines import Profile
from millirank_engines.build.export import export_model
from millirank_engines.build.fused import joined, kernels, network
from millirank_engines.build.fused.choices import unseen
from millirank_engines.build.fused.layers import Layers
from millirank_engines.build.fused.variants import ARGUMENTS, HALF, INT, NETWORK, WIDE, Variant
from millirank_engines.build.fused.weights import weights_of
from millirank_engines.build.parity import output_name, parity_feeds, reference_cases, words
from millirank_engines.fakecuda import FakeCuda
from millirank_engines.fused import FusedEngine
from millirank_engines.program import Kernel, Program, write_program

triton_interpreter.interpreter_builder.options = triton_interpreter.InterpreterOptions(debug=True)  # asserts count
KINDS = {INT: tl.int32, HALF: tl.float16, WIDE: tl.float32}


class Pointer:
    """As much of a torch tensor as the interpreter asks for: memory is used where it lies."""

    def __init__(self, address: int, dtype: Any) -> None:
        self.address, self.dtype = address, dtype

    def data_ptr(self) -> int:
        return self.address

    def same(self, *_: Any, **__: Any) -> "Pointer":
        return self

    untyped_storage = cpu = copy_ = new_empty = set_ = same

    def nothing(self) -> tuple[int, ...]:
        return ()

    storage_offset = size = stride = nothing


def interpreter(variants: dict[str, Variant]) -> Callable[[bytes, str, tuple[int, int, int], tuple[int, ...]], None]:
    def run(_code: bytes, symbol: str, grid: tuple[int, int, int], addresses: tuple[int, ...]) -> None:
        variant = variants[symbol]
        named = zip(ARGUMENTS[variant.kernel].items(), addresses, strict=False)  # scratch comes last
        pointers = {name: Pointer(address, KINDS[kind]) for (name, kind), address in named}
        module = network if variant.kernel == NETWORK else kernels
        getattr(module, variant.kernel)[grid](**pointers, **dict(variant.constants))

    return run


def largest_errors(tiny: Tiny, folder: Path) -> list[float]:
    """The largest difference from FP32 over all profiles: of an embedding, or of a score in standard deviations.

    The first by kernels of their own, the second by one kernel.
    """
    made = export_model(str(write_model(folder / "source", tiny)), folder / "fp32", task=tiny.task)
    layers = Layers(made.network, tiny.inner)
    profiles = [Profile(1, 8), Profile(3, 20), Profile(17, 8)]
    apart = {profile: list(layers.steps(profile, unseen(layers, profile))) for profile in profiles[:2]}
    chosen = {profile: next(joined.cuts(layers, profile)) for profile in profiles}
    every = made.network.heads  # in one block, over sequences that lie in several blocks of rows
    chosen[profiles[-1]] = replace(chosen[profiles[-1]], rows=32, chains=1, heads=every, embedded=4)
    one = {profile: [joined.joint_step(layers, profile, cut)] for profile, cut in chosen.items()}
    counters = {profile: joined.counters(profile, cut) for profile, cut in chosen.items()}
    feeds = parity_feeds(made.spec, words(made.folder / "tokenizer.json", made.spec), profiles)
    cases, _ = reference_cases(made.folder / "model.onnx", feeds, tiny.task)
    embeds = tiny.task == "embed"
    spread = 1.0 if embeds else float(np.concatenate([case.reference for case in cases]).std())
    weights = weights_of(made.network, made.weights)
    found = []
    for steps in (apart, one):
        variants = {step.variant.name: step.variant for row in steps.values() for step in row}
        launches = {profile: tuple(step.launch() for step in row) for profile, row in steps.items()}
        program = Program(
            {name: Kernel(name, 32 * variant.warps, 0) for name, variant in variants.items()},
            layers.buffers(launches) | joined.joint_buffers(layers, max(profile.batch for profile in profiles)),
            launches,
            counters if steps is one else {},
            output_name(tiny.task),
            made.network.hidden if embeds else 0,
            made.network.type_ids,
        )
        path = folder / "model.fused"
        write_program(path, program, weights, dict.fromkeys(variants, b""))
        cuda = FakeCuda()
        cuda.computes = interpreter(variants)
        engine = FusedEngine(path, tuple(steps), "fp16", cuda=cuda, graphs=False)
        asked = [case for case in cases if case.profile in steps]
        asked += asked[:1] if steps is one else []  # once more: what was counted is forgotten
        errors = [np.abs(engine.infer(case.feeds)[output_name(tiny.task)] - case.reference).max() for case in asked]
        engine.close()
        if cuda.open:
            raise AssertionError(cuda.open)
        found.append(float(max(errors)) / spread)
    return found


if __name__ == "__main__":
    for number, given in enumerate(json.loads(sys.argv[2])):
        for error in largest_errors(Tiny(**given), Path(sys.argv[1]) / str(number)):
            sys.stdout.write(f"{error}\n")

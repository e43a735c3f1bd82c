"""The fused engine: its kernels in Triton's interpreter, their machine code for a GPU that is elsewhere, its program on
a device that is none."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from models import Tiny, write_model
from typer.testing import CliRunner

from millirank.commands import engine as engine_command
from millirank_engines import (
    ArtifactRefused,
    BackendUnavailable,
    DeviceLost,
    EngineError,
    EngineFailed,
    Profile,
    open_engine,
)
from millirank_engines.build.backend import backend_of
from millirank_engines.build.compile import ParityFailed, build_engine
from millirank_engines.build.export import export_model
from millirank_engines.build.fused import backend as fused_backend
from millirank_engines.build.fused import joined, tuning, variants
from millirank_engines.build.fused.choices import roles, unseen
from millirank_engines.build.fused.layers import FIRST, Layers, refuse_unfit
from millirank_engines.build.fused.weights import weights_of
from millirank_engines.build.graph import Network
from millirank_engines.build.profiles import Profiles
from millirank_engines.build.tensors import ModelRefused
from millirank_engines.fakecuda import FakeCuda
from millirank_engines.figures import Check
from millirank_engines.fused import FusedEngine
from millirank_engines.gpu import Gpu
from millirank_engines.program import PROGRAM, Kernel, Launch, Program, read_program, write_program

if find_spec("triton") is None:  # it has wheels for Linux only
    pytest.skip("Triton's compiler is not installed: `make test` adds it on Linux", allow_module_level=True)

SMALL = {"hidden": 32, "heads": 2, "inner": 64}
MINILM = Network(6, 12, 384, "gelu", 1e-12, 0, 512, type_ids=True, head="bert")
WIDE = Profile(2, 8)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine this is."""
    monkeypatch.setattr(fused_backend, "this_gpu", lambda: None)


def test_kernels_compute_what_the_network_does(tmp_path: Path) -> None:
    models = [
        {**SMALL, "task": "rerank"},
        {**SMALL, "pooling": "cls", "activation": "gelu_new"},
        {**SMALL, "family": "roberta", "activation": "relu", "layers": 1, "hidden": 48, "heads": 3},
    ]
    kit = Path(__file__).with_name("fused_kit.py")
    words = [sys.executable, str(kit), str(tmp_path), json.dumps(models)]
    ran = subprocess.run(words, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    errors = [float(line) for line in ran.stdout.split()]
    assert len(errors) == 2 * len(models)
    assert max(errors) < 0.02, errors


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A source, and its artifact for a GPU that is not here."""
    source = write_model(tmp_path_factory.mktemp("source") / "shop-encoder", Tiny(**SMALL))
    out = tmp_path_factory.mktemp("engines") / "encoder"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_backend, "this_gpu", lambda: None)
        said: list[str] = []
        build_engine(str(source), out, task="embed", backend="fused", profiles=[WIDE], progress=said.append)
    assert any("there is no GPU here: building for any GPU of sm_90" in line for line in said)
    assert any(line.startswith("compiling kernels: ") for line in said)
    return source, out


def test_an_artifact_is_built_without_a_gpu_and_not_served_unverified(built: tuple[Path, Path]) -> None:
    source, out = built
    program, weights, code = read_program(out / PROGRAM)
    assert set(program.launches) == {WIDE}
    assert len(program.launches[WIDE]) == 1 + 5 * 2 + 1
    assert set(code) == set(program.kernels)
    assert all(text.startswith(b"\x7fELF") for text in code.values())
    assert weights["all.qkv.weight"].shape == (2, 32, 96)
    assert build_engine(str(source), out, task="embed", backend="fused", profiles=[WIDE]).reused
    with pytest.raises(ArtifactRefused, match="no NVIDIA GPU is usable here"):
        open_engine(out)


def test_gains_of_norms_lie_in_the_weights_behind_them(built: tuple[Path, Path], tmp_path: Path) -> None:
    source, _ = built
    made = export_model(str(source), tmp_path / "fp32", task="embed")
    weights = weights_of(made.network, made.weights)
    gain, shift = (made.weights[f"embeddings.LayerNorm.{kind}"] for kind in ("weight", "bias"))
    value = made.weights["encoder.layer.0.attention.self.value.weight"]
    np.testing.assert_allclose(weights["all.qkv.weight"][0][:, 64:], value.T * gain[:, None], rtol=2e-3, atol=1e-5)
    bias = made.weights["encoder.layer.0.attention.self.value.bias"] + value @ shift
    np.testing.assert_allclose(weights["all.qkv.bias"][0][64:], bias, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        weights["all.qkv.sums"][0], weights["all.qkv.weight"][0].astype(np.float32).sum(0), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (replace(MINILM, heads=16), "heads of 24"),
        (replace(MINILM, head="roberta"), "RoBERTa's classification head"),
    ],
)
def test_networks_that_are_not_covered_are_refused(network: Network, words: str) -> None:
    with pytest.raises(EngineError, match=f"{words}.*--backend tensorrt"):
        refuse_unfit(network)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compute_capability": "7.5"}, "need sm_80 or later, not sm_75: use --backend tensorrt"),
        ({"compute_capability": "8.6"}, "gpu is sm_86, not sm_90"),
        ({"compute_capability": "8.6,9.0"}, "name one"),
        ({"level": 5}, "--level: for TensorRT alone"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(EngineError, match=words):
        backend_of("fused", options)


def test_shapes_that_the_kernels_cannot_cut_or_count_are_refused() -> None:
    with pytest.raises(EngineError, match=r"feed-forward layers of 1000 .*multiples of 16.*--backend tensorrt"):
        Layers(MINILM, 1000)
    layers = Layers(MINILM, 1536)
    with pytest.raises(EngineError, match=r"10000x512 has too many tokens, 1397845 are the most: leave it out"):
        layers.refuse_uncounted([Profile(1, 8), Profile(10000, 512)])
    layers.refuse_uncounted([Profile(2048, 512)])


def test_where_the_compiler_has_no_wheels_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_backend, "available", lambda: False)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(BackendUnavailable, match="build it on Linux"):
        backend_of("fused")


def test_a_precision_that_there_is_not_is_refused_before_anything_is_calibrated(tmp_path: Path) -> None:
    words = ["--model", str(tmp_path / "no-model"), "--task", "embed", "--out", str(tmp_path / "out")]
    ran = CliRunner().invoke(engine_command.app, ["build", *words, "--backend", "fused", "--precision", "int8"])
    assert isinstance(ran.exception, EngineError)
    assert str(ran.exception) == "fused has no precision 'int8': choose fp16 with --precision"


def test_the_way_out_of_failed_parity_exists() -> None:
    check = Check("cosine_p1", 0.5, 0.99, at_least=True)
    assert "--backend tensorrt" in str(ParityFailed("shop as fused/fp16", [check], "fused"))
    assert "--precision fp32" in str(ParityFailed("shop as tensorrt/fp16", [check], "tensorrt"))


def test_the_key_is_another_when_kernels_compiler_or_program_are() -> None:
    fused = backend_of("fused")
    assert "triton" in fused.libraries
    folder = Path(fused_backend.__file__).parent
    ours = {f"fused/{path.name}" for path in folder.glob("*.py") if path.name != "__init__.py"}
    assert set(fused.recipe) == ours | {"../program.py"}


def test_without_its_compiler_the_backend_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_backend, "available", lambda: False)
    with pytest.raises(BackendUnavailable, match=r"pip install 'millirank\[fused\]'"):
        backend_of("fused")


@pytest.mark.parametrize("part", ["output", "intermediate"])
def test_weights_beyond_float16_are_refused(part: str, tmp_path: Path) -> None:
    source = write_model(tmp_path / "huge", Tiny(**SMALL))
    from safetensors.numpy import load_file, save_file

    tensors = load_file(source / "model.safetensors")
    name = next(key for key in tensors if key.endswith(f"layer.1.{part}.dense.weight"))
    tensors[name][0, 0] = 1e6
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(ModelRefused, match=r"1\.(outer|inner)\.weight has a weight of .*e\+0.*--backend openvino"):
        build_engine(str(source), tmp_path / "out", task="embed", backend="fused", profiles=[WIDE])


def test_the_sizes_are_those_that_take_the_least_of_what_compiles() -> None:
    layers, profile = Layers(MINILM, 1536), Profile(50, 32)
    asked = tuning.candidates(layers, profile)
    steps = [step for named in asked for sized in named.values() for step in sized.values()]
    assert {step.role for step in steps} == set(roles(MINILM))
    slow = {step.variant for step in steps if step.role == "qkv" and dict(step.variant.constants)["ROWS"] < 128}

    def timer(_profile: Profile, step: tuning.Step) -> float:
        return 1e-6 if step.variant in slow else 1e-3 / step.variant.stages

    known = {step.variant for step in steps} - slow
    chosen = tuning.cheapest(layers, profile, tuning.fitting(asked, known), timer)
    assert set(chosen) == set(roles(MINILM))
    assert chosen["qkv"].rows >= 128
    assert chosen["qkv"].stages == max(size.stages for size in asked[0]["qkv"] if size.rows >= 128)
    assert chosen["outer"].columns == chosen["attended"].columns  # the moments of rows are left alike
    assert [step.role for step in layers.steps(profile, chosen)][-6:] == [
        *(f"{role}{FIRST}" for role in ("attention", "attended", "inner", "outer", "pooler")),
        "output",
    ]


def test_where_the_gpu_is_sizes_that_compile_are_timed_and_no_others_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda, asked = FakeCuda(), []

    def compiled(_: object, steps: list[tuning.Step], __: object) -> dict[variants.Variant, variants.Compiled]:
        asked.extend(step.variant for step in steps)
        kernel = Kernel("kernel", 128, 0)
        likeliest = unseen(Layers(made.network, 64), WIDE)["qkv"]  # does not fit
        fit = {one for one in asked if one.kernel != "linear" or dict(one.constants)["COLUMNS"] != likeliest.columns}
        return {one: variants.Compiled(kernel, b"code") for one in fit}

    made = export_model(str(write_model(tmp_path / "tiny", Tiny(**SMALL))), tmp_path / "fp32", task="embed")
    monkeypatch.setattr(fused_backend.Fused, "_compiled", compiled)
    monkeypatch.setattr(fused_backend, "open_cuda", lambda: cuda)
    gpu = Gpu("NVIDIA H100 PCIe", "none", (9, 0), "12.8", "570.1")
    said: list[str] = []
    fused = fused_backend.Fused(gpu=gpu)
    fused.compile(made, tmp_path, Profiles((WIDE,)), tmp_path, said.append)
    assert said == ["timing kernels: 1 of 1 profiles"]
    program, _, code = read_program(tmp_path / PROGRAM)
    assert set(code) == {launch.kernel for launch in program.launches[WIDE]} < {one.name for one in asked}
    assert not cuda.open
    monkeypatch.setattr(tuning.Bench, "inference", lambda _, __, steps: len(steps))
    fused.compile(made, tmp_path, Profiles((WIDE,)), tmp_path, said.append)
    program, _, code = read_program(tmp_path / PROGRAM)
    assert [launch.kernel for launch in program.launches[WIDE]] == list(code)
    assert program.counters == {WIDE: 5 * (32 + 32)}
    assert "first.x" in program.buffers
    monkeypatch.setattr(fused_backend.Fused, "_compiled", lambda *_: {})
    with pytest.raises(EngineError, match="more shared memory than this GPU has: use --backend tensorrt"):
        fused.compile(made, tmp_path, Profiles((WIDE,)), tmp_path, said.append)


def test_a_bucket_is_one_kernel_where_that_takes_less() -> None:
    layers, profile = Layers(MINILM, 1536), Profile(2, 8)
    asked = tuning.candidates(layers, profile)
    joint = {cut: joined.joint_step(layers, profile, cut) for cut in joined.cuts(layers, profile)}
    quickest = list(joint)[-1]

    class Clock:
        def __init__(self, apart: float) -> None:
            self.apart = apart

        def __call__(self, _profile: Profile, _step: tuning.Step) -> float:
            return 1e-6

        def inference(self, _profile: Profile, steps: list[tuning.Step]) -> float:
            if len(steps) > 1:
                return self.apart
            return 1e-4 if steps[0] is joint[quickest] else 2e-4

    one = tuning.fastest(layers, profile, asked, joint, Clock(1.1e-4))
    assert one.steps == [joint[quickest]]
    assert one.counters == joined.counters(profile, quickest) > 0
    several = tuning.fastest(layers, profile, asked, joint, Clock(0.9e-4))
    assert len(several.steps) == 1 + 5 * 6 + 2
    assert several.counters == 0


def test_the_joint_kernel_compiles_without_a_gpu() -> None:
    small = Network(2, 2, 32, "gelu", 1e-12, 0, 64, type_ids=True, head="bert")
    layers = Layers(small, 64)
    step = joined.joint_step(layers, WIDE, next(joined.cuts(layers, WIDE)))
    assert len(step.addresses) == len(variants.ARGUMENTS["network"])
    made = variants.compiled(step.variant, (9, 0))
    assert made is not None
    assert made.code.startswith(b"\x7fELF")


def test_the_joint_kernel_has_a_block_for_every_part_of_the_fullest_case() -> None:
    cut = joined.Cut(rows=64, columns=64, wider=128, depth=64, deeper=64, heads=2, embedded=4)
    step = joined.joint_step(Layers(MINILM, 1536), Profile(50, 32), cut)
    embeds, blocks, heads, first = 50 * 8, 25, 50 * 12 // 2, 4  # 1,600 tokens, 50 first ones
    layer = blocks * 9 + heads + blocks * (6 + 12 + 6)  # query, key and value; attention; the three products behind
    last = blocks * 9 + heads + first * (12 + 48 + 12 + 12) + 50  # pooler and scores, too
    assert step.grid == (embeds + 5 * layer + last, 1, 1)
    mean = joined.joint_step(Layers(replace(MINILM, head="mean"), 1536), Profile(50, 32), cut)
    assert mean.grid == (embeds + 6 * layer + 50, 1, 1)
    assert joined.counters(Profile(50, 32), cut) == 5 * (32 + 32)  # whole cache lines


def test_cuts_fit_every_width_or_there_are_none() -> None:
    found = list(joined.cuts(Layers(replace(MINILM, hidden=48, heads=3), 1200), Profile(1, 16)))
    assert found
    assert min(min(cut.depth, cut.deeper, cut.columns, cut.wider, cut.first_columns) for cut in found) >= 16
    assert not list(joined.cuts(Layers(MINILM, 1536), Profile(1, 256)))  # too long
    huge = Layers(replace(MINILM, layers=48, hidden=4096, heads=64), 16384)
    assert not list(joined.cuts(huge, Profile(1, 16)))  # an int32 does not reach its last weight


def test_a_driver_outside_the_baseline_is_refused_where_the_gpu_is() -> None:
    old = Gpu("NVIDIA H100 PCIe", "none", (9, 0), "12.2", "535.1")
    with pytest.raises(EngineError, match=r"cuda is 12\.2, not >=12\.4,<14; driver is 535\.1, not >=550"):
        fused_backend.Fused(gpu=old)
    new = fused_backend.Fused(gpu=replace(old, cuda="13.0", driver="580.65"))
    assert new.baseline == fused_backend.Fused(capability=(9, 0)).baseline  # the same engine for both
    assert fused_backend.Fused(capability=(9, 0), gpu=replace(old, capability=(8, 0))).baseline == new.baseline


def test_large_blocks_are_left_out_where_a_gpu_lacks_the_memory() -> None:
    layers, profile = Layers(MINILM, 1536), Profile(512, 32)
    step = next(step for step in layers.steps(profile, unseen(layers, profile)) if step.role == "inner")
    assert variants.compiled(replace(step.variant, stages=6), (8, 6)) is None


def test_a_compiler_that_dies_is_told_with_what_helps(tmp_path: Path) -> None:
    script = tmp_path / "unguarded.py"  # each process that it starts runs it again, and ends
    script.write_text(
        "from millirank_engines.build.fused.layers import *\n"
        "from millirank_engines.build.fused.variants import all_compiled\n"
        "all_compiled([Variant('score', (('WIDTH', 32), ('PADDED', 32)), 1, 1)], (9, 0))\n"
    )
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert "EngineError: a process that compiled kernels was ended: free memory" in ran.stderr


def adder(cuda: FakeCuda, folder: Path, profiles: tuple[Profile, ...]) -> FusedEngine:
    """An engine of one kernel, which adds up the valid tokens of every sequence."""
    names = ("input_ids", "token_type_ids", "starts", "1.factor", "output", "progress")
    counters = dict.fromkeys(profiles, 100)
    launch = Launch("add", (1, 1, 1), names)
    program = Program(
        {"add": Kernel("add", 32, 0)}, {"x": 64}, dict.fromkeys(profiles, (launch,)), counters, "score", 0, types=True
    )
    weights = {"all.factor": np.array([[3.0] * 64, [2.0] * 64], np.float32)}
    write_program(folder / PROGRAM, program, weights, {"add": b"code"})
    return FusedEngine(folder / PROGRAM, profiles, "fp16", cuda=cuda)


def add(code: bytes, symbol: str, _grid: tuple[int, int, int], addresses: tuple[int, ...]) -> None:
    from millirank_engines.cuda import host_array

    assert (code, symbol) == (b"code", "add")
    ids, types, starts, factor, output, progress = addresses
    counters = host_array(progress, (100,), np.int32)
    assert not counters.any()
    counters[...] = 7  # the next inference finds zeros all the same
    begins = host_array(starts, (WIDE.batch + 2,), np.int32)
    for row in range(WIDE.batch):
        count = begins[row + 1] - begins[row]
        line = host_array(ids + 4 * row * WIDE.length, (count,), np.int32)
        kinds = host_array(types + 4 * row * WIDE.length, (count,), np.int32)
        total = (line + kinds).sum() * host_array(factor, (1,), np.float32)[0]
        host_array(output + 4 * row, (1,), np.float32)[0] = total
    assert tuple(begins[-2:]) == (begins[WIDE.batch], WIDE.batch)


def test_how_many_sequences_there_are_is_told_whatever_ran_before(tmp_path: Path) -> None:
    cuda, told, large = FakeCuda(), [], Profile(64, 8)

    def count(_code: bytes, _symbol: str, _grid: tuple[int, int, int], addresses: tuple[int, ...]) -> None:
        from millirank_engines.cuda import host_array

        told.append(host_array(addresses[2], (told_of[-1].batch + 2,), np.int32)[-2:].tolist())

    cuda.computes, told_of = count, [large]
    engine = adder(cuda, tmp_path, (WIDE, large))
    told.clear()
    for profile in (large, WIDE, large):  # their inputs lie at the same place
        told_of.append(profile)
        ids = np.zeros((profile.batch, profile.length), np.int32)
        engine.infer({"input_ids": ids, "token_type_ids": ids, "attention_mask": np.ones_like(ids)})
    assert told == [[512, 64], [16, 2], [512, 64]]
    engine.close()


def test_a_failed_load_gives_everything_back(tmp_path: Path) -> None:
    cuda = FakeCuda()
    for call in ("load_module", "kernel", "allocate", "allocate_pinned", "copy_in", "synchronize", "instantiate"):
        cuda.faults[call] = "cudaErrorMemoryAllocation"
        with pytest.raises(EngineFailed, match="cudaErrorMemoryAllocation"):
            adder(cuda, tmp_path, (WIDE,))
        assert not cuda.open, call


def test_whoever_may_read_the_folder_may_read_the_program(tmp_path: Path) -> None:
    adder(FakeCuda(), tmp_path, (WIDE,)).close()
    (tmp_path / "other").write_bytes(b"")
    assert (tmp_path / PROGRAM).stat().st_mode == (tmp_path / "other").stat().st_mode


def feeds() -> dict[str, np.ndarray]:
    ids = np.arange(16, dtype=np.int32).reshape(2, 8)
    mask = np.array([[1] * 3 + [0] * 5, [1] * 8], np.int32)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.ones_like(ids)}


def test_valid_tokens_alone_are_computed_on_replayed_graphs(tmp_path: Path) -> None:
    cuda = FakeCuda()
    cuda.computes = add
    engine = adder(cuda, tmp_path, (WIDE,))
    assert engine.name == "fused/fp16"
    assert engine.graph_nodes[WIDE] == {"Memcpy": 1, "Kernel": 1}
    before = len(cuda.calls)
    found = engine.infer(feeds())["score"]
    assert found.tolist() == [2.0 * (0 + 1 + 2 + 3), 2.0 * (sum(range(8, 16)) + 8)]
    assert cuda.calls[before:] == ["launch", "synchronize"]
    assert engine.memory.allocations == 0
    engine.close()
    assert not cuda.open


def test_wrong_feeds_and_a_lost_device_are_told(tmp_path: Path) -> None:
    cuda = FakeCuda()
    cuda.computes = add
    engine = adder(cuda, tmp_path, (WIDE,))
    with pytest.raises(EngineError, match=r"no profile of fused/fp16 has the shape 3x8: 2x8"):
        engine.infer({"input_ids": np.zeros((3, 8), np.int32)})
    with pytest.raises(EngineError, match=r"attention_mask is missing: feed it in the shape \(2, 8\)"):
        engine.infer({name: feed for name, feed in feeds().items() if name != "attention_mask"})
    cuda.faults["kernel"] = "cudaErrorIllegalAddress"
    with pytest.raises(DeviceLost):
        engine.infer(feeds())
    engine.close()


def test_a_program_without_a_profile_or_that_is_none_is_refused(tmp_path: Path) -> None:
    cuda = FakeCuda()
    adder(cuda, tmp_path, (WIDE,)).close()
    with pytest.raises(EngineError, match="has no program for 4x8"):
        FusedEngine(tmp_path / PROGRAM, (Profile(4, 8),), "fp16", cuda=cuda)
    launch = Launch("add", (1, 1, 1), ("progress",))
    program = Program({"add": Kernel("add", 32, 0)}, {}, {WIDE: (launch,)}, {}, "score", 0, types=True)
    write_program(tmp_path / PROGRAM, program, {}, {"add": b"code"})
    with pytest.raises(EngineError, match="counts progress, but has no counters"):
        FusedEngine(tmp_path / PROGRAM, (WIDE,), "fp16", cuda=cuda)
    (tmp_path / PROGRAM).write_bytes(b"no safetensors")
    with pytest.raises(EngineError, match=r"is no program .*--backend fused"):
        FusedEngine(tmp_path / PROGRAM, (WIDE,), "fp16", cuda=cuda)
    assert not cuda.open

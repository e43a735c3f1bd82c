"""Real plans of TensorRT-RTX, which needs no GPU to build them."""

import platform
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import Tiny, write_model
from onnx import numpy_helper
from typer.testing import CliRunner

from millirank.commands.engine import app
from millirank_engines import ArtifactRefused, EngineError, Profile, Task, artifact, open_engine, read_manifest
from millirank_engines.artifact import PLAN, seal
from millirank_engines.build import tensorrt
from millirank_engines.build.backend import backend_of
from millirank_engines.build.compile import Artifact, build_engine
from millirank_engines.build.export import export_model
from millirank_engines.build.graph import Form
from millirank_engines.build.parser import NetworkRefused
from millirank_engines.build.plan import Options, PlanFailed, plan_from_onnx
from millirank_engines.build.profiles import Profiles, default_profiles, profiles_around
from millirank_engines.build.progress import Phases
from millirank_engines.build.tensorrt import FORM
from millirank_engines.gpu import Gpu
from millirank_engines.model import ENCODER, RERANKER

RTX = "tensorrt-rtx"
ADA = Options(capabilities=((8, 9),))
L4 = Gpu("NVIDIA L4", "none", (8, 9), "13.0", "580.65.06")
NARROW = profiles_around([Profile(1, 8), Profile(2, 16)])

if (sys.platform, platform.machine()) != ("linux", "x86_64"):
    pytest.skip("TensorRT-RTX has wheels for Linux and Windows on x86_64 only", allow_module_level=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "shop-encoder", Tiny())


@pytest.fixture(scope="module")
def half(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ONNX of a tiny encoder, in float16."""
    folder = tmp_path_factory.mktemp("half")
    return export_model(str(source), folder, task="embed", precision="fp16").folder / "model.onnx"


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever machine this is."""
    monkeypatch.setattr(tensorrt, "this_gpu", lambda: None)


@pytest.fixture
def built(source: Path, tmp_path: Path) -> Artifact:
    return make(source, tmp_path / "e")


def make(source: Path, out: Path, **options: object) -> Artifact:
    backend = backend_of(RTX, {"compute_capability": "8.9", **options})
    return build_engine(str(source), out, task="embed", backend=backend, profiles=NARROW.buckets)


def plan(onnx_file: Path, profiles: Profiles = NARROW, **more: Any) -> bytes:
    return plan_from_onnx(onnx_file, profiles, backend=RTX, options=ADA, **more)


@pytest.mark.parametrize(("model", "task"), [(ENCODER, "embed"), (RERANKER, "rerank")])
def test_the_shipped_models_build_with_all_their_profiles(model: str, task: Task, tmp_path: Path) -> None:
    export = export_model(model, tmp_path, task=task, precision="fp16", form=FORM)
    profiles = default_profiles(export.spec)
    assert len(profiles.optimization) == 3
    said: list[str] = []
    weights = (tmp_path / "model.onnx").stat().st_size
    assert len(plan(tmp_path / "model.onnx", profiles, progress=said.append)) > weights
    shares = [int(line.split()[3].rstrip("%,")) for line in said]
    assert shares == sorted(shares)
    assert shares[-1] == 100
    assert any("timing tactics" in line for line in said)
    assert len(set(shares)) > 10


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.parametrize("form", [Form(), Form(half_norm=True, joined_qkv=True), FORM])
def test_every_form_of_the_graph_builds_at_every_precision(
    source: Path, tmp_path: Path, precision: Any, form: Form
) -> None:
    export_model(str(source), tmp_path, task="embed", precision=precision, form=form)
    assert plan(tmp_path / "model.onnx")


def test_several_optimization_profiles_and_capabilities_are_one_plan(half: Path) -> None:
    two = Profiles(NARROW.buckets, (*NARROW.optimization, *profiles_around([Profile(8, 32)]).optimization))
    options = replace(ADA, capabilities=((8, 6), (8, 9)), level=1, aux_streams=0, workspace=1)
    assert plan_from_onnx(half, two, backend=RTX, options=options)


# Errors


def broken(path: Path, folder: Path, change: Callable[[onnx.GraphProto], None]) -> Path:
    model = onnx.load(path)
    change(model.graph)
    out = folder / "broken.onnx"
    onnx.save(model, out)
    return out


def two_unknown_operators(graph: onnx.GraphProto) -> None:
    first = next(node for node in graph.node if node.op_type == "Erf")
    first.op_type, first.domain = "FancyErf", "com.example"
    next(node for node in graph.node if node.op_type == "Softmax").op_type = "Unique"


def another_type(graph: onnx.GraphProto) -> None:
    weight = next(w for w in graph.initializer if w.name.endswith("layer.0.intermediate.dense.weight"))
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight).astype(np.float32), weight.name))


def a_missing_input(graph: onnx.GraphProto) -> None:
    next(node for node in graph.node if node.op_type == "Erf").input[0] = "nowhere"


def test_all_that_the_parser_says_no_to_is_told_with_node_operator_and_fix(half: Path, tmp_path: Path) -> None:
    with pytest.raises(NetworkRefused) as refused:
        plan(broken(half, tmp_path, two_unknown_operators))
    said = str(refused.value)
    assert "2 problems" in said
    assert [(p.op, p.code) for p in refused.value.problems] == [
        ("Unique", "UNSUPPORTED_NODE"),
        ("FancyErf", "INVALID_NODE"),
    ]
    assert "encoder.layer.0.attention/softmax (Unique): the parser does not cover this operator" in said
    assert "encoder.layer.0.intermediate/erf (FancyErf): TensorRT has no such operator: export it as standard" in said


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (another_type, r"layer\.0\.intermediate\.dense/matmul \(MatMul\): networks are strongly typed: .* a Cast"),
        (a_missing_input, r"intermediate/erf \(Erf\): no node before it makes its input: .*onnx\.checker"),
        (lambda graph: graph.ClearField("output"), r"check the file with onnx\.checker"),
    ],
)
def test_a_broken_network_is_refused_with_the_fix(
    half: Path, tmp_path: Path, change: Callable[[onnx.GraphProto], None], message: str
) -> None:
    with pytest.raises(NetworkRefused, match=message) as refused:
        plan(broken(half, tmp_path, change))
    assert "catchCudaError" not in str(refused.value)


@pytest.mark.parametrize("keep", [0, 5000])
def test_a_file_that_is_not_whole_is_refused(half: Path, tmp_path: Path, keep: int) -> None:
    (tmp_path / "part.onnx").write_bytes(half.read_bytes()[:keep])
    with pytest.raises(NetworkRefused, match=r"the file: .*export it again"):
        plan(tmp_path / "part.onnx")


def test_a_plan_that_the_builder_gives_up_is_an_error_with_its_words(half: Path) -> None:
    impossible = Profiles((Profile(1, 8),), profiles_around([Profile(1, 8), Profile(2**20, 2**20)]).optimization)
    with pytest.raises(PlanFailed, match="TensorRT gave up"):
        plan(half, impossible)


# Progress


def test_phases_become_a_share_that_never_falls() -> None:
    phases = Phases()
    phases.start("Building", None, 2)
    assert str(phases) == "0%, building"
    phases.start("Timing", "Building", 4)
    phases.step("Timing", 1)
    assert str(phases) == "25%, timing"
    phases.finish("Timing")
    phases.step("Building", 0)
    assert str(phases) == "50%, building"
    phases.start("Timing", "Building", 1)
    phases.step("Unknown", 3)
    assert phases.share() == 0.5
    phases.finish("Timing")
    phases.finish("Building")
    assert str(phases) == "100%, done"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process that was started in the background may ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_a_build(half: Path) -> None:
    said: list[str] = []

    def interrupt(line: str) -> None:
        if not said:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        said.append(line)

    with pytest.raises(KeyboardInterrupt):
        plan(half, progress=interrupt)
    assert "100%" not in said[-1]
    for thread in threading.enumerate():
        if thread.name.startswith("plan"):
            thread.join(30)
            assert not thread.is_alive()
    assert plan(half)


def test_an_error_of_the_progress_ends_the_build_and_is_raised(half: Path) -> None:
    def fail(line: str) -> None:
        raise BrokenPipeError(line)

    with pytest.raises(BrokenPipeError, match="building the plan"):
        plan(half, progress=fail)


# Timing caches


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
def test_timings_are_kept_and_a_damaged_file_is_replaced(half: Path, tmp_path: Path) -> None:
    file = tmp_path / ".gpu.timing.cache"
    for content in (None, b"damaged"):
        if content:
            file.write_bytes(content)
        assert plan(half, timing_cache=file)
        assert file.read_bytes() not in {b"", b"damaged"}
        assert [path.name for path in tmp_path.iterdir()] == [file.name]


# Artifacts


def test_an_artifact_tells_what_it_is_bound_to_and_that_nothing_has_verified_it(built: Artifact) -> None:
    manifest = read_manifest(built.path)
    assert manifest == built.manifest
    assert set(manifest.files) == {PLAN, "tokenizer.json", "parity.safetensors"}
    assert (manifest.backend, manifest.precision, manifest.device.features) == (RTX, "fp16", ("sm_89",))
    assert manifest.profiles == NARROW.buckets
    assert (manifest.verified, manifest.parity, manifest.latencies) == (False, (), ())
    assert manifest.baseline["gpu"] == "sm_89"
    assert manifest.versions[RTX].startswith(manifest.baseline["tensorrt"] + ".")
    assert "--profiles 1x8,2x16 --compute-capability 8.9" in manifest.command
    assert list(built.path.parent.iterdir()) == [built.path]  # no timing cache: TensorRT-RTX has none


def test_the_command_says_aloud_what_it_built_for_and_what_is_left_to_do(source: Path, tmp_path: Path) -> None:
    words = ["build", "--model", source, "--task", "embed", "--backend", RTX, "--out", tmp_path / "e"]
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, [*map(str, words), "--profiles", "1x8", "--level", "1"])
    assert result.exit_code == 0, result.output
    assert (
        "it is for any GPU of sm_89 (others: --compute-capability) and was built where it cannot run" in result.output
    )
    assert f"until `millirank engine verify {tmp_path / 'e'}` has passed there" in result.output
    shown = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["inspect", str(tmp_path / "e")]).output
    assert "no: `millirank engine verify` it where it is to run" in shown
    assert "gpu sm_89" in shown


def test_the_same_key_builds_nothing_and_whatever_matters_is_another(
    source: Path, built: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = make(source, built.path)
    assert again.reused
    assert again.manifest == built.manifest
    own = tmp_path / "baseline.toml"
    own.write_text(OWN.replace("VERSION", "1"), "utf-8")
    keys = {built.manifest.key}
    monkeypatch.setattr("millirank_engines.build.tensorrt.plan_from_onnx", lambda *_, **__: b"plan")
    changes: list[dict[str, object]] = [
        {"level": 1},
        {"workspace": 2.0},
        {"graph": "plain"},
        {"compute_capability": "8.6"},
        {"baseline": own},
    ]
    for options in changes:
        other = make(source, built.path, **options)
        assert not other.reused
        keys.add(other.manifest.key)
    assert len(keys) == 6


OWN = """
[[baseline]]
name = "own"
backend = "tensorrt-rtx"
tensorrt = "VERSION"
cuda = "*"
driver = "*"
gpu = ["sm_86", "sm_89"]
mig = "*"
"""


def test_a_version_outside_the_baseline_builds_nothing(source: Path, tmp_path: Path) -> None:
    own = tmp_path / "baseline.toml"
    own.write_text(OWN.replace("VERSION", "1.2"), "utf-8")
    with pytest.raises(EngineError, match=rf"baseline own of .*tensorrt is 1\.\d.*, not 1\.2.*extend {own}"):
        make(source, tmp_path / "e", baseline=own)
    assert list(tmp_path.iterdir()) == [own]


@pytest.mark.parametrize(
    ("here", "changes", "message"),
    [
        (None, {}, "runs on any GPU of sm_89, and no NVIDIA GPU is usable here"),
        (replace(L4, capability=(9, 0)), {}, "gpu is sm_90, not sm_89.*--backend tensorrt-rtx .*--out"),
        (replace(L4, driver="470.1"), {}, "driver is 470.1, not >=580"),
        (L4, {"tensorrt": "1.6.0"}, r"tensorrt is 1\.7.*, not 1\.6\.0"),
        (L4, {}, "run `millirank engine verify .*` on the machine that serves it"),
    ],
)
def test_loading_compares_the_baseline_with_what_is_there(
    built: Artifact, monkeypatch: pytest.MonkeyPatch, here: Gpu | None, changes: dict[str, str], message: str
) -> None:
    manifest = built.manifest
    seal(built.path, replace(manifest, baseline={**manifest.baseline, **changes}))
    monkeypatch.setattr(artifact, "this_gpu", lambda: here)
    with pytest.raises(ArtifactRefused, match=message):
        open_engine(built.path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compute_capability": "9.0"}, "does not build for sm_90: choose among .*SM89.*--compute-capability"),
        ({"compute_capability": "ada"}, "'ada' is no compute capability: write one such as 8.9"),
        ({"compute_capability": "12.1"}, r"gpu is sm_121, not .*baseline\.toml"),
        ({"version_compatible": True}, "has no lean runtime: --version-compatible is for --backend tensorrt"),
        ({"workspace": 0.5}, "--workspace 1 or more"),
        ({"level": 6}, "--level 0 to 5"),
        ({"aux_streams": -1}, "--aux-streams 0 or more"),
        ({"graph": "flat"}, "no form flat: use half-norm, joined-qkv"),
    ],
)
def test_options_that_do_not_fit_are_refused_with_their_fix(options: dict[str, object], message: str) -> None:
    with pytest.raises(EngineError, match=message):
        backend_of(RTX, {"compute_capability": "8.9", **options})

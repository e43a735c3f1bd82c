"""The measurement of INT8 on a GPU, on the fakes: every line of it but TensorRT's own and PyTorch's."""

import importlib
import itertools
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from gpu_kit import GPU, install
from models import Tiny, calm, write_model
from onnx import numpy_helper

from millirank_engines import EngineError, FakeEngine, Profile
from millirank_engines.build import tensorrt
from millirank_engines.build.compile import build_engine
from millirank_engines.build.export import export_model
from millirank_engines.build.parser import NetworkRefused, Problem
from millirank_engines.build.plan import Options, plan_from_onnx
from millirank_engines.build.profiles import Profiles, profiles_around
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.data import random_sequences, sequences_data
from millirank_engines.build.quantize.scales import Scales
from millirank_engines.fakecuda import FakeCuda
from millirank_engines.faketrt import fake_plan
from millirank_engines.files import project_file
from millirank_engines.trtplan import Range

pytest.importorskip("onnxruntime", reason="calibration runs in it: pip install 'millirank[quantize]'")
BASELINE = """[[baseline]]
name = "fake"
backend = "tensorrt"
tensorrt = "*"
cuda = "*"
driver = "*"
gpu = "*"
mig = "*"
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    return importlib.import_module("h100_int8")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(calm(write_model(tmp_path_factory.mktemp("source") / "shop-encoder", Tiny())))


@pytest.fixture(scope="module")
def scales(source: str, tmp_path_factory: pytest.TempPathFactory) -> Scales:
    work = tmp_path_factory.mktemp("scales")
    spec = export_model(source, work, task="embed").spec
    data = sequences_data(random_sequences(48, spec, 14), spec, "random tokens")
    return Calibrator(source, task="embed", data=data, work=work).scales(Recipe())


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """A machine with a GPU whose plans are fakes that compute the graph that they were made of; what was built."""
    install(FakeCuda(), monkeypatch.setattr, monkeypatch.setitem)
    declared = tmp_path / "baseline.toml"
    declared.write_text(BASELINE, encoding="utf-8")
    kept = itertools.count()
    built: list[str] = []

    def plan(model: Path, profiles: Profiles, **_: Any) -> bytes:
        graph = onnx.load(model).graph
        if any(tensor.data_type == onnx.TensorProto.FLOAT8E4M3FN for tensor in graph.initializer):
            raise NetworkRefused(model, [Problem(3, "x/q", "QuantizeLinear", "UNSUPPORTED_NODE", "no FP8 here")])
        copied = Path(shutil.copyfile(model, tmp_path / f"{next(kept)}.onnx"))
        built.append("int8" if any(n.op_type == "QuantizeLinear" for n in graph.node) else "float")
        spans = [Range(*one.shapes()) for one in profiles.optimization]
        return fake_plan(spans, profiles.buckets, model=copied)

    def child(job: Any) -> float:
        """In this process, where the fakes are."""
        bench = importlib.import_module("int8_plans")
        planned = plan(job.onnx, importlib.import_module("subjects").exact(bench.parsed(job.buckets)))
        job.out.parent.mkdir(parents=True, exist_ok=True)
        job.out.write_bytes(planned)
        return 1.5

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    monkeypatch.setattr(importlib.import_module("planchild"), "built", child)
    monkeypatch.setattr(importlib.import_module("int8_plans"), "this_gpu", lambda: GPU)
    monkeypatch.setattr(tensorrt, "this_gpu", lambda: GPU)
    monkeypatch.setattr(tensorrt, "trt_module", lambda _: sys.modules["tensorrt"])
    monkeypatch.setattr(
        tensorrt, "project_file", lambda name: declared if name == "baseline.toml" else project_file(name)
    )
    monkeypatch.setattr(tensorrt, "plan_from_onnx", plan)
    return built


def test_every_engine_of_a_model_is_built_once_timed_and_held_to_fp32(
    script: ModuleType, source: str, scales: Scales, gpu: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny = script.Subject("tiny", source, "embed", ("1x8", "2x16"), ("2x16",), ("2x16",))
    monkeypatch.setattr(script, "SUBJECTS", (tiny,))
    peer = FakeEngine(32, profiles=[Profile(1, 8), Profile(2, 16)])
    monkeypatch.setattr(importlib.import_module("gpu_int8"), "peer_engine", lambda *_: peer)
    (tmp_path / "scales").mkdir()
    scales.write(tmp_path / "scales" / "tiny.safetensors")
    command = ["h100_int8.py", "--work", str(tmp_path / "work"), "--scales", str(tmp_path / "scales")]
    command += ["--rounds", "3", "--seconds-a-shape", "0.01", "--out", str(tmp_path), "--alone"]
    monkeypatch.setattr(sys, "argv", command)
    script.main()
    script.page(script.Namespace(graph=tensorrt.FORM, work=tmp_path / "work", out=tmp_path, name="h100-int8"))
    assert gpu == ["int8", "float", "float"]
    kept = json.loads((tmp_path / "h100-int8.json").read_text(encoding="utf-8"))["rows"]
    rows = {(row["case"], row["metric"]): row["value"] for row in kept}
    for how in ("auto", "fp16", "int8", "fp32", "torch-eager-fp32"):
        assert rows[f"tiny/embed/2x16/{how}", "calls"] == 3
        assert rows[f"tiny/embed/2x16/{how}", "p50"] > 0
    assert ("tiny/embed/1x8/fp32", "p50") not in rows
    own, torch = (rows[f"tiny/embed/2x16/{how}", "p50"] for how in ("int8", "torch-eager-fp32"))
    assert rows["tiny/embed/2x16/int8", "against torch-eager-fp32"] == pytest.approx(torch / own)
    assert rows["tiny/choice/1x8", "chosen / fp16"] <= 1
    assert 0.9 < rows["tiny/parity/int8", "cosine_p1"] < rows["tiny/parity, 2x16/fp32", "cosine_p1"]
    text = (tmp_path / "h100-int8.md").read_text(encoding="utf-8")
    assert "fp8 at 2x16, level 3, is not built" in text
    assert "fp8 at 2x16, level 2, simpler graph, is not built" in text
    assert "tiny: int8 at 1x8, 2x16, level 3, was built in 2 s." in text
    assert "no FP8 here" in text
    assert "| BERT-base INT8 at 50x64, times as fast as torch FP32 eager | ≥ 3.8 x | not measured | |" in text
    script.main()
    assert gpu == ["int8", "float", "float"]  # all of it lay in the work folder
    monkeypatch.setattr(sys, "argv", [*command, "--graph", "plain"])
    with pytest.raises(SystemExit, match="built of graphs half-norm,time-major,tanh-gelu: name another folder"):
        script.main()


def test_random_weights_are_calibrated_on_random_tokens_and_pass_no_gate(
    script: ModuleType, gpu: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench = importlib.import_module("gpu_int8")
    tiny = Tiny(task="rerank")
    drawn = replace(bench.WRITTEN["bert-base-reranker"], write=lambda folder: calm(write_model(folder, tiny)))
    monkeypatch.setitem(bench.WRITTEN, "bert-base-reranker", drawn)
    subject = script.Subject("bert-base-reranker", "", "rerank", ("4x16", "8x16"), ("4x16",), ())
    given = asked(script, tmp_path, parts=["auto", "fp32"])
    made = bench.Bench(subject, given)
    rows = {(row.case, row.metric): row.value for row in made.rows()}
    assert rows["bert-base-reranker/rerank/8x16/int8", "against fp16"] > 0
    assert rows["bert-base-reranker/build, 4x16+8x16/int8", "builder level"] == 3
    assert not any("parity" in case for case, _ in rows)
    assert "float" in gpu
    again = asked(script, tmp_path, parts=["fp8"], seconds=0.0)
    late = bench.Bench(script.Subject(subject.name, "", "rerank", subject.buckets, (), ("4x16",)), again)
    assert any(row.case.endswith("/int8") for row in late.rows())  # what was built is timed
    assert late.notes[-1].endswith("fp8 at 4x16, level 2, simpler graph, was left out for want of time.")


def test_layers_of_a_trained_model_are_smoothed_and_held_to_fp32_and_scales_of_fewer_are_refused(
    script: ModuleType, gpu: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bench = importlib.import_module("gpu_int8")
    tiny = Tiny(task="rerank", layers=3)
    real = replace(bench.WRITTEN["minilm-reranker"], write=lambda folder: calm(write_model(folder, tiny)))
    monkeypatch.setitem(bench.WRITTEN, "minilm-reranker", real)
    subject = script.Subject("minilm-reranker", "", "rerank", ("4x16",), (), ())
    made = bench.Bench(subject, asked(script, tmp_path, parts=[]))
    scales = made.scales()
    assert scales.smoothing or scales.shift
    assert any("parity" in row.case for row in made.rows())
    assert gpu
    brought = tmp_path / "brought"
    brought.mkdir()
    replace(
        scales,
        amax={group: value for group, value in scales.amax.items() if ".2." not in group},
        mean={group: value for group, value in scales.mean.items() if ".2." not in group},
    ).write(brought / "minilm-reranker.safetensors")
    with pytest.raises(EngineError, match="has scales of 2 layers, minilm-reranker has 3: make them anew"):
        bench.Bench(subject, asked(script, tmp_path, scales=brought)).scales()


def test_what_is_not_built_is_tried_shape_by_shape_then_at_a_lower_level_then_as_a_simpler_graph(
    script: ModuleType, source: str, scales: Scales, gpu: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plans, planchild, tried = (*map(importlib.import_module, ("int8_plans", "planchild")), list[str]())
    works = planchild.built

    def built(job: Any) -> float:
        tried.append(f"{'+'.join(job.buckets)} {job.level} {job.onnx.parent.name} {job.limit:.0f}")
        if "plain" not in job.onnx.parent.name:
            raise EngineError("it was ended")
        return float(works(job))

    monkeypatch.setattr(planchild, "built", built)
    subject = script.Subject("tiny", source, "embed", ("1x8", "2x16"), (), ())
    notes: list[str] = []
    model = export_model(source, tmp_path / "float", task="embed")
    made = plans.Plans(subject, model, source, scales, tmp_path / "work" / "tiny", asked(script, tmp_path), notes)
    found = made.of("int8", subject.buckets)
    assert [(plan.buckets, plan.level, plan.plain) for plan in found] == [(("1x8",), 2, True), (("2x16",), 2, True)]
    assert tried == ["1x8+2x16 3 int8 100", "1x8 3 int8 60", "1x8 2 int8 60", "1x8 2 int8-plain 60", tried[-1]]
    assert tried[-1] == "2x16 2 int8-plain 60"
    assert notes[0] == "tiny: int8 at 1x8, 2x16, level 3, is not built: it was ended"
    assert notes[-1] == "tiny: int8 at 2x16, level 2, simpler graph, was built in 2 s."
    assert made.of("int8", subject.buckets) == found
    assert len(tried) == 5
    assert gpu == ["int8", "int8"]


@pytest.mark.usefixtures("gpu")
def test_fp16_is_taken_from_the_engine_of_the_other_page(
    script: ModuleType, source: str, scales: Scales, tmp_path: Path
) -> None:
    plans, exact = importlib.import_module("int8_plans"), importlib.import_module("subjects").exact
    profiles = exact([Profile(1, 8), Profile(2, 16), Profile(4, 16)])
    out = tmp_path / "engines" / "tiny"
    artifact = build_engine(source, out, task="embed", backend="tensorrt", precision="fp16", profiles=profiles)
    subject = script.Subject("tiny", source, "embed", ("1x8", "2x16"), (), ())
    given = asked(script, tmp_path, engines=out.parent)
    model = export_model(source, tmp_path / "float", task="embed")
    assert model.spec.hash == artifact.manifest.model.hash
    made = plans.Plans(subject, model, source, scales, tmp_path / "work" / "tiny", given, [])
    plan = made.sealed("fp16", subject.buckets)
    assert plan.folder == out
    engine = plan.engine()
    assert engine.profiles == (Profile(1, 8), Profile(2, 16))
    engine.close()
    assert made.sealed("fp16", ("8x16",)) is None


def asked(script: ModuleType, folder: Path, **changed: Any) -> Any:
    """Options as the command line gives them."""
    (folder / "work").mkdir(exist_ok=True)
    common = {"work": folder / "work", "out": folder, "scales": None, "engines": None, "name": "page", "peers": []}
    common |= {"parts": [], "rounds": 2, "seconds_a_shape": 0.01, "least": 2, "level": 3, "limit": 100.0}
    common |= {"graph": tensorrt.FORM}
    return script.Namespace(**{**common, "seconds": 400.0, **changed})


@pytest.mark.usefixtures("script")
def test_a_build_that_takes_too_long_is_ended_and_its_last_words_are_kept(tmp_path: Path) -> None:
    planchild = importlib.import_module("planchild")
    job = planchild.Job(
        onnx=tmp_path / "none.onnx",
        buckets=("1x8",),
        out=tmp_path / "a" / "model.plan",
        last=tmp_path / "page" / "a.log",
        timings=tmp_path / "cache",
        limit=0.1,  # Python is not up by then
    )
    with pytest.raises(EngineError, match="it was ended after 0 s, of which it said nothing for"):
        planchild.built(job)
    assert job.last.is_file()
    with pytest.raises(EngineError, match=r"it failed with code 1 .*more in a\.log"):  # of TensorRT, or of the model
        planchild.built(replace(job, limit=60.0))
    words = job.last.read_text(encoding="utf-8")
    assert "none.onnx" in words or "BackendUnavailable" in words, words


def test_what_the_targets_are_about_comes_first_and_fp8_last(script: ModuleType) -> None:
    told = [(subject.name, parts) for subject, parts, _ in script.rounds(script.SUBJECTS, script.PARTS)]
    names = [subject.name for subject in script.SUBJECTS]
    assert [name for name, _ in told] == names * 2
    assert told[0][1] == ["auto", "fp32"]
    assert told[1][1] == ["auto"]
    assert told[3][1] == ["auto", "fp32", "fp8"]
    assert [part for _, part, _ in script.rounds(script.SUBJECTS, ["auto"])] == [["auto"]] * 3


def test_targets_are_reckoned_from_the_rows(script: ModuleType) -> None:
    targets = importlib.import_module("targets")
    row = script.Row
    rows = [
        row("bert-base-reranker/rerank/50x64/int8", "against torch-eager-fp32", 4.0, "x"),
        row("bert-base-reranker/rerank/50x64/int8", "against fp16", 1.1, "x"),
        row("bert-base-reranker/rerank/512x64/int8", "against fp16", 1.25, "x"),
        row("bert-base-reranker/rerank/512x64/auto", "against fp16", 1.25, "x"),
        row("minilm-encoder/embed/1x16/auto", "against fp16", 0.98, "x"),
        row("bert-base-reranker/choice/512x64", "chosen / fp16", 0.8, "x"),
        row("minilm-encoder/choice/1x16", "chosen / fp16", 1.0, "x"),
    ]
    said = targets.table(targets.INT8, rows)[-4:]
    assert "≥ 3.8 x | **4 x** |" in said[0]
    assert "≥ 1.3 x | 1.25 x, missed | int8: bert-base-reranker/rerank/512x64/int8 |" in said[1]
    assert "≤ 1 | **1** | choice: minilm-encoder/choice/1x16 |" in said[2]
    assert "≥ 0.97 x | **0.98 x** | auto: minilm-encoder/embed/1x16/auto |" in said[3]


@pytest.mark.parametrize("precision", ["fp16", "fp32"])
@pytest.mark.usefixtures("script")
def test_fp8_takes_the_place_of_int8(source: str, scales: Scales, tmp_path: Path, precision: Any) -> None:
    fp8 = importlib.import_module("peers.fp8")
    made = export_model(source, tmp_path / "int8", task="embed", precision=precision, scales=scales)
    path = fp8.fp8_from_int8(made.folder / "model.onnx", tmp_path / "fp8" / "model.onnx")
    onnx.checker.check_model(str(path))
    before, after = onnx.load(made.folder / "model.onnx").graph, onnx.load(path).graph
    kinds = [[node.op_type for node in graph.node] for graph in (before, after)]
    weights = sum(tensor.name.endswith("weight/int8") for tensor in before.initializer)
    assert kinds[1].count("QuantizeLinear") == kinds[0].count("QuantizeLinear") + weights
    assert kinds[1].count("DequantizeLinear") == kinds[0].count("DequantizeLinear")
    values = {tensor.name: tensor for tensor in after.initializer}
    assert not any(tensor.data_type == onnx.TensorProto.INT8 for tensor in values.values())
    for node in after.node:
        if node.op_type == "QuantizeLinear":
            assert values[node.input[2]].data_type == onnx.TensorProto.FLOAT8E4M3FN
            assert numpy_helper.to_array(values[node.input[1]]).shape == ()
    group = "encoder.layer.0.attention.self"
    scale = next(numpy_helper.to_array(v) for n, v in values.items() if n.endswith(f"{group}/scale/fp8"))
    assert float(scale) == pytest.approx(scales.amax[group] / 448, rel=1e-3)
    assert np.isfinite(scale)


@pytest.mark.usefixtures("script")
def test_tensorrt_rtx_builds_a_plan_of_fp8_without_a_gpu(source: str, scales: Scales, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx_libs", reason="pip install 'millirank[tensorrt-rtx-build]'")
    fp8 = importlib.import_module("peers.fp8")
    made = export_model(source, tmp_path, task="embed", precision="fp16", form=tensorrt.FORM, scales=scales)
    path = fp8.fp8_from_int8(made.folder / "model.onnx", tmp_path / "fp8.onnx")
    narrow = profiles_around([Profile(1, 8), Profile(2, 16)])
    plan = plan_from_onnx(path, narrow, backend="tensorrt-rtx", options=Options(capabilities=((8, 9),)))
    assert len(plan) > 1000

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from models import Tiny, write_model
from typer.testing import CliRunner

from millirank.commands.engine import app
from millirank_engines import EngineError, EngineFailed, Manifest, Profile, read_manifest
from millirank_engines.artifact import PLAN, files_of, seal
from millirank_engines.build import inspect as inspecting
from millirank_engines.build.compile import build_engine
from millirank_engines.build.inspect import fusion_of, layers_from_json, nodes_of, timed_layers
from millirank_engines.fakecuda import FakeCuda
from millirank_engines.faketrt import FakeTensorRt, fake_plan
from millirank_engines.trtplan import Range

NODES = [
    "encoder.layer.0.attention.self.query/matmul",
    "encoder.layer.0.attention.self.query/add",
    "encoder.layer.0.attention/scores",
    "encoder.layer.0.attention/softmax",
    "encoder.layer.0.attention/context",
    "mask/valid",
    "embedding",
]


def tensor(name: str, kind: str, key: str = "Format/Datatype") -> dict[str, Any]:
    return {"Name": name, "Location": "Device", "Dimensions": [1, 16, 384], key: kind}


def detailed(key: str = "Format/Datatype") -> dict[str, Any]:
    """A plan of four layers as a DETAILED inspector of TensorRT 10 tells it."""
    mark = "[ONNX Layer: {}]".format
    return {
        "Layers": [
            {
                "Name": "encoder.layer.0.attention.self.query/matmul+encoder.layer.0.attention.self.query/add_myl0_4",
                "LayerType": "gemm",
                "Inputs": [tensor("x", "Half", key)],
                "Outputs": [tensor("q", "Half", key)],
                "TacticName": "sm90_xmma_gemm_f16f16_f16f32_f32_tn_n_tilesize64x64x64_warpgroupsize1x1x1",
                "StreamId": 0,
                "Metadata": "\x1e".join(map(mark, NODES[:2])),
            },
            {
                "Name": "_gemm_mha_v2_myl0_7 [profile 1]",
                "LayerType": "kgen",
                "Inputs": [tensor("q", "Row major linear FP16 format", key), tensor("m", "Int32", key)],
                "Outputs": [tensor("c", "Row major linear FP16 format", key)],
                "TacticName": "_gemm_mha_v2_0x3f",
                "StreamId": 0,
                "Metadata": mark(NODES[2]) + mark(NODES[3]) + mark(NODES[4]),
            },
            {
                "Name": "Reformatting CopyNode for Input Tensor 0",
                "LayerType": "Reformat",
                "Inputs": [tensor("c", "Half", key)],
                "Outputs": [tensor("f", "Float", key)],
                "TacticName": "",
                "StreamId": 0,
                "Metadata": "",
            },
            {"Name": "embedding", "LayerType": "kgen", "Inputs": [tensor("f", "Float", key)], "Outputs": []},
        ],
        "Bindings": ["input_ids", "embedding"],
    }


@pytest.mark.parametrize("key", ["Format/Datatype", "Datatype", "DataType"])
def test_layers_are_read_with_their_nodes_and_precision(key: str) -> None:
    layers = layers_from_json(json.dumps(detailed(key)), NODES)
    assert [layer.kind for layer in layers] == ["gemm", "kgen", "Reformat", "kgen"]
    assert [layer.nodes for layer in layers] == [tuple(NODES[:2]), tuple(NODES[2:5]), (), ("embedding",)]
    assert [layer.precision for layer in layers] == ["FP16", "FP16", "FP16 → FP32", "FP32"]
    assert layers[0].tactic.startswith("sm90_xmma")
    assert layers[1].name == "_gemm_mha_v2_myl0_7"


def test_layers_with_names_only_are_matched_by_them() -> None:
    names = [f"{NODES[0]} + {NODES[1]}", f"{{ForeignNode[{NODES[2]}...{NODES[4]}]}}", "Reformatting CopyNode"]
    layers = layers_from_json(json.dumps({"Layers": names, "Bindings": []}), NODES)
    assert [layer.nodes for layer in layers] == [tuple(NODES[:2]), (NODES[2], NODES[4]), ()]
    assert {(layer.kind, layer.precision) for layer in layers} == {("", "")}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": [3]}', '{"Layers": [{"LayerType": "kgen"}]}'])
def test_what_is_no_inspectors_json_is_refused(text: str) -> None:
    with pytest.raises(EngineError, match="build the plan anew, with detailed profiling verbosity"):
        layers_from_json(text)


@pytest.mark.parametrize(
    ("written", "precision"),
    [
        ("Half", "FP16"),
        ("Thirty-two wide channel vectorized row major Int8 format.", "INT8"),
        ("BFloat16", "BF16"),
        ("FP8", "FP8"),
        ("Float", "FP32"),
        ("Bool", "BOOL"),
        ("Int64", "INT64"),
        ("Row major linear FP32", "FP32"),
        ("something new", ""),
    ],
)
def test_precisions_of_all_spellings(written: str, precision: str) -> None:
    entry = {"Name": "n", "Inputs": [tensor("x", written)], "Outputs": []}
    assert layers_from_json(json.dumps({"Layers": [entry]}))[0].precision == precision


def test_times_and_folded_nodes() -> None:
    layers = layers_from_json(json.dumps(detailed()), NODES)
    times = {layers[0].name: 0.02, "_gemm_mha_v2_myl0_7 [profile 1]": 0.05, "unknown": 9.0}
    fusion = fusion_of(layers, NODES, times)
    assert [layer.milliseconds for layer in fusion.layers] == [0.02, 0.05, None, None]
    assert fusion.milliseconds == pytest.approx(0.07)
    assert fusion.folded == ("mask/valid",)
    untimed = fusion_of(layers, NODES)
    assert untimed.milliseconds is None
    assert json.loads(json.dumps(untimed.to_json()))["layers"][0]["kind"] == "gemm"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "shop-encoder", Tiny())


@pytest.fixture(scope="module")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "e"
    build_engine(str(source), out, task="embed", profiles=[Profile(1, 8), Profile(2, 16)])
    return out


@pytest.fixture
def plan(built: Path, tmp_path: Path) -> tuple[Path, Manifest]:
    """A sealed TensorRT artifact whose plan is a fake's."""
    folder = tmp_path / "plan"
    shutil.copytree(built, folder)
    ranges = [Range((1, 8), (1, 8), (2, 16))]
    text = fake_plan(ranges, [Profile(1, 8), Profile(2, 16)], task="embed", dim=32)
    (folder / PLAN).write_bytes(text)
    manifest = read_manifest(built)
    for name in ("manifest.json", "SEAL"):
        (folder / name).unlink()
    device = replace(manifest.device, kind="gpu", name="Fake GPU", features=("sm_90",))
    baseline = {"tensorrt": "10.6.0", "gpu": "Fake GPU"}
    made = replace(manifest, backend="tensorrt", device=device, baseline=baseline, files=files_of(folder))
    seal(folder, made)
    return folder, made


class IProfiler:
    """The base of profilers."""


class Logger:
    def __init__(self) -> None:
        self.errors: list[str] = []

    def taken(self) -> list[str]:
        errors, self.errors = self.errors, []
        return errors

    def log(self, severity: Any, message: str) -> None:
        raise AssertionError(f"{severity}: {message}")


def test_layers_of_one_profile_are_those_that_it_ran() -> None:
    both = detailed()
    both["Layers"] += [{**layer, "Name": f"{layer['Name']} of another"} for layer in both["Layers"]]
    ran = {layer["Name"]: 0.1 for layer in both["Layers"][:4]}
    layers = layers_from_json(json.dumps(both), NODES, ran)
    assert len(layers) == 4
    assert not any("another" in layer.name for layer in layers)
    assert len(layers_from_json(json.dumps(both), NODES)) == 8
    with pytest.raises(EngineError, match=r"timed layers \(of nobody\) that its inspector does not name.*trtexec"):
        layers_from_json(json.dumps(both), NODES, {"of nobody": 0.1})
    with pytest.raises(EngineError, match=r"timed layers \(none\)"):
        layers_from_json(json.dumps(both), NODES, {})


@pytest.mark.parametrize("told", [json.dumps(detailed()), ""])
def test_layers_are_timed_on_the_device(
    told: str, plan: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    from millirank_engines import faketrt

    cuda = FakeCuda()
    trt = FakeTensorRt(cuda)
    trt.IProfiler, trt.LayerInformationFormat = IProfiler, SimpleNamespace(JSON="json")
    run = faketrt._Context.execute_async_v3

    def execute(self: Any, stream: int) -> bool:
        if profiler := getattr(self, "profiler", None):
            profiler.report_layer_time("_gemm_mha_v2_myl0_7 [profile 1]", 0.5)
            profiler.report_layer_time("embedding", 0.25)
        return run(self, stream)

    inspector = SimpleNamespace(get_engine_information=lambda kind: told if kind == "json" else "")
    monkeypatch.setattr(faketrt._Context, "execute_async_v3", execute)
    monkeypatch.setattr(faketrt._Engine, "create_engine_inspector", lambda _: inspector, raising=False)
    folder, manifest = plan
    logger = Logger()
    if not told:
        logger.errors.append("it has none")
        with pytest.raises(EngineFailed, match="inspector tells nothing of tensorrt/fp32: it has none: build it anew"):
            timed_layers(folder / PLAN, manifest, Profile(2, 16), NODES, trt=trt, logger=logger, cuda=cuda)
        return
    fusion = timed_layers(folder / PLAN, manifest, Profile(2, 16), NODES, trt=trt, logger=logger, cuda=cuda)
    times = [(layer.name, layer.milliseconds) for layer in fusion.layers]
    assert times == [("_gemm_mha_v2_myl0_7", pytest.approx(0.5)), ("embedding", pytest.approx(0.25))]
    assert not hasattr(inspector, "execution_context")  # TensorRT 10.6 may crash with one
    assert "launch" not in cuda.calls  # a graph would tell no times
    assert not cuda.open


def test_the_graph_is_made_anew_from_the_model(built: Path, source: Path, tmp_path: Path) -> None:
    manifest = read_manifest(built)
    nodes = nodes_of(manifest)
    assert ("encoder.layer.1.attention/softmax", "Softmax") in nodes
    other = write_model(tmp_path / "other", Tiny(seed=8))
    moved = replace(manifest, command=manifest.command.replace(str(source), str(other)))
    with pytest.raises(EngineError, match="has changed since it was built: give its graph with --onnx"):
        nodes_of(moved)


def run(*arguments: object) -> str:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return " ".join(result.output.split())


def test_without_a_gpu_the_manifest_and_the_graph_are_shown(
    plan: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    from millirank_engines import BackendUnavailable

    def missing(backend: str) -> Any:
        raise BackendUnavailable(backend, "pip install 'millirank[tensorrt]'")

    monkeypatch.setattr(inspecting, "trt_module", missing)
    said = run("inspect", plan[0])
    assert "shop-encoder" in said
    assert "before fusion:" in said
    assert "2 Softmax" in said
    assert "the plan's layers are not shown: the tensorrt runtime is not available: pip install" in said


def test_layers_are_shown_with_time_and_nodes(plan: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Profile] = []

    def inspected(_path: Path, _manifest: Manifest, bucket: Profile, nodes: list[str]) -> Any:
        seen.append(bucket)
        assert "encoder.layer.0.attention/softmax" in nodes
        return fusion_of(layers_from_json(json.dumps(detailed()), NODES), NODES, {"embedding": 0.25})

    monkeypatch.setattr(inspecting, "inspect_plan", inspected)
    said = run("inspect", plan[0], "--bucket", "1x8")
    assert seen == [Profile(1, 8)]
    assert "after fusion: 4 layers of 1x8" in said
    assert "_gemm_mha_v2_myl0_7 │ kgen │ FP16" in said
    assert "0.2500 │ 100.0%" in said
    assert "no layer names 1 nodes, which were folded: mask/valid" in said


def test_an_openvino_artifact_has_no_plan_to_show(built: Path) -> None:
    said = run("inspect", built)
    assert "before fusion" not in said
    assert "shop-encoder" in said

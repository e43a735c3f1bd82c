import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from models import Tiny, edit_json, write_model
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from millirank.commands.engine import app
from millirank_engines import BackendUnavailable, EngineError
from millirank_engines.build.check import Report, Severity, Texts, check_graph, check_model
from millirank_engines.build.check import activations as measuring
from millirank_engines.build.check.operators import PARSED, PARSED_LATER
from millirank_engines.build.check.view import GraphView
from millirank_engines.build.export import export_model
from millirank_engines.build.graph import Form
from millirank_engines.trtmodule import trt_logger, trt_module

F, I64, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
TEXTS = Texts(
    ["usb c cable", "head phones", "a gaming laptop"],
    [{"title": "noise-cancelling headphones", "brand": "AA"}, {"title": "usb c cable 2 m", "description": "black"}],
)
GOOD = Tiny(hidden=128, heads=2, inner=256)


def graph(
    nodes: Sequence[onnx.NodeProto],
    *,
    inputs: dict[str, tuple[int, Sequence[int | str]]] | None = None,
    outputs: Sequence[str] = ("y",),
    constants: dict[str, Any] | None = None,
    opset: int = 17,
    domain: str = "",
) -> onnx.ModelProto:
    """A model of those nodes; x is float (batch, 4, 64) unless other inputs are given."""
    given = inputs or {"x": (F, ["batch", 4, 64])}
    made = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in given.items()],
        [helper.make_tensor_value_info(name, F, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(made, opset_imports=opsets, ir_version=8)


def node(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), output.split(), name=f"n/{output.split(maxsplit=1)[0]}", **attributes)


def said(report: Report, severity: str | None = None) -> list[str]:
    return [f"{f.where}: {f.what}" for f in report.ordered() if severity in {None, f.severity.value}]


def one(report: Report, severity: str, what: str, where: str = "") -> None:
    """Exactly one finding of that severity, which says that, there, and how to mend it."""
    hits = [f for f in report.findings if f.severity == severity and what in f.what and where in f.where]
    assert len(hits) == 1, said(report)
    assert hits[0].fix


def attention(*middle: onnx.NodeProto, probabilities: str = "p", axis: int = -1, **more: Any) -> onnx.ModelProto:
    """Softmax(q kᵀ …) v; the middle turns s into m. All of (batch, 2, rows, 64)."""
    shape = ["batch", 2, "rows", 64]
    nodes = [
        node("MatMul", "q kt", "s"),
        *middle,
        node("Softmax", "m" if middle else "s", "p", axis=axis),
        node("MatMul", f"{probabilities} v", "y"),
    ]
    inputs = {"q": (F, shape), "kt": (F, ["batch", 2, 64, "rows"]), "v": (F, shape)}
    return graph([*nodes, *more.pop("after", [])], inputs={**inputs, **more.pop("inputs", {})}, **more)


def test_our_own_graphs_are_clean(tmp_path: Path) -> None:
    for tiny in (GOOD, replace(GOOD, task="rerank"), replace(GOOD, family="roberta", task="rerank", pooling="cls")):
        for activation in ("gelu", "gelu_new"):
            source = write_model(
                tmp_path / f"{tiny.family}{tiny.task}{activation}", replace(tiny, activation=activation)
            )
            report = check_model(str(source), task=tiny.task, texts=TEXTS)
            assert not report.findings, said(report)
            assert report.facts["normalization"] == "post-LN"
            assert "2 attention blocks" in report.facts["graph"]
            for form in (Form(), Form(half_norm=True), Form(half_norm=True, joined_qkv=True, time_major=True)):
                half = export_model(str(source), tmp_path / "half", task=tiny.task, precision="fp16", form=form)
                report = check_graph(onnx.load(half.folder / "model.onnx"), 59)
                assert not report.findings, said(report)
                assert report.facts["normalization"] == "post-LN"
                assert "2 attention blocks" in report.facts["graph"]


def test_fused_attention_and_layer_norm_are_clean() -> None:
    added = attention(node("Add", "s mask", "m"), inputs={"mask": (F, ["batch", 1, 1, "rows"])})
    assert not check_graph(added).findings
    chosen = attention(
        node("Where", "mask s low", "m"),
        inputs={"mask": (B, ["batch", 1, 1, "rows"])},
        constants={"low": np.float32(-3e4)},
    )
    assert not check_graph(chosen).findings


@pytest.mark.parametrize(
    ("made", "what", "where"),
    [
        (attention(node("Div", "s c", "m"), constants={"c": np.float32(8)}), "the scale stands after", "n/m"),
        (
            attention(node("Shape", "q", "size"), node("Cast", "size", "c", to=F), node("Mul", "s c", "m")),
            "the scale stands after",
            "n/m",
        ),
        (attention(axis=2), "not over the last axis", "n/p"),
        (attention(outputs=("y", "p")), "read outside attention", "n/p"),
        (
            attention(node("Gather", "s rows", "m", axis=3), constants={"rows": np.arange(3)}),
            "sparse or windowed attention",
            "n/m",
        ),
        (
            attention(node("Reshape", "s flat", "m"), constants={"flat": np.array([0, 0, -1, 64])}),
            "change their shape between",
            "n/m",
        ),
    ],
)
def test_attention_that_does_not_fuse_is_named(made: onnx.ModelProto, what: str, where: str) -> None:
    report = check_graph(made)
    one(report, "slows", what, where)
    assert not report.blocked


def test_einsum_and_a_softmax_in_pieces_do_not_fuse() -> None:
    shape = ["batch", 2, "rows", 64]
    nodes = [
        node("Einsum", "q k", "s", equation="bhid,bhjd->bhij"),
        node("Softmax", "s", "p", axis=-1),
        node("Einsum", "p v", "y", equation="bhij,bhjd->bhid"),
    ]
    one(check_graph(graph(nodes, inputs=dict.fromkeys("qkv", (F, shape)))), "slows", "Einsum", "n/s, n/y")
    nodes = [
        node("Exp", "x", "e"),
        node("ReduceSum", "e last", "t", keepdims=1),
        node("Div", "e t", "y"),
    ]
    one(check_graph(graph(nodes, constants={"last": np.array([-1])})), "slows", "Softmax in pieces", "n/e, n/t, n/y")


def pieces(*, centred: bool) -> list[onnx.NodeProto]:
    start = [node("ReduceMean", "x", "mean", axes=[-1]), node("Sub", "x mean", "d")] if centred else []
    return [
        *start,
        node("Pow", f"{'d' if centred else 'x'} two", "sq"),
        node("ReduceMean", "sq", "var", axes=[-1]),
        node("Add", "var eps", "ve"),
        node("Sqrt", "ve", "sd"),
        node("Div", f"{'d' if centred else 'x'} sd", "y"),
    ]


def test_normalization_in_pieces_is_named() -> None:
    numbers = {"two": np.float32(2), "eps": np.float32(1e-6)}
    report = check_graph(graph(pieces(centred=True), constants=numbers))
    one(report, "slows", "LayerNorm in pieces (ReduceMean Sub Pow Add Sqrt)", "n/mean")
    report = check_graph(graph(pieces(centred=False), constants=numbers))
    one(report, "slows", "RMSNorm in pieces", "n/sq")
    affine = {"g": np.ones((4, 64), np.float32)}
    report = check_graph(graph([node("LayerNormalization", "x g", "y", axis=1)], constants=affine))
    one(report, "slows", "more than the last axis", "n/y")


def block(order: str) -> onnx.ModelProto:
    """Two residual sums with their normalization before or after."""
    weights = {"w": np.zeros((64, 64), np.float32), "g": np.ones(64, np.float32)}
    if order == "pre-LN":
        nodes = [
            node("Add", "x x", "a0"),
            node("LayerNormalization", "a0 g", "n0"),
            node("MatMul", "n0 w", "m0"),
            node("Add", "m0 a0", "a1"),
            node("LayerNormalization", "a1 g", "n1"),
            node("MatMul", "n1 w", "m1"),
            node("Add", "m1 a1", "a2"),
            node("LayerNormalization", "a2 g", "y"),
        ]
    else:
        nodes = [
            node("LayerNormalization", "x g", "n0"),
            node("MatMul", "n0 w", "m0"),
            node("Add", "m0 n0", "a0"),
            node("LayerNormalization", "a0 g", "n1"),
            node("MatMul", "n1 w", "m1"),
            node("Add", "m1 n1", "a1"),
            node("LayerNormalization", "a1 g", "y"),
        ]
    return graph(nodes, constants=weights)


@pytest.mark.parametrize("order", ["pre-LN", "post-LN"])
def test_the_place_of_normalization_is_told(order: str) -> None:
    report = check_graph(block(order))
    assert report.facts["normalization"] == order
    assert check_graph(graph([node("Relu", "x", "y")])).facts["normalization"] == "none"


def branch(*, constant: bool) -> onnx.ModelProto:
    bodies = [
        helper.make_graph(
            [node(kind, "x", f"{kind}_o")], kind, [], [helper.make_tensor_value_info(f"{kind}_o", F, None)]
        )
        for kind in ("Relu", "Neg")
    ]
    condition = {"c": np.array(1, bool)} if constant else {}
    inputs: dict[str, tuple[int, Sequence[int | str]]] = {"x": (F, [4])}
    if not constant:
        inputs["c"] = (B, [])
    return graph(
        [node("If", "c", "y", then_branch=bodies[0], else_branch=bodies[1])], inputs=inputs, constants=condition
    )


def test_control_flow_blocks_unless_it_is_decided_already() -> None:
    report = check_graph(branch(constant=False))
    one(report, "blocks", "If is decided while the engine runs", "n/y")
    report = check_graph(branch(constant=True))
    one(report, "risks", "its condition is a constant", "n/y")
    assert not report.blocked


def test_operators_in_the_bodies_of_control_flow_count() -> None:
    body = helper.make_graph([node("Det", "x", "d")], "b", [], [helper.make_tensor_value_info("d", F, None)])
    other = helper.make_graph(
        [node("ReduceSum", "x", "r", keepdims=0)], "o", [], [helper.make_tensor_value_info("r", F, None)]
    )
    inputs = {"x": (F, [4, 4]), "c": (B, [])}
    one(
        check_graph(graph([node("If", "c", "y", then_branch=body, else_branch=other)], inputs=inputs)),
        "blocks",
        "Det is",
    )


def test_loops_and_recurrence() -> None:
    body = helper.make_graph(
        [node("Identity", "ci", "co"), node("Neg", "vi", "vo")],
        "b",
        [
            helper.make_tensor_value_info("i", I64, []),
            helper.make_tensor_value_info("ci", B, []),
            helper.make_tensor_value_info("vi", F, [4]),
        ],
        [helper.make_tensor_value_info("co", B, []), helper.make_tensor_value_info("vo", F, [4])],
    )
    made = graph(
        [node("Loop", "n c x", "y", body=body)],
        inputs={"x": (F, [4])},
        constants={"n": np.array(3), "c": np.array(1, bool)},
    )
    one(check_graph(made), "blocks", "Loop is decided", "n/y")
    weights = {"w": np.zeros((1, 256, 64), np.float32), "r": np.zeros((1, 256, 64), np.float32)}
    made = graph([node("LSTM", "x w r", "y", hidden_size=64)], constants=weights)
    one(check_graph(made), "slows", "one step a token", "n/y")


@pytest.mark.parametrize(
    ("nodes", "what", "constants"),
    [
        ([node("NonZero", "x", "z"), node("Cast", "z", "y", to=F)], "NonZero has an output as long as", {}),
        ([node("Unique", "x", "y")], "Unique has an output as long as", {}),
        ([node("Compress", "x keep", "y", axis=1)], "Compress has an output", {"keep": np.ones(4, bool)}),
        (
            [
                node("ReduceSum", "x", "t", keepdims=0),
                node("Cast", "t", "n", to=I64),
                node("Where", "yes n one", "size"),
                node("Expand", "x size", "y"),
            ],
            "Expand takes its size from values",
            {"yes": np.array(1, bool), "one": np.array([1])},
        ),
        (
            [
                node("ReduceMax", "x", "t", keepdims=0),
                node("Cast", "t", "i", to=I64),
                node("Unsqueeze", "i zero", "k"),
                node("TopK", "x k", "y idx"),
            ],
            "TopK takes its size from values",
            {"zero": np.array([0])},
        ),
        (
            [
                node("ReduceMax", "x", "t", keepdims=0),
                node("Unsqueeze", "t zero", "s1"),
                node("Concat", "s1 s1 s1", "scales", axis=0),
                node("Resize", "x none scales", "y", mode="nearest"),
            ],
            "Resize takes its size from values",
            {"zero": np.array([0]), "none": np.empty(0, np.float32)},
        ),
    ],
)
def test_shapes_that_depend_on_data_block(nodes: list[onnx.NodeProto], what: str, constants: dict[str, Any]) -> None:
    report = check_graph(graph(nodes, constants=constants))
    one(report, "blocks", what, "n/")


def test_shapes_that_follow_the_inputs_are_fine() -> None:
    nodes = [
        node("Shape", "x", "size"),
        node("Gather", "size first", "batch"),
        node("Concat", "batch rest", "new", axis=0),
        node("Reshape", "x new", "y"),
    ]
    report = check_graph(graph(nodes, constants={"first": np.array([0]), "rest": np.array([256])}))
    assert not report.findings, said(report)
    nodes = [node("Shape", "x", "size"), node("Gather", "size first", "k"), node("TopK", "x k", "y idx", axis=0)]
    one(check_graph(graph(nodes, constants={"first": np.array([0])})), "slows", "TopK with a k that follows", "n/y")
    fixed = graph([node("TopK", "x k", "y idx")], constants={"k": np.array([3])})
    assert not check_graph(fixed).findings


def test_resize_takes_only_some_modes() -> None:
    scales = {"none": np.empty(0, np.float32), "scales": np.array([1, 1, 2], np.float32)}
    wrong = node("Resize", "x none scales", "y", coordinate_transformation_mode="half_pixel_symmetric")
    one(check_graph(graph([wrong], constants=scales, opset=19)), "blocks", "Resize with half_pixel_symmetric")
    right = node("Resize", "x none scales", "y", coordinate_transformation_mode="asymmetric")
    assert not check_graph(graph([right], constants=scales)).findings


@pytest.mark.parametrize(
    ("made", "what"),
    [
        (graph([node("Det", "x", "y")]), "Det is not parsed by any TensorRT"),
        (graph([node("Gelu", "x", "y")], opset=20), "Gelu is parsed by TensorRT-RTX 1.7 and 11, not by TensorRT 10.6"),
        (
            graph([node("FusedMatMul", "x x", "y", domain="com.microsoft")], domain="com.microsoft"),
            "com.microsoft.FusedMatMul is no standard operator",
        ),
        (graph([node("Relu", "x", "y")], opset=8), "opset 8"),
        (graph([node("Identity", "x", "y")], inputs={"x": (TensorProto.STRING, [1])}), "TensorRT has no strings"),
    ],
)
def test_what_the_parser_lacks_blocks(made: onnx.ModelProto, what: str) -> None:
    one(check_graph(made), "blocks", what)


def test_float64_is_a_risk() -> None:
    made = graph([node("Add", "x c", "y")], inputs={"x": (TensorProto.DOUBLE, [4])}, constants={"c": np.float64(1)})
    one(check_graph(made), "risks", "float64", "x")


def test_experts_are_found_in_the_graph() -> None:
    nodes = [
        node("MatMul", "x router", "logits"),
        node("Softmax", "logits", "gates", axis=-1),
        node("TopK", "gates k", "top idx"),
        node("ScatterElements", "gates idx top", "y", axis=-1),
    ]
    constants = {"router": np.zeros((64, 16), np.float32), "k": np.array([2])}
    report = check_graph(graph(nodes, constants=constants))
    one(report, "slows", "mixture of experts", "n/top")


def test_widths_of_weights_and_heads() -> None:
    made = graph([node("MatMul", "x w", "y")], constants={"w": np.zeros((64, 300), np.float32)})
    one(check_graph(made), "slows", "300 channels are no multiple of 8", "n/y")
    made = graph([node("MatMul", "x w", "y")], constants={"w": np.zeros((64, 1), np.float32)})
    assert not check_graph(made).findings  # one logit is no work
    shape = ["batch", 2, "rows", 32]
    nodes = [node("MatMul", "q kt", "s"), node("Softmax", "s", "p", axis=-1), node("MatMul", "p v", "y")]
    inputs = {"q": (F, shape), "kt": (F, ["batch", 2, 32, "rows"]), "v": (F, shape)}
    one(check_graph(graph(nodes, inputs=inputs)), "slows", "heads are 32 wide", "n/s")


def test_constants_beyond_fp16() -> None:
    made = graph([node("Add", "x low", "y")], constants={"low": np.float32(-3.4e38)})
    one(check_graph(made), "risks", "a constant beyond FP16", "low")
    made = graph([node("MatMul", "x w", "y")], constants={"w": np.full((64, 64), 7e4, np.float32)})
    one(check_graph(made), "blocks", "weights beyond FP16", "w")


@pytest.mark.parametrize(
    ("changes", "severity", "what"),
    [
        ({"hidden_size": 384, "num_attention_heads": 12}, "slows", "heads are 32 wide"),
        ({"hidden_size": 100, "num_attention_heads": 5}, "slows", "heads are 20 wide, no multiple of 8"),
        ({"hidden_size": 128, "num_attention_heads": 3}, "blocks", "does not divide by 3 heads"),
        ({"intermediate_size": 250}, "slows", "250 channels are no multiple of 8"),
        (
            {"intermediate_size": 264},
            "slows",
            "264 channels are no multiple of 64: the last tile is filled in part, 18%",
        ),
        ({"attention_window": [512]}, "slows", "sparse attention (attention_window)"),
        ({"attention_type": "block_sparse"}, "slows", "sparse attention (block_sparse)"),
        ({"num_local_experts": 8}, "slows", "mixture of experts (num_local_experts)"),
        ({"max_position_embeddings": 48}, "blocks", "inputs of 50 tokens, but the position table has 48 rows"),
    ],
)
def test_what_config_json_tells(tmp_path: Path, changes: dict[str, Any], severity: str, what: str) -> None:
    source = write_model(tmp_path / "m", GOOD)
    edit_json(source / "config.json", **changes)
    report = check_model(str(source), task="embed", texts=TEXTS)
    assert any(f.severity == severity and what in f.what for f in report.findings), said(report)


def test_lengths_beyond_the_position_table_are_refused_with_the_reason(tmp_path: Path) -> None:
    source = write_model(tmp_path / "r", replace(GOOD, family="roberta", positions=130))
    assert not check_model(str(source), task="embed", texts=TEXTS, length=128).blocked
    report = check_model(str(source), task="embed", texts=TEXTS, length=129)
    one(report, "blocks", "has 130 rows (2 of them are kept for padding): a token after the 128th", "config.json")
    exported = export_model(str(source), tmp_path / "out", task="embed")
    one(check_graph(onnx.load(exported.folder / "model.onnx"), 129), "blocks", "this table has 128 positions")


def test_what_the_exporter_refuses_blocks_and_a_graph_of_ones_own_helps(tmp_path: Path) -> None:
    source = write_model(tmp_path / "m", GOOD)
    onnx_file = export_model(str(source), tmp_path / "out", task="embed").folder / "model.onnx"
    edit_json(source / "config.json", hidden_act="swish")
    report = check_model(str(source), task="embed", texts=TEXTS)
    one(report, "blocks", "exporter refuses it: m has the activation swish")
    report = check_model(str(source), task="embed", texts=TEXTS, onnx=onnx_file)
    assert not report.findings, said(report)
    assert "largest activation" in report.facts


def test_a_graph_alone_is_checked_without_its_activations(tmp_path: Path) -> None:
    file = tmp_path / "g.onnx"
    onnx.save(block("pre-LN"), str(file))
    report = check_model(str(file), task="embed", texts=TEXTS)
    one(report, "risks", "activations were not measured", str(file))
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(EngineError, match="is no ONNX model"):
        check_model(str(tmp_path / "bad.onnx"), task="embed", texts=TEXTS)


@pytest.mark.parametrize(("factor", "severity"), [(1.0, None), (6.0, "risks"), (1000.0, "blocks")])
def test_fp16_overflow_is_measured_on_text(tmp_path: Path, factor: float, severity: str | None) -> None:
    from safetensors.numpy import load_file, save_file

    source = write_model(tmp_path / "m", GOOD)
    tensors = load_file(source / "model.safetensors")
    name = next(n for n in tensors if n.endswith("layer.1.intermediate.dense.bias"))
    tensors[name] = np.full_like(tensors[name], factor * 500)
    save_file(tensors, source / "model.safetensors")
    report = check_model(str(source), task="embed", texts=TEXTS)
    wrong = [f for f in report.findings if "|activation|" in f.what]
    if severity is None:
        assert not wrong, said(report)
    else:
        assert [f.severity for f in wrong][:1] == [Severity(severity)], said(report)
        assert "encoder.layer.1" in wrong[0].where


def test_peaks_are_those_of_the_reference() -> None:
    from onnx.reference import ReferenceEvaluator

    weights = {"w": np.eye(64, dtype=np.float32) * 3, "one": np.array([64], np.int64)}
    nodes = [
        node("Cast", "input_ids", "f", to=F),
        node("Unsqueeze", "f last", "u"),
        node("Expand", "u wide", "e"),
        node("MatMul", "e w", "m"),
        node("Relu", "m", "y"),
    ]
    made = graph(
        nodes,
        inputs={"input_ids": (I64, ["batch", "length"])},
        constants={**weights, "last": np.array([2]), "wide": np.array([1, 1, 64])},
    )
    texts = [{"input_ids": [5, 7]}, {"input_ids": [9, 1]}, {"input_ids": [2, 3, 4]}]
    found = {peak.tensor: peak for peak in measuring.peaks(made, texts)}
    seen = ReferenceEvaluator(
        graph(
            nodes[:4],
            inputs={"input_ids": (I64, ["batch", "length"])},
            outputs=("m",),
            constants={**weights, "last": np.array([2]), "wide": np.array([1, 1, 64])},
        )
    )
    (wanted,) = seen.run(["m"], {"input_ids": np.array([[5, 7], [9, 1]])})
    assert found["m"].value == pytest.approx(np.abs(wanted).max())
    assert found["m"].headroom == pytest.approx(65504 / 27)
    assert found["m"].node == "n/m"


def test_the_table_of_operators_is_one_of_onnx() -> None:
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
    later = {"CausalConvWithState", "LinearAttention"}  # newer than the lowest onnx that is allowed
    assert known >= PARSED
    assert known | later >= PARSED_LATER
    assert not PARSED & PARSED_LATER


def test_the_table_of_operators_is_the_parsers_own() -> None:
    try:
        trt, logger = trt_module("tensorrt-rtx"), trt_logger("tensorrt-rtx")
    except BackendUnavailable as error:
        pytest.skip(str(error))
    parser = trt.OnnxParser(trt.Builder(logger).create_network(0), logger)
    assert {name for name in PARSED | PARSED_LATER if not parser.supports_operator(name)} == set()
    assert not parser.supports_operator("Det")


def test_constants_of_nodes_are_seen() -> None:
    value = numpy_helper.from_array(np.array([2, 3]), "v")
    view = GraphView(graph([helper.make_node("Constant", [], ["c"], value=value), node("Expand", "x c", "y")]))
    constant = view.constant("c")
    assert constant is not None
    assert constant.tolist() == [2, 3]
    assert view.constant("y") is None


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["check", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_prints_a_table_and_fails_on_what_blocks(tmp_path: Path, tiny_index: Path) -> None:
    source = write_model(tmp_path / "m", replace(GOOD, task="rerank"))
    told = run(source)
    assert "nothing that would hurt was found" in told
    assert "rerank" in told  # by its architecture
    told = run(source, "--length", 600, "--catalog", tiny_index, code=1)
    assert "blocks" in told
    assert "the position table has 258 rows" in told
    data = json.loads(run(source, "--length", 600, "--json", code=1))
    assert data["blocked"] is True
    assert data["findings"][0]["fix"].startswith("cut texts to 258 tokens")
    with pytest.raises(EngineError, match="could not be downloaded"):
        run(tmp_path / "nothing")


def test_the_report_is_plain_data() -> None:
    report = check_graph(branch(constant=False))
    data = json.loads(json.dumps(report.to_json()))
    assert data["blocked"] is True
    assert data["findings"][0]["severity"] == "blocks"

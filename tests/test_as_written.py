"""The graph that says on a CPU what FP16 rounds."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from millirank_engines import Profile
from millirank_engines.build.export import export_model
from millirank_engines.model import RERANKER

LENGTH = 8


def test_every_value_of_an_fp16_graph_goes_through_float16(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    written = importlib.import_module("peers.as_written")
    half = export_model(RERANKER, tmp_path / "half", task="rerank", precision="fp16").folder / "model.onnx"
    full = export_model(RERANKER, tmp_path / "full", task="rerank").folder / "model.onnx"

    model = written.rounding(half)
    products = [node.name for node in model.graph.node if node.op_type == "MatMul" and "/exact" in node.output[0]]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in products)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {one.name: np.ones((2, LENGTH), np.int32) for one in session.get_inputs()}
    feeds["input_ids"] = np.arange(1000, 1000 + 2 * LENGTH, dtype=np.int32).reshape(2, LENGTH)
    values = session.run(products, feeds)

    assert products
    assert all(np.array_equal(value, value.astype(np.float16).astype(np.float32)) for value in values)
    scores = []
    for onnx_file in (half, full):
        engine = written.AsWritten(onnx_file, (Profile(2, LENGTH),))
        scores.append(engine.infer(feeds)["score"])
        engine.close()
    assert 0 < np.abs(scores[0] - scores[1]).max() < 0.01

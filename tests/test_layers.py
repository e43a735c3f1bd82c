"""What layers of a reranker cost, as loadtest/layers.py times it, and the one of six that GPUs are measured with."""

import argparse
import importlib
from pathlib import Path

import pytest
from models import Tiny, calm, write_model

LOADTEST = Path(__file__).parents[1] / "loadtest"


def test_rerankers_are_named_by_their_layers_and_compared_with_the_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(LOADTEST))
    script = importlib.import_module("layers")
    made = [write_model(tmp_path / f"of{n}", Tiny(task="rerank", layers=n)) for n in (1, 3)]
    given = argparse.Namespace(work=tmp_path, backend="openvino", precision="fp32", replays=3, seconds=0.01)
    rows = script.layer_rows([str(calm(folder)) for folder in made], given)
    told = {(row.case, row.metric): row.value for row in rows}
    for shape in script.SHAPES:
        assert told[f"rerank/{shape}/3 layers", "of most"] == 100
        share = told[f"rerank/{shape}/1 layers", "p50"] / told[f"rerank/{shape}/3 layers", "p50"]
        assert told[f"rerank/{shape}/1 layers", "of most"] == pytest.approx(100 * share)
        assert told[f"rerank/{shape}/1 layers", "calls"] == 3


def test_the_minilm_that_gpus_are_measured_with_has_six_layers_whatever_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(LOADTEST))
    from subjects import SUBJECTS

    from millirank_engines.build.export import export_model
    from millirank_engines.model import ENCODER

    subject = next(one for one in SUBJECTS if one.name == "minilm-reranker")
    made = export_model(subject.source(tmp_path), tmp_path / "graph", task="rerank")
    assert (made.spec.layers, made.spec.hidden, made.spec.dim) == (6, 384, 1)
    encoder = export_model(ENCODER, tmp_path / "encoder", task="embed").spec
    assert (made.spec.vocab_size, made.spec.type_ids) == (encoder.vocab_size, encoder.type_ids)
    weights = tmp_path / "minilm-l6" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    subject.source(tmp_path)
    assert weights.stat().st_mtime_ns == written

"""The reranker with fewer layers, as loadtest/layers.py times it."""

import json
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

LOADTEST = Path(__file__).parents[1] / "loadtest"


def test_the_first_layers_are_kept_and_nothing_else_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(LOADTEST))
    monkeypatch.delitem(sys.modules, "layers", raising=False)
    from layers import shortened
    from peers.minilm import write_minilm

    source = write_minilm(tmp_path / "six")
    folder = shortened(source, tmp_path / "two", 2)
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 2
    with (
        safe_open(source / "model.safetensors", "np") as whole,
        safe_open(folder / "model.safetensors", "np") as kept,
    ):
        left, all_of_them = set(kept.keys()), set(whole.keys())
    assert {name.split("encoder.layer.")[1][0] for name in left if "encoder.layer." in name} == {"0", "1"}
    assert {name for name in all_of_them - left if "encoder.layer." not in name} == set()
    assert all("encoder.layer." in name for name in all_of_them - left)


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

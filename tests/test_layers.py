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

    from millirank_engines.build.source import resolve_source
    from millirank_engines.model import RERANKER

    folder = shortened(tmp_path / "two", 2)
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 2
    with (
        safe_open(resolve_source(RERANKER) / "model.safetensors", "np") as whole,
        safe_open(folder / "model.safetensors", "np") as kept,
    ):
        left, all_of_them = set(kept.keys()), set(whole.keys())
    assert {name.split("encoder.layer.")[1][0] for name in left if "encoder.layer." in name} == {"0", "1"}
    assert {name for name in all_of_them - left if "encoder.layer." not in name} == set()
    assert all("encoder.layer." in name for name in all_of_them - left)

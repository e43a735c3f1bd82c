from pathlib import Path

import catalog_kit as kit
import numpy as np
import pytest

from millirank.catalog.indexes import LEXICAL_WEIGHT
from millirank.catalog.ingest import build_snapshot
from millirank.catalog.snapshot import Snapshot
from millirank.fusion import WEIGHTS, chosen, learned
from millirank.retrieve import Fusion, HybridRetriever
from millirank.types import Order


@pytest.mark.parametrize(
    ("peak", "weight"),
    [(0.5, 0.5), (0.8, 0.65), (0.3, 0.4)],
)
def test_the_weight_goes_half_the_way(peak: float, weight: float) -> None:
    assert chosen(np.array([-abs(w - peak) for w in WEIGHTS])) == weight


def test_an_index_keeps_what_was_learned(tmp_path: Path) -> None:
    shop = [
        {"id": f"{kind}{n}", "title": f"{brand} {kind} {n}", "brand": brand, "category": kind}
        for kind in (f"{a} {b}" for a in kit.COLOURS for b in kit.KINDS)
        for n, brand in enumerate(kit.BRANDS)
    ]
    runs = []
    for name in ("one", "two"):
        build_snapshot(tmp_path / name, kit.rows(shop), kit.models(tmp_path), learn=learned)
        snapshot = Snapshot.open(tmp_path / name)
        fusion = snapshot.manifest["fusion"]
        assert HybridRetriever(snapshot).fused(Order(np.array([3], np.uint32), np.ones(1, np.float32)), None).exact == 0
        snapshot.close()
        runs.append(fusion)
    assert runs[0] == runs[1]
    assert runs[0]["lexical"] in WEIGHTS
    assert runs[0]["queries"] >= 40


def test_a_small_catalogue_takes_the_default(tmp_path: Path) -> None:
    build_snapshot(tmp_path / "index", kit.titled(["red kettle", "blue kettle"]), kit.models(tmp_path), learn=learned)
    snapshot = Snapshot.open(tmp_path / "index")
    assert snapshot.manifest["fusion"] == {"lexical": LEXICAL_WEIGHT, "queries": 0}
    snapshot.close()


def test_weights_decide_whose_first_is_first() -> None:
    words, near = Order(np.array([5, 3], np.uint32), np.ones(2, np.float32)), np.array([9, 3], np.uint32)
    assert Fusion(0.9)(words, near).rows.tolist() == [3, 5, 9]
    assert Fusion(0.1)(words, near).rows.tolist() == [3, 9, 5]
    assert Fusion(0.9)(words, None).rows.tolist() == [5, 3]
    exact = Order(words.rows, words.scores, exact=1)
    assert Fusion(0.1)(exact, near).rows.tolist() == [5, 3, 9]
    assert Fusion(0.1)(exact, near).exact == 1

"""The whole gate of the INT8 scales that ship, in exact arithmetic, on Chorus; as `millirank engine calibrate` asks."""

import os
from pathlib import Path

import pytest
from chorus_kit import ChorusShop

from millirank.commands.quantized import Wish
from millirank.commands.scales import calibrated
from millirank_engines import Task
from millirank_engines.build.quantize.gate import LIMITS
from millirank_engines.build.quantize.scales import FILE, Scales
from millirank_engines.build.quantize.shipped import scales_beside
from millirank_engines.model import ENCODER, RERANKER

pytestmark = pytest.mark.skipif(
    "MILLIRANK_CHORUS" not in os.environ, reason="MILLIRANK_CHORUS does not name the data's folder"
)
SHALLOW = 4  # candidates; at 50 two thousand queries take two cores more than ten minutes


@pytest.mark.parametrize(
    ("model", "task", "figures"),
    [
        (ENCODER, "embed", {"top1", "ndcg@10", "cosine_p1", "recall@100"}),
        (RERANKER, "rerank", {"top1", "ndcg@10", "kendall_tau"}),
    ],
)
def test_scales_that_ship_pass_the_gate(
    chorus: ChorusShop, tmp_path: Path, model: str, task: Task, figures: set[str]
) -> None:
    scales, judgments = scales_beside(model), chorus.index.parent / "judgments.csv"
    wish = Wish(str(scales), chorus.index, judgments, depth=SHALLOW)
    found = {one.name: one for one in calibrated(model, task, wish, tmp_path / FILE, tmp_path / "work", lambda _: None)}
    assert found.keys() == figures
    assert found["top1"].count >= 2000
    assert found["ndcg@10"].count == 57
    assert {name: one.limit for name, one in found.items()} == {name: LIMITS[name] for name in figures}
    assert all(one.passed for one in found.values())
    assert Scales.read(tmp_path / FILE).about["gate"]

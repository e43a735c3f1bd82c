"""The curve of rerankers starts from the order that the service makes, of the words that it searches for."""

import asyncio
import importlib
from pathlib import Path
from types import ModuleType

import pytest

from millirank.commands.orders import rankings
from millirank.config import Settings
from millirank.stack import Stack

WRONG, RIGHT = "silver ketlte", "silver kettle"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "loadtest"))
    return importlib.import_module("variants")


def test_the_first_stage_and_the_reranker_read_what_the_service_reads(
    script: ModuleType, tiny_index: Path, tmp_path: Path
) -> None:
    stage = script.FirstStage(tiny_index)
    assert stage.searched([WRONG, RIGHT]) == [RIGHT, RIGHT]
    found = stage.orders([WRONG, RIGHT])
    stack = Stack(Settings(index=tiny_index, sla_ms=0, rerank_depth=0), background=False)
    try:
        served = asyncio.run(rankings(stack, (WRONG, RIGHT)))["fused"]
    finally:
        stack.close()
    for query, ids in served.items():
        assert ids == list(stage.snapshot.ids(found[query].rows))[: len(ids)]
    model = script.Reranker("tiny", str(tiny_index.parent / "reranker"), tmp_path, "openvino", stage)
    final = model.run(script.Asked("typed", {}, found, 20))
    assert final[WRONG] == final[RIGHT] != served[RIGHT]
    for engine in (stage.encoder, *model.engines):
        engine.engine.close()
    stage.snapshot.close()

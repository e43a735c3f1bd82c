from pathlib import Path

import grpc
import pytest
from shop import open_shop

from millirank.core import Core
from millirank.errors import Unavailable
from millirank.rehearsal import LEAST_OWN, PATIENCE, QUERIES, rehearse, rehearsed


async def test_a_rehearsal_tells_the_encoder_from_the_rest(tmp_path: Path) -> None:
    with open_shop(tmp_path, encoder={"delay": lambda _call: 0.05}) as shop:
        found = await rehearse(shop.pipeline)
        assert shop.encoder.calls == QUERIES
        assert shop.reranker.calls == QUERIES
    assert found.encode >= 0.05
    assert LEAST_OWN <= found.own < found.encode
    assert found.outside > 0


async def test_a_rehearsal_without_a_core_is_told(tmp_path: Path) -> None:
    def stopped(core: Core) -> None:
        core.start()
        core.close()

    with open_shop(tmp_path, start=stopped) as shop, pytest.raises(Unavailable, match="a rehearsal failed") as caught:
        await rehearse(shop.pipeline)
    assert isinstance(caught.value.__cause__, grpc.aio.AioRpcError)


async def test_rehearsals_that_are_late_show_nothing(tmp_path: Path) -> None:
    with open_shop(tmp_path, encoder={"delay": lambda call: 0.6 if call == 3 else 0.0}) as shop:
        found = await rehearse(shop.pipeline)
    assert found.encode < 0.6
    assert found.outside < PATIENCE


async def test_that_no_rehearsal_is_answered_in_time_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millirank.rehearsal.PATIENCE", 1e-6)
    with open_shop(tmp_path) as shop, pytest.raises(Unavailable, match="less busy"):
        await rehearse(shop.pipeline)


async def test_a_rehearsal_that_was_too_slow_for_the_promise_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millirank.rehearsal.LATER", 0.01)
    with open_shop(tmp_path, encoder={"delay": lambda call: 0.06 if call <= QUERIES else 0.0}) as shop:
        found = await rehearsed(shop.pipeline, promised=0.05)
        assert QUERIES < shop.encoder.calls <= 4 * QUERIES
        assert found.encode < 0.06
        assert found.total <= 0.05


async def test_a_machine_that_stays_too_slow_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("millirank.rehearsal.LATER", 0.01)
    monkeypatch.setattr("millirank.rehearsal.AGAIN", 1)
    with open_shop(tmp_path, encoder={"delay": lambda _call: 0.03}) as shop:
        assert (await rehearsed(shop.pipeline, promised=0.02)).encode >= 0.03
        assert shop.encoder.calls == 2 * QUERIES
        assert (await rehearsed(shop.pipeline, promised=None)).encode >= 0.03
        assert shop.encoder.calls == 3 * QUERIES

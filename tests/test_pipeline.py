import asyncio
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shop import TITLES, Gate, Shop, open_shop

from millirank.costs import CostTable
from millirank.errors import DeadlineExceeded
from millirank.jobs import Encoded
from millirank.pipeline import Limits, Pipeline
from millirank.rerank import blend
from millirank.transport import InProcess
from millirank.types import Degraded, Order, Phase, Priority, Query, Ranking
from millirank_engines.base import Profile
from millirank_engines.pack import Ids


async def ask(
    shop: Shop, text: str, *, left: float | None = None, limit: int = 10, depth: int | None = None
) -> list[Ranking]:
    now = time.monotonic()
    deadline = None if left is None else now + left
    query = Query(text, limit=limit, rerank_depth=depth, deadline=deadline, arrived=now)
    return [ranking async for ranking in shop.pipeline.search(query)]


async def test_a_query_gets_a_provisional_and_a_final_order(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        provisional, final = await ask(shop, "running shoe")
    assert (provisional.phase, final.phase) == (Phase.RETRIEVED, Phase.RANKED)
    assert {TITLES[int(hit.id[1:])] for hit in final.hits[:2]} == {"red running shoe", "blue running shoe"}
    assert final.rerank_depth == len(TITLES)
    assert final.degraded is None
    assert final.index_version == "7"
    assert final.timings.total >= final.timings.encode > 0
    assert final.timings.rerank > 0


async def test_both_phases_hold_limit_hits_with_their_products(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        for ranking in await ask(shop, "coffee", limit=3):
            assert [hit.rank for hit in ranking.hits] == [1, 2, 3]
            assert all(TITLES[int(hit.id[1:])].encode() in hit.product for hit in ranking.hits)
            scores = [hit.score for hit in ranking.hits]
            assert scores == sorted(scores, reverse=True)


async def test_depth_is_a_cap(tmp_path: Path) -> None:
    with open_shop(tmp_path, limits=Limits(rerank_depth=6)) as shop:
        assert [(await ask(shop, "coffee", depth=depth))[1].rerank_depth for depth in (2, 6, 50, None)] == [2, 6, 6, 6]


async def test_a_reranker_fault_leaves_the_provisional_order(tmp_path: Path) -> None:
    with open_shop(tmp_path, reranker={"fail": lambda _: True}) as shop:
        provisional, final = await ask(shop, "coffee")
    assert final.degraded is Degraded.RERANKER_FAULT
    assert [hit.id for hit in final.hits] == [hit.id for hit in provisional.hits]
    assert final.rerank_depth == 0


async def test_a_core_that_ends_after_the_first_stage_leaves_the_provisional_order(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        query = Query("coffee", limit=10, rerank_depth=None, deadline=None, arrived=time.monotonic())
        provisional, final = [ranking async for ranking in _without_reranks(shop).search(query)]
    assert final.degraded is Degraded.RERANKER_FAULT
    assert [hit.id for hit in final.hits] == [hit.id for hit in provisional.hits]


def _without_reranks(shop: Shop) -> Pipeline:
    """The shop's pipeline, whose core ends after it has embedded the query."""

    class Ending(InProcess):
        async def encode(self, ids: Ids, deadline: float | None, priority: Priority = Priority.INTERACTIVE) -> Encoded:
            encoded = await super().encode(ids, deadline, priority)
            await asyncio.to_thread(shop.core.close)
            return encoded

    shop.pipeline.transport = Ending(shop.core)
    return shop.pipeline


async def test_a_reader_that_is_slow_is_no_wait_for_the_reranker(tmp_path: Path) -> None:
    with open_shop(tmp_path, reranker={"fail": lambda _: True}) as shop:
        query = Query("coffee", limit=10, rerank_depth=None, deadline=None, arrived=time.monotonic())
        async for ranking in shop.pipeline.search(query):
            final = ranking
            await asyncio.sleep(0.2)
    assert final.degraded is Degraded.RERANKER_FAULT
    assert final.timings.rerank_queue < 150_000
    with open_shop(tmp_path) as shop:
        _, final = await ask(shop, "coffee", depth=0)
    assert final.timings.rerank_queue == 0


async def test_candidates_whose_place_is_certain_are_not_reranked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_shop(tmp_path) as shop:
        retriever = shop.pipeline._retriever
        fused = retriever.fused
        monkeypatch.setattr(retriever, "fused", lambda lexical, dense: replace(fused(lexical, dense), exact=2))
        provisional, final = await ask(shop, "coffee", depth=6)
    assert final.rerank_depth == 4
    assert [hit.id for hit in final.hits[:2]] == [hit.id for hit in provisional.hits[:2]]


async def test_a_reranker_overrun_ends_in_time(tmp_path: Path) -> None:
    gate = Gate()
    with open_shop(tmp_path, reranker={"delay": gate}) as shop:
        provisional, final = await ask(shop, "coffee", left=0.3)
        gate.opened.set()
    assert final.degraded is Degraded.RERANKER_OVERRUN
    assert [hit.id for hit in final.hits] == [hit.id for hit in provisional.hits]


async def test_without_time_to_rerank_the_order_is_provisional(tmp_path: Path) -> None:
    with open_shop(tmp_path, limits=Limits(reply_reserve=0.25)) as shop:
        shop.core.rerank_costs = type(shop.core.rerank_costs)(dict.fromkeys(shop.core.rerank_costs.seconds, 60.0))
        _, final = await ask(shop, "coffee", left=5.0)
    assert final.degraded is Degraded.DEADLINE


async def test_the_reranker_runs_while_the_provisional_order_leaves(tmp_path: Path) -> None:
    gate = Gate()
    with open_shop(tmp_path, reranker={"delay": gate}) as shop:
        answers = shop.pipeline.search(Query("coffee", deadline=None, arrived=time.monotonic()))
        await anext(answers)
        await asyncio.sleep(0)  # gRPC writes the answer now
        assert await asyncio.to_thread(gate.entered.wait, 20)
        gate.opened.set()
        final = await anext(answers)
    assert final.rerank_depth > 0


async def test_a_client_that_leaves_after_the_provisional_order_stops_its_rerank(tmp_path: Path) -> None:
    gate = Gate()
    with open_shop(tmp_path, reranker={"delay": gate}) as shop:
        shop.core.rerank_costs = CostTable({Profile(16, 16): 1.0})  # one call a batch
        busy = asyncio.create_task(ask(shop, "coffee"))
        await asyncio.to_thread(gate.entered.wait, 20)
        answers = shop.pipeline.search(Query("phone", arrived=time.monotonic()))
        await anext(answers)
        await asyncio.sleep(0)
        await answers.aclose()
        gate.opened.set()
        await busy
        shop.core.close()
        assert shop.reranker.calls == 1


async def test_an_encoder_fault_leaves_the_lexical_index(tmp_path: Path) -> None:
    with open_shop(tmp_path, encoder={"fail": lambda _: True}) as shop:
        provisional, final = await ask(shop, "coffee")
    assert provisional.degraded is final.degraded is Degraded.ENCODER_FAULT
    assert {TITLES[int(hit.id[1:])].split()[0] for hit in provisional.hits} == {"coffee"}
    assert final.rerank_depth == 3


async def test_an_encoder_overrun_leaves_the_lexical_index(tmp_path: Path) -> None:
    gate = Gate()
    with open_shop(tmp_path, encoder={"delay": gate}) as shop:
        provisional, final = await ask(shop, "coffee", left=0.3)
        gate.opened.set()
    assert provisional.degraded is final.degraded is Degraded.ENCODER_OVERRUN
    assert {TITLES[int(hit.id[1:])].split()[0] for hit in final.hits} == {"coffee"}


async def test_a_spent_deadline_is_an_error(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        with pytest.raises(DeadlineExceeded):
            await ask(shop, "coffee", left=-1.0)
        assert shop.encoder.calls == 0


async def test_a_cancelled_query_is_dropped_before_its_batch(tmp_path: Path) -> None:
    gate = Gate()
    with open_shop(tmp_path, encoder={"delay": gate}) as shop:
        first = asyncio.create_task(ask(shop, "coffee"))
        await asyncio.to_thread(gate.entered.wait, 20)
        second = asyncio.create_task(ask(shop, "phone"))
        await asyncio.sleep(0)  # it waits for its batch now
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.opened.set()
        await first
        assert shop.encoder.calls == 1


async def test_words_that_nobody_sells_still_get_neighbours(tmp_path: Path) -> None:
    with open_shop(tmp_path) as shop:
        _, final = await ask(shop, "xylophone")
    assert len(final.hits) == 10


async def test_concurrent_queries_get_their_own_answers(tmp_path: Path) -> None:
    texts = ["running shoe", "coffee machine", "phone case", "wireless headphones"] * 8
    with open_shop(tmp_path) as shop:
        alone = {text: await ask(shop, text) for text in set(texts)}
    gate = Gate()
    with open_shop(tmp_path, encoder={"delay": gate}) as shop:
        shop.core.encode_costs = CostTable({Profile(16, 16): 1.0})
        tasks = [asyncio.create_task(ask(shop, text)) for text in texts]
        await asyncio.to_thread(gate.entered.wait, 20)
        await asyncio.sleep(0)  # all of them wait now, but for those in the first batch
        gate.opened.set()
        together = await asyncio.gather(*tasks)
        calls = shop.encoder.calls
    for text, rankings in zip(texts, together, strict=True):
        assert [hit.id for hit in rankings[1].hits] == [hit.id for hit in alone[text][1].hits]
    assert calls <= 1 + 2 + 1  # the first ones, then 16 at a time


requests = st.tuples(
    st.sampled_from(["running shoe", "coffee", "xylophone", "phone case black", "red"]),
    st.none() | st.sampled_from([0.0005, 0.02, 5.0]),  # seconds left
    st.none() | st.sampled_from([0.0, 0.001, 0.01]),  # seconds until the client leaves
    st.integers(1, 12),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(requests, min_size=1, max_size=12), st.sets(st.integers(0, 20)), st.sets(st.integers(0, 20)))
def test_every_query_ends_once_and_its_ranks_are_a_permutation(
    tmp_path: Path,
    asked: list[tuple[str, float | None, float | None, int]],
    encoder_faults: set[int],
    reranker_faults: set[int],
) -> None:
    async def one(shop: Shop, text: str, left: float | None, leaves: float | None, limit: int) -> list[Ranking] | str:
        try:
            async with asyncio.timeout(leaves):
                return await ask(shop, text, left=left, limit=limit)
        except TimeoutError:
            return "left"
        except DeadlineExceeded:
            return "late"

    async def every() -> None:
        faulty = {"fail": encoder_faults.__contains__}, {"fail": reranker_faults.__contains__}
        with open_shop(tmp_path, encoder=faulty[0], reranker=faulty[1]) as shop:
            async with asyncio.timeout(20):
                ended = await asyncio.gather(*(one(shop, *request) for request in asked))
        for result, (_, left, leaves, limit) in zip(ended, asked, strict=True):
            if isinstance(result, str):
                assert (leaves if result == "left" else left) is not None
                continue
            assert [ranking.phase for ranking in result] == [Phase.RETRIEVED, Phase.RANKED]
            for ranking in result:
                assert [hit.rank for hit in ranking.hits] == list(range(1, len(ranking.hits) + 1))
                assert len({hit.id for hit in ranking.hits}) == len(ranking.hits) <= limit
                assert (
                    (ranking.rerank_depth > 0)
                    or ranking.phase is Phase.RETRIEVED
                    or ranking.degraded
                    or not ranking.hits
                )

    asyncio.run(every())


scores = st.lists(st.floats(-20, 20, width=32), max_size=30)


@given(scores, st.integers(0, 30))
def test_blending_permutes_the_head_and_keeps_the_rest(values: list[float], rest: int) -> None:
    rows = np.random.default_rng(len(values)).permutation(len(values) + rest).astype(np.uint32)
    prior = Order(rows, np.linspace(1, 0, len(rows), dtype=np.float32))
    order = blend(prior, np.array(values, np.float32))
    depth = len(values)
    assert sorted(order.rows[:depth].tolist()) == sorted(rows[:depth].tolist())
    assert order.rows[depth:].tolist() == rows[depth:].tolist()
    assert (np.diff(order.scores) <= 1e-5).all()


def test_blending_adds_the_reranker_and_the_prior() -> None:
    prior = Order(np.array([10, 11, 12, 13], np.uint32), np.array([0.3, 0.3, 0.1, 0.05], np.float32))
    assert blend(prior, np.array([-1, 4, 0], np.float32)).rows.tolist() == [11, 10, 12, 13]
    assert blend(prior, np.array([2, 2, 2], np.float32)).rows.tolist() == [10, 11, 12, 13]
    assert blend(prior, np.array([0, 0, 9], np.float32)).rows.tolist() == [10, 11, 12, 13]  # the prior outweighs it
    assert blend(prior.head(2), np.array([0, 9], np.float32)).rows.tolist() == [11, 10]

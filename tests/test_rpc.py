import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from shop import Gate, Shop, open_shop

from millirank.costs import CostTable
from millirank.loadtest.call import Call
from millirank.loadtest.channel import Channel, Target
from millirank.rpc import Promise, SearchService, handler
from millirank.v1 import search_pb2, search_pb2_grpc

Request = search_pb2.SearchRequest
SEARCH = "/millirank.v1.SearchService/Search"


@asynccontextmanager
async def open_port(
    folder: Path, *, promise: Promise | None = None, **fakes: Any
) -> AsyncIterator[tuple[str, SearchService, Shop]]:
    with open_shop(folder, **fakes) as shop:
        service = SearchService()
        service.pipeline, service.promise = shop.pipeline, promise or Promise()
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers((handler(service),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        yield f"127.0.0.1:{port}", service, shop
        await server.stop(None)


@asynccontextmanager
async def open_service(folder: Path, **options: Any) -> AsyncIterator[tuple[grpc.aio.Channel, SearchService, Shop]]:
    async with (
        open_port(folder, **options) as (address, service, shop),
        grpc.aio.insecure_channel(address) as channel,
    ):
        yield channel, service, shop


async def search(channel: grpc.aio.Channel, request: Request, **options: Any) -> list[search_pb2.SearchResponse]:
    stub = search_pb2_grpc.SearchServiceStub(channel)
    return [response async for response in stub.Search(request, **options)]


async def refused(
    channel: grpc.aio.Channel, request: Request, **options: Any
) -> tuple[grpc.StatusCode, dict[str, Any]]:
    """The status of a call that must fail, and its google.rpc details by type name."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await search(channel, request, **options)
    return caught.value.code(), details(caught.value)


def details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    status = rpc_status.from_call(error)
    assert status is not None
    assert status.message == error.details()
    unpacked = {}
    for packed in status.details:
        message = getattr(error_details_pb2, packed.TypeName().rpartition(".")[2])()
        assert packed.Unpack(message)
        unpacked[packed.TypeName()] = message
    assert unpacked["google.rpc.ErrorInfo"].domain == "millirank"
    return unpacked


async def test_a_query_streams_both_phases(tmp_path: Path) -> None:
    async with open_service(tmp_path) as (channel, service, _):
        provisional, final = await search(channel, Request(query="red running shoe", limit=3))
    assert [provisional.phase, final.phase] == [search_pb2.PHASE_RETRIEVED, search_pb2.PHASE_RANKED]
    assert final.hits[0].product.title == "red running shoe"
    assert [hit.id for hit in final.hits] == [hit.product.id for hit in final.hits]
    assert provisional.query_id == final.query_id != ""
    assert final.timings.total_us >= final.timings.encode_us
    assert final.index_version == "7"
    assert service.inflight == 0


BLANK = ["", " ", "\t\n", "\x00", "\x00\x07\x1b", "\u00a0\u2003", "\u2028"]


@pytest.mark.parametrize("query", [*BLANK, "x" * 1001, "x" * 10_000, "🦊" * 5000])
async def test_an_empty_or_overlong_query_is_an_invalid_argument(tmp_path: Path, query: str) -> None:
    async with open_service(tmp_path) as (channel, _, _):
        code, found = await refused(channel, Request(query=query))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in found["google.rpc.BadRequest"].field_violations] == ["query"]


@pytest.mark.parametrize(
    "query",
    [
        "🦊🦊",
        "حذاء أحمر",
        "נעל ריצה",
        "red\x00shoe\x07\x1b[31m",
        "x" * 1000,
        "a\u0301\u200d\u202e",
        '"(shoe OR *:* AND ~',
        "red " * 250,
    ],
)
async def test_any_other_text_is_answered(tmp_path: Path, query: str) -> None:
    async with open_service(tmp_path) as (channel, _, _):
        provisional, final = await search(channel, Request(query=query))
    assert final.phase == search_pb2.PHASE_RANKED
    assert len(final.hits) == len(provisional.hits) == 10
    assert final.query_truncated == (len(query.split()) > 24)


async def test_control_characters_are_spaces(tmp_path: Path) -> None:
    async with open_service(tmp_path) as (channel, _, _):
        _, plain = await search(channel, Request(query="red shoe"))
        _, odd = await search(channel, Request(query="\x00red\x07\nshoe\x7f"))
    assert [hit.id for hit in odd.hits] == [hit.id for hit in plain.hits]


@pytest.mark.parametrize(("limit", "hits"), [(0, 10), (1, 1), (100, 12)])
async def test_limit_zero_means_ten_and_a_hundred_is_the_most(tmp_path: Path, limit: int, hits: int) -> None:
    async with open_service(tmp_path) as (channel, _, _):
        _, final = await search(channel, Request(query="coffee", limit=limit))
    assert len(final.hits) == hits


@pytest.mark.parametrize("limit", [101, 2**32 - 1])
async def test_a_larger_limit_is_an_invalid_argument(tmp_path: Path, limit: int) -> None:
    async with open_service(tmp_path) as (channel, _, _):
        code, found = await refused(channel, Request(query="coffee", limit=limit))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert [violation.field for violation in found["google.rpc.BadRequest"].field_violations] == ["limit"]


async def test_a_huge_depth_is_a_cap_that_caps_nothing(tmp_path: Path) -> None:
    async with open_service(tmp_path) as (channel, _, _):
        _, final = await search(channel, Request(query="coffee", rerank_depth=2**32 - 1))
    assert final.rerank_depth == 12


UNSERVED = {
    "catalog": Request(query="shoe", catalog="other"),
    "filter": Request(query="shoe", filter=search_pb2.Filter()),
    "facets": Request(query="shoe", facets=[search_pb2.FacetRequest(field="brand", size=5)]),
    "page_token": Request(query="shoe", page_token="next"),  # noqa: S106 - not a password
    "explain": Request(query="shoe", explain=True),
}


@pytest.mark.parametrize("field", UNSERVED)
async def test_a_field_that_is_not_served_yet_is_unimplemented(tmp_path: Path, field: str) -> None:
    async with open_service(tmp_path) as (channel, _, _):
        code, found = await refused(channel, UNSERVED[field])
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert found["google.rpc.ErrorInfo"].metadata["field"] == field


async def test_rerank_is_not_served_yet(tmp_path: Path) -> None:
    async with open_service(tmp_path) as (channel, _, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search_pb2_grpc.SearchServiceStub(channel).Rerank(search_pb2.RerankRequest(query="shoe"))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert details(caught.value)["google.rpc.ErrorInfo"].reason == "NOT_SERVED_YET"


GARBAGE = [b"\xff" * 40, b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xc3\x28", b"GET / HTTP/1.1\r\n\r\n"]


@pytest.mark.parametrize("data", GARBAGE)
@pytest.mark.parametrize("method", [SEARCH, "/millirank.v1.SearchService/BatchSearch"])
async def test_bytes_that_are_no_message_are_an_invalid_argument(tmp_path: Path, method: str, data: bytes) -> None:
    async with open_service(tmp_path) as (channel, _, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in channel.unary_stream(method)(data):
                pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details(caught.value)["google.rpc.BadRequest"].field_violations[0].field == "message"


async def test_a_good_client_beside_hostile_ones_notices_nothing(tmp_path: Path) -> None:
    async with open_service(tmp_path) as (channel, service, _):
        _, expected = await search(channel, Request(query="coffee machine"))

        async def hostile() -> None:
            for query in (*BLANK, "x" * 10_000):
                await refused(channel, Request(query=query))
            for data in GARBAGE:
                with pytest.raises(grpc.aio.AioRpcError):
                    async for _ in channel.unary_stream(SEARCH)(data):
                        pass
            call = search_pb2_grpc.SearchServiceStub(channel).Search(Request(query="shoe"))
            call.cancel()

        async def good() -> None:
            for _ in range(20):
                _, final = await search(channel, Request(query="coffee machine"))
                assert [hit.id for hit in final.hits] == [hit.id for hit in expected.hits]
                assert not final.degraded

        await asyncio.gather(good(), *(hostile() for _ in range(4)))
        async with asyncio.timeout(10):
            await service.idle()


async def test_a_deadline_too_short_for_an_idle_server_is_refused_at_once(tmp_path: Path) -> None:
    async with open_service(tmp_path, promise=Promise(idle=60.0)) as (channel, _, shop):
        code, _ = await refused(channel, Request(query="coffee"), timeout=30)
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert shop.encoder.calls == 0
        assert len(await search(channel, Request(query="coffee"))) == 2  # no deadline is no limit


async def test_the_service_keeps_its_own_promise(tmp_path: Path) -> None:
    gate = Gate()
    async with open_service(tmp_path, promise=Promise(sla=0.3, idle=0.1), encoder={"delay": gate}) as (channel, _, _):
        _, final = await search(channel, Request(query="coffee"))  # while the engine is still at it
        gate.opened.set()
    assert (final.degraded, final.degraded_reason) == (True, "ENCODER_OVERRUN")


async def test_a_client_that_does_not_read_is_given_up_in_silence(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("millirank.rpc.STUCK", 0.1)
    async with open_port(tmp_path, promise=Promise(sla=0.2)) as (address, service, _):
        deaf = Channel(Target(address, connections=1), stream_window=1)
        await deaf.ready()
        try:
            deaf.open(Call(time.monotonic()), Request(query="coffee").SerializeToString(), None)
            async with asyncio.timeout(20):
                while not service._calls:
                    await asyncio.sleep(0.001)
                await service.idle()
            assert service.inflight == 0
        finally:
            deaf.close()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_busy_encoder_costs_the_dense_index_and_refuses_nobody(tmp_path: Path) -> None:
    gate = Gate()
    promise = Promise(sla=20.0, idle=0.001, encode=0.001)
    async with open_service(tmp_path, promise=promise, encoder={"delay": gate}) as (channel, _, shop):
        first = asyncio.create_task(search(channel, Request(query="coffee")))
        await asyncio.to_thread(gate.entered.wait, 20)
        shop.core.encode_costs = CostTable(dict.fromkeys(shop.core.encode_costs.seconds, 60.0))
        others = await asyncio.gather(*(search(channel, Request(query="coffee")) for _ in range(5)))
        gate.opened.set()
        assert (await first)[-1].degraded_reason != "ENCODER_OVERRUN"
    for _, final in others:
        assert final.degraded_reason == "ENCODER_OVERRUN"
        assert final.hits


async def test_what_cannot_be_served_in_time_is_refused_at_once_with_a_wait(tmp_path: Path) -> None:
    gate = Gate()
    promise = Promise(sla=2.9, idle=2.0)
    async with open_service(tmp_path, promise=promise, encoder={"delay": gate}) as (channel, service, _):
        first = asyncio.create_task(search(channel, Request(query="coffee")))
        await asyncio.to_thread(gate.entered.wait, 20)
        second = asyncio.create_task(search(channel, Request(query="coffee")))  # half a second behind the first
        async with asyncio.timeout(20):
            while service.inflight < 2:
                await asyncio.sleep(0.01)
        code, found = await refused(channel, Request(query="coffee"))
        gate.opened.set()
        assert len(await first) == len(await second) == 2
        assert service.inflight == 0
        assert len(await search(channel, Request(query="coffee"))) == 2
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert found["google.rpc.ErrorInfo"].reason == "OVERLOADED"
    assert 1 <= found["google.rpc.RetryInfo"].retry_delay.ToMilliseconds() <= 5000


async def test_max_inflight_bounds_what_is_accepted(tmp_path: Path) -> None:
    gate = Gate()
    promise = Promise(max_inflight=1)
    async with open_service(tmp_path, promise=promise, encoder={"delay": gate}) as (channel, service, _):
        first = asyncio.create_task(search(channel, Request(query="coffee")))
        await asyncio.to_thread(gate.entered.wait, 20)
        code, _ = await refused(channel, Request(query="coffee"))
        gate.opened.set()
        assert len(await first) == 2
        assert service.inflight == 0
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_batch_larger_than_can_be_served_at_once_takes_turns(tmp_path: Path) -> None:
    requests = [Request(query="coffee", limit=1)] * 40
    promise = Promise(sla=1.0, idle=0.2, max_inflight=3)
    most = 0
    async with open_service(tmp_path, promise=promise) as (channel, service, _):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        found = []
        async for message in stub.BatchSearch(search_pb2.BatchSearchRequest(requests=requests), timeout=60):
            found.append(message)
            most = max(most, service.inflight)
    finals = [m.index for m in found if m.response.phase == search_pb2.PHASE_RANKED]
    assert sorted(finals) == list(range(40))
    assert most <= 3


async def test_a_batch_that_cannot_be_done_by_its_deadline_says_so_for_each_query(tmp_path: Path) -> None:
    gate = Gate()
    promise = Promise(sla=0.5, idle=0.2, max_inflight=1)
    requests = [Request(query="coffee", limit=1)] * 3
    async with open_service(tmp_path, promise=promise, encoder={"delay": gate}) as (channel, _, _):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        holds = asyncio.create_task(search(channel, Request(query="coffee")))
        await asyncio.to_thread(gate.entered.wait, 20)
        call = stub.BatchSearch(search_pb2.BatchSearchRequest(requests=requests), timeout=0.35)
        found = [m async for m in call]
        gate.opened.set()
        await holds
    assert {m.error.reason for m in found} <= {"OVERLOADED", "DEADLINE_EXCEEDED"}
    assert sorted(m.index for m in found) == [0, 1, 2]


async def test_a_client_that_leaves_frees_its_place(tmp_path: Path) -> None:
    gate = Gate()
    async with open_service(tmp_path, encoder={"delay": gate}) as (channel, service, shop):
        call = search_pb2_grpc.SearchServiceStub(channel).Search(Request(query="coffee"))
        reading = asyncio.create_task(call.read())
        await asyncio.to_thread(gate.entered.wait, 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        async with asyncio.timeout(10):
            await service.idle()
        gate.opened.set()
        assert shop.reranker.calls == 0
        assert len(await search(channel, Request(query="coffee"))) == 2


async def test_starting_and_draining_are_unavailable(tmp_path: Path) -> None:
    async with open_service(tmp_path) as (channel, service, _):
        pipeline, service.pipeline = service.pipeline, None
        starting, _ = await refused(channel, Request(query="coffee"))
        service.pipeline = pipeline
        service.drain()
        draining, found = await refused(channel, Request(query="coffee"))
    assert starting is draining is grpc.StatusCode.UNAVAILABLE
    assert found["google.rpc.ErrorInfo"].reason == "NOT_SERVING"


async def test_a_batch_is_not_over_before_its_last_answer_is_written(tmp_path: Path) -> None:
    reading = asyncio.Event()

    class SlowReader:
        def time_remaining(self) -> None:
            return None

        def peer(self) -> str:
            return "ipv4:127.0.0.1:1"

        async def write(self, _: object) -> None:
            await reading.wait()

    data = search_pb2.BatchSearchRequest(requests=[Request(query="coffee")] * 3).SerializeToString()
    async with open_service(tmp_path) as (_, service, _):
        call = asyncio.create_task(service.batch_search(data, SlowReader()))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        drained = asyncio.create_task(service.idle())
        await asyncio.wait([drained], timeout=0.3)  # time enough for the queries to end
        assert not drained.done()
        reading.set()
        await asyncio.gather(call, drained)


async def test_an_unforeseen_exception_tells_the_client_nothing_of_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_service(tmp_path) as (channel, _, shop):

        def broken(*_: object) -> None:
            raise RuntimeError("secret path /etc/shop")

        shop.pipeline._retriever.lexical = broken  # type: ignore[method-assign, assignment]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await search(channel, Request(query="coffee"))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (caught.value.details() or "")
    assert "secret path" in caplog.text


async def test_a_reranker_fault_is_ok_and_degraded(tmp_path: Path) -> None:
    async with open_service(tmp_path, reranker={"fail": lambda _: True}) as (channel, _, _):
        _, final = await search(channel, Request(query="coffee"))
    assert (final.degraded, final.degraded_reason) == (True, "RERANKER_FAULT")


async def test_a_batch_answers_every_query_by_its_index(tmp_path: Path) -> None:
    queries = ["coffee machine", "", "phone case", "x" * 2000, "red shoe"]
    requests = [Request(query=query, limit=2) for query in queries]
    async with open_service(tmp_path) as (channel, service, _):
        alone = {q: (await search(channel, Request(query=q, limit=2)))[1] for q in queries if 0 < len(q) < 1000}
        stub = search_pb2_grpc.SearchServiceStub(channel)
        found = [m async for m in stub.BatchSearch(search_pb2.BatchSearchRequest(requests=requests))]
        assert service.inflight == 0
    for index, query in enumerate(queries):
        mine = [m for m in found if m.index == index]
        if query in alone:
            assert [m.response.phase for m in mine] == [search_pb2.PHASE_RETRIEVED, search_pb2.PHASE_RANKED]
            assert [hit.id for hit in mine[1].response.hits] == [hit.id for hit in alone[query].hits]
        else:
            assert [m.error.code for m in mine] == [grpc.StatusCode.INVALID_ARGUMENT.value[0]]


@pytest.mark.parametrize("count", [0, 101])
async def test_a_batch_of_none_or_too_many_is_an_invalid_argument(tmp_path: Path, count: int) -> None:
    request = search_pb2.BatchSearchRequest(requests=[Request(query="coffee")] * count)
    async with open_service(tmp_path) as (channel, _, _):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in search_pb2_grpc.SearchServiceStub(channel).BatchSearch(request):
                pass
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT

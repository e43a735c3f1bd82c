from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import grpc
import pytest
from rich.console import Console

from millirank.commands.demo import free_port
from millirank.commands.search import BAR, CallFailed, answers, bar, search, view
from millirank.v1 import search_pb2, search_pb2_grpc

TIMINGS = search_pb2.Timings(tokens_us=100, encode_us=1000, retrieve_us=900, rerank_us=2000, total_us=4400)


def response(*products: search_pb2.Product, **fields: Any) -> search_pb2.SearchResponse:
    hits = [
        search_pb2.Hit(rank=rank, id=product.id, score=1 / rank, product=product)
        for rank, product in enumerate(products, 1)
    ]
    return search_pb2.SearchResponse(**{"phase": search_pb2.PHASE_RANKED, "hits": hits, "timings": TIMINGS, **fields})


def shown(answer: search_pb2.SearchResponse, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width, force_terminal=False)
    console.print(view(answer, 0.0051))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def kettle(**fields: Any) -> search_pb2.Product:
    return search_pb2.Product(**{"id": "k1", "title": "Steel kettle", **fields})


def test_a_final_answer_shows_its_hits_depth_and_times() -> None:
    text = shown(response(kettle(brand="Acme", price=1234.5, currency="EUR"), kettle(id="k2"), rerank_depth=50))
    for word in ("Steel kettle", "Acme", "1,234.50 EUR", "1.000", "0.500"):
        assert word in text
    assert "final, 50 reranked; 4.40 ms in the server, 5.10 ms for the client" in text
    assert "degraded" not in text
    assert "encode 1.00" in text
    assert "other 0.40" in text


def test_a_provisional_answer_says_so() -> None:
    text = shown(response(kettle(), phase=search_pb2.PHASE_RETRIEVED))
    assert "provisional; 4.40 ms" in text
    assert "final" not in text
    assert "reranked" not in text


def test_a_degraded_answer_names_its_reason() -> None:
    text = shown(response(kettle(), degraded=True, degraded_reason="RERANKER_OVERRUN"))
    assert "final, degraded: RERANKER_OVERRUN;" in text


def test_a_price_of_nothing_is_shown_and_none_is_not() -> None:
    assert "0.00" in shown(response(kettle(price=0.0))).splitlines()[3]
    assert "0.00" not in shown(response(kettle())).splitlines()[3]


@pytest.mark.parametrize(
    "text", ["[red]", "[/red]", "[bold]x[/]", "a\\[b", "[link=http://x]", ":smile:", "ケトル 🫖", "غلاية"]
)
def test_a_products_text_is_no_markup(text: str) -> None:
    lines = shown(response(kettle(title=f"a {text} kettle", brand=text, currency="[/]", price=1))).splitlines()
    assert f"a {text} kettle" in lines[3]
    assert lines[3].count(text) == 2
    assert "1.00 [/]" in lines[3]


@pytest.mark.parametrize("text", ["\x1b[31m", "\x1b]0;title\x07", "a\nb", "a\r", "\0", "\x9b2J", "\x7f"])
def test_a_products_text_does_not_steer_the_terminal(text: str) -> None:
    lines = shown(response(kettle(title=f"{text}kettle", brand=text))).splitlines()
    assert len(lines) == len(shown(response(kettle())).splitlines())
    assert "kettle" in lines[3]
    assert not [c for line in lines for c in line if ord(c) < 32 or 127 <= ord(c) < 160]


def test_a_long_title_is_cut_to_one_line() -> None:
    lines = shown(response(kettle(title="kettle " * 99)), width=60).splitlines()
    assert len(lines[3]) == 60
    assert "…" in lines[3]


def test_the_bar_is_as_wide_as_the_shares_of_its_stages() -> None:
    line, legend = bar(TIMINGS).plain.split("\n")
    assert set(line) == {"█"}
    assert abs(len(line) - BAR) <= 2  # each stage is rounded
    assert " ".join(legend.split()) == "tokens 0.10 encode 1.00 retrieve 0.90 rerank 2.00 other 0.40"
    widths = {span.style: span.end - span.start for span in bar(TIMINGS).spans if span.end <= len(line)}
    assert widths == {"bright_black": 1, "cyan": 14, "green": 12, "blue": 27, "white": 5}


def test_a_bar_of_nothing_is_empty() -> None:
    assert bar(search_pb2.Timings()).plain == "\n"


def test_a_server_that_is_not_there_is_named_with_the_fix() -> None:
    with (
        grpc.insecure_channel(f"127.0.0.1:{free_port()}") as channel,
        pytest.raises(CallFailed, match=r"UNAVAILABLE.*`millirank serve --index DIR`.*--target"),
    ):
        list(answers(channel, search_pb2.SearchRequest(query="kettle")))


class Refusing(search_pb2_grpc.SearchServiceServicer):
    """Answers once, then refuses."""

    def Search(self, request: search_pb2.SearchRequest, context: Any) -> Any:  # noqa: N802 - gRPC's name
        yield response(kettle(title=request.query))
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "256 queries are running")


def test_answers_come_with_their_time_and_a_refusal_in_the_servers_words() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    search_pb2_grpc.add_SearchServiceServicer_to_server(Refusing(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stream = answers(channel, search_pb2.SearchRequest(query="kettle"))
            answer, elapsed = next(stream)
            assert answer.hits[0].product.title == "kettle"
            assert elapsed > 0
            with pytest.raises(CallFailed, match=r"^RESOURCE_EXHAUSTED: 256 queries are running$"):
                next(stream)
    finally:
        server.stop(None)


class Starting(search_pb2_grpc.SearchServiceServicer):
    """Refuses as a server that starts: in its own words, with details."""

    def Search(self, request: search_pb2.SearchRequest, context: Any) -> Any:  # noqa: ARG002, N802 - gRPC's names
        context.set_trailing_metadata((("grpc-status-details-bin", b""),))
        context.abort(grpc.StatusCode.UNAVAILABLE, "the server is starting: retry")


def test_a_server_that_is_there_speaks_for_itself() -> None:
    server = grpc.server(ThreadPoolExecutor(1))
    search_pb2_grpc.add_SearchServiceServicer_to_server(Starting(), server)  # type: ignore[abstract]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with (
            grpc.insecure_channel(f"127.0.0.1:{port}") as channel,
            pytest.raises(CallFailed, match=r"^UNAVAILABLE: the server is starting: retry$"),
        ):
            list(answers(channel, search_pb2.SearchRequest(query="kettle")))
    finally:
        server.stop(None)


def test_a_query_that_is_no_text_is_refused_with_the_fix() -> None:
    with pytest.raises(CallFailed, match="locale charmap"):
        search("a\udcff")

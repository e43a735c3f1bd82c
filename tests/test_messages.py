from hypothesis import given
from hypothesis import strategies as st

from millirank.messages import answer_of_batch, error_of_batch, response_from_ranking
from millirank.types import Degraded, Hit, Phase, Ranking, Timings
from millirank.v1 import search_pb2

PRODUCTS = st.builds(
    search_pb2.Product, id=st.text(max_size=9), title=st.text(max_size=300), price=st.none() | st.floats(0, 99)
)


@given(st.lists(st.tuples(PRODUCTS, st.floats(-9, 9, width=32)), max_size=100), st.sampled_from([None, *Degraded]))
def test_an_answer_is_the_message_that_protobuf_would_have_made(
    hits: list[tuple[search_pb2.Product, float]], degraded: Degraded | None
) -> None:
    ranking = Ranking(
        phase=Phase.RANKED,
        hits=tuple(Hit(n, p.id, score, p.SerializeToString()) for n, (p, score) in enumerate(hits, 1)),
        timings=Timings(tokens=1, encode=200, total=9000),
        rerank_depth=50,
        degraded=degraded,
        index_version="7",
        query_truncated=True,
    )
    expected = search_pb2.SearchResponse(
        phase=search_pb2.PHASE_RANKED,
        hits=[search_pb2.Hit(rank=n, id=p.id, score=score, product=p) for n, (p, score) in enumerate(hits, 1)],
        timings=search_pb2.Timings(tokens_us=1, encode_us=200, total_us=9000),
        rerank_depth=50,
        degraded=degraded is not None,
        degraded_reason=degraded.name if degraded else "",
        query_id="x",
        index_version="7",
        query_truncated=True,
    )
    sent = response_from_ranking(ranking, "x")
    assert search_pb2.SearchResponse.FromString(sent) == expected
    batch = search_pb2.BatchSearchResponse(index=3, response=expected)
    assert search_pb2.BatchSearchResponse.FromString(answer_of_batch(3, sent)) == batch


def test_an_error_of_a_batch_keeps_its_place() -> None:
    error = search_pb2.QueryError(code=8, message="later")
    assert search_pb2.BatchSearchResponse.FromString(error_of_batch(0, error)).error == error

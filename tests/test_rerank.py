import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from millirank.rerank import blend
from millirank.types import Order


@given(st.integers(0, 5), st.lists(st.floats(-20, 20, width=32), max_size=12), st.integers(5, 20))
def test_exact_products_stay_ahead_of_whatever_the_reranker_says(exact: int, values: list[float], count: int) -> None:
    scores = np.linspace(1, 0, count, dtype=np.float32)
    scores[:exact] += np.arange(exact, 0, -1, dtype=np.float32)
    prior = Order(np.arange(count, dtype=np.uint32), scores, exact)
    order = blend(prior, np.array(values[: count - exact], np.float32))
    assert order.rows[:exact].tolist() == list(range(exact))
    assert sorted(order.rows.tolist()) == list(range(count))
    assert (np.diff(order.scores) <= 1e-5).all()
    assert order.exact == order.head(9).exact == exact


def test_the_others_are_blended_as_if_there_were_no_exact_ones() -> None:
    rest = Order(np.array([10, 11, 12], np.uint32), np.array([0.3, 0.3, 0.1], np.float32))
    whole = Order(np.array([7, 10, 11, 12], np.uint32), np.array([1.3, 0.3, 0.3, 0.1], np.float32), exact=1)
    scores = np.array([-1, 4, 0], np.float32)
    assert blend(whole, scores).rows.tolist() == [7, *blend(rest, scores).rows.tolist()]
    assert blend(whole, scores[:0]).rows.tolist() == [7, 10, 11, 12]


def test_a_short_head_changes_where_candidates_are_near_each_other() -> None:
    near = np.array([0.30, 0.29, 0.15, 0.12, 0.10, 0.09, 0.08, 0.07, 0.06, 0.05, 0.0], np.float32)
    rows = np.arange(len(near), dtype=np.uint32)
    preferred = np.array([-1, 1], np.float32)
    assert blend(Order(rows, near), preferred).rows.tolist() == [1, 0, *range(2, 11)]
    assert blend(Order(rows[:2], near[:2]), preferred).rows.tolist() == [0, 1]  # nothing tells that they are near
    far = near.copy()
    far[0] = 1.0
    assert blend(Order(rows, far), preferred).rows.tolist() == list(range(11))
    deep = Order(rows[:10], near[:10])
    scores = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3], np.float32)
    expected = 0.5 * (scores - scores.mean()) / scores.std() + (near[:10] - near[:10].mean()) / near[:10].std()
    assert blend(deep, scores).rows.tolist() == (-expected).argsort(kind="stable").tolist()

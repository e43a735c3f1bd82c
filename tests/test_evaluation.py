from math import log2
from pathlib import Path

import numpy as np
import pytest

from millirank.errors import CatalogError
from millirank.evaluation import MEASURES, Scores, answered, read_judgments, score

JUDGED = {
    "lamp": {"a": 3, "b": 2, "c": 0, "d": 1},
    "desk": {"a": 0, "b": 1},
    "sofa": {"a": 0, "b": 0},  # no product is right
}
IDEAL = 3 + 2 / log2(3) + 1 / log2(4)  # linear gain: grade / log2(1 + rank), Järvelin and Kekäläinen 2002


def of_lamp(*products: str) -> dict[str, float]:
    scores = score({"lamp": products}, JUDGED)
    return {measure: scores.mean(measure) for measure in MEASURES}


def test_ndcg_has_linear_gain() -> None:
    assert of_lamp("a", "b", "d", "c")["ndcg@10"] == pytest.approx(1)
    assert of_lamp("c", "b", "a")["ndcg@10"] == pytest.approx((2 / log2(3) + 3 / log2(4)) / IDEAL)
    assert of_lamp("d")["ndcg@10"] == pytest.approx(1 / IDEAL)


def test_ndcg_ends_at_ten() -> None:
    unknown = [f"u{place}" for place in range(10)]
    assert of_lamp(*unknown[:9], "a")["ndcg@10"] == pytest.approx(3 / log2(11) / IDEAL)
    assert of_lamp(*unknown, "a")["ndcg@10"] == 0


def test_a_product_without_a_judgment_is_bad_in_raw_and_absent_in_judged() -> None:
    scored = of_lamp("x", "a", "y", "z", "b")
    assert scored["ndcg@10"] == pytest.approx((3 / log2(3) + 2 / log2(6)) / IDEAL)
    assert scored["ndcg@10 judged"] == pytest.approx((3 + 2 / log2(3)) / IDEAL)
    behind = of_lamp(*(f"u{place}" for place in range(50)), "c", "a")
    assert behind["ndcg@10"] == 0
    assert behind["ndcg@10 judged"] == pytest.approx(3 / log2(3) / IDEAL)  # a judged bad product keeps its place
    assert of_lamp("x", "y") == dict.fromkeys(MEASURES, 0)


def test_success_is_a_right_product_in_the_first_place() -> None:
    assert of_lamp("d", "a")["success@1"] == 1
    assert of_lamp("c", "a")["success@1"] == of_lamp("x", "a")["success@1"] == 0


def test_recall_counts_right_products_among_a_hundred() -> None:
    unknown = [f"u{place}" for place in range(99)]
    assert of_lamp("c", "b", "x", "d")["recall@100"] == pytest.approx(2 / 3)
    assert of_lamp(*unknown, "a")["recall@100"] == pytest.approx(1 / 3)
    assert of_lamp(*unknown, "c", "a")["recall@100"] == 0


def test_mrr_is_the_first_right_place() -> None:
    assert of_lamp("d", "a")["mrr"] == 1
    assert of_lamp("x", "c", "b")["mrr"] == pytest.approx(1 / 3)


def test_the_order_counts_and_not_the_ids() -> None:
    judged = {"q": {"1": 3, "9": 0}}
    assert score({"q": ["1", "9"]}, judged).mean("mrr") == 1
    assert score({"q": ["9", "1"]}, judged).mean("mrr") == 0.5


def test_queries_without_a_right_product_are_left_out() -> None:
    scores = score({"sofa": ["a"], "desk": ["a", "b"], "lamp": ["a"]}, JUDGED)
    assert scores.queries == ("desk", "lamp")
    assert scores.values["mrr"].tolist() == [0.5, 1]
    assert scores.mean("mrr") == 0.75


def test_a_query_that_found_nothing_scores_nothing() -> None:
    scores = score({"desk": [], "lamp": ["a"]}, JUDGED)
    assert scores.queries == ("desk", "lamp")
    for measure in MEASURES:
        assert scores.values[measure][0] == 0


def spread(count: int = 57, seed: int = 1) -> Scores:
    rng = np.random.default_rng(seed)
    queries = tuple(f"q{number}" for number in range(count))
    return Scores(queries, {measure: rng.uniform(size=count) for measure in MEASURES})


def test_of_queries_without_an_answer_those_that_found_anything_count() -> None:
    assert answered({"a": [], "b": ["1"], "c": ["2", "3"], "d": []}, ["a", "b", "c", "d"]) == 0.5
    assert answered({"a": []}, ["a"]) == 0


def test_scores_of_some_queries_keep_the_order_that_is_asked_for() -> None:
    scores = spread(5)
    some = scores.of(["q3", "q0", "q3"])
    assert some.queries == ("q3", "q0", "q3")
    assert some.values["mrr"].tolist() == [scores.values["mrr"][at] for at in (3, 0, 3)]
    with pytest.raises(KeyError):
        scores.of(["other"])


def test_an_interval_holds_the_mean_and_is_the_same_each_time() -> None:
    scores = spread()
    for measure in MEASURES:
        low, high = scores.interval(measure)
        assert low < scores.mean(measure) < high
        assert (low, high) == scores.interval(measure)
    assert scores.interval("mrr", seed=1) != scores.interval("mrr", seed=2)


def test_an_interval_is_as_wide_as_theory_says() -> None:
    values = spread(400).values["mrr"]
    low, high = spread(400).interval("mrr", resamples=4000)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)  # the normal approximation
    one = Scores(("q",), {"mrr": np.array([0.5])})
    assert one.interval("mrr") == (0.5, 0.5)


def test_judgments_are_read(tmp_path: Path) -> None:
    file = tmp_path / "judgments.csv"
    file.write_text('docid,query,rating,note\n1,"lamp, red",3,x\n2,"lamp, red",0,\n1,ワイヤレス,1,\n', "utf-8")
    assert read_judgments(file) == {"lamp, red": {"1": 3, "2": 0}, "ワイヤレス": {"1": 1}}


@pytest.mark.parametrize(
    "content",
    [
        b"query,product,rating\nlamp,1,3\n",
        b"query,docid,rating\nlamp,1,good\n",
        b"query,docid,rating\nlamp,1,2.5\n",
        b"query,docid,rating\nlamp,1\n",
        b"query,docid,rating\nl\xffmp,1,3\n",
    ],
)
def test_a_bad_judgment_file_is_named_with_the_form_it_wants(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "judgments.csv"
    file.write_bytes(content)
    with pytest.raises(CatalogError, match=r"judgments\.csv holds no judgments .*query,docid,rating"):
        read_judgments(file)


def test_a_missing_judgment_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"none\.csv.*query,docid,rating"):
        read_judgments(tmp_path / "none.csv")

"""Heads of orders: ranked by stored scores, by the fold that never saw a query."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from millirank.evaluation import part_of

LOADTEST = str(Path(__file__).parent.parent / "loadtest")


@pytest.fixture
def heads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    monkeypatch.syspath_prepend(LOADTEST)
    from heads import Head

    prior = [1.02, 0.02, 0.02, 0.02, 0.005]
    ids = ["exact", "a", "b", "c", "tail"]
    grades = {"c": 3, "a": 0}
    queries = ("kettle", "lamp", "desk", "chair", "cable", "mouse")
    return [Head("judged", query, "", ids, prior, ["a", "c"], 1, 3, grades) for query in queries]


def test_a_head_is_ranked_between_what_is_exact_and_the_rest(heads: list[Any]) -> None:
    assert heads[0].ranked(np.array([-9, 0, 9, 5], np.float32)) == ["exact", "c", "b", "a", "tail"]
    assert heads[0].ranked(np.array([0, 0, 0, 5], np.float32)) == ["exact", "a", "b", "c", "tail"]


def test_a_query_is_ranked_by_the_model_that_never_saw_it(heads: list[Any]) -> None:
    from ablation import orders_of, rows_of
    from heads import scored

    up, down = np.array([[0, 0, 9]] * 6, np.float32), np.array([[9, 0, -9]] * 6, np.float32)
    stored = {"cv0@shop": up, "cv1@shop": down, "base@shop": down}
    orders = orders_of("cv", "shop", heads, stored, 2)
    assert orders is not None
    firsts = [order[1] for order in orders]
    assert firsts == ["c" if part_of(head.query, 2) == 0 else "a" for head in heads]
    assert len(set(firsts)) == 2
    assert orders_of("cv", "other", heads, stored, 2) is None
    assert orders_of("bm25", "shop", heads, {}, 0) == [["a", "c"]] * 6
    base = orders_of("base", "shop", heads, stored, 0)
    assert base is not None
    rows = list(rows_of("shop", {"base": scored(heads, base), "cv": scored(heads, orders)}, ["base"]))
    found = {(row.case, row.metric): row.value for row in rows}
    assert found["shop/cv", "ndcg@10 judged difference"] > 0
    assert ("shop/base", "ndcg@10 difference") not in found


def test_a_weight_is_a_case_of_its_own_and_changes_the_order(heads: list[Any]) -> None:
    from ablation import orders_of, weighed

    assert [*weighed(["base"], [0.25, 0.5])] == [("base", "base", 0.5), ("base at 0.25", "base", 0.25)]
    stored = {"base@shop": np.array([[0, 0, 9]] * 6, np.float32)}
    light, heavy = (orders_of("base", "shop", heads, stored, 0, weight) for weight in (0.0, 5.0))
    assert light is not None
    assert heavy is not None
    assert (light[0][1], heavy[0][1]) == ("a", "c")


def test_a_mean_weighs_models_alike_whatever_their_scale(heads: list[Any]) -> None:
    from ablation import mean_of

    loud = np.array([[90, 0, -90, 7]] * 6, np.float32)  # the fourth is beyond a head's depth
    quiet = np.array([[0, 0.1, 0.3, 0]] * 6, np.float32)
    flat = np.ones((6, 4), np.float32)
    stored = {"loud@shop": loud, "quiet@shop": quiet, "flat@shop": flat}
    mean = mean_of(["loud", "quiet", "quiet"], "shop", heads, stored)
    assert mean is not None
    assert heads[0].ranked(mean[0], 9.0) == ["exact", "c", "b", "a", "tail"]
    assert mean[:, 3].tolist() == [0] * 6
    half = mean_of(["loud", "flat"], "shop", heads, stored)
    assert half is not None
    assert half[0, :3] == pytest.approx([1.5**0.5 / 2, 0, -(1.5**0.5) / 2], abs=1e-5)
    assert mean_of(["loud", "none"], "shop", heads, stored) is None


def test_a_choice_for_a_part_never_sees_its_queries(heads: list[Any]) -> None:
    from nested import choices, complete, nested

    places = [part_of(head.query, 2) for head in heads]
    right, wrong = [0.0, 0.0, 9.0], [9.0, 0.0, -9.0]
    good = np.array([right] * 6, np.float32)
    bad = np.array([wrong] * 6, np.float32)
    for_one = np.array([right if place else wrong for place in places], np.float32)
    stored = {f"{name}@shop": good for name in ("a0", "a1")} | {f"{name}@shop": bad for name in ("b0", "b1")}
    stored |= {"a01@shop": for_one, "b01@shop": for_one[[places.index(1 - place) for place in places]]}
    assert complete("a", "shop", stored, 2)
    assert not complete("c", "shop", stored, 2)
    made = list(choices(["a", "b"], "shop", heads, stored, 2))
    assert [choice.model for choice in made] == ["a", "b"]  # a is right on part 1, so part 0 takes it
    assert all(choice.weight > 0 for choice in made)
    firsts = [order[1] for order in nested(made, "shop", heads, stored)]
    assert firsts == ["c" if place == 0 else "a" for place in places]


def test_no_weight_leaves_the_fused_order(heads: list[Any]) -> None:
    scores = np.array([0, 0, 9], np.float32)
    assert heads[0].ranked(scores, 0.0) == list(heads[0].ids)
    assert heads[0].ranked(scores, 1.0) == ["exact", "c", "a", "b", "tail"]


def test_scores_are_picked_for_the_same_candidates(heads: list[Any]) -> None:
    from dataclasses import replace

    from heads import picked

    scores = np.arange(18, dtype=np.float32).reshape(6, 3)
    assert picked([heads[4], heads[1]], heads, scores).tolist() == [[12, 13, 14], [3, 4, 5]]
    with pytest.raises(SystemExit, match="'kettle' has another order"):
        picked([replace(heads[0], ids=["a", "exact", "b", "c", "tail"])], heads, scores)

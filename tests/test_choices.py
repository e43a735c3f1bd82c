"""What is chosen by some queries for others, and the depth that time allows."""

from pathlib import Path

import numpy as np
import pytest

from millirank.evaluation import Scores

LOADTEST = str(Path(__file__).parent.parent / "loadtest")


def test_a_part_is_ranked_with_what_is_best_on_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(LOADTEST)
    from shopchoice import chosen, taken

    places = [0, 0, 1, 1]
    values = np.array([[0.9, 0.9, 0.1, 0.1], [0.2, 0.2, 0.8, 0.8], [0.5, 0.5, 0.5, 0.5]])
    made = chosen(values, places)
    assert made == {0: 1, 1: 0}  # each part's own figures have no say: what is best there is never chosen
    scores = [Scores(("a", "b", "c", "d"), {"ndcg@10": row}) for row in values]
    assert taken(scores, made, places).values["ndcg@10"].tolist() == [0.2, 0.2, 0.1, 0.1]
    assert chosen(np.ones((3, 4)), places) == {0: 0, 1: 0}


def test_what_was_chosen_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(LOADTEST)
    from shopchoice import FIELDS, Setting

    told = str(Setting(0, 0.5504, 0.35, 200))
    assert told.endswith("; BM25 0.55; reranker 0.35; 200 candidates")
    assert all(f"{name} {weight}" in told for name, weight in FIELDS[0].items())


def test_the_depth_is_the_largest_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(LOADTEST)
    from depths import fitting

    times = {2: 3.0, 3: 4.5, 20: 26.0, 24: 25.0}
    assert [fitting(times, budget) for budget in (2, 3, 4, 25, 30)] == [0, 2, 2, 24, 24]


def test_heads_are_reranked_as_deep_as_they_are_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(LOADTEST)
    from depths import orders_at
    from heads import Head

    ids = ["exact", "a", "b", "c", "tail"]
    head = Head("judged", "kettle", "", ids, [1.02, 0.02, 0.02, 0.02, 0.005], ["a", "c"], 1, 3, {"c": 3})
    scores = np.array([[0, 4, 9]], np.float32)
    assert orders_at([head], scores, 0) == [ids]
    assert orders_at([head], scores, 2) == [["exact", "b", "a", "c", "tail"]]
    assert orders_at([head], scores, 50) == [["exact", "c", "b", "a", "tail"]]


def test_a_head_without_what_is_behind_it_keeps_two_candidates_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(LOADTEST)
    from depths import alone, orders_at
    from heads import Head

    ids, prior = list("abcdef"), [0.030, 0.029, 0.015, 0.012, 0.010, 0.005]
    head = Head("judged", "kettle", "", ids, prior, ["a"], 0, 6, {"b": 3})
    scores = np.array([[0, 9, 0, 0, 0, 0]], np.float32)
    assert alone([head], scores, 2) == [ids]
    assert orders_at([head], scores, 2) == [["b", "a", "c", "d", "e", "f"]]
    assert alone([head], scores, 6) == orders_at([head], scores, 6)

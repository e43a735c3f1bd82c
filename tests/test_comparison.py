"""Paired tests against closed forms, folds that keep apart what must not meet."""

from collections.abc import Sequence
from math import comb, erfc, sqrt

import numpy as np
import pytest

from millirank.errors import CatalogError, ConfigError
from millirank.evaluation import (
    MEASURES,
    Judgments,
    Run,
    Scores,
    compare,
    compare_spellings,
    cross_validated,
    fold,
    part_of,
    randomization,
)
from millirank.mining import reserved


def scores(**values: float) -> Scores:
    return Scores(tuple(values), dict.fromkeys(MEASURES, np.array(list(values.values()))))


def test_a_comparison_names_wins_and_losses_and_leaves_ties_out() -> None:
    first = scores(even=0.5, lost=0.25, most_lost=0.0, won=0.75, most_won=1.0)
    second = scores(even=0.5, lost=0.5, most_lost=0.5, won=0.5, most_won=0.0)
    found = compare(first, second, "mrr")
    assert found.wins == (("most_won", 1.0), ("won", 0.25))
    assert found.losses == (("most_lost", -0.5), ("lost", -0.25))
    assert found.difference == pytest.approx(0.1)
    assert found.interval[0] < 0.1 < found.interval[1]
    assert not found.fell
    turned = compare(second, first, "mrr")
    assert turned.difference == -found.difference
    assert turned.p == found.p
    assert [query for query, _ in turned.wins] == ["most_lost", "lost"]


def test_queries_that_one_order_lacks_are_left_out() -> None:
    found = compare(scores(a=1, b=0.5, c=0), scores(c=0.5, x=1, a=0.5), "ndcg@10")
    assert found.queries == 2
    assert (found.wins, found.losses) == ((("a", 0.5),), (("c", -0.5),))
    with pytest.raises(ConfigError, match="same judgments"):
        compare(scores(a=1), scores(b=1), "ndcg@10")


def test_a_paired_interval_is_narrow_where_every_query_gains_alike() -> None:
    second = Scores(tuple(map(str, range(57))), {"mrr": np.random.default_rng(1).uniform(size=57)})
    first = Scores(second.queries, {"mrr": second.values["mrr"] + 0.1})
    found = compare(first, second, "mrr")
    assert found.interval == pytest.approx((0.1, 0.1))
    assert len(found.wins) == 57
    assert found == compare(first, second, "mrr")
    assert compare(second, first, "mrr").fell


def test_a_paired_interval_is_as_wide_as_theory_says() -> None:
    rng = np.random.default_rng(2)
    queries = tuple(map(str, range(400)))
    second = rng.uniform(size=400)
    moved = rng.normal(0.02, 0.2, 400)
    low, high = compare(Scores(queries, {"mrr": second + moved}), Scores(queries, {"mrr": second}), "mrr").interval
    assert high - low == pytest.approx(2 * 1.96 * moved.std() / 20, rel=0.1)  # the normal approximation


@pytest.mark.parametrize("count", [1, 5, 10, 16])
def test_as_many_gains_alike_have_the_p_of_the_sign_test(count: int) -> None:
    assert randomization(np.full(count, 0.3)) == pytest.approx(2 / 2**count)
    assert randomization(np.array([0.3] * count + [0.0] * 50)) == pytest.approx(2 / 2**count)


@pytest.mark.parametrize(("wins", "losses"), [(9, 3), (6, 6), (14, 10), (30, 12)])
def test_gains_and_losses_alike_have_the_p_of_the_sign_test(wins: int, losses: int) -> None:
    count = wins + losses
    exact = sum(comb(count, k) for k in range(count + 1) if abs(2 * k - count) >= abs(wins - losses)) / 2**count
    assert randomization(np.array([0.2] * wins + [-0.2] * losses)) == pytest.approx(exact, abs=0.012)


def test_many_differences_have_the_p_of_the_normal_distribution() -> None:
    differences = np.random.default_rng(3).normal(0.03, 0.2, 300)
    z = abs(differences.sum()) / sqrt((differences**2).sum())
    assert randomization(differences) == pytest.approx(erfc(z / sqrt(2)), abs=0.005)
    assert randomization(differences) == randomization(-differences)


def test_equal_orders_have_p_one_and_clear_ones_a_small_one() -> None:
    assert randomization(np.zeros(40)) == 1
    assert randomization(np.full(100, 0.01)) < 1e-4
    assert randomization(np.full(100, 0.01), draws=99) == 0.01  # the true assignment is counted as one more


def test_a_misspelling_is_held_against_what_was_meant() -> None:
    wrong, right = scores(lmap=0.5, lapm=0.25, dsek=1.0), scores(lamp=1.0, desk=1.0, sofa=0.0)
    found = compare_spellings(wrong, right, {"lmap": "lamp", "lapm": "lamp", "dsek": "desk"}, "ndcg@10")
    assert found.queries == 3
    assert found.difference == pytest.approx((-0.5 - 0.75 + 0) / 3)
    assert found.losses == (("lapm", -0.75), ("lmap", -0.5))


def test_folds_part_the_queries_as_training_does() -> None:
    judged = {f"query {number}": {"a": 1} for number in range(40)}
    parts = [fold(judged, part, 5) for part in range(5)]
    assert sum(map(len, parts)) == 40
    assert {query: grades for part in parts for query, grades in part.items()} == judged
    assert part_of("Phone  Cases", 7) == part_of("phone case", 7)
    assert [part_of(query, 5) == 0 for query in judged] == [reserved(query) for query in judged]
    with pytest.raises(CatalogError, match="part 5 of 5"):
        fold(judged, 5, 5)


def test_every_query_is_scored_by_what_was_made_without_it() -> None:
    judged = {f"query {number}": {"right": 1, "wrong": 0} for number in range(20)}
    seen: list[set[str]] = []

    def run_of(part: int, others: Judgments, queries: Sequence[str]) -> Run:
        assert len(seen) == part
        assert set(others).isdisjoint(queries)
        assert set(others) | set(queries) == set(judged)
        seen.append(set(queries))
        return {query: ["wrong", "right"] if part == 0 else ["right"] for query in queries}

    found = cross_validated(judged, 3, run_of)
    assert set(found.queries) == set(judged) == set().union(*seen)
    assert found.mean("mrr") == pytest.approx(1 - len(seen[0]) / 2 / 20)

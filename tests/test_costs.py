from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from millirank.costs import AT_ONCE, CostTable
from millirank.pace import LEAST_DOUBTED, LIMITS, Pace, Paces
from millirank_engines.base import Profile


def table(overhead: float = 1.0, a_token: float = 0.01) -> CostTable:
    """Seconds as on an engine with a fixed cost a call and one a padded token."""
    profiles = [Profile(batch, length) for batch in (1, 4, 16, 50) for length in (16, 32, 64)]
    return CostTable({p: overhead + a_token * p.tokens for p in profiles})


def test_one_length_is_covered_at_the_least_cost() -> None:
    costs = CostTable({Profile(4, 32): 4.0, Profile(16, 32): 12.0})
    assert [costs.cost([n]) for n in (0, 1, 4, 5, 8, 9, 16, 17)] == [0, 4, 4, 8, 8, 12, 12, 16]


def test_mixed_lengths_run_together_where_a_call_is_dear_and_apart_where_padding_is() -> None:
    lengths = np.array([10, 60, 12, 30])
    dear_calls = table(overhead=100.0, a_token=0.001).plan(lengths)
    dear_tokens = table(overhead=0.0, a_token=1.0).plan(lengths)
    assert [chunk.profile for chunk in dear_calls] == [Profile(4, 64)]
    assert {chunk.profile.length for chunk in dear_tokens} == {16, 32, 64}


def test_depth_is_the_largest_that_fits() -> None:
    costs = CostTable({Profile(4, 32): 4.0, Profile(8, 32): 7.0})
    lengths = [np.full(50, 20)]
    assert [costs.depth_that_fits(lengths, budget) for budget in (3.9, 4.0, 7.0, 10.9, 11.0, 1000.0)] == [
        0, 4, 8, 8, 12, 50,
    ]  # fmt: skip


def test_requests_share_the_budget() -> None:
    costs = CostTable({Profile(4, 32): 4.0, Profile(8, 32): 7.0})
    assert costs.depth_that_fits([np.full(50, 20), np.full(50, 20)], budget=7.0) == 4
    assert costs.depth_that_fits([np.full(2, 20), np.full(50, 20)], budget=7.0) == 6  # 2 + 6


def test_no_request_needs_no_depth() -> None:
    assert table().depth_that_fits([], budget=1.0) == 0
    assert table().plan(np.array([], np.int64)) == []


def test_more_sequences_than_were_solved_for_are_planned_all_the_same() -> None:
    lengths = np.full(3 * AT_ONCE + 7, 20)
    costs = CostTable({Profile(4, 32): 4.0, Profile(8, 32): 7.0})
    assert costs.depth_that_fits([lengths], budget=7.0 * 100) == 800
    chunks = costs.plan(lengths)
    assert sorted(i for chunk in chunks for i in chunk.members) == list(range(len(lengths)))


@given(st.lists(st.integers(1, 90), max_size=80))
def test_a_plan_is_a_partition_whose_calls_hold_their_members(lengths: list[int]) -> None:
    costs = table()
    chunks = costs.plan(np.array(lengths, np.int64))
    assert sorted(i for chunk in chunks for i in chunk.members) == list(range(len(lengths)))
    for chunk in chunks:
        assert 1 <= len(chunk.members) <= chunk.profile.batch
        assert all(min(lengths[i], 64) <= chunk.profile.length for i in chunk.members)
    counts = np.bincount(costs._bucket(np.array(lengths, np.int64)), minlength=3).tolist()
    assert np.isclose(sum(costs.seconds[chunk.profile] for chunk in chunks), costs.cost(counts))


@given(st.lists(st.integers(1, 90), min_size=1, max_size=60), st.floats(0, 50))
def test_the_chosen_depth_fits_and_one_more_does_not(lengths: list[int], budget: float) -> None:
    costs = table()
    array = np.array(lengths)
    depth = costs.depth_that_fits([array], budget)

    def cost(n: int) -> float:
        return costs.cost(np.bincount(costs._bucket(array[:n]), minlength=3).tolist())

    assert cost(depth) <= budget or depth == 0
    assert depth == len(lengths) or cost(depth + 1) > budget


@given(st.lists(st.integers(1, 64), min_size=1, max_size=64), st.floats(0, 1), st.integers(1, 8), st.floats(0, 0.1))
def test_a_depth_is_found_in_a_few_steps(lengths: list[int], share: float, together: int, a_token: float) -> None:
    """Whether calls or tokens are dear; every second step halves what is left, whatever the guesses are worth."""
    costs = table(a_token=a_token)
    array, priced, steps = np.array(lengths), costs.cost, list[float]()

    def counted(counts: Sequence[int]) -> float:
        steps.append(priced(counts))
        return steps[-1]

    costs.cost = counted  # type: ignore[method-assign]
    budget = share * counted([count * together for count in np.bincount(costs._bucket(array), minlength=3).tolist()])
    depth = costs.depth_that_fits([array], budget, together)
    assert len(steps) <= 2 + 2 * 6  # of 64
    assert depth == len(lengths) or share < 1


def test_a_prediction_follows_the_pace_of_its_profiles() -> None:
    costs = CostTable({Profile(4, 32): 4.0, Profile(16, 32): 12.0})
    for _ in range(500):
        costs.observe(Profile(4, 32), 8.0)
    own, other = costs.predicted(4, 20) / 4.0, costs.predicted(16, 20) / 12.0
    assert 1.9 < own < 2.2
    assert other > 1.5  # what slows one down mostly slows all
    assert costs.predicted(0, 20) == 0
    assert costs.predicted(20, 20) == costs.predicted(16, 20) + costs.predicted(4, 20)


def test_a_slow_pace_costs_depth_and_doubt_gives_it_back() -> None:
    costs = CostTable({Profile(n, 32): 1.0 * n for n in (1, 2, 4, 8)})
    lengths = [np.full(50, 20)]
    before = costs.depth_that_fits(lengths, 8.0)
    for _ in range(200):
        costs.observe(Profile(8, 32), 16.0)
    slow = costs.depth_that_fits(lengths, 8.0)
    for second in range(40):
        costs.doubt(100.0 + second)
    assert before == 8
    assert slow in (3, 4)
    assert costs.depth_that_fits(lengths, 8.0) >= 8


@given(st.floats(0.4, 2.5), st.integers(0, 2**32 - 1))
def test_the_pace_settles_where_nearly_all_observations_lie_below(slowness: float, seed: int) -> None:
    pace, below = Pace(0.95), []
    for ratio in slowness * np.random.default_rng(seed).uniform(0.8, 1.2, 3000):
        below.append(ratio <= pace.value)
        pace.observe(ratio)
    assert 0.93 < np.mean(below[1000:]) < 0.97


def test_the_pace_recovers_from_a_bad_start_and_knows_its_limits() -> None:
    pace = Pace()
    for _ in range(1000):
        pace.observe(100.0)
    assert pace.value == LIMITS[1]
    for tenth in range(400):
        pace.doubt(100.0 + tenth / 10)
    assert 2.0 < pace.value < 3.0
    for hour in range(1, 200):
        pace.doubt(3600.0 * hour)  # a second each, at most
    assert 0.24 < pace.value <= 0.25
    for _ in range(10_000):
        pace.observe(0.5)
    assert 0.45 < pace.value < 0.6


@given(st.lists(st.tuples(st.integers(0, 2), st.floats(0.1, 6)), max_size=60))
def test_paces_are_paces_that_learn_from_each_other(observed: list[tuple[int, float]]) -> None:
    paces, alone = Paces(3, others=0.0), [Pace() for _ in range(3)]
    together = Paces(3, others=1.0)
    for second, (at, ratio) in enumerate(observed):
        paces.observe(at, ratio)
        together.observe(at, ratio)
        alone[at].observe(ratio)
        if second % 7 == 0:
            paces.doubt(float(second))
            for pace in alone:
                pace.doubt(float(second))
    np.testing.assert_allclose(paces.values, [pace.value for pace in alone])
    assert np.ptp(together.values) == 0


def test_paces_stay_within_the_limits_of_one() -> None:
    together, alone = Paces(2, others=1.0), Pace()
    for ratio, limit in ((9.0, LIMITS[1]), (0.05, LIMITS[0])):
        for _ in range(10_000):
            together.observe(0, ratio)
            alone.observe(ratio)
        assert together.values == [limit, limit]
        assert alone.value == limit
    for _ in range(40):
        together.observe(1, 9.0)
        alone.observe(9.0)
    for second in range(1000):
        together.doubt(float(second))
        alone.doubt(float(second))
    np.testing.assert_allclose(together.values, [alone.value] * 2)
    assert LIMITS[0] < alone.value <= LEAST_DOUBTED

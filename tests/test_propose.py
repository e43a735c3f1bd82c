import tomllib
from collections.abc import Iterator, Sequence
from itertools import chain, combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millirank.costs import CostTable
from millirank_engines import EngineError, Profile
from millirank_engines.build.demand import Demand, drawn_together, whole
from millirank_engines.build.propose import Proposal, propose, toml_of

DEMANDS = st.lists(
    st.builds(
        Demand,
        st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple),
        st.integers(1, 5).map(float),
    ),
    min_size=1,
    max_size=6,
)


def subsets(values: Sequence[int]) -> Iterator[tuple[int, ...]]:
    return chain.from_iterable(combinations(values, n) for n in range(1, len(values) + 1))


def cost(demands: Sequence[Demand], ladder: dict[int, tuple[int, ...]]) -> float:
    """What the demands cost on a ladder, told again without arrays; infinite where something does not fit."""
    total = 0.0
    for demand in demands:
        groups: dict[int, int] = {}
        for length in demand.lengths:
            edge = min((e for e in ladder if e >= length), default=None)
            if edge is None:
                return float("inf")
            groups[edge] = groups.get(edge, 0) + 1
        for edge, count in groups.items():
            size = min((s for s in ladder[edge] if s >= count), default=None)
            if size is None:
                return float("inf")
            total += demand.weight * edge * size
    return total


def brute(demands: Sequence[Demand], most: int, holds: Profile, step: int) -> float:
    """The least cost over every ladder there is."""
    edges = [*range(step, holds.length, step), holds.length]
    sizes = list(subsets(sorted({n for d in demands for n in range(1, len(d.lengths) + 1)} | {holds.batch})))
    needed = [*demands, Demand((holds.length,) * holds.batch, 0.0)]
    best = float("inf")

    def extend(left: Sequence[int], ladder: dict[int, tuple[int, ...]], room: int) -> None:
        nonlocal best
        if not left:
            best = min(best, cost(needed, ladder))
            return
        if left[0] != holds.length:
            extend(left[1:], ladder, room)
        for chosen in sizes:
            if len(chosen) <= room:
                extend(left[1:], {**ladder, left[0]: chosen}, room - len(chosen))

    extend(edges, {}, most)
    return best


@settings(max_examples=60, deadline=None)
@given(DEMANDS, st.integers(1, 5))
def test_nothing_is_cheaper_than_the_proposal(demands: list[Demand], most: int) -> None:
    holds = Profile(4, 12)
    made = propose(demands, most, holds=holds, step=4)
    assert len(made.buckets) <= most
    assert made.padded == pytest.approx(brute(demands, most, holds, 4))
    assert sum(made.share.values()) == pytest.approx(1)
    assert made.valid == sum(d.weight * sum(d.lengths) for d in demands)
    assert any(b.batch >= holds.batch and b.length >= holds.length for b in made.buckets)


@settings(max_examples=60, deadline=None)
@given(DEMANDS, st.integers(1, 6), st.integers(1, 4))
def test_the_planner_that_serves_pays_at_most_that(demands: list[Demand], most: int, ranges: int) -> None:
    import numpy as np

    made = propose(demands, most, holds=Profile(4, 12), ranges=ranges, step=1)
    table = CostTable({bucket: float(bucket.tokens) for bucket in made.buckets})
    paid = sum(d.weight * sum(c.profile.tokens for c in table.plan(np.array(d.lengths))) for d in demands)
    assert made.valid <= paid <= made.padded + 1e-9
    assert 1 <= len(made.ranges) <= ranges
    for bucket in made.buckets:
        assert any(
            r.low.batch <= bucket.batch <= r.high.batch and r.low.length <= bucket.length <= r.high.length
            for r in made.ranges
        )
    for one in made.ranges:
        assert one.best in made.buckets
        assert one.low.batch <= one.best.batch <= one.high.batch
        assert one.low.length <= one.best.length <= one.high.length


def test_more_buckets_never_cost_more_and_useless_ones_are_left_out() -> None:
    demands = [Demand((n, n + 3), 1.0) for n in range(1, 20)]
    costs = [propose(demands, n, holds=Profile(2, 24)).padded for n in range(1, 9)]
    assert costs == sorted(costs, reverse=True)
    assert len(propose([Demand((24, 24))], 9, holds=Profile(2, 24)).buckets) == 1


def test_a_greedy_choice_would_be_beaten() -> None:
    demands = [Demand((8,), 10), Demand((16,), 9), Demand((24,), 10), Demand((32,), 1)]
    best_two = propose(demands, 2, holds=Profile(1, 32))
    best_three = propose(demands, 3, holds=Profile(1, 32))
    assert [b.length for b in best_two.buckets] == [16, 32]
    assert [b.length for b in best_three.buckets] == [8, 24, 32]
    assert (best_two.padded, best_three.padded) == (656, 568)  # 16 kept, the third edge would leave 576


def test_edges_are_multiples_of_eight_but_the_last() -> None:
    made = propose([Demand((n,)) for n in range(3, 60)], 20, holds=Profile(1, 59))
    assert [b.length for b in made.buckets] == [8, 16, 24, 32, 40, 48, 56, 59]


def test_one_call_a_request_pads_to_its_longest() -> None:
    demands = [Demand((4, 20, 6), 2.0)]
    assert whole(demands) == [Demand((20, 20, 20), 2.0)]
    split = propose(demands, 4, holds=Profile(3, 24))
    together = propose(whole(demands), 4, holds=Profile(3, 24))
    assert split.padded == 2 * (2 * 8 + 24)
    assert together.padded == 2 * 3 * 24


@given(st.dictionaries(st.integers(1, 9), st.integers(1, 5), min_size=1, max_size=4), st.integers(1, 3))
def test_the_longest_of_independent_draws_is_counted_exactly(lengths: dict[int, int], batch: int) -> None:
    drawn = [n for n, count in lengths.items() for _ in range(count)]
    tuples: list[tuple[int, ...]] = [()]
    for _ in range(batch):
        tuples = [(*t, n) for t in tuples for n in drawn]
    wanted = {n: sum(max(t) == n for t in tuples) / len(tuples) for n in lengths}
    demands = drawn_together(lengths, [batch])
    assert {d.lengths[0]: d.weight for d in demands} == pytest.approx(wanted)
    assert all(d.lengths == (d.lengths[0],) * batch for d in demands)


@pytest.mark.parametrize(
    ("demands", "buckets", "message"),
    [
        ([], 4, "no work"),
        ([Demand((9,), 0.0)], 4, "no work"),
        ([Demand((9,))], 0, "--buckets"),
        ([Demand((33,))], 4, "a sequence has 33 tokens, the template ends at 32"),
    ],
)
def test_what_cannot_be_proposed_is_refused(demands: list[Demand], buckets: int, message: str) -> None:
    with pytest.raises(EngineError, match=message):
        propose(demands, buckets, holds=Profile(1, 32))


def test_the_proposal_is_written_as_toml() -> None:
    made: Proposal = propose([Demand((8, 30)), Demand((16,) * 4)], 3, holds=Profile(4, 35), ranges=2)
    data = tomllib.loads(toml_of({"rerank": made}))
    assert data["rerank"]["buckets"] == [str(b) for b in made.buckets]
    profiles = data["rerank"]["profile"]
    assert len(profiles) == len(made.ranges)
    for written, one in zip(profiles, made.ranges, strict=True):
        assert written["batch"] == {"min": one.low.batch, "opt": one.best.batch, "max": one.high.batch}
        assert written["length"] == {"min": one.low.length, "opt": one.best.length, "max": one.high.length}

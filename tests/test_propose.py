import json
from collections.abc import Iterator, Sequence
from itertools import chain, combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from millirank.catalog.snapshot import Snapshot
from millirank.commands.demands import demands_of
from millirank.commands.engine import app
from millirank.costs import CostTable
from millirank.errors import ConfigError
from millirank.traffic.lengths import Traffic
from millirank.traffic.records import Asked, read_traffic
from millirank_engines import EngineError, Profile
from millirank_engines.build.demand import Demand, drawn_together, whole
from millirank_engines.build.profiles import read_profiles, refuse_uncovered
from millirank_engines.build.propose import padded_tokens, propose

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
    assert len(made.profiles.buckets) <= most
    assert made.padded == pytest.approx(brute(demands, most, holds, 4))
    assert sum(made.share.values()) == pytest.approx(1)
    assert made.valid == sum(d.weight * sum(d.lengths) for d in demands)
    assert any(b.batch >= holds.batch and b.length >= holds.length for b in made.profiles.buckets)


@settings(max_examples=60, deadline=None)
@given(DEMANDS, st.integers(1, 6), st.integers(1, 4))
def test_the_planner_that_serves_pays_at_most_that(demands: list[Demand], most: int, ranges: int) -> None:
    import numpy as np

    made = propose(demands, most, holds=Profile(4, 12), ranges=ranges, step=1)
    table = CostTable({bucket: float(bucket.tokens) for bucket in made.profiles.buckets})
    paid = sum(d.weight * sum(c.profile.tokens for c in table.plan(np.array(d.lengths))) for d in demands)
    assert made.valid <= paid <= made.padded + 1e-9
    assert made.valid <= padded_tokens(demands, made.profiles.buckets) <= made.padded + 1e-9
    assert 1 <= len(made.profiles.optimization) <= ranges
    refuse_uncovered(made.profiles)
    assert all(Profile(one.batch.opt, one.length.opt) in made.profiles.buckets for one in made.profiles.optimization)


def test_more_buckets_never_cost_more_and_useless_ones_are_left_out() -> None:
    demands = [Demand((n, n + 3), 1.0) for n in range(1, 20)]
    costs = [propose(demands, n, holds=Profile(2, 24)).padded for n in range(1, 9)]
    assert costs == sorted(costs, reverse=True)
    assert len(propose([Demand((24, 24))], 9, holds=Profile(2, 24)).profiles.buckets) == 1


def test_a_greedy_choice_would_be_beaten() -> None:
    demands = [Demand((8,), 10), Demand((16,), 9), Demand((24,), 10), Demand((32,), 1)]
    best_two = propose(demands, 2, holds=Profile(1, 32))
    best_three = propose(demands, 3, holds=Profile(1, 32))
    assert [b.length for b in best_two.profiles.buckets] == [16, 32]
    assert [b.length for b in best_three.profiles.buckets] == [8, 24, 32]
    assert (best_two.padded, best_three.padded) == (656, 568)  # 16 kept, the third edge would leave 576


def test_edges_are_multiples_of_eight_but_the_last() -> None:
    made = propose([Demand((n,)) for n in range(3, 60)], 20, holds=Profile(1, 59))
    assert [b.length for b in made.profiles.buckets] == [8, 16, 24, 32, 40, 48, 56, 59]


def test_one_call_a_request_pads_to_its_longest() -> None:
    demands = [Demand((4, 20, 6), 2.0)]
    assert whole(demands) == [Demand((20, 20, 20), 2.0, 30)]
    split = propose(demands, 4, holds=Profile(3, 24))
    together = propose(whole(demands), 4, holds=Profile(3, 24))
    assert split.padded == 2 * (2 * 8 + 24)
    assert together.padded == 2 * 3 * 24
    assert split.valid == together.valid == 2 * 30


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
    assert sum(d.weight * d.tokens for d in demands) == pytest.approx(sum(map(sum, tuples)) / len(tuples))


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


def test_the_proposal_is_read_by_a_build(tmp_path: Path) -> None:
    made = propose([Demand((8, 30)), Demand((16,) * 4)], 3, holds=Profile(4, 35), ranges=2)
    (tmp_path / "profiles.toml").write_text(made.profiles.to_toml("rerank"), "utf-8")
    assert read_profiles(tmp_path / "profiles.toml", "rerank") == made.profiles
    assert len(made.profiles.optimization) == 2


def test_any_buckets_are_priced_and_what_they_do_not_hold_is_cut() -> None:
    grid = [Profile(batch, length) for batch in (2, 4) for length in (8, 16)]
    assert padded_tokens([Demand((3, 12, 12), 2.0)], grid) == 2 * (2 * 8 + 2 * 16)
    assert padded_tokens([Demand((16,) * 9)], grid) == (4 + 4 + 2) * 16
    assert padded_tokens([Demand((99,))], grid) == 2 * 16  # cut to the longest
    assert padded_tokens([Demand((5, 5, 5))], [Profile(2, 8), Profile(3, 10)]) == 30


def test_work_that_never_comes_does_not_widen_the_profile_of_what_does() -> None:
    made = propose([Demand((8,)), Demand((8, 8))], 4, holds=Profile(32, 50), ranges=2)
    assert [str(one) for one in made.profiles.optimization] == ["1…2…2 x 8…8…8", "32…32…32 x 50…50…50"]


def traffic(folder: Path, *lines: object) -> Path:
    path = folder / "traffic.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines), "utf-8")
    return path


def test_traffic_is_read(tmp_path: Path) -> None:
    path = traffic(
        tmp_path,
        {"query": "usb"},
        "",
        {"query": "hub", "depth": 7},
        {"query": "c", "lengths": [9, 30]},
        {"query": "d", "candidates": ["a", "b", "c"], "depth": 2},
    )
    assert read_traffic(path, 50) == [
        Asked("usb", 50, None, None),
        Asked("hub", 7, None, None),
        Asked("c", 2, (9, 30), None),
        Asked("d", 2, None, ("a", "b", "c")),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1"),
        ("[1]", "line 1"),
        ({"depth": 3}, "line 1"),
        ({"query": "a", "deep": 3}, "unknown: deep.*use candidates, depth, lengths, query, weight"),
        ({"query": "a", "depth": -1}, "a number is negative"),
        ({"query": "a", "lengths": [0]}, "a number is negative"),
        ("", "holds no request"),
    ],
)
def test_traffic_of_another_form_is_refused(tmp_path: Path, line: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_traffic(traffic(tmp_path, line), 50)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_traffic(tmp_path / "none", 50)


def test_lengths_come_from_the_traffic_from_candidates_or_from_the_index(tiny_index: Path) -> None:
    snapshot = Snapshot.open(tiny_index)
    known = snapshot.tokens.lengths([4, 2]).tolist()
    ids = snapshot.ids([4, 2])
    every = set(snapshot.tokens.lengths(range(len(snapshot))).tolist())
    snapshot.close()
    asked = [
        Asked("a", 2, (9, 20, 30), None),
        Asked("a", 3, None, (ids[0], "nobody", ids[1])),
        Asked("a", 5, None, None),
        Asked("a", 0, None, None),
    ]
    measured = Traffic(asked, tiny_index)
    demands, holds = demands_of(measured, "rerank")
    queries, longest = demands_of(measured, "embed")
    measured.close()
    assert [d.lengths for d in demands[:2]] == [(9, 20), tuple(n + 1 + 3 for n in known)]
    assert len(demands[2].lengths) == 5
    assert {n - 4 for n in demands[2].lengths} <= every
    assert len(demands) == 3  # a request without candidates is no work
    assert holds == Profile(5, 75)
    assert {d.lengths for d in queries} == {(3,) * n for n in (1, 2, 4, 8)}
    assert longest == Profile(32, 50)


def test_the_command_proposes_and_writes_what_a_build_reads(tiny_index: Path, tmp_path: Path) -> None:
    path = traffic(tmp_path, *({"query": "usb c cable", "depth": n} for n in (4, 8, 8, 12)))
    out = tmp_path / "profiles.toml"
    arguments = ["profiles", "--from", str(path), "--catalog", str(tiny_index), "--out", str(out), "--buckets", "6"]
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)
    assert told.exit_code == 0, told.output
    assert "default, tensorrt" in told.output
    assert "proposed" in told.output
    rerank, embed = read_profiles(out, "rerank"), read_profiles(out, "embed")
    assert 1 <= len(rerank.buckets) <= 6
    assert Profile(32, 50) in embed.buckets
    told = CliRunner(env={"COLUMNS": "200"}).invoke(app, [*arguments, "--task", "rerank", "--split"])
    assert told.exit_code == 0, told.output
    assert read_profiles(out, "embed") == embed  # kept
    assert read_profiles(out, "rerank") != rerank

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millirank.costs import CostTable
from millirank.sla import Admission, Depth, Margin, Rate, Ticket
from millirank_engines.base import Profile

LENGTHS = np.full(50, 20)


def linear(seconds: float = 0.001) -> CostTable:
    return CostTable({Profile(n, 32): seconds * n for n in (1, 2, 3, 4, 5, 6, 8, 10, 16, 50)})


def at_rate(depth: Depth, arrivals: float, now: float = 100.0) -> Depth:
    for i in range(int(arrivals * 5)):
        depth.rate.observe(now - 5 + i / arrivals)
    return depth


def test_a_rate_follows_arrivals_and_fades() -> None:
    rate = Rate()
    assert rate.at(0.0) == 0
    for i in range(1000):
        rate.observe(i / 200)
    assert rate.at(5.0) == pytest.approx(200, rel=0.02)
    assert rate.at(5.5) == pytest.approx(200 / np.e, rel=0.02)
    assert rate.at(4.0) == rate.at(4.995)  # a clock read out of order changes nothing


def test_depth_is_the_largest_that_the_oldest_deadline_allows() -> None:
    depth = Depth(linear())
    assert [depth.choose([LENGTHS], [100 + left], 100.0) for left in (0.0015, 0.0025, 0.0055, 0.0201, 1.0)] == [
        0, 2, 5, 20, 50,
    ]  # fmt: skip
    assert depth.choose([LENGTHS, LENGTHS], [100.0201, 200.0], 100.0) == 10
    assert depth.choose([LENGTHS[:1]], [100.0015], 100.0) == 1  # a lone candidate is all there is


def test_no_deadline_is_no_limit() -> None:
    assert at_rate(Depth(linear()), 1000).choose([LENGTHS], [None], 100.0) == 50


def test_depth_shrinks_smoothly_with_the_rate_and_ends_at_the_least() -> None:
    depths = [at_rate(Depth(linear()), rate).choose([LENGTHS], [100.0105], 100.0) for rate in (10, 80, 120, 200, 2000)]
    assert depths == [10, 8, 5, 3, 2]


def test_requests_that_wait_together_bring_their_shares() -> None:
    depth = at_rate(Depth(linear()), 200)
    assert depth.choose([LENGTHS] * 3, [100.0205] * 3, 100.0) == 3  # 3 x 3.5 ms for 9 pairs and a bit


def test_the_margin_settles_where_nearly_all_leave_in_time() -> None:
    margin, random = Margin(0.010), np.random.default_rng(0)
    late = []
    for delay in random.exponential(0.0005, 20_000).tolist():
        late.append(delay > margin.of(0))
        margin.observe(0, delay - margin.of(0), 1.0)
    assert np.mean(late[5000:]) == pytest.approx(0.01, abs=0.004)
    assert margin.of(0) == pytest.approx(0.0005 * np.log(100), rel=0.3)


def test_the_margin_knows_its_limits() -> None:
    margin = Margin(0.010)
    margin.observe(0, -1.0, 0.0)
    assert margin.of(0) == 0
    for _ in range(1000):
        margin.observe(0, 1.0, 2.0)
    assert margin.of(0) == pytest.approx(0.003)
    margin.observe(0, -1.0, 0.0)
    shorter = margin.of(0)
    margin.observe(0, 0.004, 0.003)  # it would have been late by 1 ms without any engine
    assert margin.of(0) == shorter < 0.003
    assert margin.of(3) == 0  # what one query learns alone says nothing of a crowd, nor the other way round
    unlimited = Margin(None)
    unlimited.observe(0, 1.0, 2.0)
    assert unlimited.of(0) == 0


def answer(admission: Admission, peer: str, now: float, took: float) -> Ticket:
    ticket = admission.enter(peer, now)
    admission.leave(ticket, now + took)
    return ticket


def test_whoever_finds_nobody_ahead_is_admitted_whatever_was_learned() -> None:
    admission = Admission(idle=0.003)
    for i in range(1000):
        answer(admission, "a", float(i), took=5.0)
    assert admission.wait("a", slack=0.007, now=2000.0) == 0


def test_the_queue_is_as_long_as_can_be_served_in_time() -> None:
    admission = Admission(idle=0.003)
    for i in range(2000):  # two at a time: the second takes 0.5 ms more
        first, second = admission.enter("a", float(i)), admission.enter("b", float(i))
        admission.leave(first, i + 0.003)
        admission.leave(second, i + 0.0035)
    assert admission.idle == pytest.approx(0.003, rel=0.1)
    for waiting in range(30):
        if wait := admission.wait(f"peer {waiting}", slack=0.007, now=2000.0):
            break
        admission.enter(f"peer {waiting}", 2000.0)
    slack = (0.007 - admission.idle) / admission.each  # Little: L = X (slack - idle)
    assert slack - 1 < waiting <= slack + 1
    assert 4 <= waiting <= 12
    assert wait >= admission.each


def test_a_query_that_must_be_embedded_waits_until_the_encoder_has_time() -> None:
    admission = Admission(idle=0.001, encode=0.002)
    assert admission.wait("b", slack=0.007, now=0.0) == 0
    assert admission.wait("b", slack=0.007, now=0.0, backlog=0.003) == 0
    assert admission.wait("b", slack=0.007, now=0.0, backlog=0.006) == pytest.approx(0.002, rel=0.1)


def test_whoever_has_waited_unseen_did_not_find_nobody() -> None:
    admission = Admission(idle=0.003)
    assert admission.wait("a", slack=0.001, now=0.0) == 0
    assert admission.wait("a", slack=0.001, now=0.0, behind=True) >= 0.002
    assert admission.wait("a", slack=0.007, now=0.0, behind=True) == 0


def test_the_wait_for_the_encoder_is_no_work_of_our_own() -> None:
    admission = Admission(idle=0.001)
    for i in range(500):
        first, second = admission.enter("a", float(i)), admission.enter("b", float(i))
        admission.leave(first, i + 0.007, encoding=0.006)
        admission.leave(second, i + 0.0074, encoding=0.006)
    assert admission.idle == pytest.approx(0.001, rel=0.1)
    assert admission.each == pytest.approx(0.0004, rel=0.1)
    assert admission.enter("a", 1000.0).own == pytest.approx(0.001, rel=0.1)
    assert admission.enter("a", 1000.0).own == pytest.approx(0.0014, rel=0.1)


def test_what_rarely_takes_long_keeps_no_query_from_the_encoder() -> None:
    admission = Admission(idle=0.001)
    for i in range(1000):
        answer(admission, "a", float(i), 0.004 if i % 10 == 0 else 0.001)
    assert admission.idle > 0.003
    assert admission.enter("a", 1000.0).own < 0.002


def test_a_greedy_peer_leaves_the_others_their_share() -> None:
    admission = Admission(idle=0.004)
    now = 10.0
    assert admission.wait("polite", slack=0.014, now=now) == 0
    answer(admission, "polite", now, took=0.004)
    greedy = 0
    while not admission.wait("greedy", slack=0.014, now=now + 0.3):
        admission.enter("greedy", now + 0.3)
        greedy += 1
    assert greedy in (5, 6)  # half of the ten that can be served in time
    assert admission.wait("polite", slack=0.014, now=now + 0.3) == 0
    assert admission.wait("another", slack=0.014, now=now + 0.3) == 0


def test_a_peer_that_is_gone_is_forgotten() -> None:
    admission = Admission(idle=0.001)
    for i in range(1000):
        admission.wait(f"peer {i}", slack=0.011, now=i / 100)
        answer(admission, f"peer {i}", i / 100, took=0.001)
    admission.enter("stays", 20.0)
    admission.wait("last", slack=0.011, now=20.0)
    assert set(admission._peers) == {"stays", "last"}


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.floats(0, 0.02)), max_size=60))
def test_every_ticket_counts_once(script: list[tuple[bool, int, float]]) -> None:
    admission, tickets, now = Admission(idle=0.003), list[Ticket](), 0.0
    for arrives, number, seconds in script:
        now += seconds
        if arrives and not admission.wait(str(number), slack=0.007, now=now):
            tickets.append(admission.enter(str(number), now))
        elif tickets:
            admission.leave(tickets.pop(number % len(tickets)), now if number % 2 else None)
        assert admission.waiting == len(tickets) == sum(peer.waiting for peer in admission._peers.values())
        assert admission.each > 0
        assert admission.idle > 0

import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from millirank.batching import Batcher, Seconds


@dataclass
class Fake:
    sequences: int = 1
    length: int = 8
    deadline: float | None = None
    cancelled: bool = False
    priority: int = 0


def free(_sequences: int, _length: int) -> float:
    return 0.0


def each(seconds: float) -> Seconds:
    return lambda sequences, _length: seconds * sequences


def test_an_idle_engine_gets_a_lone_request_at_once() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    work = Fake()
    batcher.push(work)
    assert batcher.pop(0.0, free).ready == [work]
    assert len(batcher) == 0


def test_padded_tokens_bound_a_batch_not_requests() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    short = [Fake(length=8) for _ in range(6)]
    long = Fake(length=16)
    for work in (*short, long):
        batcher.push(work)
    assert batcher.pop(0.0, free).ready == short  # a seventh of 16 tokens would pad all to 7 x 16 = 112
    assert batcher.pop(0.0, free).ready == [long]


def test_a_request_larger_than_the_budget_runs_alone() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    large, small = Fake(sequences=100), Fake()
    batcher.push(large)
    batcher.push(small)
    assert batcher.pop(0.0, free).ready == [large]
    assert batcher.pop(0.0, free).ready == [small]


def test_hopeless_and_cancelled_requests_leave_before_their_batch() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    spent, hopeless, left, good = Fake(deadline=1.0), Fake(deadline=2.4), Fake(cancelled=True), Fake(deadline=3.0)
    for work in (spent, hopeless, left, good):
        batcher.push(work)
    batch = batcher.pop(2.0, each(0.5))
    assert (batch.ready, batch.hopeless, batch.cancelled) == ([good], [spent, hopeless], [left])


def test_a_request_that_keeps_nobody_waiting_is_tried_if_it_is_in_time_as_often_as_not() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    lone, other = Fake(deadline=2.4), Fake(deadline=2.5)
    for typical, tried in ((0.3, True), (0.45, False), (0.5, False)):
        assert batcher.hopeless(lone, 2.0, 0.0, each(0.5), each(typical)) is not tried
        batcher.push(lone)
        assert batcher.pop(2.0, each(0.5), each(typical)).ready == [lone] * tried
    assert batcher.hopeless(lone, 2.0, 0.01, each(0.5), each(0.3))  # something runs
    batcher.push(other)
    batcher.push(lone)
    assert batcher.pop(2.0, each(0.5), each(0.3)).hopeless == [lone]


def test_a_request_is_hopeless_before_it_waits_if_those_that_go_before_it_take_its_time() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    for work in (Fake(deadline=3.0), Fake(deadline=9.0), Fake(deadline=1.0, priority=1), Fake()):
        batcher.push(work)
    for deadline, priority, before in ((2.9, 0, 0), (3.1, 0, 1), (9.1, 0, 2), (0.9, 1, 3), (1.1, 1, 4)):
        work = Fake(deadline=deadline, priority=priority)
        needed = 0.5 * (before + 1)
        assert not batcher.hopeless(work, deadline - needed, 0.0, each(0.5))
        assert batcher.hopeless(work, deadline - needed + 0.1, 0.0, each(0.5))
        assert batcher.hopeless(work, deadline - needed, 0.1, each(0.5))  # the engine is busy for 0.1 s
    assert not batcher.hopeless(Fake(), 0.0, 99.0, each(0.5))


def test_the_earliest_deadline_goes_first_but_after_whoever_has_priority() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    never, late, soon = Fake(), Fake(deadline=9.0), Fake(deadline=5.0)
    batch_soon, batch_late = Fake(deadline=4.0, priority=1), Fake(deadline=8.0, priority=1)
    for work in (batch_late, never, late, batch_soon, soon):
        batcher.push(work)
    assert batcher.pop(0.0, free).ready == [soon, late, never, batch_soon, batch_late]


def test_a_request_joins_only_if_the_batch_still_meets_its_oldest_deadline() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=640)
    works = [Fake(deadline=2.5), *(Fake(deadline=9.0) for _ in range(5))]
    for work in works:
        batcher.push(work)
    assert batcher.pop(0.0, each(1.0)).ready == works[:2]
    assert batcher.pop(2.0, each(1.0)).ready == works[2:]


def test_a_batch_of_requests_counts_requests() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=10_000, max_requests=2)
    works = [Fake() for _ in range(3)]
    for work in works:
        batcher.push(work)
    assert [batcher.pop(0.0, free).ready for _ in range(2)] == [works[:2], works[2:]]


works = st.builds(
    Fake,
    sequences=st.integers(1, 60),
    length=st.integers(1, 80),
    deadline=st.none() | st.floats(0, 10),
    cancelled=st.booleans(),
    priority=st.integers(0, 1),
)


@given(st.lists(works, max_size=40), st.integers(1, 4000), st.floats(0, 10), st.floats(0, 0.1))
def test_every_request_leaves_exactly_once_in_order(
    queue: list[Fake], max_tokens: int, now: float, seconds: float
) -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens)
    for work in queue:
        batcher.push(work)
    left: list[Fake] = []
    ready: list[Fake] = []
    while len(batcher):
        assert batcher.sequences == sum(w.sequences for w in queue) - sum(w.sequences for w in left)
        batch = batcher.pop(now, each(seconds))
        assert batch.ready or batch.hopeless or batch.cancelled
        together = sum(w.sequences for w in batch.ready)
        if len(batch.ready) > 1:
            assert together * max(w.length for w in batch.ready) <= max_tokens
        if len(batch.ready) > 1:
            assert all(w.deadline is None or w.deadline >= now + seconds * together for w in batch.ready)
        assert all(w.deadline is not None and w.deadline <= now + seconds * w.sequences for w in batch.hopeless)
        assert not any(w.cancelled for w in batch.ready)
        left += batch.ready + batch.hopeless + batch.cancelled
        ready += batch.ready
    assert batcher.sequences == 0
    assert sorted(map(id, left)) == sorted(map(id, queue))
    due = [(w.priority, math.inf if w.deadline is None else w.deadline) for w in ready]
    assert due == sorted(due)

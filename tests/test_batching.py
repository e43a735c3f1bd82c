from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from millirank.batching import Batcher


@dataclass
class Fake:
    sequences: int = 1
    length: int = 8
    deadline: float | None = None
    cancelled: bool = False


def test_an_idle_engine_gets_a_lone_request_at_once() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    work = Fake()
    batcher.push(work)
    assert batcher.pop(now=0.0).ready == [work]
    assert len(batcher) == 0


def test_padded_tokens_bound_a_batch_not_requests() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    short = [Fake(length=8) for _ in range(6)]
    long = Fake(length=16)
    for work in (*short, long):
        batcher.push(work)
    assert batcher.pop(now=0.0).ready == short  # a seventh of 16 tokens would pad all to 7 x 16 = 112
    assert batcher.pop(now=0.0).ready == [long]


def test_a_request_larger_than_the_budget_runs_alone() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    large, small = Fake(sequences=100), Fake()
    batcher.push(large)
    batcher.push(small)
    assert batcher.pop(now=0.0).ready == [large]
    assert batcher.pop(now=0.0).ready == [small]


def test_spent_and_cancelled_requests_leave_before_their_batch() -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens=64)
    spent, left, good = Fake(deadline=1.0), Fake(cancelled=True), Fake(deadline=3.0)
    for work in (spent, left, good):
        batcher.push(work)
    batch = batcher.pop(now=2.0)
    assert (batch.ready, batch.expired, batch.cancelled) == ([good], [spent], [left])


works = st.builds(
    Fake,
    sequences=st.integers(1, 60),
    length=st.integers(1, 80),
    deadline=st.none() | st.floats(0, 10),
    cancelled=st.booleans(),
)


@given(st.lists(works, max_size=40), st.integers(1, 4000), st.floats(0, 10))
def test_every_request_leaves_exactly_once_in_order(queue: list[Fake], max_tokens: int, now: float) -> None:
    batcher: Batcher[Fake] = Batcher(max_tokens)
    for work in queue:
        batcher.push(work)
    left: list[Fake] = []
    ready: list[Fake] = []
    while len(batcher):
        batch = batcher.pop(now)
        assert batch.ready or batch.expired or batch.cancelled
        if len(batch.ready) > 1:
            padded = sum(w.sequences for w in batch.ready) * max(w.length for w in batch.ready)
            assert padded <= max_tokens
        assert all(w.deadline is None or w.deadline > now for w in batch.ready)
        assert not any(w.cancelled for w in batch.ready)
        left += batch.ready + batch.expired + batch.cancelled
        ready += batch.ready
    assert sorted(map(id, left)) == sorted(map(id, queue))
    assert list(map(id, ready)) == [id(w) for w in queue if id(w) in set(map(id, ready))]

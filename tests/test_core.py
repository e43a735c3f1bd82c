import threading
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from millirank.core import Core
from millirank.errors import DeadlineExceeded, Unavailable
from millirank.jobs import Encoded, EncodeJob, Reranked, RerankJob
from millirank.lane import Model
from millirank_engines.base import EngineFailed, Profile, Tensors
from millirank_engines.fake import FakeEngine
from millirank_engines.pack import Ragged

PROFILES = (Profile(1, 16), Profile(4, 16), Profile(16, 16), Profile(16, 64))
Answer = Encoded | Reranked | Exception
Infer = Callable[[Tensors], dict[str, NDArray[np.float32]]]


class Tokens:
    """Product n has n % 20 + 1 tokens, all of them n."""

    def gather(self, rows: NDArray[np.uint32]) -> Ragged:
        return Ragged.of([np.full(row % 20 + 1, 1000 + row) for row in rows.tolist()])


class Mapped:
    """As Tokens, of products whose tokens are that much higher, in one array, as a snapshot has them."""

    def __init__(self, higher: int) -> None:
        self._all = Ragged.of([np.full(row % 20 + 1, 1000 + higher + row) for row in range(40)])

    def gather(self, rows: NDArray[np.uint32]) -> Ragged:
        return self._all.take(rows.astype(np.intp))


class Clock:
    """Seconds that a test moves, and that every reading moves a little."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 1e-4
        return self.now


def a_core(
    *, encoder: FakeEngine | None = None, reranker: FakeEngine | None = None, clock: Clock | None = None
) -> Core:
    embed = encoder or FakeEngine(task="embed", profiles=PROFILES)
    rank = reranker or FakeEngine(task="rerank", profiles=PROFILES)
    core = Core(Model(embed, embed.spec), Model(rank, rank.spec), clock=clock or Clock())
    core.warm_up(rounds=1, idle=0)
    core.snapshots[1] = Tokens()
    embed.calls = rank.calls = 0
    return core


def step_all(core: Core) -> None:
    for _ in range(100):
        core.step()


def rows(count: int) -> NDArray[np.uint32]:
    return np.arange(count, dtype=np.uint32)


def test_queries_that_wait_together_run_in_one_batch() -> None:
    core = a_core()
    answers: list[Answer] = []
    for token in (5, 6, 7):
        core.submit(EncodeJob(answers.append, None, np.array([token])))
    core.step()
    assert [type(answer) for answer in answers] == [Encoded] * 3
    assert isinstance(core._encodes.model.engine, FakeEngine)
    assert core._encodes.model.engine.calls == 1
    vectors = [answer.vector for answer in answers if isinstance(answer, Encoded)]
    assert not np.allclose(vectors[0], vectors[1])
    assert np.allclose([np.linalg.norm(vector) for vector in vectors], 1)


def test_scores_come_in_the_order_of_the_rows_whatever_their_lengths() -> None:
    core = a_core()
    answers: list[Answer] = []
    core.submit(RerankJob(answers.append, None, np.array([1003, 1017]), rows(40), 1))
    core.step()
    (answer,) = answers
    assert isinstance(answer, Reranked)
    assert np.flatnonzero(answer.scores).tolist() == [3, 17]  # the fake scores shared tokens


def test_two_requests_in_one_batch_get_their_own_scores() -> None:
    core = a_core()
    answers: list[Answer] = []
    for token in (1002, 1004):
        core.submit(RerankJob(answers.append, None, np.array([token]), rows(8), 1))
    core.step()
    assert [np.flatnonzero(a.scores).tolist() for a in answers if isinstance(a, Reranked)] == [[2], [4]]


def test_requests_of_two_snapshots_share_a_batch() -> None:
    core = a_core()
    core.snapshots |= {1: Mapped(0), 2: Mapped(100)}
    answers: list[Answer] = []
    for token, snapshot in ((1002, 1), (1004, 1), (1103, 2), (1002, 2)):
        core.submit(RerankJob(answers.append, None, np.array([token]), rows(8), snapshot))
    core.step()
    assert [np.flatnonzero(a.scores).tolist() for a in answers if isinstance(a, Reranked)] == [[2], [4], [3], []]
    assert len({a.ran for a in answers if isinstance(a, Reranked)}) == 1  # one batch


def test_what_a_job_costs_is_learned_from_batches_that_ended_well() -> None:
    faults: list[str] = []
    core = a_core(reranker=FakeEngine(task="rerank", profiles=PROFILES, fail=lambda _: bool(faults)))
    seen = [core.each]
    for fault in ([], ["of the second batch"], []):
        answers: list[Answer] = []
        faults[:] = fault
        for _ in range(2):
            core.submit(RerankJob(answers.append, None, np.array([1002]), rows(1), 1))
        core.step()
        seen.append(core.each)
    assert all(isinstance(answer, Reranked) for answer in answers)
    assert seen[0].rerank == seen[0].encode == seen[3].encode == 0
    assert 0 < seen[1].rerank == seen[2].rerank
    assert seen[1].rerank == pytest.approx(seen[3].rerank, rel=0.2)


def test_a_batch_counts_the_tokens_of_its_queries_and_all_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    core, told = a_core(), list[tuple[object, ...]]()
    monkeypatch.setattr(core._encodes._metrics, "ran", lambda *figures: told.append(figures[:-1]))
    for ids in ([5, 6], [7], [8]):
        core.submit(EncodeJob(lambda _: None, None, np.array(ids)))
    core.step()
    batch = min(profile for profile in PROFILES if profile.batch >= 3)
    assert told == [("encode", 3, 3, 4 + 3 * 2, batch.tokens)]  # [CLS] and [SEP] of each


def test_the_depth_fits_the_oldest_deadline() -> None:
    core = a_core()
    core.rerank_costs = type(core.rerank_costs)({profile: 0.001 * profile.batch for profile in PROFILES})
    depths = {}
    for seconds in (0.0005, 0.0015, 0.0041, 0.0085, 1.0):
        answers: list[Answer] = []
        core.submit(RerankJob(answers.append, core._clock() + seconds, np.array([1]), rows(40), 1))
        core.step()
        (answer,) = answers
        depths[seconds] = len(answer.scores) if isinstance(answer, Reranked) else type(answer)
    assert depths == {0.0005: DeadlineExceeded, 0.0015: DeadlineExceeded, 0.0041: 3, 0.0085: 8, 1.0: 40}


def test_a_job_that_would_come_too_late_ends_when_it_is_submitted() -> None:
    core = a_core()
    core.encode_costs = type(core.encode_costs)({profile: 0.001 * profile.batch for profile in PROFILES})
    ends: dict[str, Answer] = {}
    for name, seconds in (("never", 0.0008), ("first", 0.0019), ("behind it", 0.00195), ("with time", 0.05)):
        core.submit(EncodeJob(partial(ends.__setitem__, name), core._clock() + seconds, np.array([1])))
    assert ends.keys() == {"never", "behind it"}
    step_all(core)
    assert {name: type(answer) for name, answer in ends.items()} == {
        "never": DeadlineExceeded, "first": Encoded, "behind it": DeadlineExceeded, "with time": Encoded,
    }  # fmt: skip


def test_a_lone_candidate_is_scored_if_that_is_all_there_is() -> None:
    core = a_core()
    core.rerank_costs = type(core.rerank_costs)({profile: 0.001 * profile.batch for profile in PROFILES})
    answers: list[Answer] = []
    core.submit(RerankJob(answers.append, core._clock() + 0.0015, np.array([1]), rows(1), 1))
    core.step()
    assert [len(answer.scores) for answer in answers if isinstance(answer, Reranked)] == [1]


def test_a_machine_that_is_slower_than_at_warm_up_gets_less_depth() -> None:
    core = a_core()
    core.rerank_costs = type(core.rerank_costs)({profile: 0.001 * profile.batch for profile in PROFILES})
    depths = []
    for pace in (0.5, 1.0, 2.0):
        core.rerank_costs.paces.values[:] = [pace] * len(PROFILES)
        answers: list[Answer] = []
        core.submit(RerankJob(answers.append, core._clock() + 0.0085, np.array([1]), rows(40), 1))
        core.step()
        depths += [len(answer.scores) for answer in answers if isinstance(answer, Reranked)]
    assert depths == [16, 8, 4]


def test_a_spent_or_cancelled_job_never_reaches_the_engine() -> None:
    core = a_core()
    answers: list[Answer] = []
    core.submit(EncodeJob(answers.append, 1.0, np.array([5])))
    left = EncodeJob(answers.append, None, np.array([5]))
    core.submit(left)
    left.cancelled = True
    core.step()
    assert [type(answer) for answer in answers] == [DeadlineExceeded] * 2
    assert isinstance(core._encodes.model.engine, FakeEngine)
    assert core._encodes.model.engine.calls == 0


def test_an_engine_that_fails_fails_its_batch_and_no_other() -> None:
    embed = FakeEngine(task="embed", profiles=PROFILES)
    core = a_core(encoder=embed)
    embed._fail = lambda call: call == 0
    answers: list[Answer] = []
    for _ in range(2):
        core.submit(EncodeJob(answers.append, None, np.array([5])))
        core.step()
    assert [type(answer) for answer in answers] == [EngineFailed, Encoded]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_output_that_is_no_number_is_an_engine_fault(value: float) -> None:
    core = a_core()
    for model, output in ((core._encodes.model, "embedding"), (core._reranks.model, "score")):
        infer = model.engine.infer

        def spoilt(feeds: Tensors, infer: Infer = infer, output: str = output) -> dict[str, NDArray[np.float32]]:
            values = infer(feeds)[output]
            values[0] = value
            return {output: values}

        model.engine.infer = spoilt  # type: ignore[method-assign]
    answers: list[Answer] = []
    core.submit(EncodeJob(answers.append, None, np.array([5])))
    core.submit(RerankJob(answers.append, None, np.array([1003]), rows(4), 1))
    step_all(core)
    assert [type(answer) for answer in answers] == [EngineFailed] * 2
    assert all("--precision fp32" in str(answer) for answer in answers)


def test_what_still_waits_at_the_end_is_told() -> None:
    core = a_core()
    answers: list[Answer] = []
    core.submit(EncodeJob(answers.append, None, np.array([5])))
    core.close()
    core.submit(EncodeJob(answers.append, None, np.array([5])))
    assert [type(answer) for answer in answers] == [Unavailable] * 2


def test_the_thread_runs_jobs_and_ends() -> None:
    core = a_core()
    core.start()
    done = threading.Event()
    core.submit(EncodeJob(lambda _: done.set(), None, np.array([5])))
    assert done.wait(10)
    core.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("millirank-")]


@pytest.mark.parametrize("tokens", [0, 14, 60, 200])
def test_a_query_longer_than_every_profile_is_cut(tokens: int) -> None:
    core = a_core()
    answers: list[Answer] = []
    core.submit(EncodeJob(answers.append, None, np.arange(tokens)))
    core.step()
    assert [type(answer) for answer in answers] == [Encoded]


FAULTS = st.sampled_from([EngineFailed, ValueError, MemoryError])
events = st.one_of(
    st.tuples(st.just("encode"), st.integers(0, 20), st.none() | st.floats(-0.01, 0.05)),
    st.tuples(st.just("rerank"), st.integers(1, 40), st.none() | st.floats(-0.01, 0.05)),
    st.tuples(st.just("cancel"), st.integers(0, 30), st.none()),
    st.tuples(st.just("step"), st.none(), st.none()),
    st.tuples(st.just("close"), st.none(), st.none()),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(events, max_size=30), st.sets(st.integers(0, 12)), FAULTS)
def test_every_job_ends_exactly_once(
    script: list[tuple[str, int, float | None]], faults: set[int], kind: type[Exception]
) -> None:
    core, closed = a_core(), False

    def failing(infer: Callable[..., object]) -> Callable[..., object]:
        calls = iter(range(1000))

        def infer_or_fail(feeds: object) -> object:
            if next(calls) in faults:
                raise kind("the runtime broke")
            return infer(feeds)

        return infer_or_fail

    for model in (core._encodes.model, core._reranks.model):
        model.engine.infer = failing(model.engine.infer)  # type: ignore[method-assign]
    ended: Counter[int] = Counter()
    jobs: list[EncodeJob | RerankJob] = []
    for what, number, left in script:
        index = len(jobs)
        deadline = None if left is None else core._clock() + left

        def done(answer: Answer, index: int = index, number: int = number) -> None:
            ended[index] += 1
            if isinstance(answer, Reranked):
                assert len(answer.scores) <= number
                assert np.isfinite(answer.scores).all()

        if what == "encode":
            jobs.append(EncodeJob(done, deadline, np.arange(number)))
            core.submit(jobs[-1])
        elif what == "rerank":
            jobs.append(RerankJob(done, deadline, np.array([1000]), rows(number), 1))
            core.submit(jobs[-1])
        elif what == "cancel" and number < len(jobs):
            jobs[number].cancelled = True
        elif what == "step" and not closed:
            core.step()
        elif what == "close" and not closed:
            core.close()
            closed = True
    if not closed:
        step_all(core)
    assert ended == dict.fromkeys(range(len(jobs)), 1)

import contextlib
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from millirank.errors import ConfigError, DeadlineExceeded, MillirankError, Overloaded, Unavailable
from millirank.jobs import Backlog, Encoded, EncodeJob, Reranked, RerankJob
from millirank.processes import codec, wire
from millirank.processes.estimate import Estimate
from millirank.types import Priority
from millirank_engines.base import EngineError, EngineFailed

REQUESTS: dict[wire.Request, list[Any]] = {
    wire.Hello(1, "frontend with pid 7"): ["hello", 1, "frontend with pid 7"],
    wire.Encode(1, b"\1\0", 2, None, 0): ["encode", 1, b"\1\0", 2, None, 0],
    wire.Rerank(2, b"\1\0\0\0", 4, b"\7\0\0\0", 3, 1.5, 1): [
        "rerank",
        2,
        b"\1\0\0\0",
        4,
        b"\7\0\0\0",
        3,
        1.5,
        1,
    ],
    wire.Cancel(2): ["cancel", 2],
}
ANSWERS: dict[wire.Answer, list[Any]] = {
    wire.Hello(1, "core with pid 8"): ["hello", 1, "core with pid 8"],
    wire.Encoded(1, b"\0\0\x80?", 0.25, 0.5): ["encoded", 1, b"\0\0\x80?", 0.25, 0.5],
    wire.Reranked(2, b"", 0.25, 0.5): ["reranked", 2, b"", 0.25, 0.5],
    wire.Failed(3, "Overloaded", "later", 0.5): ["failed", 3, "Overloaded", "later", 0.5],
    wire.Load(9.0, 0.1, 0.2, 0.3, 0.4, 5): ["load", 9.0, 0.1, 0.2, 0.3, 0.4, 5],
}


def test_the_layout_is_the_one_in_the_table() -> None:
    sent = wire.packed(list(REQUESTS))
    assert msgspec.msgpack.decode(sent) == list(REQUESTS.values())
    assert wire.requests_from(sent) == list(REQUESTS)
    sent = wire.packed(list(ANSWERS))
    assert msgspec.msgpack.decode(sent) == list(ANSWERS.values())
    assert wire.answers_from(sent) == list(ANSWERS)


def test_another_version_may_add_fields_to_a_hello() -> None:
    later = msgspec.msgpack.encode([["hello", 9, "core with pid 8", {"more": [1]}]])
    assert wire.answers_from(later) == [wire.Hello(9, "core with pid 8")]


PREFIXES = [
    b"",
    wire.packed(list(REQUESTS)),
    wire.packed(list(ANSWERS)),
    b"\x91\x93\xa6cancel\1",
    b"\xdd\xff\xff\xff\xff",
]


@given(st.sampled_from(PREFIXES), st.integers(0, 60), st.binary(max_size=40))
def test_any_bytes_are_a_message_or_a_bad_one(prefix: bytes, cut: int, rest: bytes) -> None:
    for read in (wire.requests_from, wire.answers_from):
        with contextlib.suppress(wire.BadMessage):
            assert isinstance(read(prefix[:cut] + rest), list)


def test_bytes_that_nest_without_end_are_a_bad_message() -> None:
    with pytest.raises(wire.BadMessage):
        wire.requests_from(b"\x91\x93\xa6cancel\1" + b"\x91" * 1_000_000)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int32, np.int64])
def test_token_ids_arrive_as_they_were(dtype: type[np.generic]) -> None:
    for values in ([], [0], [5, 65535 if dtype == np.uint16 else 119_547]):
        data, width = codec.bytes_from_ids(np.array(values, dtype))
        assert width == (2 if dtype == np.uint16 else 4)
        assert codec.ids_from_bytes(data, width).tolist() == values


@pytest.mark.parametrize("ids", [np.array([-1]), np.array([1 << 32])])
def test_token_ids_that_would_wrap_are_refused(ids: np.ndarray[Any, Any]) -> None:
    with pytest.raises(ValueError, match="do not fit in 32 bits"):
        codec.bytes_from_ids(ids)


def test_records_become_jobs() -> None:
    encode = codec.job_from_record(wire.Encode(1, b"\5\0\6\0", 2, 4.5, 1), print)
    assert isinstance(encode, EncodeJob)
    assert (encode.ids.tolist(), encode.deadline, encode.priority) == ([5, 6], 4.5, Priority.BATCH)
    rerank = codec.job_from_record(wire.Rerank(1, b"\5\0\0\0", 4, b"\7\0\0\0\1\0\0\0", 3, None, 0), print)
    assert isinstance(rerank, RerankJob)
    assert (rerank.query.tolist(), rerank.rows.tolist(), rerank.snapshot) == ([5], [7, 1], 3)
    assert (rerank.deadline, rerank.priority, rerank.rows.dtype) == (None, Priority.INTERACTIVE, np.dtype(np.uint32))


@pytest.mark.parametrize(
    "record",
    [
        wire.Encode(1, b"\5\0", 3, None, 0),
        wire.Encode(1, b"\5", 2, None, 0),
        wire.Encode(1, b"\5\0", 2, float("nan"), 0),
        wire.Encode(1, b"\5\0", 2, None, 7),
        wire.Rerank(1, b"\5\0", 2, b"\7\0", 3, None, 0),
    ],
)
def test_a_record_that_makes_no_sense_is_no_job(record: wire.Encode | wire.Rerank) -> None:
    with pytest.raises(ValueError, match=r"."):
        codec.job_from_record(record, print)


ERRORS = [
    (Overloaded("later", 0.25), Overloaded),
    (DeadlineExceeded("too late"), DeadlineExceeded),
    (Unavailable("stopped"), Unavailable),
    (EngineFailed("broke"), EngineFailed),
    (EngineError("no profile"), EngineFailed),
]


@pytest.mark.parametrize(("error", "kind"), ERRORS)
def test_errors_travel_as_their_kinds(error: Exception, kind: type[Exception]) -> None:
    arrived = codec.error_from(codec.failed_from(3, error))
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    if isinstance(arrived, Overloaded):
        assert arrived.retry_after == 0.25


@pytest.mark.parametrize("error", [KeyError(9), MemoryError("full"), MillirankError("odd")])
def test_any_other_error_is_the_engines_with_its_text(error: Exception) -> None:
    arrived = codec.error_from(codec.failed_from(3, error))
    assert type(arrived) is EngineFailed
    assert str(arrived) == f"{type(error).__name__}: {error}"


def test_results_arrive_as_they_were() -> None:
    vector = np.array([0.5, -1.25], np.float32)
    record = codec.record_from_result(1, Encoded(vector, 0.1, 0.2))
    assert isinstance(record, wire.Encoded)
    encoded = codec.result_from_record(Encoded, record)
    assert isinstance(encoded, Encoded)
    assert (encoded.vector.tolist(), encoded.queued, encoded.ran) == ([0.5, -1.25], 0.1, 0.2)
    assert encoded.vector.dtype == np.float32
    wrong = codec.result_from_record(Reranked, record)
    assert isinstance(wrong, EngineFailed)
    torn = codec.result_from_record(Encoded, wire.Encoded(1, b"\0\0\0", 0.1, 0.2))
    assert isinstance(torn, EngineFailed)


def test_a_mismatch_names_both_sides() -> None:
    assert wire.mismatch(wire.Hello(wire.VERSION, "core with pid 8"), "frontend with pid 7") is None
    why = wire.mismatch(wire.Hello(9, "core with pid 8"), "frontend with pid 7")
    assert why == (
        "the core with pid 8 speaks wire version 9, this frontend with pid 7 speaks 1: "
        "run both from one installation of millirank"
    )


def test_an_endpoint_is_checked() -> None:
    import socket

    assert wire.path_of("ipc:///tmp/core") == "/tmp/core"  # noqa: S108 - only parsed
    for odd in ("tcp://127.0.0.1:5", "ipc://", "/tmp/core"):  # noqa: S108 - only parsed
        with pytest.raises(ConfigError, match="ipc:///PATH"):
            wire.path_of(odd)
    longest = "/" + "x" * (wire.MAX_PATH - 1)
    assert wire.path_of("ipc://" + longest)
    with pytest.raises(ConfigError, match=r"108 bytes, Linux takes 107: .*TMPDIR"):
        wire.path_of("ipc://" + longest + "x")
    with socket.socket(socket.AF_UNIX) as probe, pytest.raises(OSError, match="too long"):
        probe.bind(longest + "x")  # the limit is the system's, not ours


def test_an_estimate_is_the_report_less_the_time_since_and_what_was_sent() -> None:
    estimate = Estimate()
    assert estimate.backlog(5.0) == Backlog()
    estimate.reported(wire.Load(5.0, 0.5, 2.0, 0.25, 1.0, seen=0))
    assert estimate.backlog(5.0) == Backlog(0.5, 2.0)
    assert estimate.backlog(5.25) == Backlog(0.25, 1.75)
    assert estimate.backlog(4.0) == Backlog(0.5, 2.0)  # read before the report came
    estimate.sent(1, Encoded)
    estimate.sent(2, Reranked)
    estimate.sent(3, Reranked)
    assert estimate.backlog(5.25) == Backlog(0.5, 3.75)
    assert estimate.backlog(100.0) == Backlog(0.25, 2.0)  # what the core has not seen cannot have been done
    estimate.reported(wire.Load(6.0, 0.25, 0.5, 0.25, 1.0, seen=2))
    assert estimate.backlog(6.0) == Backlog(0.25, 2.0)  # 0.5 + one unseen = 1.5; but two of ours are open
    for kind in (Encoded, Reranked, Reranked):
        estimate.ended(kind)
    estimate.reported(wire.Load(7.0, 0.0, 0.0, 0.25, 1.0, seen=3))
    assert estimate.backlog(7.0) == Backlog()


def test_a_core_that_hangs_looks_busier_with_every_job() -> None:
    estimate = Estimate()
    estimate.reported(wire.Load(1.0, 0.0, 0.0, 0.5, 0.5, seen=0))
    seen = []
    for job in range(1, 4):
        estimate.sent(job, Encoded)
        estimate.reported(wire.Load(1.0, 0.0, 0.0, 0.5, 0.5, seen=job))
        seen.append(estimate.backlog(1000.0).encode)
    assert seen == [0.5, 1.0, 1.5]

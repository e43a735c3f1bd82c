"""Between the records of the wire and the nouns of a core: jobs, results, errors."""

import math
from collections.abc import Callable

import numpy as np

from millirank.errors import DeadlineExceeded, Overloaded, Unavailable
from millirank.jobs import Encoded, EncodeJob, Reranked, RerankJob, Result
from millirank.types import Priority
from millirank_engines.base import EngineError, EngineFailed
from millirank_engines.pack import Ids

from . import wire

_IDS: dict[int, np.dtype[np.generic]] = {2: np.dtype("<u2"), 4: np.dtype("<u4")}  # by the bytes of a token id
_ROWS, _FLOATS = np.dtype("<u4"), np.dtype("<f4")


def bytes_from_ids(ids: Ids) -> tuple[bytes, int]:
    """Token ids as they travel, and the bytes of each.

    Raises:
        ValueError: if one does not fit in 32 bits (numpy's cast would wrap silently).
    """
    if ids.dtype == np.uint16:
        return ids.astype("<u2", copy=False).tobytes(), 2
    if ids.dtype != np.uint32 and ids.size and not (ids.min() >= 0 and ids.max() < 1 << 32):
        raise ValueError(f"token ids from {ids.min()} to {ids.max()} do not fit in 32 bits: encode the text anew")
    return ids.astype("<u4", copy=False).tobytes(), 4


def ids_from_bytes(data: bytes, width: int) -> Ids:
    """Token ids, (n,), read-only.

    Raises:
        ValueError: if these bytes are no such ids.
    """
    dtype = _IDS.get(width)
    if dtype is None:
        raise ValueError(f"token ids of {width} bytes each: send 2 or 4")
    return np.frombuffer(data, dtype)


def failed_from(job: int, error: Exception) -> wire.Failed:
    """An error as it travels; what is not foreseen is an engine's fault, with its text."""
    match error:
        case Overloaded():
            return wire.Failed(job, "Overloaded", str(error), error.retry_after)
        case DeadlineExceeded():
            return wire.Failed(job, "DeadlineExceeded", str(error))
        case Unavailable():
            return wire.Failed(job, "Unavailable", str(error))
        case EngineError():
            return wire.Failed(job, "EngineFailed", str(error))
    return wire.Failed(job, "EngineFailed", f"{type(error).__name__}: {error}")


def error_from(failed: wire.Failed) -> Exception:
    """The error that a Failed tells."""
    match failed.kind:
        case "Overloaded":
            return Overloaded(failed.message, failed.retry_after)
        case "DeadlineExceeded":
            return DeadlineExceeded(failed.message)
        case "Unavailable":
            return Unavailable(failed.message)
    return EngineFailed(failed.message)


def job_from_record(
    record: wire.Encode | wire.Rerank, done: Callable[[Result | Exception], None]
) -> EncodeJob | RerankJob:
    """The job that a record asks for.

    Raises:
        ValueError: if the record makes no sense.
    """
    if record.deadline is not None and not math.isfinite(record.deadline):
        raise ValueError(f"the deadline is {record.deadline}: send seconds, or nil for none")
    priority = Priority(record.priority)
    if isinstance(record, wire.Encode):
        return EncodeJob(done, record.deadline, ids_from_bytes(record.ids, record.width), priority=priority)
    query, rows = ids_from_bytes(record.query, record.width), np.frombuffer(record.rows, _ROWS)
    return RerankJob(done, record.deadline, query, rows, record.snapshot, priority=priority)


def record_from_result(job: int, result: Result | Exception) -> wire.Answer:
    """The record that tells the end of a job."""
    if isinstance(result, Exception):
        return failed_from(job, result)
    if isinstance(result, Encoded):
        return wire.Encoded(job, result.vector.astype(_FLOATS, copy=False).tobytes(), result.queued, result.ran)
    return wire.Reranked(job, result.scores.astype(_FLOATS, copy=False).tobytes(), result.queued, result.ran)


def result_from_record(kind: type[Result], answer: wire.Encoded | wire.Reranked | wire.Failed) -> Result | Exception:
    """What the caller gets; its arrays are read-only."""
    try:
        match answer:
            case wire.Failed():
                return error_from(answer)
            case wire.Encoded() if kind is Encoded:
                return Encoded(np.frombuffer(answer.vector, _FLOATS), answer.queued, answer.ran)
            case wire.Reranked() if kind is Reranked:
                return Reranked(np.frombuffer(answer.scores, _FLOATS), answer.queued, answer.ran)
    except ValueError as error:
        return EngineFailed(f"the core sent floats that are none ({error}): restart it")
    return EngineFailed(f"the core answered {type(answer).__name__} where {kind.__name__} was asked for: restart it")

"""The records between frontends and cores: plain msgpack, so that either side can be written in any language.

A message is a msgpack array of records, each an array that begins with its tag. A sender puts everything that one tick
of its loop, or one batch, produced into one message, or a few where it is too large. A core listens on a Unix socket of
type SOCK_SEQPACKET, frontends connect to it; see post.py.

from both sides
  ["hello", version, who]                                     alone in the first message; its layout never changes
from a frontend
  ["encode", id, ids, width, deadline, priority]
  ["rerank", id, query, width, rows, snapshot, deadline, priority]
  ["cancel", id]                                              nobody waits for it; it is answered all the same
from a core, each job exactly once
  ["encoded", id, vector, queued, ran]
  ["reranked", id, scores, queued, ran]                       scores of the first rows; none if no time was left
  ["failed", id, kind, message, retry_after]                  id 0: every job of this frontend is lost
  ["load", at, encode, rerank, encode_each, rerank_each, seen]

id            unsigned, from 1, growing; a frontend's own
ids, query    token ids without special ones: bytes, little-endian unsigned integers of width (2 or 4) bytes
rows          products of the snapshot in prior order: bytes, little-endian uint32
vector/scores bytes, little-endian float32
deadline, at  seconds of CLOCK_MONOTONIC or nil: Linux has one for the whole machine, and no link leaves the machine
queued, ran, retry_after, encode, rerank     seconds; the last two are work accepted, running and waiting
…_each        seconds that one more job of that kind has cost lately, 0 while unknown
seen          the last id of this frontend that is in encode and rerank
priority      0 interactive, 1 batch
kind          EngineFailed, DeadlineExceeded, Unavailable or Overloaded
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from millirank.errors import ConfigError

T = TypeVar("T")
VERSION = 1
EVERY_JOB = 0  # the id in a Failed that ends them all
MAX_CREDITS = 1024  # jobs that a frontend may have open in one core
HIGH_WATER = 4 * MAX_CREDITS  # messages that wait for a frontend: beyond that it reads nothing, and is dropped
MAX_PATH = 107  # bytes of a socket's path: sun_path of Linux without its final zero


class _Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A record; the table above says what its fields are."""


class Hello(_Record, frozen=True, tag="hello"):
    """Who speaks, and which version of this table."""

    version: int
    who: str


class Encode(_Record, frozen=True, tag="encode"):
    """A query to embed."""

    id: int
    ids: bytes
    width: int
    deadline: float | None
    priority: int


class Rerank(_Record, frozen=True, tag="rerank"):
    """Candidates to score."""

    id: int
    query: bytes
    width: int
    rows: bytes
    snapshot: int
    deadline: float | None
    priority: int


class Cancel(_Record, frozen=True, tag="cancel"):
    """Nobody waits for this job any more."""

    id: int


class Encoded(_Record, frozen=True, tag="encoded"):
    """An embedding."""

    id: int
    vector: bytes
    queued: float
    ran: float


class Reranked(_Record, frozen=True, tag="reranked"):
    """Scores."""

    id: int
    scores: bytes
    queued: float
    ran: float


class Failed(_Record, frozen=True, tag="failed"):
    """A job that has no result."""

    id: int
    kind: str
    message: str
    retry_after: float = 0.0


class Load(_Record, frozen=True, tag="load"):
    """How long a core is busy."""

    at: float
    encode: float
    rerank: float
    encode_each: float
    rerank_each: float
    seen: int


Request = Hello | Encode | Rerank | Cancel
Answer = Hello | Encoded | Reranked | Failed | Load

_pack = msgspec.msgpack.Encoder().encode
_requests = msgspec.msgpack.Decoder(list[Request]).decode
_answers = msgspec.msgpack.Decoder(list[Answer]).decode


class BadMessage(ValueError):
    """Bytes that are no message of this version."""


def packed(records: Sequence[Request | Answer]) -> bytes:
    """The message that carries these records."""
    return _pack(records)


def requests_from(data: bytes | memoryview) -> list[Request]:
    """What a frontend says.

    Raises:
        BadMessage: if it is no such message.
    """
    return _decoded(_requests, data)


def answers_from(data: bytes | memoryview) -> list[Answer]:
    """What a core says.

    Raises:
        BadMessage: if it is no such message.
    """
    return _decoded(_answers, data)


def _decoded(decode: Callable[[bytes | memoryview], T], data: bytes | memoryview) -> T:
    try:
        return decode(data)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"{len(data)} bytes are no message of wire version {VERSION} ({error})") from error


def mismatch(hello: Hello, me: str) -> str | None:
    """Why two sides cannot talk; None if they can."""
    if hello.version == VERSION:
        return None
    return (
        f"the {hello.who} speaks wire version {hello.version}, this {me} speaks {VERSION}: "
        f"run both from one installation of millirank"
    )


def path_of(endpoint: str) -> str:
    """The socket of an endpoint, if it can have one.

    Raises:
        ConfigError: if it is no ipc endpoint, or longer than Linux takes.
    """
    path = endpoint.removeprefix("ipc://")
    if path == endpoint or not path:
        raise ConfigError(f"the endpoint {endpoint!r} is none of this machine: give ipc:///PATH")
    if (size := len(path.encode())) > MAX_PATH:
        raise ConfigError(
            f"the socket {path} has a path of {size} bytes, Linux takes {MAX_PATH}: "
            f"choose a shorter folder, for example with TMPDIR=/tmp"
        )
    return path

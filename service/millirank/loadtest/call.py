"""One call of a load test, from when it should have been sent to its status."""

from enum import IntEnum

from millirank.v1 import search_pb2

PREFIX = 5  # bytes before each gRPC message: a flag and its length


class Status(IntEnum):
    """gRPC's statuses."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Call:
    """A Search call; times in monotonic seconds, 0.0 for what did not happen.

    The last message alone is parsed, once, after the call has ended: its rerank_depth, degraded_reason and query_id.
    """

    __slots__ = (
        "_message", "_partial", "degraded", "depth", "ended", "final", "first", "intended", "query", "sent", "status",
    )  # fmt: skip

    def __init__(self, intended: float) -> None:
        self.intended = intended
        self.sent = self.first = self.final = self.ended = 0.0
        self.status: Status | None = None  # None: has not ended
        self.depth = 0  # candidates reranked
        self.degraded = ""  # why, if it is
        self.query = ""  # the id that the server gave it
        self._message = self._partial = b""

    @property
    def answered(self) -> bool:
        """Whether the final message came and nothing failed after it."""
        return self.status is Status.OK and self.final > 0

    def received(self, data: bytes, now: float) -> None:
        """Takes what came of the stream of messages."""
        if self._partial:
            data = self._partial + data
        while len(data) >= PREFIX:
            end = PREFIX + int.from_bytes(data[1:PREFIX], "big")
            if len(data) < end:
                break
            self._message, data = data[PREFIX:end], data[end:]
            self.first, self.final = self.first or now, now
        self._partial = data

    def end(self, status: Status, now: float) -> None:
        """Closes the record; a stream that ended well before its final message did not answer."""
        self.status, self.ended = status, now
        if status is Status.OK and self._message:
            response = search_pb2.SearchResponse.FromString(self._message)
            self.depth, self.degraded = response.rerank_depth, response.degraded_reason
            self.query = response.query_id
            if response.phase != search_pb2.PHASE_RANKED:
                self.final = 0.0
        elif status is not Status.OK:
            self.final = 0.0
        self._message = self._partial = b""

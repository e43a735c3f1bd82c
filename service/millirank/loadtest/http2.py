"""As much of HTTP/2 (RFC 9113) as a gRPC client needs, in plaintext.

A load generator that shares two cores with the server must cost little: on one machine a streamed call took 0.5 to
0.7 ms of processor time with grpc.aio, 0.12 to 0.22 ms with this. It also does what no gRPC library lets a client do:
read slowly, byte by byte. Header compression of what the server sends is switched off, so trailers are read without
a table.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

from .call import Status
from .hpack import INDEXING, LITERAL, field, status_of

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
ACK = END_STREAM = 0x1
END_HEADERS, PADDED, PRIORITY = 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME = 1, 3, 4, 5
WIDE = 2**31 - 1  # bytes: the largest window
RENEWED = 1 << 20  # received bytes after which a connection's window is topped up
CANCEL = 8
LAST_STREAM = 2**31 - 1
RESET = {7: Status.UNAVAILABLE, CANCEL: Status.CANCELLED, 11: Status.RESOURCE_EXHAUSTED}  # else INTERNAL, as gRPC says
HEAD = struct.Struct(">HBBBI")  # a frame's length in 16 + 8 bits, its type, flags and stream


class Receiver(Protocol):
    """What a stream is for."""

    def received(self, data: bytes, now: float, /) -> None:
        """Bytes of gRPC messages."""

    def end(self, status: Status, now: float, /) -> None:
        """The stream has ended; called once."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame on the wire."""
    size = len(payload)
    return HEAD.pack(size >> 8, size & 255, kind, flags, stream) + payload


class Connection(asyncio.Protocol):
    """One HTTP/2 connection that carries calls of one gRPC method.

    Args:
        path: of the method, as /package.Service/Method.
        authority: the server's name.
        clock: monotonic seconds.
        stream_window: bytes that the server may send on a stream before grant() allows more.
    """

    def __init__(self, path: str, authority: str, clock: Callable[[], float], stream_window: int = WIDE) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # set by the server's SETTINGS
        self.calls: dict[int, Receiver] = {}  # by stream
        self.usable = True  # for new calls
        self._clock, self._window = clock, stream_window
        self._fields = [(b":path", path.encode()), (b":authority", authority.encode())]
        self._fields += [(b"te", b"trailers"), (b"content-type", b"application/grpc"), (b"user-agent", b"millirank")]
        self._block, self._indexed = b"", b""
        self._next, self._most = 1, LAST_STREAM  # the next stream, and how many may be open at once
        self._may_send = self._stream_may_send = 65535  # bytes, granted by the server
        self._got = 0  # bytes of DATA since the window was topped up
        self._rest = b""  # the begin of a frame
        self._headers: tuple[int, int, bytes] | None = None  # stream, flags and block that CONTINUATION goes on
        self._waiting: deque[tuple[Receiver, bytes, float | None]] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greets the server."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        transport = self._transport
        settings = struct.pack(">HIHI", HEADER_TABLE_SIZE, 0, INITIAL_WINDOW, self._window)
        widened = struct.pack(">I", WIDE - 65535)
        transport.write(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(WINDOW_UPDATE, 0, 0, widened))

    def connection_lost(self, exc: Exception | None) -> None:
        """Every call in flight ends as UNAVAILABLE, as gRPC says."""
        self.usable = False
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("closed by the server"))
        now = self._clock()
        waiting = [receiver for receiver, _, _ in self._waiting]
        ended = [*self.calls.values(), *waiting]
        self.calls, self._waiting = {}, deque()
        for receiver in ended:
            receiver.end(Status.UNAVAILABLE, now)

    def close(self) -> None:
        """Cuts the connection; calls in flight are left as they are."""
        self.usable = False
        self.calls, self._waiting = {}, deque()
        self._transport.abort()

    def open(self, receiver: Receiver, message: bytes, timeout: float | None = None) -> None:
        """Sends a request, as soon as the server's limits allow; timeout in seconds is told to the server."""
        if self._waiting or not self._room(len(message) + 5):
            self._waiting.append((receiver, message, timeout))
        else:
            self._open(receiver, message, timeout)

    def cancel(self, receiver: Receiver, status: Status = Status.CANCELLED) -> None:
        """Ends a call as a client that went away does; one that is not of this connection is left alone."""
        stream = next((stream for stream, one in self.calls.items() if one is receiver), None)
        if stream is not None:
            self._transport.write(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
            self._ended(stream, status, self._clock())
        elif any(waiting[0] is receiver for waiting in self._waiting):
            self._waiting = deque(waiting for waiting in self._waiting if waiting[0] is not receiver)
            receiver.end(status, self._clock())

    def grant(self, size: int) -> None:
        """Lets the server send so many more bytes on every open stream: for slow readers."""
        more = struct.pack(">I", size)
        self._transport.writelines([frame(WINDOW_UPDATE, 0, stream, more) for stream in self.calls])

    def _room(self, size: int) -> bool:
        return len(self.calls) < self._most and size <= min(self._may_send, self._stream_may_send)

    def _open(self, receiver: Receiver, message: bytes, timeout: float | None) -> None:
        stream, self._next = self._next, self._next + 2
        block, self._block = self._block, self._indexed
        if timeout is not None:
            block += field(LITERAL, b"grpc-timeout", b"%du" % max(1, round(timeout * 1e6)))
        body = b"\0" + len(message).to_bytes(4, "big") + message
        self._may_send -= len(body)
        self.calls[stream] = receiver
        self._transport.write(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, body))

    def _ended(self, stream: int, status: Status, now: float) -> None:
        receiver = self.calls.pop(stream, None)
        if receiver is not None:
            receiver.end(status, now)
        self._send_waiting()
        if not self.usable and not self.calls and not self._waiting:
            self._transport.close()

    def _send_waiting(self) -> None:
        while self._waiting and self._room(len(self._waiting[0][1]) + 5):
            self._open(*self._waiting.popleft())

    def data_received(self, data: bytes) -> None:
        """Takes whole frames off what came."""
        now = self._clock()
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        while size - at >= HEAD.size:
            high, low, kind, flags, stream = HEAD.unpack_from(data, at)
            end = at + HEAD.size + (high << 8) + low
            if end > size:
                break
            self._frame(kind, flags, stream, data[at + HEAD.size : end], now)
            at = end
        self._rest = data[at:]

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes, now: float) -> None:
        if kind == DATA:
            self._got += len(payload)
            if self._got >= RENEWED:
                self._transport.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._got)))
                self._got = 0
            if stream in self.calls:
                self.calls[stream].received(_unpadded(flags, payload), now)
            if flags & END_STREAM:
                self._ended(stream, Status.UNKNOWN, now)
        elif kind == HEADERS:
            block = _unpadded(flags, payload)
            self._block_received(flags, stream, block[5:] if flags & PRIORITY else block, now)
        elif kind == CONTINUATION and self._headers is not None:
            stream, begun, block = self._headers
            self._block_received(begun | flags & END_HEADERS, stream, block + payload, now)
        else:
            self._control(kind, flags, stream, payload, now)

    def _control(self, kind: int, flags: int, stream: int, payload: bytes, now: float) -> None:
        if kind == RST_STREAM:
            self._ended(stream, RESET.get(int.from_bytes(payload, "big"), Status.INTERNAL), now)
        elif kind == SETTINGS and not flags & ACK:
            self._configure(payload)
        elif kind == PING and not flags & ACK:
            self._transport.write(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and not stream:  # requests fit in a stream's first window
            self._may_send += int.from_bytes(payload, "big")
            self._send_waiting()
        elif kind == GOAWAY:
            self._drain(int.from_bytes(payload[:4], "big"), now)

    def _block_received(self, flags: int, stream: int, block: bytes, now: float) -> None:
        self._headers = None if flags & END_HEADERS else (stream, flags, block)
        if flags & END_HEADERS and flags & END_STREAM:
            self._ended(stream, status_of(block), now)

    def _configure(self, payload: bytes) -> None:
        table = 4096
        for name, value in struct.iter_unpack(">HI", payload):
            if name == MAX_STREAMS:
                self._most = value
            elif name == INITIAL_WINDOW:
                self._stream_may_send = value
            elif name == HEADER_TABLE_SIZE:
                table = value
        self._transport.write(frame(SETTINGS, ACK, 0))
        if self.ready.done():
            return
        post_http = b"\x83\x86"  # :method POST, :scheme http
        if sum(len(name) + len(value) + 32 for name, value in self._fields) <= table:
            self._block = post_http + b"".join(field(INDEXING, name, value) for name, value in self._fields)
            self._indexed = post_http + bytes(0x80 | 61 + age for age in range(len(self._fields), 0, -1))
        else:
            self._block = post_http + b"".join(field(LITERAL, name, value) for name, value in self._fields)
            self._indexed = self._block
        self.ready.set_result(None)
        self._send_waiting()

    def _drain(self, last: int, now: float) -> None:
        """The server wants no new calls here; those it did not take may go elsewhere."""
        self.usable = False
        for stream in [stream for stream in self.calls if stream > last]:
            self._ended(stream, Status.UNAVAILABLE, now)
        if not self.calls:
            self._transport.close()


def _unpadded(flags: int, payload: bytes) -> bytes:
    return payload[1 : len(payload) - payload[0]] if flags & PADDED else payload

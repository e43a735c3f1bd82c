"""As much of HPACK (RFC 7541) as a gRPC client needs: its own headers out, the status out of trailers."""

from collections.abc import Iterator

from .call import Status

STATUSES = frozenset(Status)
STATUS_NAMES = (b"grpc-status", bytes.fromhex("9acac8b21234da8f"))  # plain and Huffman-coded
LITERAL, INDEXING = b"\x00", b"\x40"  # header fields without and with an entry in the server's table


def status_of(block: bytes) -> Status:
    """The gRPC status of trailers; UNKNOWN if they tell none."""
    for name, value in _literals(block):
        if name in STATUS_NAMES and value.isdigit() and int(value) in STATUSES:
            return Status(int(value))
    return Status.UNKNOWN


def _literals(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The fields of a header block that stand there with their names, as sent with a table of size 0."""
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            _, at = _integer(block, at, 7)
        elif first >> 5 == 1:  # the table's size
            _, at = _integer(block, at, 5)
        else:
            index, at = _integer(block, at, 6 if first & 0x40 else 4)
            name = b""
            if not index:
                name, at = _text(block, at)
            value, at = _text(block, at)
            yield name, value


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    size, at = _integer(block, at, 7)
    return block[at : at + size], at + size


def _integer(block: bytes, at: int, bits: int) -> tuple[int, int]:
    """A number (RFC 7541, 5.1) and where it ends."""
    most = (1 << bits) - 1
    value, at = block[at] & most, at + 1
    if value < most:
        return value, at
    shift = 0
    while True:
        byte, at = block[at], at + 1
        value, shift = value + ((byte & 127) << shift), shift + 7
        if byte < 128:  # noqa: PLR2004 - the last byte has no top bit
            return value, at


def field(kind: bytes, name: bytes, value: bytes) -> bytes:
    """One header field, without Huffman coding; name and value are shorter than 127 bytes."""
    return kind + bytes((len(name),)) + name + bytes((len(value),)) + value

import socket
from pathlib import Path

import pytest

from millirank.errors import ConfigError
from millirank.processes import wire
from millirank.processes.post import LARGEST, Ended, Post, TooLarge, connected, listening


def a_pair() -> tuple[Post, Post]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Post(ours), Post(theirs)


def received(post: Post) -> list[wire.Request]:
    records = list[wire.Request]()
    while (data := post.receive()) is not None:
        assert len(data) <= LARGEST
        records += wire.requests_from(data)
    return records


def test_many_records_travel_in_order_in_messages_that_are_not_too_large() -> None:
    ours, theirs = a_pair()
    sent = [wire.Encode(i, bytes(1000), 2, None, 0) for i in range(1, 151)]
    ours.send(sent)
    assert received(theirs) == sent
    ours.close()
    theirs.close()


def test_what_the_other_side_does_not_take_waits_and_is_lost_to_nobody() -> None:
    ours, theirs = a_pair()
    sent = list[wire.Request]()
    while not ours.waiting:
        more = [wire.Encode(len(sent) + i, bytes(1000), 2, None, 0) for i in range(60)]
        ours.send(more)
        sent += more
    came = list[wire.Request]()
    while ours.waiting:
        came += received(theirs)
        ours.send()
    assert came + received(theirs) == sent
    ours.close()
    theirs.close()


def test_a_record_that_is_too_large_is_told_and_not_in_the_way() -> None:
    ours, theirs = a_pair()
    with pytest.raises(TooLarge, match="bytes"):
        ours.send([wire.Encode(1, bytes(1 << 24), 2, None, 0), wire.Cancel(2)])
    ours.send([wire.Cancel(3)])
    assert not ours.waiting
    assert received(theirs) == [wire.Cancel(2), wire.Cancel(3)]
    ours.close()
    theirs.close()


def test_what_was_sent_before_the_end_is_read_before_the_end() -> None:
    ours, theirs = a_pair()
    theirs.send([wire.Cancel(7)])  # which nobody reads
    ours.send([wire.Cancel(1)])
    ours.close()
    assert received_one(theirs) == [wire.Cancel(1)]
    with pytest.raises(Ended):
        theirs.receive()
    with pytest.raises(Ended):
        theirs.send([wire.Cancel(2)])
    theirs.close()
    assert theirs.fileno() == -1


def received_one(post: Post) -> list[wire.Request]:
    data = post.receive()
    assert data is not None
    return wire.requests_from(data)


def test_whoever_listens_last_is_connected_to(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/core"
    with pytest.raises(FileNotFoundError):
        connected(endpoint)
    first = listening(endpoint)
    with listening(endpoint) as second, connected(endpoint) as ours:
        theirs, _ = second.accept()
        with theirs, pytest.raises(BlockingIOError):
            first.accept()
        ours.close()
    first.close()
    with pytest.raises(ConfigError, match="ipc:///PATH"):
        listening(str(tmp_path))

"""Sampling what is served: the draw, what is taken out, the files, the thread, and the whole path."""

import logging
import os
import random
import re
import signal
import stat
import string
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shop import TITLES, Products, open_shop
from test_metrics import Page
from test_processes import channels, running, until
from test_stack import Nobody

from millirank.config import Settings
from millirank.errors import ConfigError
from millirank.metrics import Metrics
from millirank.pipeline import Limits
from millirank.rpc import Promise, SearchService, handler
from millirank.server import Server
from millirank.stack import FrontSide
from millirank.traffic import sampler as sampling
from millirank.traffic.part import DAYS, Part
from millirank.traffic.records import RECORD_BYTES, Asked, line_of, read_traffic
from millirank.traffic.reservoir import Reservoir
from millirank.traffic.sampler import RECORDS, WAITING, Sampler
from millirank.traffic.scrub import scrub
from millirank.types import Rows
from millirank.v1 import search_pb2, search_pb2_grpc
from millirank_engines.pack import pair_length


def dice(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - not a secret


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
DAY = date(2026, 3, 1)
HIDING = "\u200b\u200d\u202e\ufeff"  # shows nothing, and parts no words
EVIL = "\x00\x07\x1b\x7f\x85\u2028\u2029" + HIDING


@pytest.mark.parametrize("stored", [None, 3, 25])
def test_every_request_is_kept_as_often_as_any_other_even_across_a_restart(stored: int | None) -> None:
    draws, kept, offered, rounds = dice(1), Counter[int](), 40, 4000
    for _ in range(rounds):
        made = Reservoir[int](8, draws)
        for item in range(offered):
            if item == stored:
                made = Reservoir(8, draws, made.kept, made.seen)
            made.offer(lambda item=item: item)  # type: ignore[misc]
        assert (len(made.kept), made.seen, made.weight) == (8, offered, offered / 8)
        kept.update(made.kept)
    expected = rounds * 8 / offered
    assert sum((kept[item] - expected) ** 2 / expected for item in range(offered)) < 73  # chi², 39 degrees, p = .001


def test_a_reservoir_makes_only_what_it_keeps_and_shrinks_fairly() -> None:
    made: list[int] = []
    reservoir = Reservoir[int](10, dice(2))
    kept = [reservoir.offer(lambda item=item: made.append(item) or item) for item in range(1000)]  # type: ignore[misc, func-returns-value]
    assert len(made) == sum(kept) < 100
    firsts = Counter(Reservoir[int](2, dice(n), range(4), 4).kept[0] for n in range(400))
    assert min(firsts.values()) > 60


WORDS = st.text(string.ascii_lowercase, min_size=1, max_size=8)
MODELS = st.from_regex(r"\A[A-Za-z]{1,4}-?[0-9]{1,7}[A-Za-z]{0,3}\Z")


@given(st.lists(st.one_of(WORDS, MODELS, st.emails()), max_size=5), st.emails(), st.integers(0, 5), st.booleans())
def test_no_address_survives(words: list[str], address: str, place: int, apart: bool) -> None:  # noqa: FBT001 - drawn
    text = address.replace("@", " @ ") if apart else address
    left = scrub(" ".join([*words[:place], text, *words[place:]]))
    assert address.casefold() not in left.casefold()
    assert not re.search(r"[^\s@]@[^\s@]+\.[^\s@]", left.replace(" @ ", "@"))
    assert scrub(left) == left


@given(st.lists(st.one_of(MODELS, WORDS), min_size=1, max_size=6))
def test_model_numbers_and_words_survive(words: list[str]) -> None:
    assert scrub(" ".join(words)) == " ".join(words)


@given(
    st.lists(WORDS, max_size=3),
    st.text(string.digits + "٣४", min_size=9, max_size=19),
    st.sampled_from(
        ["", " ", "-", ".", "/", ") ", " - ", "_", ",", ":", "\xa0", "\u2011", "\u2013", " \u2014 ", "\uff0d", "\xb7"]
    ),
    st.integers(2, 4),
)
def test_no_card_and_no_phone_survives(words: list[str], digits: str, sign: str, group: int) -> None:
    number = sign.join(digits[n : n + group] for n in range(0, len(digits), group))
    assert sum(c.isdigit() for c in scrub(" ".join([*words, number, *words]))) == 0


@given(st.text(st.sampled_from("ab 1" + EVIL), max_size=40), st.integers(0, 16), st.sampled_from(HIDING))
def test_nothing_that_controls_survives_or_hides_an_address(text: str, place: int, hiding: str) -> None:
    assert not set(scrub(text)) & set(EVIL)
    address = "john@example.com"
    assert scrub(f"usb {address[:place]}{hiding}{address[place:]}") == "usb"


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("xr-1000 lens", "xr-1000 lens"),
        ("4k@60hz monitor", "4k@60hz monitor"),
        ("iphone 13 128 gb 2024-11-25", "iphone 13 128 gb 2024-11-25"),
        ("T407011 220 ml", "T407011 220 ml"),
        ("1234567", "1234567"),
        ("mail john@example.com, now", "mail now"),
        ("a%40b.de a\uff20b.de a@b\u3002de cable", "cable"),
        ("4111 1111 1111 1111 visa", "visa"),
        ("+49 (171) 234-5678 case", "case"),
        ("5901234123457", ""),
        ("DE89 3704 0044 0532 0130 00", "DE89"),
        ("1234@x.y 5678 12345", ""),  # what stood around an address is a number now
    ],
)
def test_what_is_taken_out(query: str, left: str) -> None:
    assert scrub(query) == left


@pytest.mark.parametrize("text", ["@" * 1000, "1 " * 500, "a@" * 500, "(" * 1000, "1((" * 333, "x1 " * 333])
def test_hostile_text_is_scrubbed_at_once(text: str) -> None:
    assert len(scrub(text)) <= len(text)


def test_a_line_is_bounded_and_read_as_it_was(tmp_path: Path) -> None:
    small = Asked("usb", 2, (9, 30), ("a", "b"))
    ids = tuple(f"{'x' * 60}{n}" for n in range(300))
    large = Asked('"' * 500 + "🦊" * 500, 300, (40,) * 300, ids)
    huge = Asked("🦊", 5000, (40,) * 5000, None)
    lines = [line_of(small, 1.0), line_of(large, 2.5), line_of(huge, 1.0)]
    assert max(map(len, lines)) <= RECORD_BYTES
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    assert read_traffic(tmp_path, 50) == [
        small,
        Asked(large.query, 300, large.lengths, None, 2.5),
        Asked("🦊", 5000, None, None),
    ]
    assert read_traffic(tmp_path / "a.jsonl", 50) == read_traffic(tmp_path, 50)
    (tmp_path / "b.jsonl").write_text('{"query": "a", "weight": 0}')
    with pytest.raises(ConfigError, match="a number is negative"):
        read_traffic(tmp_path, 50)


def asked(query: str) -> Asked:
    return Asked(query, 1, (9,), ("p1",))


def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        part = Part(tmp_path / "new" / "sample")
        part.write(DAY, [asked("a")], 1.0)
    finally:
        os.umask(old)
    part.close()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "new" / "sample").iterdir()}
    assert modes == {"2026-03-01.part-0.jsonl": 0o600, "part-0.lock": 0o600}
    assert stat.S_IMODE((tmp_path / "new" / "sample").stat().st_mode) == 0o700
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match=r"has mode 0755.*chmod 700"):
        Part(open_to_all)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="name another folder with --traffic-sample"):
        Part(tmp_path / "file")


KILLED = """
import os, signal, sys
from datetime import date
from pathlib import Path
from millirank.traffic.part import Part
from millirank.traffic.records import Asked
part = Part(Path(sys.argv[1]))
Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
part.write(date(2026, 3, 1), [Asked("new", 0, None, None)] * 99, 1.0)
"""


def test_a_process_that_is_killed_before_the_replacement_leaves_the_file_whole(tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    part = Part(folder)
    part.write(DAY, [asked("old")], 3.0)
    part.close()
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (folder / ".part-0.draft").exists()
    assert [(a.query, a.weight) for a in read_traffic(folder, 50)] == [("old", 3.0)]
    again = Part(folder)  # the lock died with its holder
    assert again.number == 0
    assert not (folder / ".part-0.draft").exists()
    again.close()


WRITER = """
import sys
from pathlib import Path
import numpy as np
from millirank.traffic.sampler import Sampler
sampler = Sampler(
    Path(sys.argv[1]),
    ids=lambda rows: ["p"] * len(rows),
    lengths=lambda n, rows: rows + n,
    clock=lambda: float(sys.argv[3]),
)
print("open", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[4])):
    sampler.served.append((f"{sys.argv[2]} {number}", 1, np.arange(1, 3, dtype=np.uint32)))
    if number % 500 == 0:
        sampler.look()
        sampler.write()
sampler.start()
sampler.close()
"""


def test_two_processes_share_a_folder_and_mix_nothing(tmp_path: Path) -> None:
    folder, counts = tmp_path / "sample", {"left": 600, "right": 2500}
    pipe: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(folder), name, str(NOON), str(count)], **pipe)
        for name, count in counts.items()
    ]
    for writer in writers:
        assert writer.stdout.readline() == "open\n"
    for writer in writers:
        writer.communicate("go\n")
        assert writer.returncode == 0
    parts = sorted(folder.glob("*.jsonl"))
    assert [path.name for path in parts] == ["2026-03-01.part-0.jsonl", "2026-03-01.part-1.jsonl"]
    for path in parts:
        assert len({a.query.split()[0] for a in read_traffic(path, 50)}) == 1
    kept = read_traffic(folder, 50)
    stood_for = Counter[str]()
    for a in kept:
        stood_for[a.query.split()[0]] += a.weight  # type: ignore[assignment]
    assert len(kept) == 600 + RECORDS
    assert {name: round(total) for name, total in stood_for.items()} == counts


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


ROWS: Rows = np.array([3, 1, 4], np.uint32)


def sampler(folder: Path, clock: Callable[[], float], **options: Any) -> Sampler:
    made: dict[str, Any] = {"ids": lambda rows: [f"p{row}" for row in rows], "lengths": lambda n, rows: rows + n}
    return Sampler(folder, **(made | options), clock=clock, dice=dice(3))


def serve(of: Sampler, *queries: str) -> None:
    for query in queries:
        of.served.append((query, 10, ROWS))


def test_a_day_has_a_file_and_two_weeks_are_kept(tmp_path: Path) -> None:
    folder, clock = tmp_path / "sample", Clock()
    one = sampler(folder, clock)
    (folder / "notes.jsonl.txt").touch()
    for number in range(DAYS + 2):
        serve(one, f"day {number}")
        clock.now += 24 * 3600
        one.look()
    one.close()
    names = sorted(path.name for path in folder.glob("*.jsonl"))
    first = DAY + timedelta(days=3)  # today, which has no query yet, counts
    assert names == [f"{first + timedelta(days=n)}.part-0.jsonl" for n in range(DAYS - 1)]
    [only] = read_traffic(folder / names[0], 50)
    assert only == Asked("day 3", 3, (13, 11, 14), ("p3", "p1", "p4"))
    assert (folder / "notes.jsonl.txt").exists()


def test_a_restart_on_the_same_day_goes_on_with_the_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "RECORDS", 10)
    monkeypatch.setattr(sampling, "PAUSE", 0)
    folder, firsts = tmp_path / "sample", Counter[bool]()
    for turn in range(60):
        clock = Clock()
        for life in range(2):
            one = sampler(folder, clock)
            one._dice.seed(2 * turn + life)
            serve(one, *(f"life {life} query {n}" for n in range(40)))
            one.look()
            one.write()
            one.close()
        [path] = folder.glob("*.jsonl")
        kept = read_traffic(path, 50)
        assert (len(kept), sum(a.weight for a in kept)) == (10, 80)
        firsts.update(a.query.startswith("life 0") for a in kept)
        path.unlink()
    assert 250 < firsts[True] < 350  # of 600; 4 standard deviations


class Seen:
    """A watch that keeps what it is shown."""

    def __init__(self) -> None:
        self.weights: list[float] = []
        self.population, self.forgotten = 0, 0

    def look(self, kept: Any, population: int) -> None:
        self.weights, self.population = [one.weight for one in kept], population

    def forget(self) -> None:
        self.forgotten += 1


def test_after_a_restart_all_records_weigh_alike_and_a_new_day_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "RECORDS", 10)
    clock, seen = Clock(), Seen()
    for _ in range(2):
        one = sampler(tmp_path / "sample", clock, watch=seen)
        serve(one, *(f"query {n}" for n in range(40)))
        one.look()
        one.write()
        one.close()
    assert (seen.weights, seen.population, seen.forgotten) == ([1.0] * 10, 80, 0)
    again = sampler(tmp_path / "sample", clock, watch=seen)
    clock.now += 24 * 3600
    again.look()
    again.close()
    assert seen.forgotten == 1


def test_a_product_id_may_hold_any_end_of_a_line(tmp_path: Path) -> None:
    ids = ["p\u2028", "\u2029p", "p\x85p"]
    for query in "ab":
        one = sampler(tmp_path / "sample", Clock(), ids=lambda _: ids)
        serve(one, query)
        one.look()
        one.write()
        one.close()
    assert [a.candidates for a in read_traffic(tmp_path / "sample", 50)] == [tuple(ids)] * 2


def test_the_sample_is_bounded_whatever_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "PAUSE", 0)
    one = sampler(tmp_path / "sample", Clock(), lengths=lambda _, rows: np.arange(1, len(rows) + 1))
    rows = np.arange(100, dtype=np.uint32)
    for start in range(0, 12_000, 3000):
        one.served.extend((f"{n} {'語' * 995}", 24, rows) for n in range(start, start + 3000))
        one.look()
    one.served.extend((f"{n}", 24, rows) for n in range(2 * WAITING))
    assert len(one.served) == WAITING
    one.write()
    [path] = (tmp_path / "sample").glob("*.jsonl")
    assert len(read_traffic(path, 50)) == RECORDS
    assert path.stat().st_size <= RECORDS * RECORD_BYTES
    one.close()


def test_a_full_disk_is_told_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    one = sampler(tmp_path / "sample", Clock())
    with monkeypatch.context() as broken, caplog.at_level(logging.WARNING):
        broken.setattr(Part, "write", full)
        for query in "ab":
            serve(one, query)
            one.look()
            one.write()
    assert [record.getMessage() for record in caplog.records] == [
        f"traffic is not written (No space left on device): make room in {tmp_path / 'sample'}"
    ]
    one.start()
    one.close()
    assert [a.query for a in read_traffic(tmp_path / "sample", 50)] == ["a", "b"]


def test_a_thread_that_cannot_go_on_says_so_and_what_waits_stays_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(_: Rows) -> list[str]:
        raise IndexError("no such row")

    one = sampler(tmp_path / "sample", Clock(), ids=gone)
    serve(one, "a")
    one.start()
    one.close()
    assert "traffic is not sampled any more" in caplog.text
    serve(one, *map(str, range(2 * WAITING)))
    assert len(one.served) == WAITING


def test_a_file_that_is_no_sample_is_refused_at_the_start(tmp_path: Path) -> None:
    part = Part(tmp_path / "sample")
    part.close()
    part.path(DAY).write_text("torn")
    with pytest.raises(ConfigError, match=r"2026-03-01.part-0.jsonl, line 1"):
        sampler(tmp_path / "sample", Clock())
    part.path(DAY).unlink()
    again = sampler(tmp_path / "sample", Clock())
    assert again._part.number == 0  # it was let go
    again.close()


def test_the_setting_is_off_unless_it_names_a_folder() -> None:
    assert Settings.from_mapping({"index": "shop"}).traffic_sample is None
    assert Settings.from_mapping({"index": "shop", "traffic_sample": "t"}).traffic_sample == Path("t")
    with pytest.raises(ConfigError, match="traffic_sample is 7: give a path"):
        Settings.from_mapping({"index": "shop", "traffic_sample": 7})


QUERIES = ("red running shoe", "coffee mug call 0171 2345678", "john@example.com headphones")


async def test_what_a_server_serves_is_what_is_sampled(tmp_path: Path) -> None:
    with open_shop(tmp_path, limits=Limits(rerank_depth=6)) as shop:
        spec = shop.reranker.spec
        products: Any = shop.pipeline._catalog
        assert isinstance(products, Products)
        one = sampler(
            tmp_path / "sample", Clock(), lengths=lambda n, rows: products.lengths(rows) + pair_length(n, 0, spec)
        )
        service = SearchService()
        service.pipeline, service.promise = shop.pipeline, Promise()
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        server.add_generic_rpc_handlers((handler(service),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = search_pb2_grpc.SearchServiceStub(channel)

            async def first(query: str, **fields: int) -> list[str]:
                request = search_pb2.SearchRequest(query=query, limit=len(TITLES), **fields)
                answers = [answer async for answer in stub.Search(request)]
                return [hit.id for hit in answers[0].hits]

            await first("before it is on")
            shop.pipeline.sample = one.served.append
            orders = [await first(query, rerank_depth=depth) for query, depth in zip(QUERIES, (0, 3, 0), strict=True)]
        await server.stop(None)
        one.start()
        one.close()
        kept = read_traffic(tmp_path / "sample", 50)
        assert [a.query for a in kept] == ["red running shoe", "coffee mug call", "headphones"]
        assert [a.depth for a in kept] == [6, 3, 6]
        for a, order in zip(kept, orders, strict=True):
            assert a.candidates == tuple(order[: a.depth])
        words = [len(TITLES[int(id_[1:])].split()) for id_ in kept[0].candidates or ()]
        assert kept[0].lengths == tuple(3 + n + 3 for n in words)


async def test_a_real_server_samples_its_clients_but_not_its_rehearsal(tiny_index: Path, tmp_path: Path) -> None:
    folder, metrics = tmp_path / "sample", Metrics()
    async with (
        Server(Settings(index=tiny_index, port=0, sla_ms=0, traffic_sample=folder), metrics) as server,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
    ):
        stub = search_pb2_grpc.SearchServiceStub(channel)
        assert [a async for a in stub.Search(search_pb2.SearchRequest(query="red kettle", rerank_depth=4))]
    assert not [thread for thread in threading.enumerate() if thread.name == "millirank-traffic"]
    assert Page(metrics)("traffic_population", process="server") == 1
    [only] = read_traffic(folder, 50)
    assert (only.query, only.depth, len(only.lengths or ()), len(set(only.candidates or ()))) == ("red kettle", 4, 4, 4)


def test_nothing_is_sampled_where_it_is_off(tiny_index: Path) -> None:
    front = FrontSide(Settings(index=tiny_index), Nobody())
    assert front.pipeline.sample is None
    assert not [thread for thread in threading.enumerate() if thread.name == "millirank-traffic"]
    front.close()


async def test_frontends_sample_side_by_side(tiny_index: Path, tmp_path: Path) -> None:
    sample, queries = tmp_path / "sample", [f"red kettle w{number}" for number in range(12)]
    with tempfile.TemporaryDirectory(prefix="mr-") as short:  # the path of a Unix socket has 107 bytes at most
        options = ("--frontends", "2", "--rerank-depth", "3", "--traffic-sample", str(sample))
        with running(tiny_index, Path(short) / "a", *options) as service:
            until(lambda: "serving on" in service.log.read_text())
            async with channels(service.target, len(queries)) as opened:
                for channel, query in zip(opened, queries, strict=True):
                    stub = search_pb2_grpc.SearchServiceStub(channel)
                    assert [a async for a in stub.Search(search_pb2.SearchRequest(query=query))]
    assert sorted(a.query for a in read_traffic(sample, 50)) == sorted(queries)  # each once
    assert {path.name for path in sample.glob("*.lock")} == {"part-0.lock", "part-1.lock"}

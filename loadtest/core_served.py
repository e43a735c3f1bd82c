"""What a query costs the core's process, sockets and threads included.

python loadtest/core_served.py --index INDEX [--before OTHER_CHECKOUT] [--rates 100,500,1000] [--seconds 2] [--out DIR]

Prints its figures; DIR of --out gets core-served.json and .md besides. This project keeps no such page: what a change
of the core costs is for whoever makes it, by --before, on one machine.

A core on engines that only wait as long as an H100 works, and a driver that plays eight frontends: an encode of
three tokens, and when that is answered a rerank of fifty products, at random times. Two checkouts take turns; the ratio
is the median of the rounds' ratios. Processor time is the kernel's, of all threads of the core.
"""

import argparse
import contextlib
import itertools
import random
import select
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import needs
import numpy as np
from frontend_work import Server, compared, serving
from report import Row, show, write

from millirank.catalog.snapshot import Snapshot
from millirank.loadtest.schedule import Stretch, arrivals
from millirank.processes import wire
from millirank.processes.post import Post, connected

FRONTENDS, DEPTH, SLA = 8, 50, 0.010
OWN = 0.004  # seconds before the deadline that a frontend keeps for its own work and the reply
LINGER = 0.5  # seconds for the last answers
NOTES = (
    "A core over its socket, on engines that wait 0.15 ms (encode) and 0.35 ms (rerank), and a driver that plays eight",
    "frontends, open loop at random times. `ratio` is the median of after/before over the rounds, by turns.",
)


@dataclass
class Load:
    """What became of the queries of one round; each has one job open at most, and ends once."""

    encoded: list[float] = field(default_factory=list)  # seconds
    reranked: list[float] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    asked: int = 0
    failed: int = 0
    open: dict[int, float] = field(default_factory=dict)  # when each job was sent, monotonic seconds

    def answered(self, answer: wire.Encoded | wire.Reranked | wire.Failed, now: float) -> bool:
        """Takes an answer; one to a job that is not open, such as one of the round before, counts nowhere.

        Returns:
            Whether the query goes on with a rerank.
        """
        sent = self.open.pop(answer.id, None)
        if sent is None:
            return False
        if isinstance(answer, wire.Encoded):
            self.encoded.append(now - sent)
            return True
        if isinstance(answer, wire.Reranked):
            self.reranked.append(now - sent)
            self.depths.append(len(answer.scores) // 4)
        else:
            self.failed += 1
        return False


@dataclass
class Driver:
    """Eight frontends of a core, on one thread.

    Args:
        endpoint: of the core.
        products: in its snapshot.
        snapshot: which one.
    """

    endpoint: str
    products: int
    snapshot: int

    def __post_init__(self) -> None:
        """Connects."""
        self._posts = [Post(connected(self.endpoint)) for _ in range(FRONTENDS)]
        self._poll = select.epoll()
        self._by = {post.fileno(): post for post in self._posts}
        for number, post in enumerate(self._posts):
            self._poll.register(post, select.EPOLLIN)
            post.send([wire.Hello(wire.VERSION, f"driver {number}")])
        rng = np.random.default_rng(0)
        self._rows = [rng.integers(0, self.products, DEPTH).astype("<u4").tobytes() for _ in range(256)]
        self._ids = np.array([2000, 3000, 4000], "<u2").tobytes()
        self._number = itertools.count(1)

    def close(self) -> None:
        """Leaves."""
        for post in self._posts:
            post.close()
        self._poll.close()

    def run(self, rate: float, seconds: float, seed: int) -> Load:
        """One open loop."""
        begin = time.monotonic() + 0.01
        times = [begin + at for at in arrivals([Stretch(rate, seconds)], seed=seed)]
        load = Load(asked=len(times))
        due, ends = 0, begin + seconds + LINGER
        pick = random.Random(seed)  # noqa: S311 - a load, not a secret
        while (now := time.monotonic()) < ends and (due < len(times) or load.open):
            while due < len(times) and times[due] <= now:
                job = next(self._number)
                load.open[job] = now
                record = wire.Encode(job, self._ids, 2, now + SLA - OWN, 0)
                self._posts[pick.randrange(FRONTENDS)].send([record])
                due += 1
            wait = (times[due] if due < len(times) else ends) - time.monotonic()
            for descriptor, _ in self._poll.poll(max(0.0, wait)):
                self._take(self._by[descriptor], load)
        load.failed += len(load.open)
        return load

    def _take(self, post: Post, load: Load) -> None:
        data = post.receive()
        if data is None:
            return
        now = time.monotonic()
        for answer in wire.answers_from(data):
            if isinstance(answer, wire.Load | wire.Hello):
                continue
            if load.answered(answer, now):
                job = next(self._number)
                load.open[job] = now
                rows = self._rows[job % len(self._rows)]
                post.send([wire.Rerank(job, self._ids, 2, rows, self.snapshot, now + SLA - OWN, 0)])


def figures(load: Load, spent: float) -> Iterator[tuple[str, float]]:
    """Metrics of a round."""
    queries = max(1, load.asked)
    yield "processor time (µs a query)", 1e6 * spent / queries
    for name, seconds in (("encoded", load.encoded), ("reranked", load.reranked)):
        ordered = sorted(seconds) or [0.0]
        yield f"{name} p50 (ms)", 1e3 * statistics.median(ordered)
        yield f"{name} p99 (ms)", 1e3 * ordered[int(0.99 * (len(ordered) - 1))]
    yield "depth (candidates)", statistics.mean(load.depths or [0])
    yield "failed (%)", 100 * load.failed / queries


def measure(server: Server, driver: Driver, rate: float, seconds: float, seed: int) -> None:
    """One round of one core, that is woken for it."""
    server.go()
    driver.run(rate, min(0.3, seconds), seed)
    before = server.spent()["core"]
    load = driver.run(rate, seconds, seed)
    spent = server.spent()["core"] - before
    for metric, value in figures(load, spent):
        server.figures.setdefault(f"{rate:g} queries/s/{metric}", []).append(value)
    server.tell(signal.SIGSTOP)


def main() -> None:
    """Measures, prints and, asked to, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True, help="what `millirank index` wrote")
    parser.add_argument("--before", type=Path, help="another checkout, to compare with")
    parser.add_argument("--rates", default="100,500,1000", help="queries/s")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="gets core-served.json and .md; without it they are not written")
    given = parser.parse_args()
    needs.linux("/proc")
    checkouts = {"before": given.before, "after": Path(__file__).parent.parent}
    checkouts = {name: path.resolve() for name, path in checkouts.items() if path is not None}
    snapshot = Snapshot.open(given.index, hashes=False)
    products, version = len(snapshot), snapshot.version
    snapshot.close()
    rows: list[Row] = []
    with contextlib.ExitStack() as opened:
        servers: dict[str, tuple[Server, Driver]] = {}
        for name, path in checkouts.items():
            folder = opened.enter_context(tempfile.TemporaryDirectory())
            server = opened.enter_context(serving(path, ("core",), given.index, folder, 1e3 * SLA))
            driver = Driver(f"ipc://{folder}/0", products, version)
            opened.callback(driver.close)
            servers[name] = server, driver
        for number in range(given.rounds):
            for rate in given.rates.split(","):
                for name in sorted(servers, reverse=bool(number % 2)):
                    measure(*servers[name], float(rate), given.seconds, number)
        rows += compared("core", {name: server.figures for name, (server, _) in servers.items()})
    show(rows)
    if given.out:
        write("core-served", "What a query costs the core's process", NOTES, rows, given.out)


if __name__ == "__main__":
    main()

"""The phases of sla_cpu.py that misbehave: each takes a Bench and yields rows."""

import asyncio
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

from launch import CORE, FRONTEND
from phases import BOUND, Bench, load, told, warm

from millirank.loadtest.call import Call, Status
from millirank.loadtest.client import Run, drive, run
from millirank.loadtest.results import Row
from millirank.loadtest.sampler import Sampler
from millirank.loadtest.schedule import Stretch, arrivals
from millirank.loadtest.summary import of_calls, quantile, summarize
from millirank.loadtest.watch import MIB

WINDOW = 0.5  # seconds, of which p99 is taken after a burst
POLITE = 5.0  # calls a second of a well-behaved connection


def burst(bench: Bench) -> Iterator[Row]:
    """Half of saturation, three times saturation for 10 s, half again: when p99 is back."""
    half, peak, tail = 0.5 * bench.saturation, 3 * bench.saturation, 10.0
    calm = min(10.0, bench.seconds)
    stretches = [Stretch(half, calm), Stretch(peak, 10), Stretch(half, tail)]
    with bench.server() as server:
        warm(bench, server)
        done = run(drive(server.target, bench.messages, arrivals(stretches)))
    over = done.begin + calm + 10
    for name, begin, end in (
        ("before", 0.0, calm),
        ("during", calm, calm + 10),
        ("after", calm + 10, calm + 10 + tail),
    ):
        within = between(done.calls, done.begin + begin, done.begin + end)
        yield from told(of_calls(f"burst/{name}", within, seconds=end - begin)).rows()
    starts = [over + WINDOW * place for place in range(round(tail / WINDOW))]
    good = [quantile(finals(between(done.calls, start, start + WINDOW)), 0.99) <= BOUND for start in starts]
    back = next(
        (start + WINDOW - over for start, one, next_ in zip(starts, good, good[1:], strict=False) if one and next_),
        math.inf,
    )
    yield Row("burst/after", "p99 within the bound again after", back, "s")


def hostile(bench: Bench) -> Iterator[Row]:
    """2,000 slow readers, clients that hang up, dropped connections; beside them one that behaves."""
    extra = max(1.0, 0.7 * bench.saturation - POLITE)
    with bench.server() as server:
        warm(bench, server)
        alone = replace(server.target, connections=1)
        calm = load(bench, alone, POLITE, min(3 * bench.seconds, bench.soak_seconds), seed=None)
        command = [sys.executable, "-m", "millirank.loadtest.hostile", "--target", server.target.address]
        command += ["--queries", str(bench.file), "--seconds", str(bench.soak_seconds)]
        command += ["--slow-rate", f"{0.6 * extra:.2f}", "--cancel-rate", f"{0.4 * extra:.2f}"]
        with Sampler(server.pid) as sampler:
            began = time.monotonic()
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own arguments
            amid = load(bench, alone, POLITE, bench.soak_seconds, seed=None)
            tally = json.loads(process.communicate(timeout=60)[0])
            left = server.inflight()
            samples = sampler.between(began, began + bench.soak_seconds)
    quiet = told(summarize("hostile/polite alone", calm, seconds=len(calm.calls) / POLITE))
    loud = told(summarize("hostile/polite amid", amid, seconds=bench.soak_seconds))
    yield from (*quiet.rows(), *loud.rows())
    if quiet.final and loud.final:
        yield Row("hostile/polite amid", "final p99 against alone", loud.final["p99"] / quiet.final["p99"], "ratio")
    steady = [one.rss / MIB for one in samples[len(samples) // 5 :]]
    tenth = max(1, len(steady) // 10)
    begin, end = sum(steady[:tenth]) / tenth, sum(steady[-tenth:]) / tenth
    yield from (Row("hostile/memory", "after warm-up", begin, "MiB"), Row("hostile/memory", "at the end", end, "MiB"))
    yield Row("hostile/memory", "growth", 100 * (end / begin - 1), "%")
    yield Row("hostile/memory", "spread", 100 * (max(steady) / min(steady) - 1), "%")
    yield Row("hostile/requests", "in flight after", left, "queries")
    yield from (
        Row("hostile/clients", name, tally[name], "") for name in ("begun", "most_open", "cancelled", "dropped")
    )
    yield from (Row("hostile/clients", f"slow readers ended {name}", n, "calls") for name, n in tally["ended"].items())


def fairness(bench: Bench) -> Iterator[Row]:
    """One connection at three times saturation beside four at 5 QPS."""
    with bench.server() as server:
        warm(bench, server)

        async def both() -> tuple[Run, Run]:
            times = arrivals([Stretch(3 * bench.saturation, bench.seconds)])
            calm = arrivals([Stretch(4 * POLITE, bench.seconds)], seed=2)
            greedy = drive(replace(server.target, connections=1), bench.messages, times)
            polite = drive(replace(server.target, connections=4), bench.messages, calm)
            return await asyncio.gather(greedy, polite)

        for name, done in zip(("greedy", "polite"), run(both()), strict=True):
            summary = told(summarize(f"fairness/{name}", done, seconds=bench.seconds))
            yield from summary.rows()
            yield Row(f"fairness/{name}", "share answered", 100 * summary.answered / summary.sent, "%")


def kill(bench: Bench) -> Iterator[Row]:
    """SIGKILL of a frontend, then of the core, at half of saturation."""
    calm, after = 3.0, 15.0
    with bench.server("--frontends", "2") as server:
        warm(bench, server)
        for name, module in (("frontend", FRONTEND), ("core", CORE)):
            victim = server.child(module)

            async def shot() -> tuple[Run, float]:
                times = arrivals([Stretch(0.5 * bench.saturation, calm + after)])
                going = asyncio.create_task(drive(server.target, bench.messages, times))
                await asyncio.sleep(calm)
                victim.send_signal(signal.SIGKILL)  # noqa: B023 - awaited in the same turn
                at = time.monotonic()
                return await going, at

            done, at = run(shot())
            yield from told(summarize(f"kill/{name}", done, seconds=calm + after)).rows()
            yield Row(
                f"kill/{name}", "calls that never ended", sum(call.status is None for call in done.calls), "calls"
            )
            lost = [call for call in done.calls if call.ended > at and not served(call)]
            back = min(
                (call.final - at for call in done.calls if call.answered and call.intended > at), default=math.inf
            )
            yield Row(f"kill/{name}", "first answer to a later call after", back, "s")
            yield Row(f"kill/{name}", "last failure after", max((call.ended - at for call in lost), default=0.0), "s")
            time.sleep(2)


def between(calls: Sequence[Call], begin: float, end: float) -> list[Call]:
    """The calls intended in a time."""
    return [call for call in calls if begin <= call.intended < end]


def finals(calls: Sequence[Call]) -> list[float]:
    """Their latencies, in seconds."""
    return [call.final - call.intended for call in calls if call.answered]


def served(call: Call) -> bool:
    """Whether a call was answered, or refused as the contract says."""
    return call.answered or call.status is Status.RESOURCE_EXHAUSTED

"""Measures the promise of 10 ms on two CPU cores: unloaded, up to three times saturation, and when it goes wrong.

python loadtest/sla_cpu.py --index INDEX --queries judgments.csv [--phases unloaded,curve,…] [--saturation QPS]

Starts the servers itself. Each phase replaces its own rows in docs/benchmarks/sla-cpu.json at once, so phases can be
repeated one by one and a failed one loses nothing.
"""

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from abuse import burst, fairness, hostile, kill
from compared import prediction, relevance
from options import some_of
from phases import BOUND, Bench, count, curve, load, refusal, stalls, told, unloaded, warm
from report import BENCHMARKS, write

from millirank.loadtest import plots
from millirank.loadtest.queries import read_queries
from millirank.loadtest.results import Row, read_rows
from millirank.loadtest.summary import summarize
from millirank.loadtest.sweep import highest_rate

NAME = "sla-cpu"
PHASES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    phase.__name__: phase
    for phase in (unloaded, relevance, curve, count, prediction, refusal, burst, hostile, fairness, kill, stalls)
}
EXCESS = 0.001  # share of refusals at saturation
NOTES = (
    "Server and client share the two cores. Latencies are of answered queries, from the time at which each should",
    "have been sent, by a client of our own (`millirank.loadtest`); `client lag` is how late it was itself. Saturation",
    "is the offered rate where refusals pass 0.1 %. No result or embedding is cached.",
)
PICTURE = ("", f"![latency, throughput, depth and refusals against offered load]({NAME}.svg)")
SHOWN = (
    "offered", "answered", "first p50", "first p99", "final p50", "final p95", "final p99", "final p99-p95",
    "final p99 against alone", "depth mean", "depth median", "depth min", "degraded", "refused", "errors",
    "refusal p50", "client lag p99", "server cpu", "server memory",
)  # fmt: skip
USUAL = ("calls", "first ", "final ", "refusal ", "status ", "depth ", "degraded ", "client ")  # of every load


def saturation(bench: Bench) -> float:
    """The highest rate with refusals and errors within 0.1 %, found by a quick sweep."""
    with bench.server() as server:
        warm(bench, server)

        def bears(rate: float) -> bool:
            done = load(bench, server.target, rate, bench.seconds)
            summary = told(summarize(f"saturation/{rate:g} QPS", done, seconds=bench.seconds))
            return summary.refused + summary.failed <= EXCESS

        return highest_rate(bears, start=20, near=0.1)


def known() -> list[Row]:
    """The rows so far."""
    path = BENCHMARKS / f"{NAME}.json"
    return read_rows(path) if path.exists() else []


def keep(phase: str, found: list[Row]) -> None:
    """Puts a phase's rows in the place of its earlier ones, and draws the curves."""
    rows = [row for row in known() if row.case.partition("/")[0] != phase] + found
    rows.sort(key=lambda row: list(PHASES).index(row.case.partition("/")[0]))  # stable
    curves = {name: [row for row in rows if row.case.startswith(f"{name}/")] for name in ("curve", "count")}
    named = {"curve": "by deadline", "count": "by count, depth 50"}
    drawn = {named[name]: members for name, members in curves.items() if members}
    if drawn:
        (BENCHMARKS / f"{NAME}.svg").write_text(plots.svg(drawn, 1e3 * BOUND), encoding="utf-8")
    shown = {row.metric for row in rows if row.metric in SHOWN or not row.metric.startswith(USUAL)}
    write(NAME, "Never late, on two CPU cores", (*NOTES, *PICTURE) if drawn else NOTES, rows, shown=shown)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--index", type=Path, required=True)
    parser.add_argument("--queries", type=Path, required=True, help="each distinct one is sent as often as the others")
    parser.add_argument("--phases", type=some_of(PHASES), default=",".join(PHASES), help="some of %(default)s")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--soak-seconds", type=float, default=600.0, help="of hostile; at most 300 of them for stalls")
    parser.add_argument(
        "--saturation", type=float, default=0.0, help="queries/s; 0 finds it, or takes the last curve's"
    )
    parser.add_argument("--port", type=int, default=50081)
    parser.add_argument("--metrics-port", type=int, default=9481, help="0 for a server without /metrics")
    parser.add_argument("--serve", default="", help="further options of `millirank serve`, as '--frontends 1'")
    given = parser.parse_args()
    chosen = given.phases
    queries = tuple(dict.fromkeys(read_queries(given.queries)))
    bench = Bench(
        index=given.index,
        file=given.queries,
        queries=queries,
        seconds=given.seconds,
        soak_seconds=given.soak_seconds,
        saturation=given.saturation,
        port=given.port,
        metrics_port=given.metrics_port,
        options=tuple(given.serve.split()),
    )
    if not bench.saturation and set(chosen) - {"unloaded", "relevance", "prediction", "refusal"}:
        earlier = [row.value for row in known() if row.case == "curve/saturation"] if "curve" not in chosen else []
        found = earlier[0] if earlier else saturation(bench)
        print(f"saturation: {found:.1f} QPS", flush=True)
        if not found:
            sys.exit("no rate keeps refusals and errors within 0.1 %: is the machine busy? or name --saturation")
        bench = replace(bench, saturation=found)
    failed = []
    for name in chosen:
        print(f"{name} …", flush=True)
        begin = time.monotonic()
        rows: list[Row] = []
        try:
            rows.extend(PHASES[name](bench))
        except Exception:  # noqa: BLE001 - the other phases are worth having
            traceback.print_exc()
            failed.append(name)
        if rows and name not in failed:
            keep(name, rows)
        print(f"{name}: {time.monotonic() - begin:.0f} s", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; repeat with --phases {','.join(failed)}")


if __name__ == "__main__":
    main()

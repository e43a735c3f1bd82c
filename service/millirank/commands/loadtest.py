"""`millirank loadtest`: how a running server bears load, as a report."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from millirank.errors import ConfigError
from millirank.loadtest import ghz, plots, report
from millirank.loadtest.channel import Target
from millirank.loadtest.client import drive, run
from millirank.loadtest.queries import read_queries, requests
from millirank.loadtest.results import Row, read_rows, result
from millirank.loadtest.schedule import Stretch, arrivals
from millirank.loadtest.summary import Summary, summarize
from millirank.loadtest.sweep import highest_rate
from millirank.loadtest.watch import Watch

EXCESS = 0.001  # share of refusals and errors that a rate may have


def loadtest(  # noqa: PLR0913, PLR0917 - the command's options
    queries: Annotated[Path, typer.Option(help="A CSV with a column `query`, JSON Lines, or one query a line.")],
    target: Annotated[str, typer.Option(help="The server's address.")] = "127.0.0.1:50051",
    rates: Annotated[str, typer.Option(help="Queries a second, one load after another: 10,50,100.")] = "10,50,100",
    sweep: Annotated[bool, typer.Option("--sweep", help="Find the highest rate that the bound holds at.")] = False,  # noqa: FBT002 - a flag
    bound_ms: Annotated[float, typer.Option(help="What p99 of the final message must keep.")] = 10.0,
    seconds: Annotated[float, typer.Option(help="Of each load.")] = 10.0,
    connections: Annotated[int, typer.Option(min=1, help="20 or more a frontend spread evenly.")] = 20,
    even: Annotated[bool, typer.Option("--even", help="Space queries evenly, not at random as shoppers do.")] = False,  # noqa: FBT002 - a flag
    deadline_ms: Annotated[float, typer.Option(min=0, help="The client's own, 0 for none.")] = 0.0,
    limit: Annotated[int, typer.Option(min=0, max=100, help="Hits to ask for, 0 for the server's default.")] = 0,
    pid: Annotated[
        int | None, typer.Option(help="The server's process: its tree's CPU and memory are sampled.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="The server's /metrics, as http://127.0.0.1:9464/metrics.")
    ] = None,
    also_ghz: Annotated[bool, typer.Option("--also-ghz", help="Repeat each load with ghz, to cross-check.")] = False,  # noqa: FBT002 - a flag
    compare: Annotated[list[Path] | None, typer.Option(help="A report.json of another run, to lay over.")] = None,
    label: Annotated[str, typer.Option(help="Names this run in the plots.")] = "this run",
    out: Annotated[Path, typer.Option(help="Gets report.html and report.json.")] = Path("loadtest-report"),
) -> None:
    """Load a running server and report what it bore: an open loop, timed from when each query should have left."""
    console = Console(soft_wrap=True)
    asked = read_queries(queries)
    schedule = _rates(rates)
    others = {path.parent.name or path.stem: read_rows(path) for path in compare or ()}
    plots.need()
    binary = ghz.find() if also_ghz else None
    where, messages = Target(target, connections=connections), requests(asked, limit=limit)
    rows: list[Row] = []

    with Watch(pid, metrics) as watch:

        def measure(rate: float) -> Summary:
            times = arrivals([Stretch(rate, seconds)], seed=None if even else 1)
            done = run(drive(where, messages, times, deadline=deadline_ms / 1e3 or None))
            summary = summarize(f"{rate:g} QPS", done, seconds=seconds)
            rows.extend([*summary.rows(), *watch.rows(summary.case, done)])
            console.print(line(summary), highlight=False)
            if binary is not None:
                config = ghz.constant(rate, seconds, connections)
                checked = ghz.measure(f"ghz/{rate:g} QPS", config, where, asked, limit=seconds, ghz=binary)
                rows.extend(row for row in checked.rows() if row.metric != "offered")
                console.print(line(checked), highlight=False)
            return summary

        if sweep:
            best = highest_rate(lambda rate: measure(rate).meets(bound_ms / 1e3, EXCESS), start=schedule[0])
            rows.append(Row("sweep", "highest rate", best, "queries/s"))
            console.print(
                f"highest rate with p99 within {bound_ms:g} ms, refusals and errors within 0.1 %: {best:g} QPS"
            )
        else:
            for rate in schedule:
                measure(rate)
    report.write(out, result(rows), others, label=label, bound_ms=bound_ms)
    console.print(f"wrote {out / 'report.html'} and {out / 'report.json'}")


def line(summary: Summary) -> str:
    """A load in one line."""

    def ms(values: object, name: str) -> str:
        return f"{1e3 * values[name]:.2f}" if isinstance(values, dict) and name in values else "-"

    depth = f"{summary.depth['mean']:.1f}" if summary.depth else "-"
    return (
        f"{summary.case:>14}: {summary.answered} of {summary.sent} answered, first p50 {ms(summary.first, 'p50')}, "
        f"final p50 {ms(summary.final, 'p50')} p99 {ms(summary.final, 'p99')} ms, depth {depth}, "
        f"refused {100 * summary.refused:.2f} %, errors {100 * summary.failed:.2f} %, "
        f"client lag p99 {ms(summary.lag, 'p99')} ms"
    )


def _rates(text: str) -> list[float]:
    try:
        rates = [float(one) for one in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--rates is {text!r}: give numbers such as 10,50,100") from error
    if not all(rate > 0 for rate in rates):
        raise ConfigError(f"--rates is {text!r}: every rate must be above 0")
    return rates

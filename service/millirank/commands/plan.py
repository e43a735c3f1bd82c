"""`millirank plan`: how many devices a load needs, what to expect of them, and what they cost."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from millirank.errors import ConfigError
from millirank.simulation.device import Device
from millirank.simulation.sizing import FRONTEND_BUSY, GROUP, Goal, Plan
from millirank.simulation.sizing import plan as sized

HEADROOM = 0.75  # of the capacity


def plan(
    qps: Annotated[float, typer.Option(help="Queries a second.")],
    depth: Annotated[int, typer.Option(help="Candidates that half of the queries or more must have reranked.")] = 50,
    device: Annotated[str, typer.Option(help="h100, or cpu-2 for two CPU cores.")] = "h100",
    sla_ms: Annotated[float, typer.Option(help="Milliseconds to the final message, for 99 %.")] = 10.0,
    costs: Annotated[
        Path | None, typer.Option(help="A table measured on your device instead; the rest is still --device's.")
    ] = None,
    pairs_length: Annotated[int, typer.Option(help="Tokens of a query with a product, special ones included.")] = 32,
    slices: Annotated[int, typer.Option(help="Equal parts of each device: 7 for the smallest of MIG.")] = 1,
    price: Annotated[float | None, typer.Option(help="Of a device for an hour, in any currency.")] = None,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 0,
) -> None:
    """Size a fleet by simulation of the scheduler that serves: devices, latency, depth, utilisation and cost.

    The fleet is the smallest whose final messages keep the SLA at p99, that refuses at most 0.1 % and reranks to the
    depth: once with nothing to spare, and once with a quarter of its capacity as headroom.
    """
    goal = Goal(qps=qps, depth=depth, sla=sla_ms / 1e3, pair_tokens=pairs_length)
    if price is not None and not (math.isfinite(price) and price >= 0):
        raise ConfigError(f"price is {price}: give what a device costs an hour, such as --price 2.5")
    whole = Device.named(device)
    if costs is not None:
        whole = whole.measured(costs)
    part = whole.slice(slices)
    console = Console()
    with console.status("simulating"):
        full = sized(goal, part, seed=seed)
        spare = sized(goal, part, load=HEADROOM, least=full.cores, seed=seed)
    table = Table("", "at 100 % load", f"at {100 * HEADROOM:.0f} % load", title=f"{qps:g} queries/s on {part.name}")
    for line in _lines((full, spare), qps=qps, slices=slices, price=price):
        table.add_row(*line)
    console.print(table)
    for note in _notes(whole, slices):
        console.print(f"- {note}", highlight=False, markup=False)


def _lines(plans: tuple[Plan, Plan], *, qps: float, slices: int, price: float | None) -> Iterator[tuple[str, ...]]:
    """The rows of the table: a name, then a cell for each plan."""
    summaries = [plan.summary for plan in plans]
    devices = [math.ceil(plan.cores / slices) for plan in plans]
    if slices > 1:
        yield "slices", *(str(plan.cores) for plan in plans)
    yield "devices", *map(str, devices)
    yield "frontend processes", *(str(plan.frontends) for plan in plans)
    yield "first message p50 / p99", *(f"{s.first_p50 * 1e3:.1f} / {s.first_p99 * 1e3:.1f} ms" for s in summaries)
    yield "final message p50 / p99", *(f"{s.final_p50 * 1e3:.1f} / {s.final_p99 * 1e3:.1f} ms" for s in summaries)
    yield "depth p50 / mean", *(f"{s.depth_p50:.0f} / {s.depth_mean:.1f}" for s in summaries)
    yield "degraded", *(f"{sum(s.degraded.values()):.2%}" for s in summaries)
    yield "refused", *(f"{s.refused:.2%}" for s in summaries)
    yield "encoder / reranker busy", *(f"{s.encode_busy:.0%} / {s.rerank_busy:.0%}" for s in summaries)
    yield "frontends busy", *(f"{s.frontend_busy:.0%}" for s in summaries)
    yield "queries a rerank batch", *(f"{s.rerank_batch:.1f}" for s in summaries)
    if price is not None:
        yield "cost an hour", *(f"{price * n:.2f}" for n in devices)
        yield "cost a million queries", *(f"{price * n / (qps * 3600) * 1e6:.3f}" for n in devices)


def _notes(whole: Device, slices: int) -> Iterator[str]:
    """What the figures stand on."""
    yield f"engine times: {whole.source}; shapes between the measured ones are fitted, affine in padded tokens"
    if slices > 1:
        yield f"assumed: in a slice what grows with tokens takes {slices} times as long, what does not stays"
    yield (
        f"at most {GROUP} cores share a set of frontends, groups are behind a load balancer; a frontend's event loop "
        f"is planned to be {100 * FRONTEND_BUSY:.0f} % busy, on processors of its own"
    )
    yield "arrivals are Poisson at a constant rate: size for the busiest minute, not for the day's mean"

"""`millirank traffic stats`: how long what shoppers ask for is, and how far that is from what the engines are for."""

import shlex
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from millirank.traffic.lengths import SPECIAL, Traffic, tells_pairs
from millirank.traffic.records import Asked, read_traffic
from millirank.traffic.watch import LENGTHS
from millirank_engines import Manifest, Task
from millirank_engines.drift import BUCKETS, LEAST, THRESHOLD, LengthProfile, Shares, drift

BAR = 40  # characters of a bucket that holds everything
QUANTILES = (0.5, 0.95, 0.99)
CALIBRATION = ("--calibration", "--gate", "--judgments")  # of the options of a build in INT8
JUDGED = "segments.csv"
UNITS = {"query": "tokens of a query", "pair": "tokens of a pair", "depth": "candidates of a query"}

app = typer.Typer(no_args_is_help=True, help="Look at what shoppers asked for.")


@dataclass(frozen=True)
class Seen:
    """One kind of lengths, beside what an engine is for."""

    name: str  # query, pair or depth
    manifest: Manifest
    folder: Path  # of the engine
    quantiles: tuple[float, ...]  # of QUANTILES
    now: Shares
    then: Shares  # empty if the engine does not know
    index: float | None  # of stability; None where either side does not know


@app.callback()
def group() -> None:
    """Keeps `stats` a command of its own though it is alone."""


@app.command()
def stats(
    traffic: Annotated[Path, typer.Option("--from", help="What `millirank serve --traffic-sample` wrote, or a file.")],
    index: Annotated[Path, typer.Option(help="The folder that `millirank index` wrote.")],
    engines: Annotated[Path | None, typer.Option(help="Has encoder/ and reranker/.  [default: INDEX/engines]")] = None,
    depth: Annotated[int, typer.Option(help="Candidates where the traffic does not tell.")] = 50,
) -> None:
    """Show lengths and depths of traffic, and how far they have drifted from what the engines are for."""
    measured = Traffic(read_traffic(traffic, depth), index, engines=engines)
    measured.close()
    console = Console()
    found = list(_seen(measured))
    for one in found:
        console.print(_plot(one))
    console.print(_summary(found, measured))
    for line in _verdict(found, traffic, index, measured.asked):
        console.print(line, highlight=False, soft_wrap=True)


def _seen(traffic: Traffic) -> Iterator[Seen]:
    weights = np.array([a.weight for a in traffic.asked])
    for (task, name), told in LENGTHS.items():
        now = traffic.profile(task, "")
        then = traffic.manifests[task].demand
        if told == "query":
            values, each = traffic.queries["embed"] + SPECIAL, weights
        elif told == "pair":
            values = np.concatenate(traffic.pairs)
            each = np.repeat(weights, [len(pairs) for pairs in traffic.pairs])
        else:
            values, each = np.array([len(pairs) for pairs in traffic.pairs]), weights
        index = drift(then, now).get(name) if then else None
        shares = _shares(then, name) if then else ()
        manifest, folder = traffic.manifests[task], traffic.folders[task]
        yield Seen(told, manifest, folder, _quantiles(values, each), _shares(now, name), shares, index)


def _shares(profile: LengthProfile, name: str) -> Shares:
    return profile.lengths if name == "lengths" else profile.depths


def _quantiles(values: NDArray[np.int64], weights: NDArray[np.float64]) -> tuple[float, ...]:
    """Of served requests, each value standing for as many as its weight says; empty if there is none."""
    if not len(values):
        return ()
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    at = np.searchsorted(below, np.array(QUANTILES) * below[-1])
    return tuple(values[order][np.minimum(at, len(values) - 1)].tolist())


def _plot(seen: Seen) -> Table:
    """A bar for each bucket that is used on either side."""
    source = seen.manifest.demand.source if seen.manifest.demand and seen.then else "unknown"
    table = Table("up to", "traffic", "", f"engine ({escape(source)})", title=UNITS[seen.name], title_justify="left")
    then = seen.then or (0.0,) * len(seen.now)
    for bucket, now, before in zip(BUCKETS, seen.now, then, strict=True):
        if now or before:
            known = f"{before:.1%}" if any(then) else ""
            table.add_row(bucket, "█" * round(BAR * now) or "▏" * bool(now), f"{now:.1%}", known)
    return table


def _summary(found: Sequence[Seen], traffic: Traffic) -> Table:
    requests = sum(a.weight for a in traffic.asked)
    title = f"{len(traffic.asked):,} requests, a sample of {requests:,.0f}"
    table = Table("", "p50", "p95", "p99", "drift", title=title, title_justify="left")
    for one in found:
        quantiles = [f"{value:g}" for value in one.quantiles] or [""] * len(QUANTILES)
        table.add_row(UNITS[one.name], *quantiles, "" if one.index is None else f"{one.index:.2f}")
    return table


def _verdict(found: Sequence[Seen], traffic: Path, index: Path, asked: Sequence[Asked]) -> Iterator[str]:
    source, engines = shlex.quote(str(traffic)), {one.manifest.model.task: one for one in found}
    for one in engines.values():
        if one.manifest.demand is None:
            yield (
                f"{escape(str(one.folder))} does not say what it is for: run `millirank index` again, which takes the "
                f"catalogue for it, or build it with `--from {escape(source)}`"
            )
    if len(asked) < LEAST:
        yield f"{len(asked)} requests are too few to tell drift: {LEAST} or more do"
        return
    past = [one for one in found if one.index is not None and one.index > THRESHOLD]
    if not past:
        yield f"no drift: no index is over {THRESHOLD:g}"
        return
    told = ", ".join(f"{UNITS[one.name]} ({one.index:.2f})" for one in past)
    yield f"[bold yellow]drifted[/]: {told}, over {THRESHOLD:g}: calibrate and profile anew:"
    profiles, catalog = "profiles.toml", shlex.quote(str(index))
    yield f"  millirank engine profiles --from {escape(source)} --catalog {escape(catalog)} --out {profiles}"
    tasks: dict[Task, Seen] = {one.manifest.model.task: one for one in past}
    calibrated = {task for task, one in tasks.items() if _calibrates(one.manifest, asked)}
    if calibrated:
        yield f"  millirank segments --index {escape(catalog)} --out {JUDGED}"
    for task, one in tasks.items():
        command = one.manifest.command
        if task in calibrated:
            command = _without(command, CALIBRATION)
            command += f" --calibration {source} --gate {catalog} --judgments {JUDGED}"
        command += f" --profiles {profiles}"
        if task == "embed" or tells_pairs(asked):
            command += f" --from {source}"
        yield f"  {escape(command)} --out {escape(shlex.quote(str(one.folder)))}"


def _calibrates(manifest: Manifest, asked: Sequence[Asked]) -> bool:
    """Whether an engine tries INT8, and the traffic names what it would be calibrated on."""
    precision = manifest.options.get("--precision")
    return precision in {"int8", "auto"} and (manifest.model.task == "embed" or any(a.candidates for a in asked))


def _without(command: str, options: Collection[str]) -> str:
    """A command line without some options and their values."""
    words = shlex.split(command)
    kept = (word for at, word in enumerate(words) if not {word, words[at - 1] if at else ""} & set(options))
    return shlex.join(kept)

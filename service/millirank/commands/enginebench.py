"""`millirank engine bench`: latency and throughput of an engine's buckets, and how much of its device they use."""

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from millirank.loadtest.results import Row, result
from millirank_engines import LoadedEngine, Profile, open_engine
from millirank_engines.manifest import parse_profile

if TYPE_CHECKING:
    from millirank_engines.build.bench import Timing

SHOWN = ("p50", "p99", "p99.9", "p99/p50", "sequences", "tflops", "tflops valid", "of peak")
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


def bench(
    folder: Annotated[Path, typer.Argument(help="The artifact's folder.")],
    replays: Annotated[int, typer.Option(min=1, help="Calls of each bucket; 10000 for a p99.9 that means much.")] = 500,
    profiles: Annotated[str | None, typer.Option(help="Some of its buckets: 1x16,50x32.  [default: all]")] = None,
    peak_tflops: Annotated[float | None, typer.Option(help="Of the device; known for NVIDIA's data centres.")] = None,
    graphs: Annotated[
        bool | None, typer.Option("--graphs/--no-graphs", help="Only with, only without.  [default: both]")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Gets the figures as JSON.")] = None,
) -> None:
    """Time an engine's buckets, interleaved, with CUDA graphs and without where it has them."""
    console = Console()
    shapes = tuple(parse_profile(part) for part in profiles.split(",")) if profiles else None
    rows = list(bench_rows(folder, replays=replays, profiles=shapes, peak=peak_tflops, graphs=graphs))
    console.print(table(rows))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(result(rows), indent=1) + "\n", encoding="utf-8")
        console.print(f"wrote {out}")


def bench_rows(
    folder: Path,
    *,
    replays: int,
    profiles: Sequence[Profile] | None = None,
    peak: float | None = None,
    graphs: bool | None = None,
) -> Iterator[Row]:
    """The figures of an artifact.

    Args:
        folder: of the artifact.
        replays: calls of each bucket.
        profiles: the buckets to time; None for all.
        peak: TFLOP/s of the device; None looks its name up.
        graphs: whether with graphs or without; None for both, where the engine has graphs at all.

    Raises:
        ArtifactRefused: if it must not be loaded here.
        EngineError: if a bucket is none of the artifact's.
    """
    from millirank_engines import read_manifest
    from millirank_engines.build.bench import bench_engine, peak_of
    from millirank_engines.build.parity import PARITY, read_cases

    manifest = read_manifest(folder)
    peak = peak or peak_of(manifest.device.name, manifest.precision)
    on_gpu = manifest.device.kind == "gpu"
    cases = read_cases(folder / PARITY, profiles or manifest.profiles)
    for graph in (True, False) if on_gpu and graphs is None else (graphs is not False,):
        how = ("graph" if graph else "no graph") if on_gpu else manifest.backend
        start = time.perf_counter()
        loaded = open_engine(folder, graphs=graph)
        try:
            yield Row(_case(loaded, how), "load to ready", time.perf_counter() - start, "s")
            feeds = {case.profile: case.feeds for case in cases}
            for timing in bench_engine(loaded.engine, loaded.spec, feeds, replays=replays):
                yield from timing_rows(_case(loaded, how, timing.profile), timing, peak)
        finally:
            loaded.engine.close()


def timing_rows(case: str, timing: "Timing", peak: float | None) -> Iterator[Row]:
    """A bucket's figures; throughput is at its median."""
    at = {name: timing.quantile(q) for name, q in QUANTILES.items()}
    for name, seconds in at.items():
        yield Row(case, name, 1e3 * seconds, "ms")
    yield Row(case, "p99/p50", at["p99"] / at["p50"], "")
    yield Row(case, "calls", len(timing.seconds), "calls")
    yield Row(case, "sequences", timing.rows / at["p50"], "1/s")
    work = timing.work
    for name, operations in (("tflops", work.done), ("tflops valid", work.valid), ("tflops model", work.model)):
        yield Row(case, name, timing.rate(operations), "TFLOP/s")
    if peak:
        yield Row(case, "of peak", 100 * timing.rate(work.done) / peak, "%")


def table(rows: Sequence[Row]) -> Table:
    """A line a case, a column for each of SHOWN that there is."""
    units = {row.metric: row.unit for row in rows}
    names = [name for name in SHOWN if name in units]
    shown = Table("case", *(f"{name} {units[name]}".strip() for name in names))
    cases: dict[str, dict[str, float]] = {}
    for row in rows:
        cases.setdefault(row.case, {})[row.metric] = row.value
    for case, found in cases.items():
        if "load to ready" in found:
            shown.add_row(f"{case}: ready after {found['load to ready']:.2f} s")
        else:
            shown.add_row(case, *(f"{found[name]:.4g}" if name in found else "" for name in names))
    return shown


def _case(loaded: LoadedEngine, how: str, profile: Profile | None = None) -> str:
    parts = [loaded.spec.name, loaded.spec.task, str(profile or ""), loaded.manifest.precision, how]
    return "/".join(part for part in parts if part)

"""`millirank serve`: answers queries over gRPC until it is told to stop."""

import asyncio
import logging
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from millirank.config import Settings
from millirank.device import device_from_name
from millirank.processes.service import become


def serve(  # noqa: PLR0913, PLR0917 - the options of the command, all by name
    index: Annotated[Path | None, typer.Option(help="The folder that `millirank index` wrote.")] = None,
    port: Annotated[int | None, typer.Option(help="0 lets the system choose.  [default: 50051]")] = None,
    host: Annotated[str | None, typer.Option(help="0.0.0.0 for every interface.  [default: 127.0.0.1]")] = None,
    sla_ms: Annotated[
        float | None, typer.Option(help="Milliseconds to the final message, 0 for no limit.  [default: 10]")
    ] = None,
    rerank_depth: Annotated[int | None, typer.Option(help="Candidates to rerank at most.  [default: 50]")] = None,
    engines: Annotated[Path | None, typer.Option(help="Has encoder/ and reranker/.  [default: INDEX/engines]")] = None,
    threads: Annotated[int | None, typer.Option(help="Of the CPU engines.  [default: one a core]")] = None,
    frontends: Annotated[
        int | None, typer.Option(help="Processes that speak gRPC; 0 for one process in all.  [default: 0]")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="cpu, cpu:NODE, GPU-UUID or MIG-UUID; a core for each, repeat it.  [default: cpu]"),
    ] = None,
    metrics_port: Annotated[int | None, typer.Option(help="Of /metrics, 0 for none.  [default: 9464]")] = None,
    traffic_sample: Annotated[
        Path | None, typer.Option(help="A folder for a sample of what is served.  [default: none is kept]")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            help="A folder for the times of answered Search calls, 1 GiB a process.  [default: none are kept]"
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="sla, or count: batches by requests at fixed depth.  [default: sla]")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings; options win over it.")] = None,
) -> None:
    """Serve an index over gRPC; SIGTERM finishes what was accepted, then stops."""
    given: dict[str, Any] = {
        "index": index,
        "port": port,
        "host": host,
        "sla_ms": sla_ms,
        "rerank_depth": rerank_depth,
        "engines": engines,
        "threads": threads,
        "frontends": frontends,
        "devices": device or None,
        "metrics_port": metrics_port,
        "traffic_sample": traffic_sample,
        "trace": trace,
        "scheduler": scheduler,
    }
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = Settings.from_toml(config, overrides) if config else Settings.from_mapping(overrides)
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # nothing here forks once gRPC has started
    if settings.frontends:
        become(settings)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("millirank").setLevel(logging.INFO)
    device_from_name(settings.devices[0]).claim()

    import uvloop

    from millirank.server import serve as run

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(settings))

"""`millirank engine build | verify | bench | inspect`: engines as sealed artifacts."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from millirank_engines import Check, Manifest, Profile, read_manifest
from millirank_engines.artifact import parse_profile

from .enginebench import bench

app = typer.Typer(no_args_is_help=True, help="Build, verify, time and inspect engines.")
app.command()(bench)


class TaskName(StrEnum):
    """What a model does."""

    embed = "embed"
    rerank = "rerank"


def profiles_of(text: str) -> tuple[Profile, ...]:
    """Profiles from the way they are written: 1x8,1x16,50x32.

    Raises:
        EngineError: if one is written in another way.
    """
    return tuple(parse_profile(part) for part in text.split(",") if part.strip())


@app.command()
def build(
    model: Annotated[str, typer.Option(help="A Hugging Face folder, a hub id, or an installed model's name.")],
    task: Annotated[TaskName, typer.Option(help="What the model does.")],
    out: Annotated[Path, typer.Option(help="The artifact's folder; replaced when the build is done.")],
    backend: Annotated[str, typer.Option(help="What runs it.")] = "openvino",
    precision: Annotated[str | None, typer.Option(help="fp32, fp16 or bf16. Default: what suits this CPU.")] = None,
    profiles: Annotated[str | None, typer.Option(help="Shapes, batch x length: 1x8,1x16,50x32.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Build even if nothing changed.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Build an engine for this machine; does nothing if an artifact of the same things is there."""
    from millirank_engines.build.compile import build_engine

    console = Console()
    shapes = profiles_of(profiles) if profiles else None
    with console.status("") as status:
        artifact = build_engine(
            model,
            out,
            task=task.value,
            backend=backend,
            precision=precision,
            profiles=shapes,
            force=force,
            progress=status.update,
        )
    manifest = artifact.manifest
    what = f"{manifest.name}, {manifest.backend}/{manifest.precision}, {len(manifest.profiles)} profiles"
    console.print(f"{out} is up to date, nothing was built: {what}" if artifact.reused else f"built {out}: {what}")
    if not artifact.reused:
        console.print(_checks(manifest.parity))


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="The artifact's folder.")],
    seconds: Annotated[float, typer.Option(help="About how long to time it.")] = 5.0,
) -> None:
    """Hold an artifact to its FP32 reference on this machine, and time it; exit 1 if it is outside its tolerance."""
    from millirank_engines.build.verify import verify_engine

    report = verify_engine(folder, seconds=seconds)
    console = Console()
    console.print(_checks(report.checks))
    table = Table("profile", "p50 ms", "p99 ms", "calls")
    for one in report.latencies:
        table.add_row(str(one.profile), f"{one.p50:.2f}", f"{one.p99:.2f}", str(one.calls))
    console.print(table)
    if not report.passed:
        console.print(f"{folder} is outside its tolerance: build it again, if need be with `--precision fp32`")
        raise typer.Exit(1)


@app.command()
def inspect(folder: Annotated[Path, typer.Argument(help="The artifact's folder.")]) -> None:
    """Show what an artifact is and what it was made of."""
    manifest = read_manifest(folder)
    console = Console()
    console.print(_facts(manifest))
    console.print(_checks(manifest.parity))
    files = Table("file", "bytes", "sha256")
    for name, (size, sha) in manifest.files.items():
        files.add_row(name, f"{size:,}", sha[:16])
    console.print(files)


def _facts(manifest: Manifest) -> Table:
    model, device = manifest.model, manifest.device
    table = Table(show_header=False)
    table.add_row("model", f"{model.name}: {model.task}, {model.layers} layers of {model.hidden}, {model.dim} out")
    table.add_row("engine", f"{manifest.backend}/{manifest.precision}")
    table.add_row("profiles", " ".join(map(str, manifest.profiles)))
    table.add_row("versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items()))
    table.add_row("device", f"{device.name} ({device.machine}): {' '.join(device.features)}")
    table.add_row("inputs", "\n".join(f"{name} {sha[:16]}" for name, sha in manifest.inputs.items()))
    table.add_row("created", manifest.created)
    table.add_row("key", manifest.key)
    table.add_row("rebuild", f"{manifest.command} --out DIR")
    return table


def _checks(checks: tuple[Check, ...]) -> Table:
    table = Table("parity with FP32", "value", "bound", "")
    for check in checks:
        sign = "≥" if check.at_least else "≤"
        table.add_row(check.metric, f"{check.value:.3g}", f"{sign} {check.bound:g}", "ok" if check.passed else "FAILED")
    return table

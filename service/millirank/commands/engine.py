"""`millirank engine build | calibrate | verify | bench | inspect`: engines as sealed artifacts."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from millirank_engines import Check, Manifest, Profile, read_manifest
from millirank_engines.manifest import parse_profile
from millirank_engines.trtmodule import BACKENDS

from . import enginetools, scales, tables
from .enginebench import bench
from .expect import expect_traffic, read_for, tells_lengths
from .told import told

app = typer.Typer(no_args_is_help=True, help="Check, build, verify, time and inspect engines.")
app.command()(bench)
app.command()(enginetools.check)
app.command()(enginetools.profiles)
app.command()(scales.calibrate)


class TaskName(StrEnum):
    """What a model does."""

    embed = "embed"
    rerank = "rerank"


def profiles_of(text: str) -> tuple[Profile, ...] | Path:
    """Profiles from the way they are written, 1x8,1x16,50x32, or the file that declares them.

    Raises:
        EngineError: if one is written in another way, and no file has that name.
    """
    if text.endswith(".toml") or Path(text).is_file():
        return Path(text)
    return tuple(parse_profile(part) for part in text.split(",") if part.strip())


@app.command()
def build(  # noqa: PLR0913 - the options of a build
    *,
    model: Annotated[str, typer.Option(help="A Hugging Face folder, a hub id, or an installed model's name.")],
    task: Annotated[TaskName, typer.Option(help="What the model does.")],
    out: Annotated[Path, typer.Option(help="The artifact's folder; replaced when the build is done.")],
    backend: Annotated[str, typer.Option(help="What runs it: openvino, tensorrt, tensorrt-rtx or fused.")] = "openvino",
    precision: Annotated[
        str | None,
        typer.Option(help="fp32, fp16, bf16, int8 or auto. Default: what suits this CPU; fp16 for a GPU."),
    ] = None,
    calibration: Annotated[
        str | None,
        typer.Option(help="INT8: sampled traffic, an index, random, or an artifact's scales.safetensors."),
    ] = None,
    gate: Annotated[Path | None, typer.Option(help="INT8: an index to compare answers with FP32 on.")] = None,
    judgments: Annotated[Path | None, typer.Option(help="INT8: judged queries of that index, for nDCG@10.")] = None,
    gate_queries: Annotated[int, typer.Option(min=1, help="INT8: known-item queries to ask.")] = 2000,
    gate_depth: Annotated[int, typer.Option(min=1, help="INT8: candidates of each to rerank.")] = 50,
    allow_loss: Annotated[str, typer.Option(help="INT8: losses to accept, such as top1=0.5.")] = "",
    method: Annotated[str, typer.Option(help="INT8: ranges by max, percentile, entropy or mse.")] = "max",
    alpha: Annotated[
        float | None, typer.Option(help="INT8: SmoothQuant's alpha, 0 to 1. Default: each layer chooses.")
    ] = None,
    calibration_count: Annotated[int, typer.Option(min=1, help="INT8: queries to calibrate on.")] = 512,
    work: Annotated[
        Path | None, typer.Option(help="INT8: keeps what is found on the way. Default: beside --out.")
    ] = None,
    profiles: Annotated[
        str | None, typer.Option(help="Shapes, batch x length: 1x8,1x16,50x32; or a profiles.toml.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Build even if nothing changed.")] = False,
    workspace: Annotated[float | None, typer.Option(help="TensorRT: GiB that a kernel may use. Default: 4.")] = None,
    level: Annotated[int | None, typer.Option(help="TensorRT: how long it searches, 0 to 5. Default: 3.")] = None,
    aux_streams: Annotated[int | None, typer.Option(help="TensorRT: streams beside the main one, at most.")] = None,
    version_compatible: Annotated[
        bool | None, typer.Option("--version-compatible", help="TensorRT: for later runtimes and the lean one, too.")
    ] = None,
    compute_capability: Annotated[
        str | None, typer.Option(help="TensorRT-RTX, fused: the GPUs to build for, such as 8.6,8.9. Default: this one.")
    ] = None,
    graph: Annotated[
        str | None,
        typer.Option(help="TensorRT: forms of the graph, among half-norm,joined-qkv,time-major,tanh-gelu, or plain."),
    ] = None,
    traffic: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Traffic that it is for, to compare later one with. Default: that of --calibration."
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="TensorRT, fused: a baseline.toml of your own, which names what belongs together."),
    ] = None,
) -> None:
    """Build an engine; does nothing if an artifact of the same things is there."""
    from millirank_engines.build.backend import backend_of, refuse_precision
    from millirank_engines.build.compile import build_engine

    from .calibration import is_traffic
    from .quantized import Wish, int8_wished

    given: dict[str, object] = {
        "workspace": workspace,
        "level": level,
        "aux_streams": aux_streams,
        "version_compatible": version_compatible,
        "compute_capability": compute_capability,
        "graph": graph,
        "baseline": baseline,
    }
    console = Console()
    if traffic is None and calibration is not None and is_traffic(calibration):
        traffic = tells_lengths(task.value, Path(calibration))
    asked = read_for(task.value, traffic) if traffic is not None else []
    chosen = backend_of(backend, {name: value for name, value in given.items() if value is not None})
    if precision is not None:
        refuse_precision(chosen, precision)  # before anything is calibrated
    wish = Wish(calibration, gate, judgments, gate_queries, gate_depth, allow_loss, method, alpha, calibration_count)
    with scales.told_of_loss(console), told(console) as say:
        kept = work or out.parent / f".{out.name}.int8"
        with int8_wished(model, task.value, chosen, precision, wish, kept, say) as int8:
            artifact = build_engine(
                model,
                out,
                task=task.value,
                backend=chosen,
                precision=precision,
                profiles=profiles_of(profiles) if profiles else None,
                int8=int8,
                force=force,
                progress=say,
            )
    if traffic is not None:
        expect_traffic(out, asked, traffic)
    manifest = artifact.manifest
    what = f"{manifest.name}, {manifest.backend}/{manifest.precision}, {len(manifest.profiles)} profiles"
    console.print(f"{out} is up to date, nothing was built: {what}" if artifact.reused else f"built {out}: {what}")
    if not manifest.verified:
        console.print(
            f"it is for {manifest.device.name} (others: --compute-capability) and was built where it cannot run: "
            f"it does not serve until `millirank engine verify {out}` has passed there"
        )
    elif not artifact.reused:
        console.print(_checks(manifest.parity))
    tables.show_quantization(manifest, console)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="The artifact's folder.")],
    seconds: Annotated[float, typer.Option(help="About how long to time it.")] = 5.0,
    max_slowdown: Annotated[
        float, typer.Option(help="How many times as long as sealed a profile's median may take.")
    ] = 1.25,
    against: Annotated[
        Path | None, typer.Option(help="Another artifact of the model, to compare with its sealed latencies.")
    ] = None,
) -> None:
    """Hold an artifact to its FP32 reference and its sealed latencies on this machine; exit 1 if it is outside."""
    from millirank_engines.build.backend import exacter
    from millirank_engines.build.verify import verify_engine

    report = verify_engine(folder, seconds=seconds, max_slowdown=max_slowdown, against=against)
    console = Console()
    console.print(_checks(report.checks))
    slower = dict(report.slowdowns)
    table = Table("profile", "p50 ms", "p99 ms", "calls", "against sealed", "")
    for one in report.latencies:
        check = slower.get(one.profile)
        verdict = (f"{check.value:.2f}", "ok" if check.passed else "FAILED") if check else ("", "")
        table.add_row(str(one.profile), f"{one.p50:.2f}", f"{one.p99:.2f}", str(one.calls), *verdict)
    console.print(table)
    if report.sealed:
        console.print(f"{folder} passed for the first time: sealed with these figures, it serves from now on")
    if all(check.passed for check in report.checks) and not report.passed:
        console.print(f"{folder} is slower than when it was sealed: see what else uses the device, or build it again")
    elif not report.passed:
        instead = exacter(read_manifest(folder).backend)
        console.print(f"{folder} is outside its tolerance: build it again, if need be with `{instead}`")
    if not report.passed:
        raise typer.Exit(1)


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(help="The artifact's folder.")],
    onnx: Annotated[Path | None, typer.Option(help="TensorRT: the graph it was made of. Default: made anew.")] = None,
    bucket: Annotated[str | None, typer.Option(help="TensorRT: the shape whose layers are timed.")] = None,
) -> None:
    """Show what an artifact is and what it was made of; of a TensorRT plan also its layers, with their times."""
    manifest = read_manifest(folder)
    console = Console()
    console.print(_facts(manifest))
    console.print(_checks(manifest.parity))
    tables.show_quantization(manifest, console)
    files = Table("file", "bytes", "sha256")
    for name, (size, sha) in manifest.files.items():
        files.add_row(name, f"{size:,}", sha[:16])
    console.print(files)
    if manifest.backend in BACKENDS:
        enginetools.show_plan(folder, manifest, onnx, bucket, console)


def _facts(manifest: Manifest) -> Table:
    model, device = manifest.model, manifest.device
    table = Table(show_header=False)
    table.add_row("model", f"{model.name}: {model.task}, {model.layers} layers of {model.hidden}, {model.dim} out")
    table.add_row("engine", f"{manifest.backend}/{manifest.precision}")
    table.add_row("profiles", " ".join(map(str, manifest.profiles)))
    table.add_row("versions", ", ".join(f"{name} {version}" for name, version in manifest.versions.items()))
    table.add_row("device", f"{device.name} ({device.machine}): {' '.join(device.features)}")
    if manifest.baseline:
        table.add_row("baseline", ", ".join(f"{name} {value}" for name, value in manifest.baseline.items()))
    if manifest.demand:
        table.add_row(
            "is for", f"{escape(manifest.demand.source)}: the lengths of {manifest.demand.requests:,} requests"
        )
    table.add_row("verified", "yes" if manifest.verified else "no: `millirank engine verify` it where it is to run")
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

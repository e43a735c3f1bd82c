"""`millirank engine calibrate`: scales of INT8 that passed the gate, as they ship beside weights."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from millirank.errors import ConfigError
from millirank_engines import Figure, Task
from millirank_engines.build.export import export_model
from millirank_engines.build.openvino import default_profiles
from millirank_engines.build.progress import Progress
from millirank_engines.build.quantize.gate import GateFailed, held_to, refuse_losses
from millirank_engines.build.quantize.int8 import Int8
from millirank_engines.build.quantize.scales import WEIGHT_BITS
from millirank_engines.build.quantize.sensitivity import EXACT

from . import tables
from .quantized import Wish, int8_of
from .told import told


def calibrate(  # noqa: PLR0913 - the options of INT8
    *,
    model: Annotated[str, typer.Option(help="A Hugging Face folder, a hub id, or an installed model's name.")],
    task: Annotated[Task, typer.Option(help="What the model does.")],
    out: Annotated[Path, typer.Option(help="The file to write: scales.safetensors beside the model's weights.")],
    calibration: Annotated[
        str, typer.Option(help="Sampled traffic, an index, random; or scales, which are held to the gate again.")
    ],
    gate: Annotated[Path, typer.Option(help="An index to compare answers with FP32 on.")],
    judgments: Annotated[Path | None, typer.Option(help="Judged queries of that index, for nDCG@10.")] = None,
    gate_queries: Annotated[int, typer.Option(min=1, help="Known-item queries to ask.")] = 2000,
    gate_depth: Annotated[int, typer.Option(min=1, help="Candidates of each to rerank.")] = 50,
    allow_loss: Annotated[str, typer.Option(help="Losses to accept, such as top1=0.5.")] = "",
    method: Annotated[str, typer.Option(help="Ranges by max, percentile, entropy or mse.")] = "max",
    alpha: Annotated[
        float | None, typer.Option(help="SmoothQuant's alpha, 0 to 1. Default: each layer chooses.")
    ] = None,
    calibration_count: Annotated[int, typer.Option(min=1, help="Queries to calibrate on.")] = 512,
    work: Annotated[Path | None, typer.Option(help="Keeps what is found on the way. Default: beside --out.")] = None,
) -> None:
    """Make a model's INT8 scales for devices that multiply INT8 in hardware, on any machine; exit 1 if they lose."""
    console = Console()
    wish = Wish(calibration, gate, judgments, gate_queries, gate_depth, allow_loss, method, alpha, calibration_count)
    if not out.name.endswith(".safetensors"):
        raise ConfigError(f"{out} is no file of scales: name it scales.safetensors, beside the model's weights")
    with told_of_loss(console), told(console) as say:
        figures = calibrated(model, task, wish, out, work or out.parent / f".{out.stem}.int8", say)
    console.print(tables.accuracy(figures))
    console.print(f"wrote {out}", soft_wrap=True)


@contextmanager
def told_of_loss(console: Console) -> Iterator[None]:
    """Prints the figures of a gate that fails inside, before its error goes on."""
    try:
        yield
    except GateFailed as error:
        console.print(tables.accuracy(error.figures))
        raise


def calibrated(model: str, task: Task, wish: Wish, out: Path, work: Path, say: Progress) -> tuple[Figure, ...]:
    """Makes scales, holds them to the gate in exact arithmetic, and writes them with its figures.

    Args:
        model: its source.
        task: what it does.
        wish: with an index to ask.
        out: the file.
        work: a folder for what is found on the way; a run that was stopped goes on there.
        say: told what happens.

    Raises:
        ConfigError: if an option does not fit the others.
        EngineError: if the model or its data do not fit.
        GateFailed: if they lose more than they may; nothing is written.
    """
    with ExitStack() as opened:
        int8 = int8_of(model, task, WEIGHT_BITS, wish, work, say, opened)
        figures = held_to(_judged(model, task, int8, work, say), int8.allowed)
    refuse_losses(model, figures)
    about = {**int8.scales.about, "gate": [asdict(figure) for figure in figures]}
    out.parent.mkdir(parents=True, exist_ok=True)
    replace(int8.scales, about=about).write(out)
    return figures


def _judged(model: str, task: Task, int8: Int8, work: Path, say: Progress) -> tuple[Figure, ...]:
    from millirank_engines.openvino import OpenVinoEngine

    if int8.judge is None:
        raise ConfigError("scales are written after their gate alone: name an index to ask with --gate")
    made = export_model(model, work / "gate" / "fp32", task=task)
    int8_made = export_model(model, work / "gate" / "int8", task=task, form=EXACT, scales=int8.scales)
    profiles = default_profiles(made.spec)
    with ExitStack() as opened:
        reference, engine = (
            opened.enter_context(closing(OpenVinoEngine(one.folder / "model.onnx", profiles, "fp32", static_tokens=0)))
            for one in (made, int8_made)
        )
        return tuple(int8.judge(reference, engine, say))

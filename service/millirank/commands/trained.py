"""The second half of `millirank train`: the lists of a work folder into a reranker, round by round."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from millirank.errors import ConfigError
from millirank.loadtest.results import published

from .mined import bar

if TYPE_CHECKING:
    from millirank_engines.build.train import Held, Settings, Teacher, Tick


def teachers_of(named: Sequence[str]) -> "list[Teacher]":
    """Cross-encoders and sentence encoders from FOLDER or FOLDER=WEIGHT.

    Raises:
        ConfigError: if a weight is none.
    """
    from millirank_engines.build.source import resolve_source
    from millirank_engines.build.train import Teacher

    made = []
    for text in named:
        name, _, weight = text.partition("=")
        try:
            made.append(Teacher(resolve_source(name), float(weight or 1)))
        except ValueError as error:
            raise ConfigError(f"--teacher {text} has no weight behind its =: write FOLDER=1.5") from error
    return made


def train_rounds(
    work: Path,
    out: Path,
    init: str | None,
    settings: "Settings",
    teachers: "Sequence[Teacher]",
    rounds: int,
    device: str | None,
    console: Console,
) -> None:
    """Trains round by round; what a round made teaches the next."""
    from millirank_engines.build.train import Teacher

    for number in range(1, rounds):
        student = work / f"round{number}"
        _train(work, student, init, settings, teachers, device, console)
        teachers = [*teachers, Teacher(student)]
    _train(work, out, init, settings, teachers, device, console)


def _train(
    work: Path,
    out: Path,
    init: str | None,
    settings: "Settings",
    teachers: "Sequence[Teacher]",
    device: str | None,
    console: Console,
) -> None:
    from millirank_engines.build.lists import Lists
    from millirank_engines.build.source import resolve_source
    from millirank_engines.build.train import distil

    start = resolve_source(init or str(Lists.open(work).manifest["word_embeddings"]))
    before = (out / "training.json").exists()
    with bar(console, "{task.fields[more]}") as progress:
        pairs = 0
        task = progress.add_task("train", total=None, more="")

        def teach(done: int, of: int) -> None:
            progress.update(task, description="teach", completed=done, total=of)

        def tell(tick: "Tick") -> None:
            nonlocal pairs
            if not pairs:
                progress.reset(task, description="train")
            pairs += tick.pairs
            elapsed = progress.tasks[0].elapsed or 0.0
            speed = f"{pairs / elapsed:,.0f} pairs/s" if elapsed else ""
            progress.update(task, completed=tick.step, total=tick.steps, more=f"loss {tick.loss:.3f}  {speed}")
            if tick.held:
                progress.console.print(_told(tick.held), highlight=False)

        command = published(["millirank", *sys.argv[1:]])  # the card may be published, folders of this machine not
        held = distil(
            work,
            start,
            out,
            settings,
            teachers=teachers,
            device=device,
            command=command,
            words=init,
            tell=tell,
            tell_teaching=teach,
        )
    if before:
        console.print(f"nothing changed, so the model in {out} stays. {_told(held[-1])}", highlight=False)
    else:
        console.print(f"trained {out}: {_next(out)}", soft_wrap=True)


def _next(out: Path) -> str:
    """What can be done with a trained model."""
    from millirank_engines.build.mpnet import is_one

    if is_one(json.loads((out / "config.json").read_text(encoding="utf-8"))):
        return f"an MPNet, of which no engine is made; train a BERT by it with `--teacher {out} --mined-weight 0`"
    return f"serve it with `millirank index --catalog FILE --out DIR --reranker {out}`"


def _told(held: "Held") -> str:
    return f"epoch {held.epoch}: held-out KL {held.kl:.4f}, {held.agreement:.1%} of pairs in the teacher's order"

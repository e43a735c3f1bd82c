"""What INT8 may lose, and the refusal of what loses more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from millirank_engines.base import Engine, EngineError
from millirank_engines.build.progress import Progress
from millirank_engines.figures import Figure

COSINE, NDCG, TAU = "cosine_p1", "ndcg@10", "kendall_tau"
# name: largest loss; shares are in percent, so that 0.3 is 0.3 points
LIMITS: dict[str, float] = {
    "top1": 0.3,  # percent of known-item queries whose product comes first
    NDCG: 0.003,
    COSINE: 0.01,  # of embeddings with FP32's: at least 0.99
    "recall@100": 0.3,  # percent of known items among the first 100 of dense retrieval
    TAU: 0.1,  # of a query's pairs, in FP32's order: at least 0.9
}
Judge = Callable[[Engine, Engine, Progress], Sequence[Figure]]  # of the FP32 engine, and of the one with INT8


class GateFailed(EngineError):
    """INT8 that loses more than it may."""

    def __init__(self, name: str, figures: Sequence[Figure]) -> None:
        table = "; ".join(f"{figure}{'' if figure.passed else ' FAILED'}" for figure in figures)
        fix = ",".join(f"{f.name}={_above(f.loss)}" for f in figures if not f.passed)
        super().__init__(
            f"{name} loses too much in INT8 ({table}): nothing was written; calibrate on more or other text, "
            f"use --precision auto, or accept the loss with `--allow-loss {fix}`"
        )
        self.figures = tuple(figures)


def held_to(figures: Sequence[Figure], allowed: Mapping[str, float]) -> tuple[Figure, ...]:
    """The figures under the limits of today, with those that are allowed to lose more.

    What a figure was held to before says nothing: a loss that was allowed once, and sealed, is not allowed again.

    Raises:
        EngineError: if a loss is allowed in what was not measured.
    """
    measured = {figure.name for figure in figures}
    if wrong := allowed.keys() - measured:
        raise EngineError(
            f"--allow-loss names {', '.join(sorted(wrong))}, which was not measured: name {', '.join(sorted(measured))}"
        )
    limits = {**LIMITS, **allowed}
    return tuple(replace(figure, limit=limits.get(figure.name, 0.0)) for figure in figures)


def refuse_losses(name: str, figures: Sequence[Figure]) -> None:
    """Refuses an engine that loses more than it may.

    Raises:
        GateFailed: with the table of all figures, and what --allow-loss would have to say.
    """
    if not all(figure.passed for figure in figures):
        raise GateFailed(name, figures)


def allowances(text: str) -> dict[str, float]:
    """Losses from the way they are written, top1=0.5,ndcg@10=0.01.

    Raises:
        EngineError: if a figure is unknown or not named, or its loss is no number.
    """
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, value = part.partition("=")
        try:
            loss = float(value)
        except ValueError:
            loss = -1.0
        if name not in LIMITS or not loss >= 0:
            raise EngineError(
                f"--allow-loss {part!r} names no figure and its loss: write top1=0.5; figures are {', '.join(LIMITS)}"
            )
        found[name] = loss
    return found


def _above(loss: float) -> str:
    """A number of two digits that is not below the loss."""
    text = f"{loss:.2g}"
    return text if float(text) >= loss else f"{loss * 1.1:.2g}"

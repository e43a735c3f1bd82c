"""`millirank train`: a reranker that knows a catalogue, from its fields alone or with judgments and clicks besides."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from millirank.errors import ConfigError
from millirank.evaluation import part_of
from millirank.mining import KINDS, Recipe
from millirank_engines import BackendUnavailable

from .mined import Learned, learned, mine_indexes, part
from .trained import teachers_of, train_rounds

FOLDS = "folds.csv"  # query and the number of the model that never saw it


@dataclass(frozen=True)
class Size:
    """How much is mined and trained."""

    queries: int
    each: int  # candidates from each retriever
    candidates: int  # of a list in one step
    epochs: int
    layers: int  # 0 keeps all
    dropout: bool


SIZES = {  # 20,000 products: full takes minutes on one GPU, small less than an hour on two CPU cores
    "full": Size(Recipe.queries, Recipe.each, 24, 3, 0, dropout=True),
    "small": Size(2_000, 8, 12, 2, 3, dropout=False),
}


def train(  # noqa: PLR0913, PLR0917 - typer documents the options
    index: Annotated[
        list[Path] | None, typer.Option(help="A folder that `millirank index` wrote; may be given several times.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The folder of the trained model.")] = None,
    work: Annotated[Path | None, typer.Option(help="Keeps what was mined.  [default: OUT.work]")] = None,
    hold_out: Annotated[
        list[Path] | None, typer.Option(help="CSV with a column query: these queries are never trained on.")
    ] = None,
    judgments: Annotated[Path | None, typer.Option(help="CSV with query, docid, rating: learn from these too.")] = None,
    clicks: Annotated[Path | None, typer.Option(help="CSV with query, id, click (or grade): likewise.")] = None,
    judgments_fold: Annotated[
        str, typer.Option(help="I/N learns from part I (from 0) of N parts of the judged queries only.")
    ] = "0/1",
    leave_out: Annotated[str | None, typer.Option(help="I/N learns from all parts but I, and never sees that.")] = None,
    folds: Annotated[
        int, typer.Option(help="Trains so many models for a cross-validation, each leaves its part out.")
    ] = 0,
    size: Annotated[str | None, typer.Option(help="full or small.  [default: full with a GPU, else small]")] = None,
    queries: Annotated[int | None, typer.Option(min=10, help="Pseudo-queries over all catalogues.")] = None,
    kinds: Annotated[
        str | None, typer.Option(help=f"Of pseudo-queries: some of {','.join(KINDS)}.  [default: all]")
    ] = None,
    each: Annotated[int | None, typer.Option(min=2, help="Candidates from each retriever.")] = None,
    right: Annotated[int, typer.Option(min=0, help="Candidates that rules call right.")] = Recipe.right,
    wrong: Annotated[int, typer.Option(min=0, help="Candidates that only look right.")] = Recipe.wrong,
    candidates: Annotated[int | None, typer.Option(min=2, help="Of a list, in one step.")] = None,
    lists: Annotated[int, typer.Option(min=1, help="A step.")] = 16,
    epochs: Annotated[int | None, typer.Option(min=0, help="Over what was mined; 0 learns judgments alone.")] = None,
    judged_epochs: Annotated[int, typer.Option(min=0, help="Afterwards, over judgments and clicks.")] = 2,
    judged_lr: Annotated[float, typer.Option(help="The highest learning rate of these.")] = 2e-5,
    layers: Annotated[int | None, typer.Option(min=0, help="Of the model, such as 2, 3 or 6; 0 keeps all.")] = None,
    lr: Annotated[float, typer.Option(help="The highest learning rate.")] = 1e-4,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="FOLDER or FOLDER=WEIGHT of a cross-encoder or a sentence encoder."),
    ] = None,
    mix: Annotated[
        str | None, typer.Option(help="The mined scores in the teacher, such as dense=1,bm25=0.5.  [default: as mined]")
    ] = None,
    hidden: Annotated[
        float, typer.Option(help="How much a student of fewer layers matches the states of those it starts from.")
    ] = 0.0,
    mined_weight: Annotated[float, typer.Option(help="Of dense, BM25 and rules in the teacher; 0: cross only.")] = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="The student of a round joins the teacher of the next.")] = 1,
    fields: Annotated[
        str | None, typer.Option(help="What is read of a product, such as title,brand,attributes.colour.")
    ] = None,
    product_tokens: Annotated[
        str, typer.Option(help="Limits that are trained; the model serves them all.")
    ] = "24,32,48",
    served_tokens: Annotated[int, typer.Option(help="Of a product, the limit that the model is served with.")] = 32,
    seed: Annotated[int, typer.Option(help="Of mining and training.")] = Recipe.seed,
    device: Annotated[str | None, typer.Option(help="cuda or cpu.  [default: cuda where there is one]")] = None,
    init: Annotated[str | None, typer.Option(help="The model to start from.  [default: the index's encoder]")] = None,
    *,
    mine_only: Annotated[bool, typer.Option("--mine-only", help="Mine into --work and stop; needs no torch.")] = False,
) -> None:
    """Adapt a reranker to a catalogue without clicks or labels, or with them.

    Both halves resume: what was mined is reused while its inputs are unchanged, and training goes on from its last
    checkpoint. To train on another machine, mine here with --mine-only, copy --work there and leave out --index; folds,
    too, are mined here and trained there.
    """
    folder = _work(out, work, mine_only=mine_only)
    if not index and (hold_out or judgments or clicks):
        raise ConfigError("--hold-out, --judgments and --clicks are read when mining: add --index")
    if folds and (leave_out or folds < 2):  # noqa: PLR2004 - fewer folds leave nothing out
        raise ConfigError("--folds takes 2 or more, and leaves --leave-out to itself")
    console = Console()
    wanted = _size(size, device, mine_only=mine_only)
    recipe = Recipe(
        queries=queries or wanted.queries,
        kinds=_kinds(kinds),
        each=each or wanted.each,
        right=right,
        wrong=wrong,
        seed=seed,
    )
    limits = _limits(product_tokens)
    if not mine_only and not 0 < served_tokens <= max(limits):
        raise ConfigError(
            f"--served-tokens {served_tokens} is not in 1 to {max(limits)}, the most of --product-tokens that is "
            f"trained: add --served-tokens {max(limits)}, or train more with --product-tokens"
        )
    template = {"product_tokens": max(limits)} | ({"fields": tuple(fields.split(","))} if fields else {})
    told = _allowed(learned(hold_out or (), judgments, clicks), judgments_fold, leave_out)
    like = None
    for one, at, to in _runs(told, folds, folder, out):
        if index:
            mine_indexes(index, at, recipe, one, init, template, console, like)
            like = at
        if to is not None and not mine_only:
            from millirank_engines.build.train import Settings

            settings = Settings(
                layers=wanted.layers if layers is None else layers,
                mix=_mix(mix),
                mined_weight=mined_weight,
                hidden=hidden,
                epochs=wanted.epochs if epochs is None else epochs,
                lr=lr,
                judged_epochs=judged_epochs,
                judged_lr=judged_lr,
                lists=lists,
                candidates=candidates or wanted.candidates,
                product_tokens=limits,
                served_tokens=served_tokens,
                dropout=wanted.dropout,
                seed=seed,
            )
            train_rounds(at, to, init, settings, teachers_of(teacher or ()), rounds, device, console)
    if folds and out is not None:
        _tell_folds(told.grades or _judged(folder, folds), folds, out, console)


def _work(out: Path | None, work: Path | None, *, mine_only: bool) -> Path:
    """The work folder; refuses what cannot end well."""
    if out is None and not mine_only:
        raise ConfigError("nowhere to write the model: add --out FOLDER, or --mine-only to mine alone")
    if not mine_only and find_spec("torch") is None:
        raise BackendUnavailable("torch", "`pip install 'millirank[train]'`")
    folder = work or (out.with_name(out.name + ".work") if out else None)
    if folder is None:
        raise ConfigError("nowhere to keep what is mined: add --work FOLDER")
    return folder


def _allowed(told: Learned, judgments_fold: str, leave_out: str | None) -> Learned:
    if told.grades and judgments_fold != "0/1":
        told = told.only(*part(judgments_fold, "--judgments-fold"))
    return told.leaving(*part(leave_out, "--leave-out")) if leave_out else told


def _limits(text: str) -> tuple[int, ...]:
    """Numbers of tokens between commas."""
    limits = [limit.strip() for limit in text.split(",")]
    if not all(limit.isdecimal() and int(limit) for limit in limits):
        raise ConfigError(f"--product-tokens {text} are no limits: write numbers from 1 between commas, such as 24,32")
    return tuple(map(int, limits))


def _kinds(text: str | None) -> tuple[str, ...]:
    """Kinds of pseudo-queries between commas."""
    kinds = tuple(text.split(",")) if text else Recipe.kinds
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigError(f"--kinds {', '.join(unknown)} is none: choose some of {', '.join(KINDS)}")
    return kinds


def _mix(text: str | None) -> tuple[tuple[str, float], ...]:
    """Names and weights between commas."""
    pairs = [part.partition("=") for part in text.split(",")] if text else []
    try:
        return tuple((name, float(weight)) for name, _, weight in pairs)
    except ValueError as error:
        raise ConfigError(f"--mix {text} has no weight behind each =: write dense=1,bm25=0.5,rule=1.5") from error


def _judged(work: Path, folds: int) -> list[str]:
    """The queries that the folds' lists were mined with, on another machine."""
    from millirank_engines.build.lists import Lists

    manifests = [Lists.open(work / f"fold{number}").manifest for number in range(folds)]
    return sorted({query for manifest in manifests for query in manifest["judged_queries"]})


def _tell_folds(judged: Iterable[str], folds: int, out: Path, console: Console) -> None:
    out.mkdir(parents=True, exist_ok=True)  # mining alone does not make it
    with (out / FOLDS).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("query", "fold"), *((query, part_of(query, folds)) for query in judged)])
    console.print(f"score each judged query with the model of its fold: see {out / FOLDS}")


def _size(name: str | None, device: str | None, *, mine_only: bool) -> Size:
    if name is None and not mine_only:
        from millirank_engines.build.train import first_device

        name = "full" if (device or first_device()).startswith("cuda") else "small"
    if (found := SIZES.get(name or "full")) is None:
        raise ConfigError(f"--size {name} is none: choose one of {', '.join(SIZES)}")
    return found


def _runs(told: Learned, folds: int, work: Path, out: Path | None) -> list[tuple[Learned, Path, Path | None]]:
    """What each model may see, its work folder and where it goes: one model, or one for each fold."""
    if not folds:
        return [(told, work, out)]
    names = [f"fold{number}" for number in range(folds)]
    return [
        (told.fold(i, folds) if told.grades else told, work / name, out and out / name) for i, name in enumerate(names)
    ]

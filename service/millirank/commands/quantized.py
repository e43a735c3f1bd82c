"""INT8 for the command line: calibration, sensitive layers, and the gate over an index."""

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from millirank.errors import ConfigError
from millirank.evaluation import read_judgments
from millirank.tokens import Tokenizer
from millirank_engines import Task
from millirank_engines.build.backend import Backend
from millirank_engines.build.export import export_model
from millirank_engines.build.progress import Progress
from millirank_engines.build.quantize.bits import weight_bits
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.gate import NDCG, allowances
from millirank_engines.build.quantize.int8 import AUTO, INT8, Int8
from millirank_engines.build.quantize.scales import Scales
from millirank_engines.build.quantize.sensitivity import Deviations, spared
from millirank_engines.build.quantize.shipped import scales_beside

from .accuracy import Accuracy
from .calibration import SCALES, Texts


@dataclass(frozen=True)
class Wish:
    """What the options of INT8 say."""

    calibration: str | None = None  # traffic, an index, random, or a file of scales
    gate: Path | None = None  # an index
    judgments: Path | None = None
    queries: int = 2000
    depth: int = 50
    allow_loss: str = ""
    method: str = "max"
    alpha: float | None = None
    count: int = 512

    def arguments(self) -> tuple[str, ...]:
        """As `millirank engine build` takes them."""
        default = Wish()
        given = {
            "--calibration": (self.calibration, default.calibration),
            "--gate": (self.gate, default.gate),
            "--judgments": (self.judgments, default.judgments),
            "--gate-queries": (self.queries, default.queries),
            "--gate-depth": (self.depth, default.depth),
            "--allow-loss": (self.allow_loss, default.allow_loss),
            "--method": (self.method, default.method),
            "--alpha": (self.alpha, default.alpha),
            "--calibration-count": (self.count, default.count),
        }
        return tuple(str(word) for name, (value, usual) in given.items() if value != usual for word in (name, value))


@contextmanager
def int8_wished(
    model: str, task: Task, backend: Backend, precision: str | None, wish: Wish, work: Path, say: Progress
) -> Iterator[Int8 | None]:
    """As int8_of, or None where the precision is another; see there. Its index is closed at the end.

    Raises:
        ConfigError: if options of INT8 are given and another precision.
    """
    if precision in {INT8, AUTO}:
        with ExitStack() as opened:
            yield int8_of(model, task, weight_bits(backend.device), wish, work, say, opened)
        return
    if words := wish.arguments():
        raise ConfigError(f"{words[0]} is for --precision int8 or auto: leave it out, or ask for one of them")
    yield None


def int8_of(model: str, task: Task, bits: int, wish: Wish, work: Path, say: Progress, opened: ExitStack) -> Int8:
    """Scales and the gate for a build; without an index to ask, the figures that came with the scales are taken.

    Args:
        model: its source.
        task: what it does.
        bits: of the weights: 7 for a processor without VNNI.
        wish: the options.
        work: a folder for what is found on the way; a run that was stopped goes on there.
        say: told what happens.
        opened: closes the index.

    Raises:
        ConfigError: if an option does not fit the others.
        EngineError: if the model or its data do not fit.
    """
    allowed = _allowed(wish)
    source = wish.calibration or (None if wish.gate else _shipped(model))
    if source is None:
        raise ConfigError(
            "INT8 needs ranges: name sampled traffic, an index, random, or the scales.safetensors of another artifact "
            "with --calibration"
        )
    if source.endswith(SCALES):
        _refuse_unheard(wish)
        scales = Scales.read(Path(source))
        if scales.weight_bits > bits and wish.gate is None:
            raise ConfigError(
                f"{source} was gated with weights of {scales.weight_bits} bits, what is built for needs {bits}, which "
                "answer differently: name an index to ask with --gate"
            )
        scales = replace(scales, weight_bits=min(scales.weight_bits, bits))
        made = Int8(scales, allowed=allowed, arguments=wish.arguments())
        if wish.gate is None:
            return made
        texts = Texts(str(wish.gate), _tokenizer(model, task, work, say), index=wish.gate, count=wish.count, seed=1)
        held = texts.data()
    else:
        if wish.gate is None:
            raise ConfigError("INT8 is sealed only after its gate: name an index to ask queries of with --gate")
        texts = Texts(source, _tokenizer(model, task, work, say), index=wish.gate, count=wish.count)
        used, held = texts.halves()
        say(f"calibrating on {used}")
        calibrator = Calibrator(model, task=task, data=used, work=work, progress=say)
        recipe = Recipe(wish.method, wish.alpha, weight_bits=bits)  # type: ignore[arg-type]  # it refuses others
        measure = Deviations(model, task=task, held=held, work=calibrator.work)
        scales = spared(calibrator.scales(recipe), measure, say)
        made = Int8(scales, allowed=allowed, arguments=wish.arguments())
    judge = Accuracy(
        wish.gate,
        texts.tokenizer,
        held=held,
        cache=work / "answers",
        judged=read_judgments(wish.judgments) if wish.judgments else None,
        queries=wish.queries,
        depth=wish.depth,
    )
    opened.callback(judge.close)
    return replace(made, judge=judge, asked=judge.asked())


def _allowed(wish: Wish) -> dict[str, float]:
    """The losses that are allowed; a gate without judgments must be told that it does without their figure.

    Raises:
        ConfigError: if it was not told.
        EngineError: if --allow-loss is written in another way.
    """
    allowed = allowances(wish.allow_loss)
    if wish.gate is None or wish.judgments is not None:
        return allowed
    if NDCG not in allowed:
        raise ConfigError(
            f"INT8 is sealed only if judged queries keep their {NDCG}: name them with --judgments (`millirank segments "
            f"--index {shlex.quote(str(wish.gate))} --out segments.csv` makes some by rules), or do without that "
            f"figure with --allow-loss {NDCG}=1"
        )
    return {name: loss for name, loss in allowed.items() if name != NDCG}  # it is not measured


def _refuse_unheard(wish: Wish) -> None:
    """Refuses options that change nothing where scales are given.

    Raises:
        ConfigError: with the first.
    """
    usual = Wish()
    if wish.method != usual.method or wish.alpha != usual.alpha:
        name = "--method" if wish.method != usual.method else "--alpha"
        raise ConfigError(f"{name} makes scales, and --calibration names some that are made: leave one of them out")
    if wish.gate is None:
        unused = {
            "--calibration-count": wish.count != usual.count,
            "--judgments": wish.judgments is not None,
            "--gate-queries": wish.queries != usual.queries,
            "--gate-depth": wish.depth != usual.depth,
        }
        if given := [name for name, is_given in unused.items() if is_given]:
            raise ConfigError(
                f"{given[0]} is for a gate, and these scales bring their figures: leave it out, or name an index with "
                "--gate"
            )


def _shipped(model: str) -> str | None:
    path = scales_beside(model)
    return str(path) if path else None


def _tokenizer(model: str, task: Task, work: Path, say: Progress) -> Tokenizer:
    say(f"reading {model}")
    made = export_model(model, work / "text", task=task)
    return Tokenizer(made.folder / "tokenizer.json", made.spec)

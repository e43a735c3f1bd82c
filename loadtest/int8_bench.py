"""One of the shipped models in FP32, in FP16 and with every recipe of INT8: what each loses, on the same queries."""

import argparse
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

from int8_subject import MODELS
from peers import modelopt_ptq
from peers.as_written import AsWritten
from report import Row
from rich.console import Console

from millirank.catalog.snapshot import Snapshot
from millirank.commands.accuracy import Accuracy
from millirank.commands.calibration import RANDOM, Texts
from millirank.commands.told import Lines
from millirank.evaluation import read_judgments
from millirank.retrieve import HybridRetriever
from millirank.segments import segments
from millirank.tokens import Tokenizer
from millirank.traffic.records import Asked, line_of
from millirank_engines import Engine, EngineError, Figure, Profile
from millirank_engines.build.export import export_model
from millirank_engines.build.openvino import default_profiles
from millirank_engines.build.parity import output_name
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.data import CalibrationData
from millirank_engines.build.quantize.inference import run_batches
from millirank_engines.build.quantize.ranges import METHODS
from millirank_engines.build.quantize.scales import WEIGHT_BITS, Scales
from millirank_engines.build.quantize.sensitivity import EXACT, Deviation, Deviations, deviation
from millirank_engines.build.quantize.shipped import scales_beside
from millirank_engines.build.tensorrt import FORM
from millirank_engines.model import Task
from millirank_engines.openvino import OpenVinoEngine

ALPHAS = (0.0, 0.65, 0.8)  # beside the choice of each layer
TRAFFIC = ("brand", "type", "long")  # segments that no accuracy is measured on stand for sampled traffic
FOUND = 8  # products that such a query is asked with
MODELOPT = ("max", "entropy")  # its own ways
SOURCES = ("catalogue", "traffic", RANDOM)
PERCENT = ("top1", "recall@100")
SHIPS = "int8 as it ships"
SAY = Lines(Console())
Step = tuple[str, Callable[["Bench"], Iterator[Row]]]  # what is measured, and what measures it


class Bench:
    """One model, its sources and its judge; what is made on the way lies in work."""

    def __init__(self, task: Task, options: argparse.Namespace, work: Path) -> None:
        self.task, self.model, self.options, self.work = task, MODELS[task], options, work
        made = export_model(self.model, work / "fp32", task=task)
        self.onnx, self.spec = made.folder / "model.onnx", made.spec
        self.tokenizer = Tokenizer(made.folder / "tokenizer.json", made.spec)
        self.held = self.data("catalogue")[1]  # the same for all
        self.measure = Deviations(self.model, task=task, held=self.held, work=work)
        self.profiles = default_profiles(made.spec)
        self.reference = self.float(self.profiles)
        self.judge = Accuracy(
            options.index,
            self.tokenizer,
            held=self.held,
            cache=work / "answers",
            judged=read_judgments(options.judgments) if options.judgments else None,
            queries=options.queries,
            depth=options.depth,
        )
        self._calibrators: dict[str, Calibrator] = {}

    def close(self) -> None:
        """Closes the judge and FP32."""
        self.judge.close()
        self.reference.close()

    def data(self, source: str) -> tuple[CalibrationData, CalibrationData]:
        """What calibrates, and what is held back."""
        index = self.options.index
        folder = traffic_of(index, self.work) if source == "traffic" else RANDOM if source == RANDOM else index
        return Texts(str(folder), self.tokenizer, index=index, count=self.options.count).halves()

    def floats(self) -> Iterator[Row]:
        """FP32, and beside it the FP16 graph that TensorRT is built from."""
        made = export_model(self.model, self.work / "fp16", task=self.task, precision="fp16", form=FORM)
        found, figures = self._as_written(made.folder / "model.onnx")
        for figure in figures:
            yield Row(f"{self.model}/fp32", figure.name, figure.fp32, unit_of(figure))
        yield from self._rows("fp16", found, figures)

    def shipped(self, how: str) -> Iterator[Row]:
        """The scales that ship.

        Raises:
            EngineError: if there are none.
        """
        path = scales_beside(self.model)
        if path is None:
            raise EngineError(
                f"{self.model} ships without scales: make them with `millirank engine build --calibration`"
            )
        yield from self._int8(how, Scales.read(path))

    def recipe(self, how: str, source: str, recipe: Recipe) -> Iterator[Row]:
        """Those of a recipe."""
        if source not in self._calibrators:
            data, work = self.data(source)[0], self.work / source
            self._calibrators[source] = Calibrator(self.model, task=self.task, data=data, work=work)
        yield from self._int8(how, self._calibrators[source].scales(recipe))

    def modelopt(self, how: str, method: str, *, products: bool) -> Iterator[Row]:
        """ModelOpt's graph, from the same data: as it comes, or of matrix products alone."""
        batches, out = self.work / "batches.npz", self.work / "modelopt.onnx"
        modelopt_ptq.save_batches(batches, self.data("catalogue")[0].batches)
        python = self.options.modelopt
        words = [python, modelopt_ptq.__file__, self.onnx, batches, method, out, *["products"] * products]
        subprocess.run([str(word) for word in words], check=True)  # noqa: S603 - our own arguments
        yield from self._rows(how, *self._as_written(out))

    def float(self, profiles: tuple[Profile, ...]) -> Engine:
        """The model in FP32."""
        return OpenVinoEngine(self.onnx, profiles, "fp32", static_tokens=0)

    def _int8(self, how: str, scales: Scales) -> Iterator[Row]:
        """In exact arithmetic."""
        found = self.measure(scales)
        made = export_model(self.model, self.work / "int8", task=self.task, form=EXACT, scales=scales)
        with closing(OpenVinoEngine(made.folder / "model.onnx", self.profiles, "fp32", static_tokens=0)) as engine:
            yield from self._rows(how, found, self.judge(self.reference, engine, SAY))

    def _as_written(self, onnx: Path) -> tuple[Deviation, tuple[Figure, ...]]:
        shapes = tuple({Profile(*batch["input_ids"].shape) for batch in self.held.batches})
        with closing(AsWritten(onnx, self.profiles)) as engine:
            with closing(self.float(shapes)) as plain:
                found = [run_batches(one, self.held.batches, output_name(self.task)) for one in (engine, plain)]
            return deviation(*found), self.judge(self.reference, engine, SAY)

    def _rows(self, how: str, found: Deviation, figures: tuple[Figure, ...]) -> Iterator[Row]:
        case = f"{self.model}/{how}"
        yield Row(case, "error", found.error, "SD")
        for name, value in (("cosine p1, held", found.cosine_p1), ("cosine mean, held", found.cosine_mean)):
            if value is not None:
                yield Row(case, name, value, "")
        for figure in figures:
            yield Row(case, figure.name, figure.int8, unit_of(figure))
            yield Row(case, f"{figure.name} lost", figure.loss, unit_of(figure))
            if figure.agreement is not None:
                yield Row(case, f"{figure.name} agreement", 100 * figure.agreement, "%")


def unit_of(figure: Figure) -> str:
    """Of a figure's values."""
    return "%" if figure.name in PERCENT else ""


def steps(task: Task, *, modelopt: bool) -> Iterator[Step]:
    """Everything about a model: FP32, FP16, what ships, every calibrator on every source, then what else was tried.

    Args:
        task: of the model.
        modelopt: whether its environment is there.
    """
    yield "fp32, fp16", Bench.floats
    yield SHIPS, partial(Bench.shipped, how=SHIPS)
    recipes = [(source, Recipe(method)) for source in SOURCES for method in METHODS]
    recipes += [("catalogue", Recipe(method, shift=False)) for method in ("max", "entropy")]
    recipes += [("catalogue", Recipe(alpha=alpha, shift=False)) for alpha in ALPHAS]
    recipes += [("catalogue", Recipe(weight_bits=WEIGHT_BITS - 1))]
    for source, recipe in recipes:
        alpha = "chosen" if recipe.alpha is None else f"{recipe.alpha:g}"
        shift = "" if recipe.shift else ", no shift"
        how = f"{source}, {recipe.method}, alpha {alpha}{shift}, {recipe.weight_bits} bits"
        yield how, partial(Bench.recipe, how=how, source=source, recipe=recipe)
    for method in MODELOPT if modelopt and task == "embed" else ():
        for products in (False, True):
            how = f"catalogue, ModelOpt {method}{', products alone' if products else ''}"
            yield how, partial(Bench.modelopt, how=how, method=method, products=products)


def traffic_of(index: Path, work: Path) -> Path:
    """Queries that rules make of a catalogue, with the products that BM25 finds, as a server samples them."""
    path = work / "traffic" / "made.jsonl"
    if not path.is_file():
        snapshot = Snapshot.open(index, hashes=False)
        try:
            retriever = HybridRetriever(snapshot)
            made = segments(snapshot.products(range(len(snapshot))))
            lines = []
            for name in TRAFFIC:
                for query in made[name].judgments:
                    found = retriever.lexical(query, FOUND).rows
                    lines.append(line_of(Asked(query, len(found), None, tuple(snapshot.ids(found))), 1.0))
        finally:
            snapshot.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(line.rstrip(b"\n") + b"\n" for line in lines))
    return path

"""Compares calibrators, sources and smoothing of INT8 on the shipped models: accuracy beside FP32, and time.

python loadtest/int8.py INDEX --judgments judgments.csv --work FOLDER [--models embed,rerank]
    [--modelopt PYTHON: of an environment that has NVIDIA ModelOpt, see peers/modelopt_ptq.py]

Every recipe's rows are kept in the folder of --work, where a run that was stopped goes on.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

from int8_shared import word_feeds
from int8_subject import MODELS
from options import some_of
from peers import modelopt_ptq
from peers.as_written import AsWritten
from report import Row, write

from millirank.catalog.snapshot import Snapshot
from millirank.commands.accuracy import Accuracy
from millirank.commands.calibration import Texts
from millirank.evaluation import read_judgments
from millirank.retrieve import HybridRetriever
from millirank.segments import segments
from millirank.tokens import Tokenizer
from millirank.traffic.records import Asked, line_of
from millirank_engines import Engine, Profile
from millirank_engines.build.export import export_model
from millirank_engines.build.openvino import default_profiles
from millirank_engines.build.parity import output_name
from millirank_engines.build.quantize.bits import multiplies_int8, weight_bits
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.choice import medians
from millirank_engines.build.quantize.data import CalibrationData
from millirank_engines.build.quantize.inference import run_batches
from millirank_engines.build.quantize.ranges import METHODS
from millirank_engines.build.quantize.scales import WEIGHT_BITS, Scales
from millirank_engines.build.quantize.sensitivity import EXACT, Deviation, Deviations, deviation
from millirank_engines.device import this_cpu
from millirank_engines.model import Task
from millirank_engines.openvino import OpenVinoEngine

TIMED = (Profile(1, 8), Profile(10, 32), Profile(50, 32))
ALPHAS = (0.0, 0.65, 0.8)  # beside the choice of each layer
TRAFFIC = ("brand", "type", "long")  # segments that no accuracy is measured on stand for sampled traffic
FOUND = 8  # products that such a query is asked with
SHOWN = 40  # rounds of each timed shape
MODELOPT = ("max", "entropy")  # its own ways


class Bench:
    """One model, its sources and its judge; what is made on the way lies in work."""

    def __init__(self, task: Task, options: argparse.Namespace) -> None:
        self.task, self.model, self.options = task, MODELS[task], options
        self.work: Path = options.work / task
        made = export_model(self.model, self.work / "fp32", task=task)
        self.onnx, self.spec = made.folder / "model.onnx", made.spec
        self.tokenizer = Tokenizer(made.folder / "tokenizer.json", made.spec)
        self.sources = {"traffic": str(traffic_of(options.index, options.work)), "catalogue": str(options.index)}
        self.sources["random"] = "random"
        self.held = self.data("catalogue")[1]  # the same for all
        self.measure = Deviations(self.model, task=task, held=self.held, work=self.work)
        self.profiles = default_profiles(made.spec)
        self.reference = self.float(self.profiles)
        self.judge = Accuracy(
            options.index,
            self.tokenizer,
            held=self.held,
            cache=self.work / "answers",
            judged=read_judgments(options.judgments) if options.judgments else None,
            queries=options.queries if task == "embed" else options.reranked,
            depth=options.depth,
        )
        self.calibrators: dict[str, Calibrator] = {}

    def data(self, source: str) -> tuple[CalibrationData, CalibrationData]:
        """What calibrates, and what is held back."""
        texts = Texts(self.sources[source], self.tokenizer, index=self.options.index, count=self.options.count)
        return texts.halves()

    def engine(self, scales: Scales) -> Engine:
        """The model in INT8, in exact arithmetic."""
        made = export_model(self.model, self.work / "int8", task=self.task, form=EXACT, scales=scales)
        return OpenVinoEngine(made.folder / "model.onnx", self.profiles, "fp32", static_tokens=0)

    def rows(self, source: str, recipe: Recipe) -> Iterator[Row]:
        """The figures of one recipe."""
        alpha = "chosen" if recipe.alpha is None else f"{recipe.alpha:g}"
        how = f"{recipe.method}, alpha {alpha}{'' if recipe.shift else ', no shift'}, {recipe.weight_bits} bits"

        def made() -> Iterator[Row]:
            scales = self.calibrator(source).scales(recipe)
            yield from self.figures(f"{source}, {how}", self.measure(scales), self.engine(scales))

        yield from self.kept(f"{source}, {how}", made)

    def modelopt(self, python: Path, method: str, *, products: bool) -> Iterator[Row]:
        """The figures of ModelOpt's graph, from the same data: as it comes, or of matrix products alone."""
        how = f"catalogue, ModelOpt {method}{', products alone' if products else ''}"

        def made() -> Iterator[Row]:
            batches, out = self.work / "batches.npz", self.work / "modelopt.onnx"
            modelopt_ptq.save_batches(batches, self.data("catalogue")[0].batches)
            words = [python, modelopt_ptq.__file__, self.onnx, batches, method, out, *["products"] * products]
            subprocess.run([str(word) for word in words], check=True)  # noqa: S603 - our own arguments
            shapes = {Profile(*batch["input_ids"].shape) for batch in self.held.batches}
            with closing(AsWritten(out, tuple(shapes))) as engine, closing(self.float(tuple(shapes))) as plain:
                found = [run_batches(one, self.held.batches, output_name(self.task)) for one in (engine, plain)]
            yield from self.figures(how, deviation(*found), AsWritten(out, self.profiles))

        yield from self.kept(how, made)

    def float(self, profiles: tuple[Profile, ...]) -> Engine:
        """The model in FP32."""
        return OpenVinoEngine(self.onnx, profiles, "fp32", static_tokens=0)

    def calibrator(self, source: str) -> Calibrator:
        """That of a source."""
        if source not in self.calibrators:
            data = self.data(source)[0]
            self.calibrators[source] = Calibrator(self.model, task=self.task, data=data, work=self.work / source)
        return self.calibrators[source]

    def figures(self, how: str, found: Deviation, engine: Engine) -> Iterator[Row]:
        """Of one engine, which is closed."""
        case = f"{self.model}/{how}"
        yield Row(case, "error", found.error, "SD")
        for name, value in (("cosine p1, held", found.cosine_p1), ("cosine mean, held", found.cosine_mean)):
            if value is not None:
                yield Row(case, name, value, "")
        with closing(engine):
            figures = self.judge(self.reference, engine, lambda _: None)
        for figure in figures:
            unit = "%" if figure.name in {"top1", "recall@100"} else ""
            yield Row(case, figure.name, figure.int8, unit)
            yield Row(case, f"{figure.name} lost", figure.loss, unit)
            if figure.agreement is not None:
                yield Row(case, f"{figure.name} agreement", 100 * figure.agreement, "%")

    def kept(self, how: str, make: Callable[[], Iterable[Row]]) -> list[Row]:
        """Rows that were made before, or are made now."""
        path = self.work / "rows" / f"{how}.json"
        if not path.is_file():
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps([vars(row) for row in make()]), encoding="utf-8")
        return [Row(**row) for row in json.loads(path.read_text(encoding="utf-8"))]

    def times(self) -> Iterator[Row]:
        """FP32 and INT8 beside each other, static models both."""
        scales = self.calibrator("catalogue").scales(Recipe(weight_bits=weight_bits(this_cpu())))
        made = export_model(self.model, self.work / "int8", task=self.task, scales=scales)
        engines: dict[str, Engine] = {
            name: OpenVinoEngine(path, TIMED, "fp32", static_tokens=max(p.tokens for p in TIMED))
            for name, path in (("fp32", self.onnx), ("int8", made.folder / "model.onnx"))
        }
        for profile, both in medians(engines, word_feeds(made, TIMED), time.perf_counter, SHOWN).items():
            case = f"{self.model}, time/{profile}"
            yield from (Row(case, f"{name} p50", value, "ms") for name, value in both.items())
            yield Row(case, "fp32 / int8", both["fp32"] / both["int8"], "times")
        for engine in engines.values():
            engine.close()

    def all(self) -> Iterator[Iterable[Row]]:
        """Everything about the model: what ships first, then what was tried beside it."""
        yield self.rows("catalogue", Recipe())
        for method in MODELOPT if self.options.modelopt and self.task == "embed" else ():
            yield self.modelopt(self.options.modelopt, method, products=False)
            yield self.modelopt(self.options.modelopt, method, products=True)
        recipes = [("catalogue", Recipe(shift=False))]
        recipes += [("catalogue", Recipe(alpha=alpha, shift=False)) for alpha in ALPHAS]
        recipes += [(source, Recipe(method)) for source in ("catalogue", *self.sources) for method in METHODS]
        recipes += [("catalogue", Recipe(weight_bits=WEIGHT_BITS - 1))]
        for source, recipe in dict.fromkeys(recipes):
            if (source, recipe) != ("catalogue", Recipe()):
                yield self.rows(source, recipe)
        yield self.times()


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


def main() -> None:
    """Measures and writes docs/benchmarks/int8-cpu.json and int8-cpu.md, anew after every recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("index", type=Path)
    parser.add_argument("--judgments", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=192, help="queries and products to calibrate on")
    parser.add_argument("--queries", type=int, default=600, help="known-item queries of the encoder")
    parser.add_argument("--reranked", type=int, default=150, help="known-item queries of the reranker")
    parser.add_argument("--depth", type=int, default=10, help="candidates that are reranked")
    parser.add_argument("--models", type=some_of(MODELS), default=",".join(MODELS), help="some of %(default)s")
    parser.add_argument("--modelopt", type=Path, help="the Python of an environment with NVIDIA ModelOpt")
    options = parser.parse_args()
    vnni = "multiplies" if multiplies_int8(this_cpu()) else "does NOT multiply"
    notes = (
        "Q/DQ graphs of the shipped models' real weights against FP32: all linear layers of the encoder in INT8, none",
        "spared, products exact, as on hardware that multiplies INT8. `no shift`: channels are not moved to the middle",
        "of their ranges. ModelOpt quantizes the same graph from the same data, run as it is written: as it comes,",
        "sums of the residual stream are INT8, too; `products alone` is what the others quantize.",
        f"This processor {vnni} INT8 in hardware (VNNI), so times here say nothing about one that does.",
        f"top1: first hits of {options.queries} known-item queries (encoder, fused order) and of {options.reranked}",
        f"(reranker, depth {options.depth}); nDCG@10 on judged queries. Calibrated on at most {options.count} queries",
        "and as many products: made traffic (brand, type and long queries of rules, with BM25's products), catalogue",
        "text, or random tokens; cosines on catalogue text that was held back.",
    )
    rows: list[Row] = []
    for task in options.models:
        bench = Bench(task, options)
        for some in bench.all():
            rows += some
            write("int8-cpu", "INT8 on the CPU", notes, rows)
        bench.judge.close()
        bench.reference.close()


if __name__ == "__main__":
    main()

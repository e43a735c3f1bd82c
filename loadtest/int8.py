"""Compares calibrators, sources and smoothing of INT8 on the shipped models: accuracy beside FP32, and time.

python loadtest/int8.py INDEX --judgments judgments.csv --work FOLDER
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

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
from millirank_engines.build.parity import parity_feeds, words
from millirank_engines.build.quantize.bits import multiplies_int8, weight_bits
from millirank_engines.build.quantize.calibrate import Calibrator, Recipe
from millirank_engines.build.quantize.choice import medians
from millirank_engines.build.quantize.data import CalibrationData
from millirank_engines.build.quantize.ranges import METHODS
from millirank_engines.build.quantize.scales import Scales
from millirank_engines.build.quantize.sensitivity import Deviations
from millirank_engines.device import this_cpu
from millirank_engines.model import ENCODER, RERANKER, Task
from millirank_engines.openvino import OpenVinoEngine

MODELS: dict[Task, str] = {"embed": ENCODER, "rerank": RERANKER}
TIMED = (Profile(1, 8), Profile(10, 32), Profile(50, 32))
ALPHAS = (0.0, 0.5, 0.65, 0.8)  # beside the choice of each layer
TRAFFIC = ("brand", "type", "long")  # segments that no accuracy is measured on stand for sampled traffic
FOUND = 8  # products that such a query is asked with
SHOWN = 40  # rounds of each timed shape


class Bench:
    """One model, its sources and its judge; what is made on the way lies in work."""

    def __init__(self, task: Task, options: argparse.Namespace) -> None:
        self.task, self.model, self.options = task, MODELS[task], options
        self.work: Path = options.work / task
        self.bits = weight_bits(this_cpu())
        made = export_model(self.model, self.work / "fp32", task=task)
        self.onnx, self.spec = made.folder / "model.onnx", made.spec
        self.tokenizer = Tokenizer(made.folder / "tokenizer.json", made.spec)
        self.sources = {"traffic": str(traffic_of(options.index, options.work)), "catalogue": str(options.index)}
        self.sources["random"] = "random"
        self.held = self.data("catalogue")[1]  # the same for all
        self.measure = Deviations(self.model, task=task, held=self.held, work=self.work)
        profiles = default_profiles(made.spec)
        self.profiles = profiles
        self.reference = OpenVinoEngine(self.onnx, profiles, "fp32")
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
        """The model in INT8."""
        made = export_model(self.model, self.work / "int8", task=self.task, scales=scales)
        return OpenVinoEngine(made.folder / "model.onnx", self.profiles, "fp32")

    def rows(self, source: str, recipe: Recipe) -> Iterator[Row]:
        """The figures of one recipe."""
        if source not in self.calibrators:
            data = self.data(source)[0]
            self.calibrators[source] = Calibrator(self.model, task=self.task, data=data, work=self.work / source)
        scales = self.calibrators[source].scales(recipe)
        alpha = "chosen" if recipe.alpha is None else f"{recipe.alpha:g}"
        case = f"{self.model}/{source}, {recipe.method}, alpha {alpha}, {recipe.weight_bits} bits"
        found = self.measure(scales)
        yield Row(case, "error", found.error, "SD")
        for name, value in (("cosine p1, held", found.cosine_p1), ("cosine mean, held", found.cosine_mean)):
            if value is not None:
                yield Row(case, name, value, "")
        engine = self.engine(scales)
        try:
            figures = self.judge(self.reference, engine, lambda _: None)
        finally:
            engine.close()
        for figure in figures:
            unit = "%" if figure.name in {"top1", "recall@100"} else ""
            yield Row(case, figure.name, figure.int8, unit)
            yield Row(case, f"{figure.name} lost", figure.loss, unit)
            if figure.agreement is not None:
                yield Row(case, f"{figure.name} agreement", 100 * figure.agreement, "%")

    def times(self) -> Iterator[Row]:
        """FP32 and INT8 beside each other, static models both."""
        scales = self.calibrators["catalogue"].scales(Recipe(weight_bits=self.bits))
        made = export_model(self.model, self.work / "int8", task=self.task, scales=scales)
        vocabulary = words(made.folder / "tokenizer.json", self.spec)
        feeds = parity_feeds(self.spec, vocabulary, TIMED)
        engines: dict[str, Engine] = {
            name: OpenVinoEngine(path, TIMED, "fp32", static_tokens=max(p.tokens for p in TIMED))
            for name, path in (("fp32", self.onnx), ("int8", made.folder / "model.onnx"))
        }
        for profile, both in medians(engines, feeds, time.perf_counter, SHOWN).items():
            case = f"{self.model}, time/{profile}"
            yield from (Row(case, f"{name} p50", value, "ms") for name, value in both.items())
            yield Row(case, "fp32 / int8", both["fp32"] / both["int8"], "times")
        for engine in engines.values():
            engine.close()


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
                    found = retriever.lexical(query, FOUND)
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
    options = parser.parse_args()
    vnni = "multiplies" if multiplies_int8(this_cpu()) else "does NOT multiply"
    notes = (
        "Q/DQ graphs in OpenVINO against FP32 in OpenVINO, all linear layers of the encoder in INT8, none spared.",
        f"This processor {vnni} INT8 in hardware (VNNI), so times here say nothing about one that does.",
        f"top1: first hits of {options.queries} known-item queries (encoder, fused order) and of {options.reranked}",
        f"(reranker, depth {options.depth}); nDCG@10 on judged queries. Calibrated on at most {options.count} queries",
        "and as many products: made traffic (brand, type and long queries of rules, with BM25's products), catalogue",
        "text, or random tokens; cosines on catalogue text that was held back.",
    )
    rows: list[Row] = []
    for task in MODELS:
        bench = Bench(task, options)
        recipes = [(source, Recipe(method, weight_bits=bench.bits)) for source in bench.sources for method in METHODS]
        recipes += [("catalogue", Recipe("max", alpha, weight_bits=bench.bits)) for alpha in ALPHAS]
        recipes += [("catalogue", Recipe("max", weight_bits=15 - bench.bits))]
        for source, recipe in recipes:
            rows += bench.rows(source, recipe)
            write("int8-cpu", "INT8 on the CPU", notes, rows)
        rows += bench.times()
        write("int8-cpu", "INT8 on the CPU", notes, rows)
        bench.judge.close()
        bench.reference.close()


if __name__ == "__main__":
    main()

"""`millirank engine check`: what will hurt when a model becomes an engine, told before anyone trains it further."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from millirank_engines.base import EngineError, EngineFailed
from millirank_engines.build.export import export_model
from millirank_engines.build.source import load_tokenizer, open_source, resolve_source
from millirank_engines.build.tensors import ModelRefused, read_json
from millirank_engines.model import Task, Template

from .activations import constants, encode, overflow, peaks
from .finding import Finding, Report, Severity
from .fusion import attention, attentions, norm_order, normalization
from .operators import operators
from .shape import configured, table_too_short, too_long, weighed
from .view import GraphView, load_onnx

if TYPE_CHECKING:
    import onnx

__all__ = ["Finding", "Report", "Severity", "Texts", "check_graph", "check_model"]

SAMPLES = 64  # texts or pairs that run
SPECIAL = 3  # tokens of a pair, at least


@dataclass(frozen=True)
class Texts:
    """What shoppers type and what products are: real text, for real activations."""

    queries: Sequence[str]
    products: Sequence[Mapping[str, Any]]

    def sample(self, task: Task, template: Template) -> Iterator[tuple[str, str | None]]:
        """SAMPLES queries and products, or pairs of them; always the same."""
        dice = np.random.default_rng(0)
        for i in range(SAMPLES):
            query = template.query_text(self.queries[int(dice.integers(len(self.queries)))])
            product = template.product_text(self.products[int(dice.integers(len(self.products)))])
            if task == "rerank":
                yield query, product
            else:
                yield (query, None) if i % 2 else (product, None)


def check_graph(model: "onnx.ModelProto", length: int = 0) -> Report:
    """What a graph tells without running it.

    Args:
        model: an ONNX model.
        length: tokens of the longest input, special ones included; 0 leaves positions unchecked.
    """
    view = GraphView(model)
    report = Report()
    for found in (operators, attention, normalization, weighed, constants):
        report.findings += found(view)
    report.findings += table_too_short(view, length)
    blocks = len(attentions(view))
    report.facts = {
        "graph": f"opset {view.opset}, {len(view.all_nodes)} nodes, {blocks} attention blocks",
        "normalization": norm_order(view),
    }
    return report


def check_model(
    source: str, *, texts: Texts, task: Task | None = None, onnx: Path | None = None, length: int | None = None
) -> Report:
    """Checks a model by its config.json, its graph, and what its FP32 graph says to real text.

    Args:
        source: a Hugging Face folder, a hub id, an installed model's name, or an ONNX file.
        texts: what to run.
        task: embed or rerank; by default what the architecture in config.json does.
        onnx: a graph to check instead of that which millirank would export.
        length: tokens of the longest input; what the model's template needs by default.

    Raises:
        EngineError: if the source or the graph cannot be found or read.
    """
    if onnx is None and Path(source).is_file():
        return _of_file(Path(source), length or 0)
    folder = resolve_source(source)
    config = read_json(folder / "config.json")
    task = task or _task(config)
    report = Report()
    refused = ""
    graph, template, longest = None, Template(), length
    with TemporaryDirectory() as temporary:
        try:
            exported = export_model(source, Path(temporary), task=task)
            graph, template = load_onnx(Path(temporary) / "model.onnx"), exported.spec.template
        except ModelRefused as error:
            refused = str(error)
    if longest is None:
        pair = task == "rerank"
        query, product = template.query_tokens, template.product_tokens
        longest = query + product + SPECIAL if pair else max(query, product) + SPECIAL - 1
    if onnx is not None:
        graph = load_onnx(onnx)
    elif refused:
        what = f"millirank's exporter refuses it: {refused.partition(': ')[0]}"
        fix = f"{refused.partition(': ')[2] or 'choose another model'}; or give a graph with --onnx"
        report.findings.append(Finding(Severity.blocks, source, what, fix))
    report.findings += configured(config)
    report.findings += too_long(config, longest)
    report.facts["model"] = f"{config.get('model_type', 'unknown')}, {longest} tokens at most, {task}"
    if graph is None:
        return report
    _merge(report, check_graph(graph, longest))
    _run(report, graph, source, task, texts, template, longest)
    return report


def _task(config: Mapping[str, Any]) -> Task:
    return "rerank" if any("Classification" in name for name in config.get("architectures") or ()) else "embed"


def _of_file(path: Path, length: int) -> Report:
    report = check_graph(load_onnx(path), length)
    what = "activations were not measured: a graph alone has no tokenizer"
    fix = f"name the model's folder, and the graph with --onnx {path}"
    report.findings.append(Finding(Severity.risks, str(path), what, fix))
    return report


def _merge(report: Report, graph: Report) -> None:
    """Adds what a graph tells; what config.json told already is not told twice."""
    told = {f.what for f in report.findings}
    report.findings += [f for f in graph.findings if f.what not in told]
    report.facts |= graph.facts


def _run(
    report: Report,
    graph: "onnx.ModelProto",
    source: str,
    task: Task,
    texts: Texts,
    template: Template,
    longest: int,
) -> None:
    try:
        tokenizer = load_tokenizer(_tokenizer(source))
        found = peaks(graph, encode(tokenizer, list(texts.sample(task, template)), longest))
    except (EngineFailed, ModelRefused) as error:
        what, _, fix = f"activations were not measured: {error}".rpartition(": ")
        report.findings.append(Finding(Severity.risks, source, what, fix))
        return
    report.findings += overflow(found)
    if found:
        worst = found[0]
        report.facts["largest activation"] = (
            f"{worst.value:,.1f} at {worst.node} over {SAMPLES} texts: FP16 holds {worst.headroom:,.0f} times that"
        )


def _tokenizer(source: str) -> Path:
    try:
        return open_source(source).tokenizer
    except EngineError:
        return resolve_source(source)

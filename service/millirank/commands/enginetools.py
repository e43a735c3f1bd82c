"""`millirank engine check | profiles`, and the plan half of `inspect`: what helps before and after a build."""

import json
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from millirank_engines import EngineError, Manifest, ModelSpec, Profile, Task

if TYPE_CHECKING:
    from millirank_engines.build.check import Report, Texts
    from millirank_engines.build.demand import Demand
    from millirank_engines.build.inspect import Fusion
    from millirank_engines.build.propose import Proposal

SAMPLED = 300  # products whose texts may run
TASKS: tuple[Task, ...] = ("embed", "rerank")


def check(
    model: Annotated[str, typer.Argument(help="A Hugging Face folder, a hub id, an installed model, or an ONNX file.")],
    *,
    task: Annotated[Task | None, typer.Option(help="What it does. Default: what its config.json says.")] = None,
    onnx: Annotated[Path | None, typer.Option(help="A graph to check instead of the one that would be built.")] = None,
    catalog: Annotated[Path | None, typer.Option(help="An index whose products are run. Default: the demo's.")] = None,
    length: Annotated[int | None, typer.Option(help="Tokens of the longest input. Default: the template's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what will hurt when a model becomes an engine, before it is trained further; exit 1 if anything blocks."""
    from millirank_engines.build.check import check_model

    console = Console()
    with console.status(f"checking {escape(model)}"):
        report = check_model(model, task=task, texts=_texts(catalog), onnx=onnx, length=length)
    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=1, ensure_ascii=False))
    else:
        _show_report(report, console)
    if report.blocked:
        raise typer.Exit(1)


def _texts(catalog: Path | None) -> "Texts":
    """Products of an index, and the beginnings of other titles as queries; or the demo's products and queries."""
    from millirank_engines.build.check import Texts

    if catalog is None:
        from millirank.demo.generator import products
        from millirank.demo.judgments import queries

        return Texts([query.text for query in queries()], list(islice(products(), SAMPLED)))
    from millirank.catalog.snapshot import Snapshot

    snapshot = Snapshot.open(catalog, hashes=False)
    try:
        rows = np.random.default_rng(0).permutation(len(snapshot))[:SAMPLED]
        found = snapshot.products(rows)
    finally:
        snapshot.close()
    return Texts([" ".join(str(product["title"]).split()[:2]) for product in reversed(found)], found)


def _show_report(report: "Report", console: Console) -> None:
    facts = Table(show_header=False)
    for name, fact in report.facts.items():
        facts.add_row(name, escape(fact))
    console.print(facts)
    if not report.findings:
        console.print("nothing that would hurt was found")
        return
    table = Table("severity", "where", "what", "what to do")
    for finding in report.ordered():
        table.add_row(finding.severity, *map(escape, (finding.where, finding.what, finding.fix)))
    console.print(table)


def profiles(
    *,
    traffic: Annotated[
        Path,
        typer.Option("--from", help="A sample, or JSON Lines: query and, if known, depth, lengths, candidates."),
    ],
    catalog: Annotated[Path, typer.Option(help="The folder of an index: its tokenizers and its products' lengths.")],
    task: Annotated[Task | None, typer.Option(help="For which engine. Default: both.")] = None,
    buckets: Annotated[int, typer.Option(help="Shapes, at most: each costs memory and a graph.")] = 24,
    ranges: Annotated[int, typer.Option(help="Optimization profiles, at most: each costs building time.")] = 4,
    depth: Annotated[int, typer.Option(help="Candidates where the traffic does not tell.")] = 50,
    split: Annotated[
        bool,
        typer.Option("--split", help="Cut a request by length into several calls, where calls cost little: a CPU."),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="A profiles.toml to write; its other tasks are kept.")] = None,
) -> None:
    """Propose the shapes that cost the fewest padded tokens for what shoppers ask."""
    from millirank.traffic.lengths import Traffic
    from millirank.traffic.records import read_traffic
    from millirank_engines.build import demand
    from millirank_engines.build.propose import propose

    from .demands import demands_of

    console = Console()
    asked = read_traffic(traffic, depth)
    measured = Traffic(asked, catalog)
    made: dict[Task, Proposal] = {}
    try:
        for name in [task] if task else TASKS:
            demands, holds = demands_of(measured, name)
            demands = demands if split and name == "rerank" else demand.whole(demands)
            made[name] = propose(demands, buckets, holds=holds, ranges=ranges)
            _show_proposal(name, made[name], console)
            _show_ratios(made[name], demands, measured.specs[name], console)
    finally:
        measured.close()
    if out is not None:
        _write(out, made)
        console.print(f"wrote {escape(str(out))}: build with `--profiles {escape(str(out))}`")


def _show_proposal(task: Task, proposal: "Proposal", console: Console) -> None:
    table = Table("bucket", "share of the tokens", title=f"{task}: {len(proposal.profiles.buckets)} buckets")
    for bucket in proposal.profiles.buckets:
        table.add_row(str(bucket), f"{proposal.share[bucket]:.1%}")
    console.print(table)
    table = Table("batch min…opt…max", "length min…opt…max", title=f"{task}: optimization profiles")
    for one in proposal.profiles.optimization:
        table.add_row(str(one.batch), str(one.length))
    console.print(table)


def _show_ratios(proposal: "Proposal", demands: Sequence["Demand"], spec: ModelSpec, console: Console) -> None:
    """Tokens that run for each valid one, with the proposal and with the defaults."""
    from millirank_engines.build import openvino
    from millirank_engines.build import profiles as tensorrt
    from millirank_engines.build.propose import padded_tokens

    table = Table("padding ratio", "buckets", "tokens run for each valid one")
    rows = {
        "proposed": proposal.profiles.buckets,
        "default, tensorrt": tensorrt.default_profiles(spec).buckets,
        "default, openvino": openvino.default_profiles(spec),
    }
    for name, shapes in rows.items():
        paid = padded_tokens(demands, shapes)
        table.add_row(name, str(len(shapes)), f"{paid / proposal.valid:.3f}")
    console.print(table)


def _write(out: Path, made: dict[Task, "Proposal"]) -> None:
    from millirank_engines.build.profiles import read_profiles

    found = {task: proposal.profiles for task, proposal in made.items()}
    if out.exists():
        for task in TASKS:
            if task not in found and f"[{task}]" in out.read_text("utf-8"):
                found[task] = read_profiles(out, task)
    text = "\n".join(found[task].to_toml(task) for task in TASKS if task in found)
    try:
        out.write_text(text, "utf-8")
    except OSError as error:
        raise EngineError(f"{out} cannot be written ({error.strerror}): choose another --out") from error


def show_plan(folder: Path, manifest: Manifest, onnx: Path | None, bucket: str | None, console: Console) -> None:
    """A plan's layers against the nodes of its graph, timed on this machine's GPU; says what of it is not to be had."""
    from millirank_engines.build.inspect import inspect_plan, nodes_of
    from millirank_engines.manifest import parse_profile

    shape = parse_profile(bucket) if bucket else manifest.profiles[len(manifest.profiles) // 2]
    nodes: list[tuple[str, str]] = []
    try:
        nodes = nodes_of(manifest, onnx)
    except EngineError as error:
        console.print(f"the graph is not here: {escape(str(error))}")
    if nodes:
        kinds = Counter(kind for _, kind in nodes)
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        console.print(f"before fusion: {len(nodes)} ONNX nodes ({told})")
    try:
        _show_layers(inspect_plan(folder, manifest, shape, [name for name, _ in nodes]), shape, console)
    except EngineError as error:
        console.print(f"the plan's layers are not shown: {escape(str(error))}")


def _show_layers(fusion: "Fusion", shape: Profile, console: Console) -> None:
    total = fusion.milliseconds
    title = f"after fusion: {len(fusion.layers)} layers of {shape}"
    table = Table("layer", "type", "precision", "ms", "share", "ONNX nodes", title=title)
    for layer in fusion.layers:
        told = layer.milliseconds
        time = ("", "") if told is None or not total else (f"{told:.4f}", f"{told / total:.1%}")
        nodes = f"{len(layer.nodes)}: {' '.join(layer.nodes)}" if layer.nodes else ""
        table.add_row(*map(escape, (layer.name, layer.kind, layer.precision, *time, nodes)))
    console.print(table)
    if total:
        console.print(f"{total:.4f} ms, layer after layer; a CUDA graph is faster, because it saves the launches")
    if fusion.folded:
        console.print(
            f"no layer names {len(fusion.folded)} nodes, which were folded: {escape(' '.join(fusion.folded))}"
        )

"""What TensorRT made of a model: the layers of a plan against the nodes of its graph, timed, as a page.

python loadtest/h100_inspect.py ARTIFACT [ARTIFACT…] [--buckets 1x16,50x32] [--name h100-inspect]

What `millirank engine inspect ARTIFACT --bucket 50x32` prints, kept: a table of layers for each artifact.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from options import parser_of
from report import Row, write

from millirank_engines import Manifest, Profile, read_manifest
from millirank_engines.build.inspect import Fusion, inspect_plan, nodes_of
from millirank_engines.manifest import parse_profile

LONG = 100  # characters of a layer's name that the page shows; a kernel of many nodes is named by all of them
NOTES = (
    "Layers are those of the engine inspector, in the order in which they run, with the mean time of each, one after",
    "the other: a CUDA graph is faster, because it saves the launches between them. The nodes are those of the ONNX",
    "graph whose work a layer does. The table of figures stands at the end.",
)


def rows_of(manifest: Manifest, shape: Profile, fusion: Fusion) -> Iterator[Row]:
    """The figures of a plan."""
    case = f"{manifest.name}/{shape}"
    yield Row(case, "ONNX nodes", len(fusion.nodes), "")
    yield Row(case, "layers", len(fusion.layers), "")
    yield Row(case, "nodes that no layer names", len(fusion.folded), "")
    if fusion.milliseconds is not None:
        yield Row(case, "layer after layer", fusion.milliseconds, "ms")
    for kind, count in Counter(layer.kind for layer in fusion.layers).most_common():
        yield Row(case, f"{kind or 'unnamed'} layers", count, "")


def table(manifest: Manifest, shape: Profile, fusion: Fusion, kinds: Counter[str]) -> Iterator[str]:
    """The layers as Markdown."""
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    yield from ("", f"## {manifest.name}, {shape}", "", f"Before fusion {len(fusion.nodes)} nodes: {told}.", "")
    yield from (f"After fusion {len(fusion.layers)} layers:", "")
    yield from ("| layer | type | precision | ms | share | nodes | tactic |", "|---" * 7 + "|")
    for layer in fusion.layers:
        ms, total = layer.milliseconds, fusion.milliseconds
        time = f"{ms:.4f} | {ms / total:.1%}" if ms is not None and total else " | "
        cells = (_short(layer.name), layer.kind, layer.precision, time, str(len(layer.nodes)), _short(layer.tactic))
        yield f"| {' | '.join(cells)} |"


def _short(text: str) -> str:
    plain = " ".join(text.replace("|", "/").split())
    return plain if len(plain) <= LONG else f"{plain[: LONG - 1]}…"


def main() -> None:
    """The command line."""
    parser = parser_of(__doc__, "h100-inspect")
    parser.add_argument("artifacts", type=Path, nargs="+", help="built with --backend tensorrt")
    parser.add_argument("--buckets", default="", help="a shape of each artifact, in order. Default: the middle ones")
    given = parser.parse_args()
    rows: list[Row] = []
    lines: list[str] = []
    shapes = [parse_profile(text) for text in given.buckets.split(",") if text]
    if shapes and len(shapes) != len(given.artifacts):
        sys.exit(f"{len(shapes)} shapes for {len(given.artifacts)} artifacts: name one for each with --buckets")
    for place, folder in enumerate(given.artifacts):
        manifest = read_manifest(folder)
        shape = shapes[place] if shapes else manifest.profiles[len(manifest.profiles) // 2]
        nodes = nodes_of(manifest)
        fusion = inspect_plan(folder, manifest, shape, [name for name, _ in nodes])
        rows += rows_of(manifest, shape, fusion)
        lines += table(manifest, shape, fusion, Counter(kind for _, kind in nodes))
    write(given.name, "Layers of the plans", (*NOTES, *lines), rows, given.out)
    print(f"wrote {given.out / given.name}.json and .md", flush=True)


if __name__ == "__main__":
    main()

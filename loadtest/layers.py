"""What a layer of a reranker costs: MiniLM's six against themselves with fewer, by turns, on this machine.

python loadtest/layers.py --work DIR [--backend fused] [--layers 6 3 2] [--name layers-fused]

Their orders mean nothing: a shop's small rerankers are trained (`millirank train --layers 3`), and take the same time.
"""

import argparse
import json
import shutil
from contextlib import ExitStack
from pathlib import Path

from interleave import Entrant, interleaved
from peers.minilm import write_minilm
from report import BENCHMARKS, Row, write
from safetensors import safe_open
from safetensors.numpy import save_file
from subjects import exact

from millirank.commands.enginebench import timing_rows
from millirank_engines import open_engine
from millirank_engines.build.compile import build_engine
from millirank_engines.build.parity import PARITY, read_cases
from millirank_engines.manifest import parse_profile

SHAPES = ("50x32", "50x64")
NOTES = (
    "A MiniLM reranker of six layers and the same with its first layers alone, in turns, from host arrays to host",
    "arrays, at the lengths of pairs of words. One that was trained with as many layers takes the same time, so does",
    "the shipped one of three.",
)


def shortened(source: Path, folder: Path, layers: int) -> Path:
    """A reranker of ours with its first layers alone, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source / "millirank.json", folder / "millirank.json")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": layers}), encoding="utf-8")
    with safe_open(source / "model.safetensors", "np") as tensors:
        kept = {name: tensors.get_tensor(name) for name in tensors.keys() if _layer(name) < layers}  # noqa: SIM118
    save_file(kept, folder / "model.safetensors")
    return folder


def _layer(name: str) -> int:
    """The number of the layer that a tensor belongs to; -1 if it is of none."""
    _, inside, rest = name.partition("encoder.layer.")
    return int(rest.partition(".")[0]) if inside else -1


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="keeps the engines")
    parser.add_argument("--backend", default="fused")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--layers", type=int, nargs="+", default=[6, 3, 2])
    parser.add_argument("--replays", type=int, default=2000, help="of each shape, at most")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each shape of each engine, about, at most")
    parser.add_argument("--name", default="layers-fused")
    parser.add_argument("--out", type=Path, default=BENCHMARKS)
    given = parser.parse_args()
    shapes = [parse_profile(text) for text in SHAPES]
    rows: list[Row] = []
    with ExitStack() as closing:
        entrants = []
        for layers in sorted(given.layers, reverse=True):
            source = shortened(write_minilm(given.work / "minilm-l6"), given.work / f"{layers}-layers", layers)
            out = given.work / f"{layers}-layers-engine"
            build_engine(
                str(source),
                out,
                task="rerank",
                backend=given.backend,
                precision=given.precision,
                profiles=exact(shapes),
            )
            loaded = open_engine(out)
            closing.callback(loaded.engine.close)
            feeds = {case.profile: case.feeds for case in read_cases(out / PARITY, shapes)}
            entrants.append(Entrant(f"{layers} layers", loaded.engine, feeds, given.replays))
        times: dict[tuple[str, str], float] = {}
        for how, timing in interleaved(entrants, loaded.spec, seconds=given.seconds):
            found = list(timing_rows(f"rerank/{timing.profile}/{how}", timing, None))
            rows += [row for row in found if row.metric in {"p50", "p99", "calls"}]
            times[str(timing.profile), how] = next(row.value for row in found if row.metric == "p50")
    most = entrants[0].how
    rows += [
        Row(f"rerank/{shape}/{how}", f"of {most}", 100 * value / times[shape, most], "%")
        for (shape, how), value in times.items()
    ]
    write(given.name, "The reranker with fewer layers", NOTES, rows, given.out)


if __name__ == "__main__":
    main()

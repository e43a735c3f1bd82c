"""What a layer of a reranker costs: MiniLM's six beside the three that ship, and others, by turns, on this machine.

python loadtest/layers.py --work DIR [--backend fused] [--name layers-fused] [FOLDER …]

FOLDERs are further rerankers, such as `millirank train --layers 2` makes. The six are loadtest/peers/minilm.py's, whose
order means nothing; a trained one with as many takes the same time.
"""

from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from interleave import Entrant, interleaved
from options import parser_of
from peers.minilm import write_minilm
from report import Row, write
from subjects import exact

from millirank.commands.enginebench import timing_rows
from millirank_engines import open_engine
from millirank_engines.build.compile import build_engine
from millirank_engines.build.parity import PARITY, read_cases
from millirank_engines.manifest import parse_profile
from millirank_engines.model import RERANKER

SHAPES = ("50x32", "50x64")
NOTES = (
    "Rerankers in turns, from host arrays to host arrays, at the lengths of pairs of words: the shipped one, one of",
    "MiniLM's six layers, and what was named besides. `of most` is the share of the time of the one with the most.",
)


def layer_rows(sources: Sequence[str], given: Namespace) -> list[Row]:
    """The times of rerankers, and the share of the time of the one with the most layers.

    Args:
        sources: names or folders, each with another number of layers.
        given: work, backend, precision, replays and seconds.
    """
    shapes = [parse_profile(text) for text in SHAPES]
    with ExitStack() as closing:
        entrants: dict[int, Entrant] = {}
        for source in sources:
            out = given.work / f"{Path(source).name}-engine"
            build_engine(
                source,
                out,
                task="rerank",
                backend=given.backend,
                precision=given.precision,
                profiles=exact(shapes),
            )
            loaded = open_engine(out)
            closing.callback(loaded.engine.close)
            feeds = {case.profile: case.feeds for case in read_cases(out / PARITY, shapes)}
            layers = loaded.spec.layers
            entrants[layers] = Entrant(f"{layers} layers", loaded.engine, feeds, given.replays)
        most = entrants[max(entrants)].how
        rows: list[Row] = []
        times: dict[tuple[str, str], float] = {}
        ordered = [entrants[layers] for layers in sorted(entrants, reverse=True)]
        for how, timing in interleaved(ordered, loaded.spec, seconds=given.seconds):
            found = timing_rows(f"rerank/{timing.profile}/{how}", timing, None)
            rows += [row for row in found if row.metric in {"p50", "p99", "calls"}]
            times[str(timing.profile), how] = timing.quantile(0.5)
    shares = [
        Row(f"rerank/{shape}/{how}", "of most", 100 * value / times[shape, most], "%")
        for (shape, how), value in times.items()
    ]
    return rows + shares


def main() -> None:
    """The command line."""
    parser = parser_of(__doc__, "layers-fused")
    parser.add_argument("folders", nargs="*", help="further rerankers")
    parser.add_argument("--work", type=Path, required=True, help="keeps the engines")
    parser.add_argument("--backend", default="fused")
    parser.add_argument("--precision", default="fp16")
    parser.add_argument("--replays", type=int, default=2000, help="of each shape, at most")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each shape of each engine, about, at most")
    given = parser.parse_args()
    sources = [str(write_minilm(given.work / "minilm-l6")), RERANKER, *given.folders]
    write(given.name, "Rerankers by their layers", NOTES, layer_rows(sources, given), given.out)


if __name__ == "__main__":
    main()

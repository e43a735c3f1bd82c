"""Seals into engines what they are for: the lengths of traffic, or of a catalogue's own text until there is any."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from millirank.catalog.snapshot import Snapshot
from millirank.mining.facts import facts_of
from millirank.mining.queries import Drawn, pseudo_queries
from millirank.tokens import Tokenizer
from millirank.traffic.lengths import Traffic, histograms, tells_pairs
from millirank.traffic.records import Asked, read_traffic
from millirank_engines import EngineError, Task, read_manifest
from millirank_engines.build.verify import seal_demand
from millirank_engines.drift import CATALOGUE

QUERIES = 1000  # pseudo-queries of a catalogue
TITLES = 5000  # that they are read off
DEPTH = 50  # candidates, as `millirank serve` reranks by default
WORDS = 2  # of a title that stand for a query where no words come twice


def read_for(task: Task, traffic: Path) -> list[Asked]:
    """Traffic that an engine can be for.

    Raises:
        ConfigError: if it cannot be read.
        EngineError: if it is for a reranker and no request tells the lengths of its pairs.
    """
    asked = read_traffic(traffic, DEPTH)
    if task == "rerank" and not tells_pairs(asked):
        raise EngineError(
            f"no request of {traffic} tells the lengths of its pairs: sample some with "
            f"`millirank serve --traffic-sample DIR`, or leave --from out"
        )
    return asked


def tells_lengths(task: Task, traffic: Path) -> Path | None:
    """The traffic, if an engine can be for it; None where it is for a reranker and no request tells its pairs' lengths.

    Raises:
        ConfigError: if it cannot be read.
    """
    return traffic if task == "embed" or tells_pairs(read_traffic(traffic, DEPTH)) else None


def expect_traffic(folder: Path, asked: Sequence[Asked], source: Path) -> None:
    """Seals the lengths of traffic into an artifact.

    Raises:
        EngineError: if it cannot be replaced.
    """
    tokenizer = Tokenizer(folder / "tokenizer.json", read_manifest(folder).model)
    seal_demand(folder, histograms(asked, tokenizer, source=str(source)))


def expect_catalogue(index: Path) -> None:
    """Seals into those engines of an index that do not know what they are for what its catalogue lets expect.

    That is what `millirank train` takes for queries, before products that are drawn from all.
    How deep queries are reranked no catalogue tells.

    Raises:
        EngineError: if an artifact cannot be replaced.
    """
    traffic = Traffic([Asked(query, DEPTH, None, None) for query in _queries(index)], index)
    traffic.close()
    for task, manifest in traffic.manifests.items():
        if manifest.demand is None:
            seal_demand(traffic.folders[task], traffic.profile(task, CATALOGUE, depths=False))


def _queries(index: Path) -> list[str]:
    snapshot = Snapshot.open(index, hashes=False)
    try:
        dice = np.random.default_rng(0)
        products = snapshot.products(dice.permutation(len(snapshot))[:TITLES])
    finally:
        snapshot.close()
    titles = [str(product["title"]) for product in products]
    drawn = pseudo_queries(titles, facts_of(products), Drawn(QUERIES), dice)
    return [query.text for query in drawn] or [" ".join(title.split()[:WORDS]) for title in titles[:QUERIES]]

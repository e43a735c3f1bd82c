"""The lengths of traffic, in the tokens of the models that read it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millirank.catalog.layout import CatalogFolder
from millirank.catalog.snapshot import Snapshot
from millirank.tokens import Tokenizer
from millirank_engines import ModelSpec, Task, read_manifest
from millirank_engines.drift import LengthProfile, length_profile
from millirank_engines.pack import pair_length

from .records import Asked

ROLES: Mapping[Task, str] = {"embed": "encoder", "rerank": "reranker"}  # the folders of an index's engines
SPECIAL = 2  # tokens around a query alone


def query_lengths(asked: Sequence[Asked], tokenizer: Tokenizer) -> NDArray[np.int64]:
    """The tokens of each query by the model's template, special ones not included, shape (n,)."""
    return np.array([len(ids) for ids in tokenizer.queries([a.query for a in asked])], np.int64)


def tells_pairs(asked: Sequence[Asked]) -> bool:
    """Whether any request tells the lengths of its pairs."""
    return any(a.lengths is not None for a in asked)


def histograms(asked: Sequence[Asked], tokenizer: Tokenizer, *, source: str) -> LengthProfile:
    """The lengths of what comes to one engine, as far as the traffic itself tells them.

    Args:
        asked: the requests. Of a reranker's only those count that tell the lengths of their pairs.
        tokenizer: of the engine's model.
        source: where the requests come from: a path.

    Raises:
        EngineError: if there is none.
    """
    task = tokenizer.spec.task
    if task == "embed":
        return _profile(task, asked, [[n + SPECIAL] for n in query_lengths(asked, tokenizer).tolist()], source)
    told = [a for a in asked if a.lengths is not None]
    return _profile(task, told, [a.lengths[: a.depth] for a in told if a.lengths is not None], source)


def _profile(
    task: Task, asked: Sequence[Asked], requests: Iterable[Sequence[int] | NDArray[np.int64]], source: str
) -> LengthProfile:
    return length_profile(task, requests, source=source, weights=[a.weight for a in asked])


class Traffic:
    """Requests in the tokens of an index's models. Owns the snapshot until close.

    Args:
        asked: the requests.
        directory: an index's folder.
        engines: the folder of encoder/ and reranker/; None means the index's own.
        seed: of the draw of products where a request names neither lengths nor candidates.

    Raises:
        CatalogError: if the folder holds no index.
        ArtifactRefused: if an engine of it was changed.
    """

    def __init__(self, asked: list[Asked], directory: Path, *, engines: Path | None = None, seed: int = 1) -> None:
        self.asked = asked
        self._snapshot = Snapshot.open(directory, hashes=False)
        root = engines or CatalogFolder(directory).engines
        self.folders = {task: root / name for task, name in ROLES.items()}
        self.manifests = {task: read_manifest(folder) for task, folder in self.folders.items()}
        self.specs: dict[Task, ModelSpec] = {task: manifest.model for task, manifest in self.manifests.items()}
        self.queries = {
            task: query_lengths(asked, Tokenizer(self.folders[task] / "tokenizer.json", spec))
            for task, spec in self.specs.items()
        }
        self.pairs = self._pairs(np.random.default_rng(seed))

    def close(self) -> None:
        """Lets the index be replaced."""
        self._snapshot.close()

    def profile(self, task: Task, source: str, *, depths: bool = True) -> LengthProfile:
        """The lengths of what comes to an engine of this index.

        Args:
            task: of the engine.
            source: where the requests come from.
            depths: whether how many pairs they have means anything.
        """
        embed = task == "embed"
        requests = (self.queries["embed"] + SPECIAL)[:, None] if embed else self.pairs
        return length_profile(task, requests, source=source, weights=[a.weight for a in self.asked], depths=depths)

    def _pairs(self, dice: np.random.Generator) -> list[NDArray[np.int64]]:
        """The tokens of each request's pairs: measured, of its candidates, or of products that are drawn."""
        known = self._snapshot.tokens.lengths(range(len(self._snapshot)))
        rows: dict[str, int] = {}
        if any(a.candidates for a in self.asked):
            rows = {id_: row for row, id_ in enumerate(self._snapshot.ids(range(len(self._snapshot))))}
        special = pair_length(0, 0, self.specs["rerank"])
        made = []
        for asked, query in zip(self.asked, self.queries["rerank"].tolist(), strict=True):
            if asked.lengths is not None:
                made.append(np.array(asked.lengths[: asked.depth], np.int64))
                continue
            if asked.candidates is not None:
                products = known[[rows[id_] for id_ in asked.candidates[: asked.depth] if id_ in rows]]
            else:
                products = dice.choice(known, min(asked.depth, len(known)), replace=False)
            made.append(products + query + special)
        return made

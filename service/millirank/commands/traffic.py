"""What shoppers asked for, as the demands that buckets are proposed for."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millirank.catalog.layout import CatalogFolder
from millirank.catalog.snapshot import Snapshot
from millirank.errors import ConfigError
from millirank.tokens import Tokenizer
from millirank_engines import ModelSpec, Task, read_manifest
from millirank_engines.base import Profile
from millirank_engines.build.demand import Demand, drawn_together
from millirank_engines.build.openvino import INDEXING
from millirank_engines.build.profiles import longest_input
from millirank_engines.pack import pair_length

KNOWN = {"query", "depth", "lengths", "candidates"}
TOGETHER = (1, 2, 4, 8)  # queries that the encoder meets at once; a file of queries does not tell
FORM = '{"query": "usb c cable", "depth": 50}'


@dataclass(frozen=True)
class Asked:
    """One request of a traffic file."""

    query: str
    depth: int
    lengths: tuple[int, ...] | None  # tokens of its pairs, special ones included
    candidates: tuple[str, ...] | None  # product ids


def read_traffic(path: Path, depth: int) -> list[Asked]:
    """The requests of a traffic file: a JSON object a line, with `query` and, if measured, the rest.

    Args:
        path: of the JSON Lines file.
        depth: candidates of a request that tells neither its depth, nor lengths, nor candidates.

    Raises:
        ConfigError: if it cannot be read, a line is of another form, or it holds no request.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): name a JSON Lines file with --from") from error
    asked = [_asked(path, number, line, depth) for number, line in enumerate(lines, 1) if line.strip()]
    if not asked:
        raise ConfigError(f"{path} holds no request: write a JSON object a line, such as {FORM}")
    return asked


def _asked(path: Path, number: int, line: str, depth: int) -> Asked:
    try:
        data = json.loads(line)
        wrong = ", ".join(sorted(data.keys() - KNOWN))
        made = _of_json(data, depth)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"{path}, line {number} ({error!r}): write an object such as {FORM}") from error
    if wrong or made.depth < 0 or min(made.lengths or (1,)) < 1:
        reason = f"unknown: {wrong}" if wrong else "a number is negative"
        raise ConfigError(f"{path}, line {number} ({reason}): use {', '.join(sorted(KNOWN))}, such as {FORM}")
    return made


def _of_json(data: Mapping[str, Any], depth: int) -> Asked:
    lengths, candidates = data.get("lengths"), data.get("candidates")
    known = lengths if lengths is not None else candidates
    return Asked(
        str(data["query"]),
        int(data["depth"]) if "depth" in data else depth if known is None else len(known),
        None if lengths is None else tuple(int(n) for n in lengths),
        None if candidates is None else tuple(str(id_) for id_ in candidates),
    )


class Traffic:
    """Requests in the tokens of an index's models. Owns the snapshot until close.

    Args:
        asked: the requests.
        directory: an index's folder.
        seed: of the draw of products where a request names neither lengths nor candidates.

    Raises:
        CatalogError: if the folder holds no index.
        ArtifactRefused: if an engine of it was changed.
    """

    def __init__(self, asked: list[Asked], directory: Path, seed: int = 1) -> None:
        self._asked = asked
        self._snapshot = Snapshot.open(directory, hashes=False)
        engines = CatalogFolder(directory).engines
        self.specs: dict[Task, ModelSpec] = {}
        self._queries: dict[Task, NDArray[np.int64]] = {}
        roles: dict[Task, str] = {"embed": "encoder", "rerank": "reranker"}
        for task, name in roles.items():
            spec = read_manifest(engines / name).model
            tokenizer = Tokenizer(engines / name / "tokenizer.json", spec)
            self.specs[task] = spec
            self._queries[task] = np.array([len(ids) for ids in tokenizer.queries([a.query for a in asked])])
        self._products = self._snapshot.tokens.lengths(range(len(self._snapshot)))
        self._dice = np.random.default_rng(seed)

    def close(self) -> None:
        """Lets the index be replaced."""
        self._snapshot.close()

    def of(self, task: Task) -> tuple[list[Demand], Profile]:
        """The demands of a task, and a shape that its buckets must hold whatever was measured."""
        return self._embed() if task == "embed" else self._rerank()

    def _embed(self) -> tuple[list[Demand], Profile]:
        """Queries alone and together, as they come; texts in batches of an indexing run must fit, too."""
        lengths = Counter((self._queries["embed"] + 2).tolist())
        return drawn_together(lengths, TOGETHER), Profile(INDEXING, longest_input(self.specs["embed"]))

    def _rerank(self) -> tuple[list[Demand], Profile]:
        """The pairs of every request, and the longest pair of the template at the largest depth."""
        spec = self.specs["rerank"]
        longest = longest_input(spec)
        pairs = [
            tuple(np.minimum(lengths, longest).tolist())
            for lengths in self._pairs(pair_length(0, 0, spec))
            if len(lengths)
        ]
        depth = max(map(len, pairs), default=1)
        return [Demand(lengths, count) for lengths, count in Counter(pairs).items()], Profile(depth, longest)

    def _pairs(self, special: int) -> Iterator[NDArray[np.int64]]:
        rows: dict[str, int] = {}
        if any(a.candidates for a in self._asked):
            rows = {id_: row for row, id_ in enumerate(self._snapshot.ids(range(len(self._snapshot))))}
        for asked, query in zip(self._asked, self._queries["rerank"].tolist(), strict=True):
            if asked.lengths is not None:
                yield np.array(asked.lengths[: asked.depth], np.int64)
                continue
            if asked.candidates is not None:
                known = [rows[id_] for id_ in asked.candidates[: asked.depth] if id_ in rows]
                products = self._products[known]
            else:
                products = self._dice.choice(self._products, min(asked.depth, len(self._products)), replace=False)
            yield products + query + special

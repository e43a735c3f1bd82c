"""What a reranker learns from: lists of products for a query, each with the score that it should get."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millirank_engines.artifact import sha256_of
from millirank_engines.base import EngineError

FORMAT = 2
TEACHER, JUDGED = 0, 1  # what the targets of a list are: scores of the teacher, or ratings of people


@dataclass(frozen=True)
class Packed:
    """Sequences of token ids, without special tokens, end to end in one array."""

    ids: NDArray[np.generic]  # uint16 or uint32, shape (tokens,)
    offsets: NDArray[np.int64]  # shape (n + 1,): sequence i is ids[offsets[i] : offsets[i + 1]]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[np.generic]:
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    @classmethod
    def of(cls, sequences: Sequence[Sequence[int] | NDArray[np.generic]], limit: int, dtype: str) -> "Packed":
        """Packs sequences, each cut to limit tokens, as dtype (uint16 or uint32)."""
        cut = [np.asarray(s[:limit], dtype=dtype) for s in sequences]
        offsets = np.zeros(len(cut) + 1, np.int64)
        np.cumsum([len(s) for s in cut], out=offsets[1:])
        return cls(np.concatenate([*cut, np.empty(0, dtype)]), offsets)

    def padded(self, limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """As a matrix (n, limit) of ids, zeros behind each end, and the lengths (n,); sequences are cut to limit."""
        lengths = np.minimum(np.diff(self.offsets), limit)
        column = np.arange(limit)[None, :]
        inside = column < lengths[:, None]
        where = np.minimum(self.offsets[:-1, None] + column, max(len(self.ids) - 1, 0))
        return np.where(inside, self.ids[where].astype(np.int64), 0), lengths


@dataclass(frozen=True)
class Lists:
    """n lists of at most width products each."""

    queries: Packed  # m distinct queries
    products: Packed  # of all catalogues, end to end
    query: NDArray[np.int32]  # (n,): the query of each list
    rows: NDArray[np.int32]  # (n, width): products; -1 where a list is shorter
    targets: NDArray[np.float32]  # (n, width): higher is better, comparable within a list only; 0 where rows is -1
    parts: NDArray[np.float16]  # (n, width, len(manifest["parts"])): what mined targets are mixed of, standard scores
    kind: NDArray[np.uint8]  # (n,): TEACHER or JUDGED
    source: NDArray[np.uint8]  # (n,): which catalogue, an index into manifest["catalogues"]
    manifest: Mapping[str, Any]  # key, template, catalogues, recipe: see millirank.mining

    def mixed(self, weights: Mapping[str, float]) -> "Lists":
        """With mined targets of sum of weight * part, 0 for parts that are not named; judged lists stay as they are.

        Raises:
            EngineError: if a part is unknown, or nothing teaches.
        """
        names: list[str] = self.manifest["parts"]
        if unknown := sorted(set(weights) - set(names)):
            raise EngineError(f"no part of the teacher is called {', '.join(unknown)}: mix {', '.join(names)}")
        if not any(weights.values()):
            raise EngineError(f"nothing teaches: give one of {', '.join(names)} a weight above 0")
        by_part = np.array([weights.get(name, 0.0) for name in names], np.float32)
        mined = (self.kind == TEACHER)[:, None]
        return replace(self, targets=np.where(mined, self.parts.astype(np.float32) @ by_part, self.targets))

    def mined(self) -> "Lists":
        """Without the judged lists, which stand behind the mined ones, and their queries."""
        count = int((self.kind == TEACHER).sum())
        last = int(self.query[:count].max(initial=-1)) + 1
        ends = self.queries.offsets[: last + 1]
        return replace(
            self,
            queries=Packed(self.queries.ids[: ends[-1]], ends),
            **{name: getattr(self, name)[:count] for name in ("query", "rows", "targets", "parts", "kind", "source")},
        )

    def save(self, folder: Path) -> None:
        """Writes lists.npz, then manifest.json, which makes the folder valid."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").unlink(missing_ok=True)
        part = folder / "lists.part.npz"
        np.savez(
            part,
            query_ids=self.queries.ids,
            query_offsets=self.queries.offsets,
            product_ids=self.products.ids,
            product_offsets=self.products.offsets,
            query=self.query,
            rows=self.rows,
            targets=self.targets,
            parts=self.parts,
            kind=self.kind,
            source=self.source,
        )
        part.replace(folder / "lists.npz")
        manifest = {**self.manifest, "format": FORMAT, "lists_sha256": sha256_of(folder / "lists.npz")}
        partial = folder / "manifest.part.json"
        partial.write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(folder / "manifest.json")

    @classmethod
    def open(cls, folder: Path) -> "Lists":
        """Reads what save wrote.

        Raises:
            EngineError: if the folder holds no lists, an unfinished write or those of another version.
        """
        fix = "mine again: `millirank train --index DIR --work " + str(folder) + " --mine-only`"
        manifest = read_manifest(folder)
        if manifest is None or manifest.get("format") != FORMAT:
            raise EngineError(f"{folder} holds no mined lists of this version: {fix}")
        if sha256_of(folder / "lists.npz") != manifest["lists_sha256"]:
            raise EngineError(f"{folder}/lists.npz is not the file that its manifest names: {fix}")
        with np.load(folder / "lists.npz") as a:
            return cls(
                queries=Packed(a["query_ids"], a["query_offsets"]),
                products=Packed(a["product_ids"], a["product_offsets"]),
                query=a["query"],
                rows=a["rows"],
                targets=a["targets"],
                parts=a["parts"],
                kind=a["kind"],
                source=a["source"],
                manifest=manifest,
            )


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a work folder; None where there is none."""
    try:
        manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return manifest

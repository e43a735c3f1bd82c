"""Cross-encoders as teachers: what they say of every pair of the mined lists joins the mined scores.

A teacher reads the token ids of the lists, so it must have their vocabulary: any BERT that shares the student's
tokenizer, larger ones (MiniLM-L12, BERT-base, BERT-large) among them, or the student of an earlier round.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from millirank_engines.artifact import sha256_of
from millirank_engines.base import EngineError

from . import crossencoder as net
from .lists import TEACHER, Lists
from .tensors import SETTINGS

CHUNKS = {"cpu": 256, "cuda": 2048}  # pairs of similar length that run together, by device
EQUAL = 1e-6  # a smaller spread of scores is none
Tell = Callable[[int, int], None]  # pairs scored, of how many


@dataclass(frozen=True)
class CrossTeacher:
    """A cross-encoder that teaches."""

    folder: Path  # in Hugging Face's form
    weight: float = 1.0  # of its standard scores, beside the mined ones

    @property
    def digest(self) -> str:
        """sha256 of its weights.

        Raises:
            EngineError: if there are none.
        """
        path = self.folder / "model.safetensors"
        if not path.is_file():
            raise EngineError(f"{self.folder} holds no teacher: name a folder with config.json and model.safetensors")
        return sha256_of(path)

    @property
    def key(self) -> str:
        """Of everything that its scores depend on: weights, shape and template.

        Raises:
            EngineError: if there are no weights.
        """
        files = [self.folder / name for name in ("config.json", SETTINGS)]
        parts = [self.digest, *(sha256_of(path) if path.is_file() else "" for path in files)]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def taught(
    lists: Lists,
    work: Path,
    teachers: Sequence[CrossTeacher],
    device: str,
    *,
    mined_weight: float = 1.0,
    tell: Tell = lambda done, of: None,  # noqa: ARG005
) -> Lists:
    """The lists with targets of mined_weight * mined + sum of weight * z(cross-encoder); judged lists stay as they are.

    Args:
        lists: what was mined.
        work: its folder; scores are kept there, and taken from there the next time.
        teachers: any number, also none.
        device: cuda or cpu.
        mined_weight: of the mined scores.
        tell: is told of the progress.

    Raises:
        EngineError: if a teacher has another vocabulary or no head, or nothing teaches.
    """
    if not teachers and not mined_weight:
        raise EngineError("nothing teaches: give the mined scores a weight above 0, or add --teacher FOLDER")
    if not teachers and mined_weight == 1:
        return lists
    mined = lists.kind == TEACHER
    targets = lists.targets.copy()
    targets[mined] *= mined_weight
    there = lists.rows[mined] >= 0
    for teacher in teachers:
        name = hashlib.sha256(f"{lists.manifest['lists_sha256']} {teacher.key}".encode()).hexdigest()[:16]
        kept = work / f"teacher-{name}.npy"
        if not kept.exists():
            scores = scored(lists, np.flatnonzero(mined), teacher.folder, device, tell)
            part = kept.with_suffix(f".{os.getpid()}.npy")  # others may train from the same folder
            np.save(part, scores)
            part.replace(kept)
        targets[mined] += teacher.weight * _standard(np.load(kept), there)
    return replace(lists, targets=targets)


def _standard(scores: NDArray[np.float32], there: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Standard scores over each row's entries that are there, 0 for the others and where all are equal."""
    count = np.maximum(there.sum(1, keepdims=True), 1)
    centred = np.where(there, scores - np.where(there, scores, 0).sum(1, keepdims=True) / count, 0)
    spread = np.sqrt((centred**2).sum(1, keepdims=True) / count)
    made: NDArray[np.float32] = np.where(spread > EQUAL, centred / np.maximum(spread, EQUAL), 0).astype(np.float32)
    return made


def scored(
    lists: Lists,
    chosen: NDArray[np.int64],
    folder: Path,
    device: str,
    tell: Tell = lambda done, of: None,  # noqa: ARG005
) -> NDArray[np.float32]:
    """A cross-encoder's logits of lists, read as its own template says.

    Args:
        lists: among them the chosen ones.
        chosen: which, (n,).
        folder: of the model, in Hugging Face's form.
        device: cuda or cpu.
        tell: is told of the progress.

    Returns:
        (n, width); 0 where a list is shorter.

    Raises:
        EngineError: if the model has another vocabulary or no head.
    """
    import torch

    config, weights = net.load(folder, device)
    shape = net.Shape.read(config)
    if "classifier.weight" not in weights or len(weights["classifier.weight"]) != 1:
        raise EngineError(f"{folder} is no cross-encoder with one score: name another --teacher")
    largest = max(int(lists.products.ids.max(initial=0)), int(lists.queries.ids.max(initial=0)))
    if config["vocab_size"] <= largest:
        raise EngineError(
            f"{folder} has {config['vocab_size']} tokens, the lists have a token {largest}: "
            "a teacher must share the student's tokenizer"
        )
    template = {**lists.manifest["template"], **net.settings(folder).get("template", {})}
    query, query_lengths = lists.queries.padded(template["query_tokens"])
    product, product_lengths = lists.products.padded(template["product_tokens"])
    rows = lists.rows[chosen]
    at, _ = np.nonzero(rows >= 0)
    asked, shown = lists.query[chosen][at], rows[rows >= 0]
    lengths = query_lengths[asked] + product_lengths[shown] + 3
    order = np.argsort(-lengths, kind="stable")  # the longest first: what does not fit in memory fails at once
    found = np.empty(len(order), np.float32)
    chunk = CHUNKS["cuda" if device.startswith("cuda") else "cpu"]
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda")):
        for start in range(0, len(order), chunk):
            c = order[start : start + chunk]
            q, ql, p, pl = (
                torch.from_numpy(np.ascontiguousarray(a)).to(device)
                for a in (query[asked[c]], query_lengths[asked[c]], product[shown[c]], product_lengths[shown[c]])
            )
            length = -(-int(lengths[c].max()) // 8) * 8 if device.startswith("cuda") else int(lengths[c].max())
            pairs = net.pack(q, ql, p, pl, length, lists.manifest["special"])
            found[c] = net.logits(weights, shape, pairs).cpu().numpy()
            tell(min(start + chunk, len(order)), len(order))
    scores = np.zeros(rows.shape, np.float32)
    scores[rows >= 0] = found
    return scores

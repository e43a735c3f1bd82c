"""Teachers: what cross-encoders and sentence encoders say of every pair of the mined lists joins the mined scores.

A teacher reads the token ids of the lists, so it must have their vocabulary: any BERT that shares the student's
tokenizer, larger ones (MiniLM-L12, BERT-base, BERT-large) among them, an MPNet, or the student of an earlier round.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from millirank_engines.artifact import sha256_of
from millirank_engines.base import EngineError

from . import crossencoder as net
from . import mpnet, torchpack
from .lists import TEACHER, Lists, Packed
from .source import open_source
from .tensors import SETTINGS

if TYPE_CHECKING:
    from torch import Tensor

CHUNKS = {"cpu": 256, "cuda": 2048}  # pairs of similar length that run together, by device
EQUAL = 1e-6  # a smaller spread of scores is none
Tell = Callable[[int, int], None]  # pairs scored, of how many


@dataclass(frozen=True)
class Teacher:
    """A cross-encoder that teaches by its scores, or a sentence encoder that does by cosines."""

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
        """Of everything that its scores depend on: weights, shape, template, and how an encoder pools.

        Raises:
            EngineError: if there are no weights.
        """
        files = [self.folder / name for name in ("config.json", SETTINGS)]
        parts = [self.digest, *(sha256_of(path) if path.is_file() else "" for path in files)]
        parts += [sha256_of(path) for path in sorted(self.folder.glob("*Pooling/config.json"))]
        return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def taught(
    lists: Lists,
    work: Path,
    teachers: Sequence[Teacher],
    device: str,
    *,
    mined_weight: float = 1.0,
    tell: Tell = lambda done, of: None,  # noqa: ARG005
) -> Lists:
    """The lists with targets of mined_weight * mined + sum of weight * z(teacher); judged lists stay as they are.

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
    """What a model says of lists, read as its template says: a cross-encoder's logits, a sentence encoder's cosines.

    Args:
        lists: among them the chosen ones.
        chosen: which, (n,).
        folder: of the model, in Hugging Face's form; without a head it is an encoder.
        device: cuda or cpu.
        tell: is told of the progress.

    Returns:
        (n, width); 0 where a list is shorter.

    Raises:
        EngineError: if the model has another vocabulary or several scores, or is an encoder that pools in another way.
    """
    import torch

    config, weights = net.load(folder, device)
    if "classifier.weight" in weights and len(weights["classifier.weight"]) != 1:
        raise EngineError(f"{folder} is a classifier of several classes, no cross-encoder: name another --teacher")
    largest = max(int(lists.products.ids.max(initial=0)), int(lists.queries.ids.max(initial=0)))
    if config["vocab_size"] <= largest:
        raise EngineError(
            f"{folder} has {config['vocab_size']} tokens, the lists have a token {largest}: "
            "a teacher must share the student's tokenizer"
        )
    mpnet.refuse_others(config, lists.manifest["special"])
    rows = lists.rows[chosen]
    at, _ = np.nonzero(rows >= 0)
    template = {**lists.manifest["template"], **net.settings(folder).get("template", {})}
    reader = _Reader(lists, template, device, weights, net.Shape.read(config), tell)
    asked, shown = lists.query[chosen][at], rows[rows >= 0]
    with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16, enabled=device.startswith("cuda")):
        if "classifier.weight" in weights:
            found = _logits(reader, asked, shown)
        else:
            found = _cosines(reader, asked, shown, first=open_source(str(folder)).pooling() == "cls")
    scores = np.zeros(rows.shape, np.float32)
    scores[rows >= 0] = found
    return scores


@dataclass(frozen=True)
class _Reader:
    """A network and the texts of lists, cut as its template says, on the device."""

    lists: Lists
    template: Mapping[str, Any]  # of the lists, with what the model's own says otherwise
    device: str
    weights: "dict[str, Tensor]"
    shape: net.Shape
    tell: Tell

    def on(self, values: NDArray[np.generic]) -> "Tensor":
        """Numbers on the device."""
        import torch

        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def chunks(self, lengths: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], int]]:
        """Places of similar length and their longest; the longest first: what does not fit in memory fails at once."""
        order = np.argsort(-lengths, kind="stable")
        cuda = self.device.startswith("cuda")
        chunk = CHUNKS["cuda" if cuda else "cpu"]
        for start in range(0, len(order), chunk):
            some = order[start : start + chunk]
            longest = int(lengths[some].max())
            yield some, -(-longest // 8) * 8 if cuda else longest
            self.tell(min(start + chunk, len(order)), len(order))


def _logits(reader: _Reader, asked: NDArray[np.int32], shown: NDArray[np.int32]) -> NDArray[np.float32]:
    """A cross-encoder's score of each query, (pairs,), with the product beside it, (pairs,)."""
    query, query_lengths = reader.lists.queries.padded(reader.template["query_tokens"])
    product, product_lengths = reader.lists.products.padded(reader.template["product_tokens"])
    found = np.empty(len(asked), np.float32)
    for c, length in reader.chunks(query_lengths[asked] + product_lengths[shown] + 3):
        parts = query[asked[c]], query_lengths[asked[c]], product[shown[c]], product_lengths[shown[c]]
        q, ql, p, pl = map(reader.on, parts)
        pairs = torchpack.pack(q, ql, p, pl, length, reader.lists.manifest["special"])
        found[c] = net.logits(reader.weights, reader.shape, pairs).cpu().numpy()
    return found


def _cosines(
    reader: _Reader, asked: NDArray[np.int32], shown: NDArray[np.int32], *, first: bool
) -> NDArray[np.float32]:
    """A sentence encoder's cosine of each query with the product beside it, pooled as _embedded says."""
    queries = _embedded(reader, reader.lists.queries, reader.template["query_tokens"], asked, first=first)
    products = _embedded(reader, reader.lists.products, reader.template["product_tokens"], shown, first=first)
    return np.asarray(np.einsum("ij,ij->i", queries[asked], products[shown]), np.float32)


def _embedded(
    reader: _Reader, texts: Packed, limit: int, wanted: NDArray[np.int32], *, first: bool
) -> NDArray[np.float32]:
    """The unit vectors of the texts that are wanted, (texts, hidden), of their first token or their mean; else 0."""
    ids, lengths = texts.padded(limit)
    which = np.unique(wanted)
    found = np.zeros((len(texts), reader.shape.hidden), np.float32)
    for c, length in reader.chunks(lengths[which] + 2):
        some, special = which[c], reader.lists.manifest["special"]
        packed = torchpack.pack_texts(reader.on(ids[some]), reader.on(lengths[some]), length, special)
        last = net.last_state(reader.weights, reader.shape, packed).float()
        pooled = last[:, 0] if first else (last * packed.mask[:, :, None]).sum(1)
        found[some] = (pooled / pooled.norm(dim=1, keepdim=True)).cpu().numpy()
    return found

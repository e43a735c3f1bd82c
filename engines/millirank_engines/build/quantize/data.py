"""What a model is calibrated on: token batches without padding, because nothing that is padding may set a range."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import EngineError, Profile, Tensors
from millirank_engines.model import ModelSpec
from millirank_engines.pack import Ids, pack_pairs, pack_sequences, pair_length

TOKENS = 4096  # of a batch at most: bounds the memory of its activations (about 150 MB for MiniLM)
HELD = 4  # every HELDth text is held back
Pair = tuple[Ids, Ids]  # query and product


@dataclass(frozen=True)
class CalibrationData:
    """Batches of inputs, and where they are from."""

    batches: tuple[Tensors, ...]  # input_ids, attention_mask and, if the model has them, token_type_ids: int32
    origin: str  # such as traffic, catalogue or random

    @property
    def digest(self) -> str:
        """The sha256 of all of it, in hex."""
        found = hashlib.sha256(self.origin.encode())
        for batch in self.batches:
            for name, value in sorted(batch.items()):
                found.update(f"{name}{value.shape}".encode())
                found.update(np.ascontiguousarray(value, np.int32).tobytes())
        return found.hexdigest()

    @property
    def rows(self) -> int:
        """Sequences in all batches."""
        return sum(len(batch["input_ids"]) for batch in self.batches)

    def __str__(self) -> str:
        return f"{self.rows} sequences of {self.origin}"


def sequences_data(sequences: Sequence[Ids], spec: ModelSpec, origin: str) -> CalibrationData:
    """An encoder's data from token ids without special tokens; longer ones than it takes are cut.

    Raises:
        EngineError: if there are none.
    """
    cut = [ids[: spec.max_length - 2] for ids in sequences if len(ids)]
    lengths = [len(ids) + 2 for ids in cut]
    batches = [
        pack_sequences([cut[i] for i in rows], Profile(len(rows), length), spec)
        for rows, length in _alike(lengths, origin)
    ]
    return CalibrationData(tuple(batches), origin)


def pairs_data(pairs: Sequence[tuple[Ids, Ids]], spec: ModelSpec, origin: str) -> CalibrationData:
    """A reranker's data from token ids of queries and products; a pair longer than it takes is cut.

    Raises:
        EngineError: if there are none.
    """
    kept = [(query, product) for query, product in pairs if len(query) and len(product)]
    lengths = [min(pair_length(len(query), len(product), spec), spec.max_length) for query, product in kept]
    batches = []
    for rows, length in _alike(lengths, origin):
        queries, products = zip(*(kept[i] for i in rows), strict=True)
        batches.append(pack_pairs(queries, products, Profile(len(rows), length), spec))
    return CalibrationData(tuple(batches), origin)


def sequences_of(data: CalibrationData) -> list[Ids]:
    """The token ids without special tokens that an encoder's data was made of, in the order of its batches."""
    return [
        ids[1 : int(mask.sum()) - 1]
        for batch in data.batches
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]


def pairs_of(data: CalibrationData, spec: ModelSpec) -> list[Pair]:
    """The queries and products that a reranker's data was made of, as far as they fit into its length."""
    made = []
    for ids in sequences_of(data):
        end = int(np.flatnonzero(ids == spec.sep_id)[0])
        made.append((ids[:end], ids[end + 1 :]))
    return made


def random_sequences(count: int, spec: ModelSpec, longest: int, seed: int = 0) -> list[NDArray[np.int32]]:
    """Token ids drawn evenly from the vocabulary, of 1 to longest tokens: what needs no data at all."""
    dice = np.random.default_rng(seed)
    special = (spec.cls_id, spec.sep_id, spec.pad_id)
    ordinary = np.setdiff1d(np.arange(spec.vocab_size, dtype=np.int32), special)
    return [dice.choice(ordinary, int(n)) for n in dice.integers(1, longest + 1, count)]


def split(data: CalibrationData) -> tuple[CalibrationData, CalibrationData]:
    """What calibrates and what is held back: every HELDth sequence of each batch, or whole batches of one.

    Sequences that are repeated may land in both: see distinct.

    Raises:
        EngineError: if one half would be empty.
    """
    used: list[Tensors] = []
    held: list[Tensors] = []
    turn = 0
    for batch in data.batches:
        places = np.arange(turn, turn + len(batch["input_ids"]))
        turn += len(places)
        for into, mask in ((used, places % HELD != 0), (held, places % HELD == 0)):
            if mask.any():
                into.append({name: value[mask] for name, value in batch.items()})
    if not used or not held:
        raise _too_few(str(data))
    return CalibrationData(tuple(used), data.origin), CalibrationData(tuple(held), data.origin)


def distinct(texts: Iterable[Ids]) -> list[Ids]:
    """The texts without repetitions, in their order."""
    return list({_bytes(ids): ids for ids in texts}.values())


def distinct_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """The pairs without repetitions, in their order."""
    return list({(_bytes(query), _bytes(product)): (query, product) for query, product in pairs}.values())


def split_pairs(pairs: Sequence[Pair], origin: str) -> tuple[list[Pair], list[Pair]]:
    """Distinct pairs, those that calibrate and those that are held back; no query or product is in both.

    One of HELD queries is held back, the last ones, and as many products, those that mostly they are paired with. Pairs
    of what is held back with what is not are left out.

    Raises:
        EngineError: if one half would be empty.
    """
    names = [(_bytes(query), _bytes(product)) for query, product in pairs]
    queries = list(dict.fromkeys(query for query, _ in names))
    away = set(queries[len(queries) - len(queries) // HELD :])
    sides: dict[bytes, list[bool]] = {}
    for query, product in names:
        sides.setdefault(product, []).append(query in away)
    nearest = sorted(sides, key=lambda product: -sum(sides[product]) / len(sides[product]))
    away_too = set(nearest[: len(nearest) // HELD])
    halves: tuple[list[Pair], list[Pair]] = ([], [])
    for (query, product), pair in zip(names, pairs, strict=True):
        if (query in away) == (product in away_too):
            halves[query in away].append(pair)
    if not all(halves):
        raise _too_few(f"{len(pairs)} pairs of {origin}")
    return halves


def _bytes(ids: Ids) -> bytes:
    return np.asarray(ids, np.int32).tobytes()


def _too_few(what: str) -> EngineError:
    return EngineError(
        f"{what} are too few to calibrate on some and hold back others: give {2 * HELD} or more, best 500"
    )


def _alike(lengths: Sequence[int], origin: str) -> list[tuple[list[int], int]]:
    """Places of equal length in batches of at most TOKENS tokens, short ones first."""
    if not lengths:
        raise EngineError(f"there is no text to calibrate on in {origin}: give sampled traffic, an index, or random")
    made = []
    for length, group in groupby(sorted(range(len(lengths)), key=lambda i: (lengths[i], i)), key=lambda i: lengths[i]):
        places, most = list(group), max(1, TOKENS // length)
        made += [(places[i : i + most], length) for i in range(0, len(places), most)]
    return made

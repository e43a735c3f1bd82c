"""Token ids into the padded tensors that engines take: one sequence, or a (query, product) pair, a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .base import EngineError, Profile, Tensors
from .model import ModelSpec

Ids = NDArray[np.generic]  # integers, shape (n,), without special tokens


@dataclass(frozen=True, eq=False)
class Ragged:
    """Sequences end to end: packing fifty takes a dozen array operations, where one by one it takes hundreds."""

    ids: Ids  # of all, (total,)
    lengths: NDArray[np.int64]  # of each, (n,); their sum is total

    @classmethod
    def of(cls, sequences: "Sequence[Ids] | Ragged") -> "Ragged":
        """The same sequences end to end."""
        if isinstance(sequences, Ragged):
            return sequences
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        return cls(np.concatenate(sequences) if len(sequences) else np.empty(0, np.int32), lengths)

    @classmethod
    def gather(cls, ids: Ids, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> "Ragged":
        """The sequences that begin at these places of a longer array, (n,), and have these lengths, (n,)."""
        ends = lengths.cumsum()
        index = np.arange(ends[-1] if len(ends) else 0) + (starts - ends + lengths).repeat(lengths)
        return cls(ids[index], lengths)

    @classmethod
    def joined(cls, parts: "Sequence[Ragged]") -> "Ragged":
        """The sequences of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        return cls(np.concatenate([part.ids for part in parts]), np.concatenate([part.lengths for part in parts]))

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, members: NDArray[np.intp]) -> "Ragged":
        """Those at these positions, (m,), in that order."""
        if len(members) == len(self) and (members[1:] > members[:-1]).all():
            return self
        return self.gather(self.ids, (self.lengths.cumsum() - self.lengths)[members], self.lengths[members])

    def cut(self, room: NDArray[np.int64]) -> "Ragged":
        """Each cut to at most so many tokens, (n,)."""
        kept = np.minimum(self.lengths, room)
        if (kept == self.lengths).all():
            return self
        return self.gather(self.ids, self.lengths.cumsum() - self.lengths, kept)


def _padded(values: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Followed by zeros, (n,): those of rows that nobody asked for."""
    return np.concatenate([values, np.zeros(n - len(values), np.int64)]) if len(values) < n else values


def pack_sequences(sequences: Sequence[Ids], profile: Profile, spec: ModelSpec) -> Tensors:
    """Sequences with their special tokens, padded to the profile; rows past the last sequence repeat an empty one.

    Args:
        sequences: at most profile.batch arrays of token ids; each longer than the profile allows is cut.
        profile: the shape to pad to.
        spec: the model whose special tokens are used.

    Returns:
        input_ids, attention_mask and, where the model has them, token_type_ids; int32, (batch, length).
    """
    ids = np.full((profile.batch, profile.length), spec.pad_id, np.int32)
    mask = np.zeros(ids.shape, np.int32)
    ids[:, 0], ids[:, 1], mask[:, :2] = spec.cls_id, spec.sep_id, 1
    for row, sequence in enumerate(sequences):  # few: a query each
        tokens = sequence[: profile.length - 2]
        end = 1 + len(tokens)
        ids[row, 1:end], ids[row, end], mask[row, : end + 1] = tokens, spec.sep_id, 1
    return _feeds(ids, mask, np.zeros(ids.shape, np.int32), spec)


def pair_length(query: int, product: int, spec: ModelSpec) -> int:
    """Tokens of a pair, special ones included, of a query and a product of that many tokens."""
    return query + product + 2 + spec.pair_separators


def pack_pairs(
    queries: Sequence[Ids],
    products: "Sequence[Ids] | Ragged",
    profile: Profile,
    spec: ModelSpec,
    owners: NDArray[np.intp] | None = None,
) -> Tensors:
    """Pairs as [CLS] query [SEP] product [SEP], padded to the profile; a product too long is cut, never the query.

    Args:
        queries: arrays of token ids.
        products: at most profile.batch.
        profile: the shape to pad to.
        spec: the model whose special tokens are used.
        owners: the position of each product's query, (n,), ascending; None: each product has a query of its own, in
            order.

    Returns:
        input_ids, attention_mask and, where the model has them, token_type_ids; int32, (batch, length).

    Raises:
        EngineError: if a query alone is longer than the profile.
    """
    given = Ragged.of(products)
    asked = np.array([len(query) for query in queries], np.int64)
    asked = asked if owners is None else asked[owners]
    starts = 1 + asked + spec.pair_separators
    if len(starts) and starts.max() >= profile.length:
        raise EngineError(
            f"a query of {asked.max()} tokens does not fit in a pair of {profile.length}: cut it to the template's "
            f"{spec.template.query_tokens}, or build longer profiles: `millirank engine build --profiles`"
        )
    kept = given.cut(profile.length - 1 - starts)
    asked, rows, columns = _padded(asked, profile.batch), *_places(profile)
    starts = 1 + asked + spec.pair_separators
    ends = starts + _padded(kept.lengths, profile.batch)  # where the last [SEP] stands
    ids = np.empty((profile.batch, profile.length), np.int32)
    ids.fill(spec.pad_id)
    flat = ids.reshape(-1)
    before = kept.lengths.cumsum() - kept.lengths
    flat[np.arange(len(kept.ids)) + ((rows + starts)[: len(kept)] - before).repeat(kept.lengths)] = kept.ids
    owned = np.arange(len(given)) if owners is None else owners
    for place, query in enumerate(queries):
        begin, end = (0, len(given)) if len(queries) == 1 else owned.searchsorted((place, place + 1))
        if begin < end:
            ids[begin:end, 1 : 1 + len(query)] = query
    ids[:, 0] = spec.cls_id
    for separator in range(spec.pair_separators):
        flat[rows + asked + (1 + separator)] = spec.sep_id
    flat[rows + ends] = spec.sep_id
    mask = columns <= ends[:, None]
    types = mask & (columns >= starts[:, None]) if spec.type_ids else mask
    return _feeds(ids, mask, types.view(np.int8), spec)


@lru_cache(maxsize=256)
def _places(profile: Profile) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each row begins in a flat array, (batch,), and the columns, (length,); nobody may change them."""
    return np.arange(profile.batch) * profile.length, np.arange(profile.length)


def _feeds(ids: NDArray[np.int32], mask: NDArray[np.generic], types: NDArray[np.integer], spec: ModelSpec) -> Tensors:
    feeds = {"input_ids": ids, "attention_mask": mask.astype(np.int32, copy=False)}
    if spec.type_ids:
        feeds["token_type_ids"] = types.astype(np.int32, copy=False)
    return feeds

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
    """Sequences that lie somewhere in one array: parts of them are taken without a copy."""

    ids: Ids  # (total,)
    starts: NDArray[np.int64]  # where each begins there, (n,)
    lengths: NDArray[np.int64]  # of each, (n,)

    @classmethod
    def of(cls, sequences: "Sequence[Ids] | Ragged") -> "Ragged":
        """The same sequences end to end."""
        if isinstance(sequences, Ragged):
            return sequences
        lengths = np.array([len(sequence) for sequence in sequences], np.int64)
        ids = np.concatenate(sequences) if len(sequences) else np.empty(0, np.int32)
        return cls(ids, lengths.cumsum() - lengths, lengths)

    @classmethod
    def joined(cls, parts: "Sequence[Ragged]") -> "Ragged":
        """The sequences of all parts, in order; only those of different arrays are copied."""
        first = parts[0]
        if len(parts) == 1:
            return first
        if any(part.ids is not first.ids for part in parts):
            return cls.of([part[i] for part in parts for i in range(len(part))])
        starts, lengths = zip(*((part.starts, part.lengths) for part in parts), strict=True)
        return cls(first.ids, np.concatenate(starts), np.concatenate(lengths))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> Ids:
        """One of them, (lengths[i],)."""
        return self.ids[self.starts[i] : self.starts[i] + self.lengths[i]]

    def head(self, n: int) -> "Ragged":
        """The first n."""
        return self if n >= len(self) else Ragged(self.ids, self.starts[:n], self.lengths[:n])

    def take(self, members: NDArray[np.intp]) -> "Ragged":
        """Those at these positions, (m,), in that order."""
        return Ragged(self.ids, self.starts.take(members), self.lengths.take(members))


def pack_sequences(sequences: Sequence[Ids], profile: Profile, spec: ModelSpec) -> Tensors:
    """Sequences with their special tokens, padded to the profile; rows past the last sequence repeat an empty one.

    Args:
        sequences: at most profile.batch arrays of token ids; each longer than the profile allows is cut.
        profile: the shape to pad to.
        spec: the model whose special tokens are used.

    Returns:
        input_ids, attention_mask and, where the model has them, token_type_ids; int32, (batch, length).
    """
    ids = np.zeros((profile.batch, profile.length), np.int32)
    mask, types = np.zeros(ids.shape, np.int32), np.zeros(ids.shape, np.int32)
    if spec.pad_id:
        ids.fill(spec.pad_id)
    ids[:, 0], ids[:, 1], mask[:, :2] = spec.cls_id, spec.sep_id, 1
    for row, sequence in enumerate(sequences):  # few: a query each
        tokens = sequence[: profile.length - 2]
        end = 1 + len(tokens)
        ids[row, 1:end], ids[row, end], mask[row, : end + 1] = tokens, spec.sep_id, 1
    return _feeds(ids, mask, types, spec)


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
    n, (rows, columns, upto) = len(given), _places(profile)
    around_query = 1 + spec.pair_separators
    begins = np.full(profile.batch, around_query)  # of the products
    heads = [around_query + len(query) for query in queries]
    if n:
        begins[:n] = heads if owners is None or len(heads) == 1 else np.array(heads).take(owners)
    if max(heads, default=0) >= profile.length and (longest := begins.max()) >= profile.length:
        raise EngineError(
            f"a query of {longest - around_query} tokens does not fit in a pair of {profile.length}: cut it to the "
            f"template's {spec.template.query_tokens}, or build longer profiles: `millirank engine build --profiles`"
        )
    ends, places = begins.copy(), -begins  # where the last [SEP] stands; where column 0 would be among the products
    ends[:n] = np.minimum(ends[:n] + given.lengths, profile.length - 1)
    places[:n] += given.starts
    mask, middles = upto.take(ends, 0), begins - 1  # the latter: where the last [SEP] before the product stands
    second = mask - upto.take(middles, 0)  # the product and the [SEP] behind it
    if len(given.ids):
        around = given.ids.take(columns + places[:, None], mode="clip")  # and what lies beside the products there
        ids = np.multiply(around, second, dtype=np.int32, casting="same_kind")
    else:
        ids = np.zeros_like(mask)
    if spec.pad_id:
        ids += (1 - mask) * np.int32(spec.pad_id)
    for place, query in enumerate(queries):
        begin, end = (0, n) if len(queries) == 1 else _span(place, owners)
        if begin < end:  # it may be longer than the profile of a call that has none of its pairs
            ids[begin:end, 1 : 1 + len(query)] = query
    ids[:, 0] = spec.cls_id
    flat = ids.reshape(-1)
    for separator in range(spec.pair_separators):
        flat[rows + (middles - separator)] = spec.sep_id
    flat[rows + ends] = spec.sep_id
    return _feeds(ids, mask, second, spec)


def _span(place: int, owners: NDArray[np.intp] | None) -> tuple[int, int]:
    """Which rows are the query's at that place: begin and end."""
    if owners is None:
        return place, place + 1
    begin, end = owners.searchsorted((place, place + 1)).tolist()
    return begin, end


@lru_cache(maxsize=256)
def _places(profile: Profile) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """What is the same for all pairs of a profile; nobody may change it.

    Returns:
        Where each row begins in a flat array, (batch,); the columns, (length,); and for each column a row that is 1 up
        to it and 0 behind it, (length, length).
    """
    columns = np.arange(profile.length)
    return np.arange(profile.batch) * profile.length, columns, _upto(profile.length)


@lru_cache(maxsize=64)
def _upto(length: int) -> NDArray[np.int32]:
    return np.tri(length, dtype=np.int32)


def _feeds(ids: NDArray[np.int32], mask: NDArray[np.int32], types: NDArray[np.int32], spec: ModelSpec) -> Tensors:
    feeds = {"input_ids": ids, "attention_mask": mask}
    if spec.type_ids:
        feeds["token_type_ids"] = types
    return feeds

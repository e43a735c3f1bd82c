"""Token ids into the padded tensors that engines take: one sequence, or a (query, product) pair, a row."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .base import EngineError, Profile, Tensors
from .model import ModelSpec

Ids = NDArray[np.generic]  # integers, shape (n,), without special tokens
_NONE: Ids = np.empty(0, np.int32)


def _empty(profile: Profile, spec: ModelSpec) -> dict[str, NDArray[np.int32]]:
    shape = (profile.batch, profile.length)
    feeds = {"input_ids": np.full(shape, spec.pad_id, np.int32), "attention_mask": np.zeros(shape, np.int32)}
    if spec.type_ids:
        feeds["token_type_ids"] = np.zeros(shape, np.int32)
    return feeds


def pack_sequences(sequences: Sequence[Ids], profile: Profile, spec: ModelSpec) -> Tensors:
    """Sequences with their special tokens, padded to the profile; rows past the last sequence repeat an empty one.

    Args:
        sequences: at most profile.batch arrays of token ids; each longer than the profile allows is cut.
        profile: the shape to pad to.
        spec: the model whose special tokens are used.

    Returns:
        input_ids, attention_mask and, where the model has them, token_type_ids; int32, (batch, length).
    """
    feeds = _empty(profile, spec)
    ids, mask = feeds["input_ids"], feeds["attention_mask"]
    room = profile.length - 2
    for row in range(profile.batch):
        tokens = sequences[row][:room] if row < len(sequences) else _NONE
        n = len(tokens)
        ids[row, 0] = spec.cls_id
        ids[row, 1 : n + 1] = tokens
        ids[row, n + 1] = spec.sep_id
        mask[row, : n + 2] = 1
    return feeds


def pair_length(query: int, product: int, spec: ModelSpec) -> int:
    """Tokens of a pair, special ones included, of a query and a product of that many tokens."""
    return query + product + 2 + spec.pair_separators


def pack_pairs(queries: Sequence[Ids], products: Sequence[Ids], profile: Profile, spec: ModelSpec) -> Tensors:
    """Pairs as [CLS] query [SEP] product [SEP], padded to the profile; a product too long is cut, never the query.

    Args:
        queries: at most profile.batch arrays of token ids, one a pair.
        products: as many arrays of token ids.
        profile: the shape to pad to.
        spec: the model whose special tokens are used.

    Returns:
        input_ids, attention_mask and, where the model has them, token_type_ids; int32, (batch, length).

    Raises:
        EngineError: if a query alone is longer than the profile.
    """
    feeds = _empty(profile, spec)
    ids, mask = feeds["input_ids"], feeds["attention_mask"]
    types = feeds.get("token_type_ids")
    for row in range(profile.batch):
        query, product = (queries[row], products[row]) if row < len(queries) else (_NONE, _NONE)
        start = 1 + len(query) + spec.pair_separators
        room = profile.length - start - 1
        if room < 0:
            raise EngineError(
                f"a query of {len(query)} tokens does not fit in a pair of {profile.length}: cut it to the template's "
                f"{spec.template.query_tokens}, or build longer profiles: `millirank engine build --profiles`"
            )
        product = product[:room]
        end = start + len(product)
        ids[row, 0] = spec.cls_id
        ids[row, 1 : 1 + len(query)] = query
        ids[row, 1 + len(query) : start] = spec.sep_id
        ids[row, start:end] = product
        ids[row, end] = spec.sep_id
        mask[row, : end + 1] = 1
        if types is not None:
            types[row, start : end + 1] = 1
    return feeds

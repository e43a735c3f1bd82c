"""Texts into vectors, many at once: batches sorted by length, so that little of them is padding."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import Engine, Profile, cheapest_profile
from millirank_engines.model import ModelSpec
from millirank_engines.pack import pack_sequences

SPECIAL_TOKENS = 2  # of one sequence


def plan(lengths: Sequence[int], profiles: Sequence[Profile]) -> list[tuple[Profile, int]]:
    """Cuts sequences into batches, each the profile with the least padded tokens a sequence.

    Args:
        lengths: tokens of each sequence, special ones included, descending.
        profiles: the engine's.

    Returns:
        The profile and how many sequences it takes, in the order of the lengths.

    Raises:
        EngineError: if a sequence fits no profile.
    """
    batches = []
    start = 0
    while start < len(lengths):
        left = len(lengths) - start
        cheapest_profile(profiles, 1, lengths[start])  # raises where none fits
        fitting = [profile for profile in profiles if profile.length >= lengths[start]]
        best = min(fitting, key=lambda p: (p.tokens / min(p.batch, left), -p.batch))
        batches.append((best, min(best.batch, left)))
        start += best.batch
    return batches


def encode_all(engine: Engine, spec: ModelSpec, sequences: Sequence[NDArray[np.generic]]) -> NDArray[np.float32]:
    """The embeddings of sequences of token ids, shape (n, spec.dim), in their order.

    Raises:
        EngineError: if a sequence fits no profile, or the engine fails.
    """
    vectors = np.empty((len(sequences), spec.dim), np.float32)
    order = sorted(range(len(sequences)), key=lambda i: -len(sequences[i]))
    start = 0
    for profile, count in plan([len(sequences[i]) + SPECIAL_TOKENS for i in order], engine.profiles):
        batch = order[start : start + count]
        feeds = pack_sequences([sequences[i] for i in batch], profile, spec)
        vectors[batch] = engine.infer(feeds)["embedding"][:count]
        start += count
    return vectors

"""Many texts through an engine of fixed profiles, packed by length."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from millirank_engines.base import Engine, Profile, Tensors
from millirank_engines.model import ModelSpec
from millirank_engines.pack import Ids, pack_pairs, pack_sequences, pair_length

Told = Callable[[float], None]  # the share that is done, after every batch


def embed(engine: Engine, spec: ModelSpec, sequences: Sequence[Ids], told: Told | None = None) -> NDArray[np.float32]:
    """The embeddings of token ids without special tokens, float32 (sequences, dim); long ones are cut to fit."""

    def packed(places: Sequence[int], profile: Profile) -> Tensors:
        return pack_sequences([sequences[i] for i in places], profile, spec)

    return _run(engine, [len(ids) + 2 for ids in sequences], packed, "embedding", told)


def score(
    engine: Engine, spec: ModelSpec, pairs: Sequence[tuple[Ids, Ids]], told: Told | None = None
) -> NDArray[np.float32]:
    """The scores of pairs of token ids, float32 (pairs,); long products are cut to fit."""

    def packed(places: Sequence[int], profile: Profile) -> Tensors:
        queries, products = zip(*(pairs[i] for i in places), strict=True)
        return pack_pairs(queries, products, profile, spec)

    return _run(engine, [pair_length(len(q), len(p), spec) for q, p in pairs], packed, "score", told)


def run_batches(engine: Engine, batches: Sequence[Tensors], output: str) -> NDArray[np.float32]:
    """The outputs of batches that are profiles of the engine, one after the other."""
    return np.concatenate([engine.infer(batch)[output] for batch in batches])


def _run(
    engine: Engine,
    lengths: Sequence[int],
    packed: Callable[[Sequence[int], Profile], Tensors],
    output: str,
    told: Told | None,
) -> NDArray[np.float32]:
    longest = max(profile.length for profile in engine.profiles)
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    results: list[NDArray[np.float32]] = []
    done = 0
    while done < len(order):
        fits = min(p.length for p in engine.profiles if p.length >= min(lengths[order[done]], longest))
        profile = max(p for p in engine.profiles if p.length == fits)
        places = [i for i in order[done : done + profile.batch] if min(lengths[i], longest) <= fits]
        results.append(engine.infer(packed(places, profile))[output][: len(places)])
        done += len(places)
        if told is not None:
            told(done / len(order))
    both = np.concatenate(results)
    out = np.empty_like(both)
    out[order] = both
    return out

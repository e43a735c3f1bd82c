"""Which sizes of kernels come into question for a bucket, and what is taken where none can be timed."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from millirank_engines.base import Profile
from millirank_engines.build.graph import Network

from .layers import FIRST, LEAST, Choice, Layers, Size

_KEYS = 64  # of attention at once, mostly
LATENCY, THROUGHPUT = 256, 4096  # rows up to which all that counts is latency, and from which it is throughput

_SMALL = (
    Size(16, 32, 128, 4, 3),
    Size(16, 16, 128, 2, 3),
    Size(16, 32, 128, 2, 3),
    Size(16, 32, 64, 4, 4),
    Size(16, 32, 128, 4, 6),
    Size(16, 32, 128, 2, 8),
    Size(16, 32, 256, 4, 4),
    Size(16, 32, 256, 8, 4),
    Size(16, 64, 128, 4, 3),
    Size(32, 32, 128, 4, 3),
    Size(32, 64, 64, 4, 4),
)
_MIDDLE = (
    Size(64, 64, 64, 4, 4),
    Size(64, 64, 128, 4, 3),
    Size(64, 128, 64, 4, 4),
    Size(128, 64, 64, 4, 4),
    Size(128, 128, 64, 8, 3),
    Size(32, 128, 64, 4, 3),
    Size(32, 64, 128, 4, 3),
    Size(32, 64, 64, 4, 4),
)
_LARGE = (
    Size(128, 128, 64, 8, 3),
    Size(128, 128, 64, 4, 3),
    Size(64, 128, 64, 4, 3),
    Size(128, 64, 64, 4, 3),
    Size(128, 128, 32, 8, 4),
    Size(64, 128, 64, 8, 3),
    Size(128, 128, 64, 8, 2),
    Size(128, 128, 64, 4, 2),
    Size(128, 128, 64, 8, 4),
    Size(64, 128, 128, 4, 2),
    Size(128, 128, 128, 8, 2),
    Size(128, 256, 64, 8, 3),
    Size(128, 256, 64, 8, 4),
    Size(256, 128, 64, 8, 3),
    Size(256, 128, 64, 8, 4),
)


def _asked(rows: int) -> tuple[Size, ...]:
    if rows >= THROUGHPUT:
        return _LARGE
    return _MIDDLE if rows > LATENCY else _SMALL if rows <= LATENCY // 4 else (*_SMALL, *_MIDDLE)


def tiles(profile: Profile) -> tuple[int, ...]:
    """Over how many columns the moments of rows may be left, the likeliest first; all kernels of a bucket agree."""
    if profile.tokens <= LATENCY:
        return (32, 16)
    return (64, 128) if profile.tokens < THROUGHPUT else (128, 64)


def roles(network: Network) -> Mapping[str, int]:
    """The roles of a network's kernels, and how often each runs."""
    first = network.head != "mean"  # whether the last layer computes the first tokens alone
    found = {"qkv": network.layers, **dict.fromkeys(_BEHIND, network.layers - first), "embed": 1, "output": 1}
    if first:
        found |= {role + FIRST: 1 for role in _BEHIND}
    if network.head == "bert":
        found["pooler" + FIRST] = 1
    return {role: count for role, count in found.items() if count}


_BEHIND = ("attention", "attended", "inner", "outer")  # the kernels of a layer behind qkv


def sizes(layers: Layers, profile: Profile, role: str, tile: int) -> Iterator[Size]:
    """The sizes that a role of a bucket can have; the first is what is taken unseen."""
    network, first = layers.network, role.endswith(FIRST)
    kind, width = role.removesuffix(FIRST), network.hidden
    rows = profile.batch if first else profile.tokens
    if kind == "embed":
        yield from (Size(count, warps=4) for count in (1, 4))
    elif kind == "attention":
        yield from _attention(1 if first else profile.length, profile.length)
    elif kind == "output":
        yield from (Size(min(16, 1 << (profile.length - 1).bit_length()), warps=warps) for warps in (4, 1, 8))
    else:
        outer = {"qkv": 3 * width, "inner": layers.inner}.get(kind, width)
        inner = layers.inner if kind == "outer" else width
        fitting = (replace(s, columns=_power(outer, s.columns), depth=_power(inner, s.depth)) for s in _asked(rows))
        whole = kind in {"attended", "outer"}
        held = _power(width, 32 if first and rows <= LATENCY else tile)
        yield from dict.fromkeys(replace(s, columns=held) if whole else s for s in fitting)


def _power(width: int, most: int) -> int:
    """The largest power of two that divides a width, at most so much."""
    return min(most, width & -width)


def _attention(asking: int, length: int) -> Iterator[Size]:
    keys = max(LEAST, min(_KEYS, 1 << (length - 1).bit_length()))
    rows = max(LEAST, min(_KEYS, 1 << (asking - 1).bit_length()))
    yield Size(rows, keys, warps=rows // LEAST, stages=2)
    if rows > LEAST:
        yield Size(rows // 2, keys, warps=2, stages=2)
        yield Size(rows, keys, warps=rows // LEAST // 2, stages=2)
    if keys > LEAST:
        yield Size(rows, keys // 2, warps=2, stages=2)
    if length > _KEYS:
        yield Size(rows, 2 * _KEYS, warps=4, stages=2)


def unseen(layers: Layers, profile: Profile) -> Choice:
    """What a bucket runs where nothing can be timed."""
    tile = tiles(profile)[0]
    return {role: next(sizes(layers, profile, role, tile)) for role in roles(layers.network)}

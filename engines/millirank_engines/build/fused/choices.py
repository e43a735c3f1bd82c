"""Which sizes of kernels come into question for a bucket, and what is taken where none can be timed."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from millirank_engines.base import Profile
from millirank_engines.build.graph import Network

from .layers import FIRST, Choice, Size

_HELD = 32 * 192  # sums in float32 that the threads of a warp can hold in registers, and have some left
SMALL, LARGE = 256, 4096  # rows: up to which latency counts, and from which throughput does

# rows, columns, depth, warps, stages
_SMALL = (
    Size(16, 16, 128, 2, 3),
    Size(16, 32, 128, 2, 3),
    Size(16, 32, 128, 4, 3),
    Size(16, 64, 128, 4, 3),
    Size(32, 32, 128, 4, 3),
    Size(32, 64, 64, 4, 4),
)
_MIDDLE = (
    Size(32, 64, 128, 4, 3),
    Size(32, 128, 64, 4, 3),
    Size(64, 32, 128, 4, 3),
    Size(64, 64, 64, 4, 4),
    Size(64, 64, 128, 4, 3),
    Size(64, 128, 64, 4, 4),
    Size(128, 64, 64, 4, 4),
)
_LARGE = (
    Size(64, 128, 64, 4, 3),
    Size(128, 64, 64, 4, 3),
    Size(128, 128, 64, 4, 3),
    Size(128, 128, 64, 8, 3),
    Size(128, 128, 32, 8, 4),
    Size(128, 256, 64, 8, 3),
    Size(64, 256, 64, 8, 3),
)
_WHOLE_SMALL = (Size(16, 0, 64, 4, 3), Size(16, 0, 64, 8, 3), Size(16, 0, 32, 4, 4))
_WHOLE_MIDDLE = (Size(16, 0, 64, 8, 3), Size(32, 0, 64, 4, 3), Size(32, 0, 64, 8, 3), Size(64, 0, 32, 4, 3))
_WHOLE_LARGE = (Size(64, 0, 64, 4, 3), Size(64, 0, 32, 4, 4), Size(64, 0, 64, 8, 3), Size(128, 0, 32, 8, 3))
_WHOLE_LARGE += (Size(128, 0, 64, 8, 2), Size(32, 0, 64, 4, 3))


def _by_rows(
    rows: int, small: Iterable[Size], middle: Iterable[Size], large: Iterable[Size]
) -> tuple[Size, ...]:
    if rows <= SMALL:
        return tuple(small) if rows <= SMALL // 4 else (*small, *middle)
    return tuple(middle) if rows < LARGE else tuple(large)


def roles(network: Network) -> Mapping[str, int]:
    """The roles of a network's kernels, and how often each runs."""
    if network.head == "mean":
        return {role: network.layers for role in ("qkv", "attention", "attended", "inner", "outer")} | _ONCE
    whole = network.layers - 1
    found = {"qkv": network.layers, **{role: whole for role in _LAST}, **{role + FIRST: 1 for role in _LAST}} | _ONCE
    return {role: count for role, count in found.items() if count}


_ONCE = {"embed": 1, "output": 1}
_LAST = ("attention", "attended", "inner", "outer")


def sizes(network: Network, inner: int, profile: Profile, role: str, *, raw: bool) -> Iterator[Size]:
    """The sizes that a role of a bucket can have; the first is what is taken unseen."""
    kind, width = role.removesuffix(FIRST), network.hidden
    rows = profile.batch if role.endswith(FIRST) else profile.tokens
    if kind == "embed":
        yield from (Size(count, warps=4) for count in (1, 4))
    elif kind == "attention":
        yield from _attention(1 if role.endswith(FIRST) else profile.length, profile.length)
    elif kind == "output" and network.head != "bert":
        yield from (Size(min(16, 1 << (profile.length - 1).bit_length()), warps=warps) for warps in (4, 8))
    elif kind == "output":
        yield from (Size(16, min(128, width & -width), min(64, width & -width), warps) for warps in (4, 8))
    else:
        whole = kind in {"attended", "outer"} and not raw
        outer = {"qkv": 3 * width, "inner": inner}.get(kind, width)
        depths = inner if kind == "outer" else width
        asked = _by_rows(rows, *((_WHOLE_SMALL, _WHOLE_MIDDLE, _WHOLE_LARGE) if whole else (_SMALL, _MIDDLE, _LARGE)))
        fitting = (replace(s, columns=_power(outer, s.columns), depth=_power(depths, s.depth)) for s in asked)
        held = (s for s in fitting if not whole or s.rows * width <= s.warps * _HELD)
        yield from dict.fromkeys(held)


def _power(width: int, most: int) -> int:
    """The largest power of two that divides a width, at most so much."""
    return min(most, width & -width)


def _attention(asking: int, length: int) -> Iterator[Size]:
    keys = max(16, min(64, 1 << (length - 1).bit_length()))
    rows = max(16, min(64, 1 << (asking - 1).bit_length()))
    yield Size(rows, keys, warps=4 if rows == 64 else 2 if rows == 32 else 1, stages=2)  # noqa: PLR2004 - as said
    if rows > 16:  # noqa: PLR2004 - the least
        yield Size(rows // 2, keys, warps=2, stages=2)
        yield Size(rows, keys, warps=2 if rows == 64 else 1, stages=2)  # noqa: PLR2004
    if keys > 16:  # noqa: PLR2004
        yield Size(rows, keys // 2, warps=2, stages=2)
    if length > 64:  # noqa: PLR2004
        yield Size(rows, 128, warps=4, stages=2)


def unseen(network: Network, inner: int, profile: Profile) -> Choice:
    """What a bucket runs where nothing can be timed: small ones normalise as they read."""
    raw = profile.tokens < LARGE
    chosen = {role: next(sizes(network, inner, profile, role, raw=raw)) for role in roles(network)}
    return Choice(raw, chosen)

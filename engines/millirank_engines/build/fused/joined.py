"""A network as one kernel for a bucket, by the sizes that were chosen for it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from millirank_engines.base import Profile
from millirank_engines.program import OUTPUT, PROGRESS, ROWS, STARTS, TOKENS, TYPES

from .choices import LATENCY
from .layers import ACTIVATIONS, CONTEXT, COUNTED, LEAST, MOMENTS, QKV, SLACK, WIDE, Layers, Step, X, Y, blocks, padded
from .variants import NETWORK, Variant

LINE = 32  # numbers of a cache line: counters of different buffers share none
BUFFERS = 5  # whose blocks of rows are counted: of tokens, and as many of first tokens
FIRST = "first."  # begins the name of a buffer with a row for every sequence
POOLED = "pooled"
MANY = 64  # sequences, and rows of their first tokens where there are more
LONGEST, MOST = 128, 4096  # tokens of a sequence, and of a bucket: beyond, kernels of their own are faster


@dataclass(frozen=True)
class Cut:
    """How the work of all layers is cut; columns are those of the outputs."""

    rows: int
    columns: int  # of the products whose rows are normalised later
    wider: int  # of the others
    depth: int  # of the inner dimension at once
    deeper: int  # where that is the feed-forward layer's
    warps: int = 4
    stages: int = 3
    chains: int = 1  # of additions in a product, side by side
    heads: int = 1  # of attention, one after the other
    embedded: int = 1  # tokens
    first_rows: int = 16  # of the products of first tokens
    first_columns: int = 32


_LATENCY = (
    Cut(16, 32, 32, 64, 64, warps=2, stages=4, chains=2),
    Cut(16, 32, 32, 128, 128, warps=2, stages=4),
    Cut(64, 32, 64, 64, 128, stages=4, embedded=4),
    Cut(64, 64, 64, 64, 64, stages=4, embedded=4),
)
_MIDDLE = (
    Cut(64, 64, 64, 64, 128, embedded=4),
    Cut(64, 64, 64, 64, 128, heads=2, embedded=4),
    Cut(64, 64, 64, 64, 64, stages=4, heads=2, embedded=8),
    Cut(64, 64, 128, 64, 64, embedded=4),
    Cut(64, 64, 128, 64, 64, heads=2, embedded=4),
)


def cuts(layers: Layers, profile: Profile) -> Iterator[Cut]:
    """The sizes that are tried for a bucket; none where kernels of their own are faster or reach further."""
    network = layers.network
    stacked = network.layers * network.hidden * max(3 * network.hidden, layers.inner)  # numbers of the largest array
    if profile.length > LONGEST or profile.tokens > MOST or stacked > COUNTED:
        return
    width, inner = (part & -part for part in (network.hidden, layers.inner))  # powers of two that divide them
    both = min(width, inner)
    for cut in _LATENCY if profile.tokens <= LATENCY else _MIDDLE:
        chains = cut.chains if both >= cut.chains * LEAST else 1
        if network.heads % cut.heads == 0:
            yield replace(
                cut,
                columns=min(cut.columns, width),
                wider=min(cut.wider, both),
                depth=min(cut.depth, width // chains),
                deeper=min(cut.deeper, inner // chains),
                chains=chains,
                first_rows=LEAST if profile.batch <= MANY else MANY,
                first_columns=min(cut.first_columns, both),
            )


def joint_buffers(layers: Layers, batch: int) -> dict[str, int]:
    """Bytes of the buffers that it needs besides those of kernels of their own, for the largest batch."""
    rows, width = batch + SLACK, layers.network.hidden
    widths = {X: width, Y: width, CONTEXT: width, WIDE: layers.inner}
    found = {FIRST + name: 2 * rows * columns for name, columns in widths.items()}
    found |= {FIRST + name + MOMENTS: 4 * rows * 2 * (width // LEAST) for name in (X, Y)}
    return {**found, POOLED: 2 * rows * width}


def counters(profile: Profile, cut: Cut) -> int:
    """How many numbers of progress a bucket has."""
    return BUFFERS * sum(_rooms(profile, cut))


def _rooms(profile: Profile, cut: Cut) -> tuple[int, int]:
    """The counters of a buffer, of tokens and of first tokens."""
    tokens, sequences = blocks(profile.tokens, cut.rows), blocks(profile.batch, cut.first_rows)
    return blocks(tokens, LINE) * LINE, blocks(sequences, LINE) * LINE


def joint_step(layers: Layers, profile: Profile, cut: Cut) -> Step:
    """All that an inference runs."""
    network, inner = layers.network, layers.inner
    width, first, scored = network.hidden, network.head != "mean", network.head == "bert"
    room, first_room = _rooms(profile, cut)
    constants: dict[str, float] = {
        "LAYERS": network.layers,
        "BATCH": profile.batch,
        "LENGTH": profile.length,
        "WIDTH": width,
        "PADDED": padded(width),
        "INNER": inner,
        "HEADS": network.heads,
        "ACTIVATION": ACTIVATIONS[network.activation],
        "TYPED": network.type_ids,
        "FIRST": first,
        "SCORED": scored,
        "EPSILON": network.epsilon,
        "ROWS": cut.rows,
        "COLUMNS": cut.columns,
        "WIDER": cut.wider,
        "DEPTH": cut.depth,
        "OUTER_DEPTH": cut.deeper,
        "CHAINS": cut.chains,
        "KEYS": min(64, max(LEAST, padded(profile.length))),
        "GROUP": cut.heads,
        "EMBEDDED": cut.embedded,
        "FIRST_ROWS": cut.first_rows,
        "FIRST_COLUMNS": cut.first_columns,
        "ROOM": room,
        "FIRST_ROOM": first_room,
    }
    row_blocks, first_blocks = blocks(profile.tokens, cut.rows), blocks(profile.batch, cut.first_rows)
    tiles, heads = width // cut.columns, profile.batch * network.heads // cut.heads
    items = profile.batch * blocks(profile.length, cut.embedded)
    items += network.layers * row_blocks * (3 * width // cut.wider)
    items += (network.layers - first) * (heads + row_blocks * (2 * tiles + inner // cut.wider)) + profile.batch
    if first:
        items += heads + first_blocks * ((2 + scored) * width + inner) // cut.first_columns
    variant = Variant(NETWORK, tuple(constants.items()), cut.warps, cut.stages)
    return Step(NETWORK, variant, (items, 1, 1), _addresses(scored=scored))


def _addresses(*, scored: bool) -> tuple[str, ...]:
    pooler = ("pooler.weight", "pooler.bias", "pooler.sums", "classifier.weight", "classifier.bias")
    return (
        TOKENS, TYPES, STARTS, ROWS, PROGRESS, "words", "positions", "kinds", "0.norm.gain", "0.norm.shift",
        *(f"0.qkv.{part}" for part in ("weight", "bias", "sums")),
        *(f"0.attended.{part}" for part in ("weight", "bias")),
        *(f"0.inner.{part}" for part in ("weight", "bias", "sums")),
        *(f"0.outer.{part}" for part in ("weight", "bias")),
        *(pooler if scored else [STARTS] * len(pooler)),
        X, X + MOMENTS, Y, Y + MOMENTS, QKV, CONTEXT, WIDE,
        *(FIRST + name for name in (X, X + MOMENTS, Y, Y + MOMENTS, CONTEXT, WIDE)), POOLED, OUTPUT,
    )  # fmt: skip

"""A BERT network as one kernel a part, in Triton; see tiles.py and ends.py for what the parts compute.

Grids are made for the largest case of a bucket; programs past the last row end at once, so that one CUDA graph serves
every filling of it and takes the time of its valid tokens.
"""

import triton
import triton.language as tl

from .ends import embed_rows, pool_rows, score_row
from .tiles import attend, product


@triton.jit
def embed(
    ids,
    types,
    starts,
    words,
    positions,
    kinds,
    out,
    moments,
    LENGTH: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    TILES: tl.constexpr,
    TYPED: tl.constexpr,
):
    """See embed_rows; a program takes ROWS tokens of a sequence."""
    embed_rows(
        tl.program_id(0), tl.program_id(1) * ROWS, ids, types, starts, words, positions, kinds, out, moments,
        LENGTH, WIDTH, PADDED, ROWS, TILES, TYPED,
    )  # fmt: skip


@triton.jit
def linear(
    x,
    x_moments,
    weight,
    bias,
    sums,
    residual,
    residual_moments,
    gain,
    shift,
    starts,
    rows_at,
    out,
    moments,
    INNER: tl.constexpr,
    OUTER: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    ACTIVATION: tl.constexpr,
    X_TILES: tl.constexpr,
    RESIDUAL_TILES: tl.constexpr,
    FIRST: tl.constexpr,
    EPSILON: tl.constexpr,
):
    """See product; rows_at holds how many rows there are."""
    count = tl.load(rows_at)
    tiles: tl.constexpr = OUTER // COLUMNS
    first = (tl.program_id(0) // tiles) * ROWS
    if first >= count:
        return
    product(
        first, tl.program_id(0) % tiles, count, x, x_moments, weight, bias, sums, residual, residual_moments,
        gain, shift, starts, out, moments,
        INNER, OUTER, ROWS, COLUMNS, DEPTH, 1, ACTIVATION, X_TILES, RESIDUAL_TILES, FIRST, EPSILON,
    )  # fmt: skip


@triton.jit
def attention(
    qkv,
    starts,
    out,
    HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    FIRST: tl.constexpr,
):
    """See attend; a program takes ROWS tokens of a head of a sequence."""
    sequence = tl.program_id(0)
    first = tl.program_id(2) * ROWS
    if first >= tl.load(starts + sequence + 1) - tl.load(starts + sequence):
        return
    attend(sequence, tl.program_id(1), first, qkv, starts, out, HEADS, HEAD, ROWS, KEYS, FIRST)


@triton.jit
def pool(
    x,
    gain,
    shift,
    starts,
    out,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    MEAN: tl.constexpr,
    EPSILON: tl.constexpr,
):
    """See pool_rows."""
    pool_rows(tl.program_id(0), x, gain, shift, starts, out, WIDTH, PADDED, ROWS, MEAN, EPSILON)


@triton.jit
def score(x, last, last_bias, out, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """See score_row."""
    score_row(tl.program_id(0), x, last, last_bias, out, WIDTH, PADDED)

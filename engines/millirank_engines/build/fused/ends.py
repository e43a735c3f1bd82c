"""What a network begins and ends with, in Triton: embeddings of tokens, the embedding of a sequence, a logit.

Arrays are as in tiles.py.
"""

import triton
import triton.language as tl


@triton.jit
def embed_rows(
    sequence,
    first,
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
    """Word, position and type embeddings of a sequence's tokens from the first on, from padded ids (batch, LENGTH)."""
    begin = tl.load(starts + sequence)
    count = tl.load(starts + sequence + 1) - begin
    place = first + tl.arange(0, ROWS)
    column = tl.arange(0, PADDED)
    valid = (place < count)[:, None] & (column < WIDTH)[None, :]
    token = tl.load(ids + sequence * LENGTH + place, mask=place < count, other=0)
    x = tl.load(words + token[:, None] * WIDTH + column[None, :], mask=valid, other=0.0).to(tl.float32)
    x += tl.load(positions + place[:, None] * WIDTH + column[None, :], mask=valid, other=0.0).to(tl.float32)
    if TYPED:
        kind = tl.load(types + sequence * LENGTH + place, mask=place < count, other=0)
        x += tl.load(kinds + kind[:, None] * WIDTH + column[None, :], mask=valid, other=0.0).to(tl.float32)
    half = x.to(tl.float16)
    tl.store(out + (begin + place)[:, None] * WIDTH + column[None, :], half, mask=valid)
    x = half.to(tl.float32)
    at = moments + (begin + place) * (2 * TILES)
    tl.store(at, tl.sum(x, 1), mask=place < count)
    tl.store(at + 1, tl.sum(x * x, 1), mask=place < count)
    for other in tl.static_range(2, 2 * TILES):
        tl.store(at + other, tl.zeros((ROWS,), tl.float32), mask=place < count)


@triton.jit
def pool_rows(
    sequence,
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
    """The embedding of a sequence, float32 (WIDTH,), at unit length: of all its rows, or of the one by its number."""
    begin = tl.load(starts + sequence)
    count = tl.load(starts + sequence + 1) - begin
    if not MEAN:
        begin = sequence
        count = 1
    column = tl.arange(0, PADDED)
    inside = column < WIDTH
    pooled = tl.zeros((PADDED,), tl.float32)
    for first in range(0, count, ROWS):
        rows = first + tl.arange(0, ROWS)
        valid = (rows < count)[:, None] & inside[None, :]
        part = tl.load(x + (begin + rows)[:, None] * WIDTH + column[None, :], mask=valid, other=0.0).to(tl.float32)
        mean = tl.sum(part, 1) / WIDTH
        apart = tl.where(valid, part - mean[:, None], 0.0)
        inverse = tl.rsqrt(tl.sum(apart * apart, 1) / WIDTH + EPSILON)
        pooled += tl.sum(apart * inverse[:, None], 0)
    pooled = pooled * tl.load(gain + column, mask=inside, other=0.0)
    pooled += count * tl.load(shift + column, mask=inside, other=0.0)
    length = tl.maximum(tl.sqrt(tl.sum(pooled * pooled, 0)), 1e-12)
    tl.store(out + sequence * WIDTH + column, pooled / length, mask=inside)


@triton.jit
def score_row(row, x, last, last_bias, out, WIDTH: tl.constexpr, PADDED: tl.constexpr):
    """The logit of a row, float32: times last (WIDTH,), plus last_bias."""
    column = tl.arange(0, PADDED)
    inside = column < WIDTH
    pooled = tl.load(x + row * WIDTH + column, mask=inside, other=0.0).to(tl.float32)
    logit = tl.sum(pooled * tl.load(last + column, mask=inside, other=0.0), 0)
    tl.store(out + row, logit + tl.load(last_bias))

"""Parts of a BERT network on packed tokens, in Triton: what one block of threads computes, whichever kernel calls it.

Sequences lie end to end without padding: starts, int32 (batch + 2,), says where each begins, then how many tokens there
are, then how many sequences.

Activations are float16 (rows, width), contiguous; sums, softmax and normalisation are float32. Buffers have room for a
block of rows past the last: loads and stores of rows need no mask, and what lies there is never read as valid.

No kernel normalises rows before a product. With mean m and inverse deviation r of a row x, gain g and shift s,

    (r (x - m) g + s) W + b = r (x (g W) - m sum(g W)) + (s W + b)

so the product runs on the rows as they are, its weights hold the gain, and only its sums are put right. The part that
makes a row leaves the sums of each block of its columns, and of their squares, in moments, float32 (rows, TILES, 2).
"""

import os

import triton
import triton.language as tl

INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
NONE, GELU, GELU_TANH, RELU, TANH = (tl.constexpr(i) for i in range(5))  # activations


@triton.jit
def normal(moments, rows, TILES: tl.constexpr, WIDTH: tl.constexpr, EPSILON: tl.constexpr):
    """Mean and inverse deviation of rows, (rows,) each, from what was left of them."""
    total = tl.zeros(rows.shape, tl.float32)
    squares = tl.zeros(rows.shape, tl.float32)
    for tile in tl.static_range(TILES):
        at = moments + rows * (2 * TILES) + 2 * tile
        total += tl.load(at)
        squares += tl.load(at + 1)
    mean = total / WIDTH
    return mean, tl.rsqrt(tl.maximum(squares / WIDTH - mean * mean, 0.0) + EPSILON)


@triton.jit
def tanh(x):
    """The device's own approximation; Triton's interpreter, which knows no assembly, computes it exactly."""
    if INTERPRETED:
        x = 2.0 * tl.sigmoid(2.0 * x) - 1.0
    else:
        x = tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    return x


@triton.jit
def activated(x, ACTIVATION: tl.constexpr):
    """The activation of a layer, on float32.

    GELU is x times the normal distribution's cumulative function, (1 + erf(x / sqrt(2))) / 2, here with tanh of an odd
    polynomial for erf, fitted over [-6, 6]: the largest error of the product is 2.5e-5, and what the device's tanh adds
    (2^-11 of its value) is less than the rounding to float16. By erf, a large product took 18 % longer.
    """
    if ACTIVATION == GELU:
        square = tl.minimum(x * x, 30.0)  # beyond, tanh is 1, and the polynomial turns around
        inner = x * (0.79750793 + square * (0.0370056097 - 0.0003515198195 * square))
        half = 0.5 * x
        x = half + half * tanh(inner)
    elif ACTIVATION == GELU_TANH:
        half = 0.5 * x
        x = half + half * tanh(x * (0.7978845608 + 0.0356774081363 * x * x))
    elif ACTIVATION == RELU:
        x = tl.maximum(x, 0.0)
    elif ACTIVATION == TANH:
        x = 2.0 * tl.sigmoid(2.0 * x) - 1.0
    return x


@triton.jit
def beside(
    rows,
    places,
    columns,
    x_moments,
    bias,
    sums,
    residual,
    residual_moments,
    gain,
    shift,
    INNER: tl.constexpr,
    OUTER: tl.constexpr,
    X_TILES: tl.constexpr,
    RESIDUAL_TILES: tl.constexpr,
    EPSILON: tl.constexpr,
):
    """What a product is put right with: mean and inverse deviation of rows, scale and base of columns, a residual."""
    base = tl.load(bias + columns)
    added = 0.0
    if X_TILES:
        mean, inverse = normal(x_moments, rows, X_TILES, INNER, EPSILON)
        scale = tl.load(sums + columns)
    else:
        mean, inverse = normal(residual_moments, places, RESIDUAL_TILES, OUTER, EPSILON)
        scale = tl.load(gain + columns)
        base += tl.load(shift + columns)
        added = tl.load(residual + places[:, None] * OUTER + columns[None, :])
    return mean, inverse, scale, base, added


@triton.jit
def product(
    first,
    tile,
    count,
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
    out,
    moments,
    INNER: tl.constexpr,
    OUTER: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    CHAINS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    X_TILES: tl.constexpr,
    RESIDUAL_TILES: tl.constexpr,
    FIRST: tl.constexpr,
    EPSILON: tl.constexpr,
):
    """Some rows of x (count, INNER) times a tile of the columns of weight (INNER, OUTER) plus bias.

    X_TILES, unless it is 0, says that x is to be normalised: sums are those of the weight's columns, and the result is
    activated. Else it is added to a residual (rows, OUTER), of RESIDUAL_TILES, which is normalised; the rows are not to
    be normalised yet, so their moments are left. FIRST says that the residual's rows are the sequences' first tokens.
    CHAINS are 1 or 2 sums side by side: a small product takes as long as its longest chain of additions.
    """
    tiles: tl.constexpr = OUTER // COLUMNS
    part: tl.constexpr = INNER // CHAINS
    early: tl.constexpr = ROWS * COLUMNS <= 8192  # the product's loads hide these; larger tiles lack the registers
    rows = first + tl.arange(0, ROWS)
    columns = tile * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    places = rows
    if FIRST:
        places = tl.load(starts + rows, mask=rows < count, other=0)
    given = (rows, places, columns, x_moments, bias, sums, residual, residual_moments, gain, shift)
    if early:
        mean, inverse, scale, base, added = beside(*given, INNER, OUTER, X_TILES, RESIDUAL_TILES, EPSILON)
    y = tl.zeros((ROWS, COLUMNS), tl.float32)
    other = tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in range(0, part, DEPTH):
        a = tl.load(x + rows[:, None] * INNER + (k + depth)[None, :])
        b = tl.load(weight + (k + depth)[:, None] * OUTER + columns[None, :])
        y = tl.dot(a, b, y)
        if CHAINS == 2:
            a = tl.load(x + rows[:, None] * INNER + (part + k + depth)[None, :])
            b = tl.load(weight + (part + k + depth)[:, None] * OUTER + columns[None, :])
            other = tl.dot(a, b, other)
    if CHAINS == 2:
        y += other
    if not early:
        mean, inverse, scale, base, added = beside(*given, INNER, OUTER, X_TILES, RESIDUAL_TILES, EPSILON)
    to = out + rows[:, None] * OUTER + columns[None, :]
    if X_TILES:
        y = (y - mean[:, None] * scale[None, :]) * inverse[:, None] + base[None, :]
        tl.store(to, activated(y, ACTIVATION).to(tl.float16))
    else:
        y += (added.to(tl.float32) - mean[:, None]) * inverse[:, None] * scale[None, :] + base[None, :]
        half = y.to(tl.float16)
        tl.store(to, half)
        y = half.to(tl.float32)
        at = moments + rows * (2 * tiles) + 2 * tile
        tl.store(at, tl.sum(y, 1))
        tl.store(at + 1, tl.sum(y * y, 1))


@triton.jit
def attend(
    sequence,
    head,
    first,
    qkv,
    starts,
    out,
    HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    FIRST: tl.constexpr,
):
    """One head of some tokens of a sequence, the first of them given, from rows of query, key and value.

    Queries are scaled for base-2 exponentials. FIRST says that only the first token asks, and that its row of out is
    its sequence's number. Keys are taken block by block with a running maximum (Milakov and Gimelshein, 2018).
    """
    begin = tl.load(starts + sequence)
    count = tl.load(starts + sequence + 1) - begin
    width: tl.constexpr = HEADS * HEAD
    asking = count
    if FIRST:
        asking = 1
    rows = first + tl.arange(0, ROWS)
    inside = tl.arange(0, HEAD)
    asks = (rows < asking)[:, None]
    at = qkv + head * HEAD + inside[None, :]
    query = tl.load(at + (begin + rows)[:, None] * (3 * width), mask=asks, other=0.0)
    largest = tl.full((ROWS,), -1e30, tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    context = tl.zeros((ROWS, HEAD), tl.float32)
    for k in range(0, count, KEYS):
        keys = k + tl.arange(0, KEYS)
        known = (keys < count)[:, None]
        lines = at + (begin + keys)[:, None] * (3 * width)
        key = tl.load(lines + width, mask=known, other=0.0)
        scores = tl.dot(query, tl.trans(key))
        scores = tl.where((keys < count)[None, :], scores, -1e30)
        larger = tl.maximum(largest, tl.max(scores, 1))
        shares = tl.exp2(scores - larger[:, None])
        shrunk = tl.exp2(largest - larger)
        total = total * shrunk + tl.sum(shares, 1)
        value = tl.load(lines + 2 * width, mask=known, other=0.0)
        context = tl.dot(shares.to(tl.float16), value, context * shrunk[:, None])
        largest = larger
    context = context / total[:, None]
    places = begin + rows
    if FIRST:
        places = sequence + rows
    tl.store(out + places[:, None] * width + head * HEAD + inside[None, :], context.to(tl.float16), mask=asks)

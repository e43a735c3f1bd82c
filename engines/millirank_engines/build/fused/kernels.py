"""The kernels of a BERT network on packed tokens, in Triton.

Sequences lie end to end without padding: starts, int32 (batch + 2,), says where each begins, then how many tokens there
are, then how many sequences. Grids are made for the largest case of a bucket; programs past the last row end at once,
so that one CUDA graph serves every filling of it and takes the time of its valid tokens.

Activations are float16 (rows, width), contiguous; every sum, softmax and normalisation is float32. Buffers have room
for a block of rows past the last: loads and stores of rows need no mask, and what lies there is never read as valid.
A row's LayerNormalization is computed in one of two places, whichever is faster for the bucket: by the product that
makes the row, once it has all of it, or, raw, by each that reads it.
"""

import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

NONE, GELU, GELU_TANH, RELU = (tl.constexpr(i) for i in range(4))  # activations


@triton.jit
def chained(CHAINED: tl.constexpr):
    """Lets the next kernel of the stream start, and waits until the one before has written everything."""
    if CHAINED:
        gdc_launch_dependents()
        gdc_wait()


@triton.jit
def moments(x, rows, WIDTH: tl.constexpr, BLOCK: tl.constexpr, EPSILON: tl.constexpr):
    """Mean and inverse deviation of rows, (rows,) each."""
    total = tl.zeros(rows.shape, tl.float32)
    squares = tl.zeros(rows.shape, tl.float32)
    for k in tl.static_range(0, WIDTH, BLOCK):
        part = tl.load(x + rows[:, None] * WIDTH + (k + tl.arange(0, BLOCK))[None, :]).to(tl.float32)
        total += tl.sum(part, 1)
        squares += tl.sum(part * part, 1)
    mean = total / WIDTH
    return mean, tl.rsqrt(squares / WIDTH - mean * mean + EPSILON)


@triton.jit
def activated(x, ACTIVATION: tl.constexpr):
    """The activation of a feed-forward layer, on float32."""
    if ACTIVATION == GELU:
        x = 0.5 * x * (1.0 + tl.math.erf(x * 0.7071067811865476))
    elif ACTIVATION == GELU_TANH:
        inner = 0.7978845608028654 * (x + 0.044715 * x * x * x)
        x = x * tl.sigmoid(2.0 * inner)  # 1 + tanh(y) is twice sigmoid(2 y)
    elif ACTIVATION == RELU:
        x = tl.maximum(x, 0.0)
    return x


@triton.jit
def embed(
    ids,
    types,
    starts,
    words,
    positions,
    kinds,
    gain,
    shift,
    out,
    LENGTH: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    ROWS: tl.constexpr,
    TYPED: tl.constexpr,
    NORMALIZED: tl.constexpr,
    EPSILON: tl.constexpr,
    CHAINED: tl.constexpr,
):
    """Word, position and type embeddings of a sequence's tokens, from padded ids (batch, LENGTH) to packed rows."""
    sequence = tl.program_id(0)
    begin = tl.load(starts + sequence)
    count = tl.load(starts + sequence + 1) - begin
    place = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, PADDED)
    valid = (place < count)[:, None] & (column < WIDTH)[None, :]
    token = tl.load(ids + sequence * LENGTH + place, mask=place < count, other=0)
    x = tl.load(words + token[:, None] * WIDTH + column[None, :], mask=valid, other=0.0).to(tl.float32)
    x += tl.load(positions + place[:, None] * WIDTH + column[None, :], mask=valid, other=0.0).to(tl.float32)
    if TYPED:
        kind = tl.load(types + sequence * LENGTH + place, mask=place < count, other=0)
        x += tl.load(kinds + kind[:, None] * WIDTH + column[None, :], mask=valid, other=0.0).to(tl.float32)
    if NORMALIZED:
        mean = tl.sum(x, 1) / WIDTH
        apart = tl.where(valid, x - mean[:, None], 0.0)
        inverse = tl.rsqrt(tl.sum(apart * apart, 1) / WIDTH + EPSILON)
        x = apart * inverse[:, None] * tl.load(gain + column, mask=column < WIDTH, other=0.0)[None, :]
        x += tl.load(shift + column, mask=column < WIDTH, other=0.0)[None, :]
    if CHAINED:
        gdc_launch_dependents()
        gdc_wait()  # the former inference may still read what is written here
    tl.store(out + (begin + place)[:, None] * WIDTH + column[None, :], x.to(tl.float16), mask=valid)


@triton.jit
def linear(
    x,
    weight,
    bias,
    residual,
    x_gain,
    x_shift,
    residual_gain,
    residual_shift,
    starts,
    rows_at,
    out,
    INNER: tl.constexpr,
    OUTER: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    DEPTH: tl.constexpr,
    NORM: tl.constexpr,
    ACTIVATION: tl.constexpr,
    X_RAW: tl.constexpr,
    RESIDUAL: tl.constexpr,
    RESIDUAL_RAW: tl.constexpr,
    FIRST: tl.constexpr,
    EPSILON: tl.constexpr,
    CHAINED: tl.constexpr,
):
    """A tile of x (rows, INNER) times weight (INNER, OUTER) plus bias, activated, plus the residual (rows, OUTER).

    X_RAW and RESIDUAL_RAW say that these rows are to be normalised as they are read; NORM is the block of columns for
    that. FIRST says that the residual's rows are the sequences' first tokens. rows_at holds how many rows there are.
    """
    chained(CHAINED)
    count = tl.load(rows_at)
    tiles: tl.constexpr = OUTER // COLUMNS
    tile = tl.program_id(0)
    first = (tile // tiles) * ROWS
    if first >= count:
        return
    rows = first + tl.arange(0, ROWS)
    columns = (tile % tiles) * COLUMNS + tl.arange(0, COLUMNS)
    depth = tl.arange(0, DEPTH)
    if X_RAW:
        mean, inverse = moments(x, rows, INNER, NORM, EPSILON)
    sums = tl.zeros((ROWS, COLUMNS), tl.float32)
    for k in range(0, INNER, DEPTH):
        a = tl.load(x + rows[:, None] * INNER + (k + depth)[None, :])
        if X_RAW:
            wide = (a.to(tl.float32) - mean[:, None]) * inverse[:, None]
            wide = wide * tl.load(x_gain + k + depth)[None, :] + tl.load(x_shift + k + depth)[None, :]
            a = wide.to(tl.float16)
        b = tl.load(weight + (k + depth)[:, None] * OUTER + columns[None, :])
        sums = tl.dot(a, b, sums)
    sums = activated(sums + tl.load(bias + columns)[None, :], ACTIVATION)
    if RESIDUAL:
        places = rows
        if FIRST:
            places = tl.load(starts + rows, mask=rows < count, other=0)
        added = tl.load(residual + places[:, None] * OUTER + columns[None, :]).to(tl.float32)
        if RESIDUAL_RAW:
            mean, inverse = moments(residual, places, OUTER, NORM, EPSILON)
            added = (added - mean[:, None]) * inverse[:, None]
            added = added * tl.load(residual_gain + columns)[None, :] + tl.load(residual_shift + columns)[None, :]
        sums += added
    tl.store(out + rows[:, None] * OUTER + columns[None, :], sums.to(tl.float16))


@triton.jit
def linear_norm(
    x,
    weight,
    bias,
    residual,
    gain,
    shift,
    starts,
    rows_at,
    out,
    INNER: tl.constexpr,
    PART: tl.constexpr,
    PARTS: tl.constexpr,
    ROWS: tl.constexpr,
    DEPTH: tl.constexpr,
    FIRST: tl.constexpr,
    EPSILON: tl.constexpr,
    CHAINED: tl.constexpr,
):
    """Whole rows of x (rows, INNER) times weight (INNER, PARTS x PART) plus bias and residual, normalised."""
    chained(CHAINED)
    count = tl.load(rows_at)
    outer: tl.constexpr = PART * PARTS
    first = tl.program_id(0) * ROWS
    if first >= count:
        return
    rows = first + tl.arange(0, ROWS)
    part = tl.arange(0, PART)
    depth = tl.arange(0, DEPTH)
    one = tl.zeros((ROWS, PART), tl.float32)
    two = tl.zeros((ROWS, PART), tl.float32)
    three = tl.zeros((ROWS, PART), tl.float32)
    for k in range(0, INNER, DEPTH):
        a = tl.load(x + rows[:, None] * INNER + (k + depth)[None, :])
        at = weight + (k + depth)[:, None] * outer + part[None, :]
        one = tl.dot(a, tl.load(at), one)
        if PARTS == 3:
            two = tl.dot(a, tl.load(at + PART), two)
            three = tl.dot(a, tl.load(at + 2 * PART), three)
    places = rows
    if FIRST:
        places = tl.load(starts + rows, mask=rows < count, other=0)
    from_residual = residual + places[:, None] * outer + part[None, :]
    one += tl.load(bias + part)[None, :] + tl.load(from_residual).to(tl.float32)
    total = tl.sum(one, 1)
    if PARTS == 3:
        two += tl.load(bias + PART + part)[None, :] + tl.load(from_residual + PART).to(tl.float32)
        three += tl.load(bias + 2 * PART + part)[None, :] + tl.load(from_residual + 2 * PART).to(tl.float32)
        total += tl.sum(two, 1) + tl.sum(three, 1)
    mean = (total / outer)[:, None]
    one -= mean
    squares = tl.sum(one * one, 1)
    if PARTS == 3:
        two -= mean
        three -= mean
        squares += tl.sum(two * two, 1) + tl.sum(three * three, 1)
    inverse = tl.rsqrt(squares / outer + EPSILON)[:, None]
    to = out + rows[:, None] * outer + part[None, :]
    one = one * inverse * tl.load(gain + part)[None, :] + tl.load(shift + part)[None, :]
    tl.store(to, one.to(tl.float16))
    if PARTS == 3:
        two = two * inverse * tl.load(gain + PART + part)[None, :] + tl.load(shift + PART + part)[None, :]
        three = three * inverse * tl.load(gain + 2 * PART + part)[None, :] + tl.load(shift + 2 * PART + part)[None, :]
        tl.store(to + PART, two.to(tl.float16))
        tl.store(to + 2 * PART, three.to(tl.float16))


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
    CHAINED: tl.constexpr,
):
    """One head of one sequence, from rows of query, key and value; queries are scaled for base-2 exponentials.

    FIRST says that only the first token asks, and that its row of out is its sequence's number. Keys are taken block
    by block with a running maximum (Milakov and Gimelshein, 2018).
    """
    chained(CHAINED)
    sequence = tl.program_id(0)
    head = tl.program_id(1)
    begin = tl.load(starts + sequence)
    count = tl.load(starts + sequence + 1) - begin
    width: tl.constexpr = HEADS * HEAD
    first = tl.program_id(2) * ROWS
    asking = count
    if FIRST:
        asking = 1
    if first >= asking:
        return
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
    RAW: tl.constexpr,
    EPSILON: tl.constexpr,
    CHAINED: tl.constexpr,
):
    """The embedding of a sequence, float32 (WIDTH,), at unit length: of all its rows, or of the one by its number."""
    chained(CHAINED)
    sequence = tl.program_id(0)
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
        if RAW:
            mean = tl.sum(part, 1) / WIDTH
            apart = tl.where(valid, part - mean[:, None], 0.0)
            inverse = tl.rsqrt(tl.sum(apart * apart, 1) / WIDTH + EPSILON)
            part = apart * inverse[:, None] * tl.load(gain + column, mask=inside, other=0.0)[None, :]
            part = tl.where(valid, part + tl.load(shift + column, mask=inside, other=0.0)[None, :], 0.0)
        pooled += tl.sum(part, 0)
    length = tl.maximum(tl.sqrt(tl.sum(pooled * pooled, 0)), 1e-12)
    tl.store(out + sequence * WIDTH + column, pooled / length, mask=inside)


@triton.jit
def score(
    x,
    gain,
    shift,
    weight,
    bias,
    last,
    last_bias,
    rows_at,
    out,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    DEPTH: tl.constexpr,
    NORM: tl.constexpr,
    RAW: tl.constexpr,
    EPSILON: tl.constexpr,
    CHAINED: tl.constexpr,
):
    """The logit of each row, float32 (rows,): the tanh of a product with weight (WIDTH, WIDTH), times last (WIDTH,)."""
    chained(CHAINED)
    count = tl.load(rows_at)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    depth = tl.arange(0, DEPTH)
    logit = tl.zeros((ROWS,), tl.float32)
    if RAW:
        mean, inverse = moments(x, rows, WIDTH, NORM, EPSILON)
    for c in range(0, WIDTH, COLUMNS):
        columns = c + tl.arange(0, COLUMNS)
        sums = tl.zeros((ROWS, COLUMNS), tl.float32)
        for k in range(0, WIDTH, DEPTH):
            a = tl.load(x + rows[:, None] * WIDTH + (k + depth)[None, :])
            if RAW:
                wide = (a.to(tl.float32) - mean[:, None]) * inverse[:, None]
                wide = wide * tl.load(gain + k + depth)[None, :] + tl.load(shift + k + depth)[None, :]
                a = wide.to(tl.float16)
            sums = tl.dot(a, tl.load(weight + (k + depth)[:, None] * WIDTH + columns[None, :]), sums)
        sums = 2.0 * tl.sigmoid(2.0 * (sums + tl.load(bias + columns)[None, :])) - 1.0  # tanh
        logit += tl.sum(sums * tl.load(last + columns)[None, :], 1)
    tl.store(out + rows, logit + tl.load(last_bias), mask=rows < count)

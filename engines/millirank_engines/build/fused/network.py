"""A BERT network as a single kernel, in Triton: parts wait for the parts whose rows they read, not for all others.

Launched one by one, the kernels of kernels.py stand still where one ends and the next begins: until the last block of
threads is through, until the next kernel has started, until its first loads have come. Here one grid holds the blocks
of all layers, in an order in which each waits for earlier ones alone. GPUs so far start the blocks of a grid in the
order of their numbers, on which single-pass scans rely, too (Merrill and Garland, 2016; NVIDIA/cub#245); CUDA does not
promise it. Then those that are waited for run or have run: however few fit at once, no block waits for one that cannot
start. Should it ever be otherwise, a block that has asked in vain for many seconds traps: the device is lost, the
process ends and is started again, nothing hangs.

progress, int32, all 0 at the start, counts for every block of ROWS tokens how much of each buffer is there: in tokens,
once for every block of threads that has written some of their columns; in the last layer of a network that asks for
first tokens alone, whose buffers have a row for every sequence, in blocks of threads. Later layers count on from where
earlier ones ended. Rows are written anew only when nobody reads the old ones any more: a block of x by the last product
of a layer, which has waited for the inner one of the same rows, that for y, that for the contexts of all sequences in
these rows, each of which comes after all heads have read query, key and value of its whole sequence.
"""

import triton
import triton.language as tl

from .ends import embed_rows, pool_rows, score_row
from .progress import add_progress, add_rows, await_progress, await_rows
from .tiles import NONE, TANH, attend, product


@triton.jit
def network(
    ids,
    types,
    starts,
    rows_at,
    progress,
    words,
    positions,
    kinds,
    gains,
    shifts,
    qkv_weight,
    qkv_bias,
    qkv_sums,
    attended_weight,
    attended_bias,
    inner_weight,
    inner_bias,
    inner_sums,
    outer_weight,
    outer_bias,
    pooler_weight,
    pooler_bias,
    pooler_sums,
    last,
    last_bias,
    x,
    x_moments,
    y,
    y_moments,
    qkv,
    context,
    wide,
    first_x,
    first_x_moments,
    first_y,
    first_y_moments,
    first_context,
    first_wide,
    pooled,
    out,
    LAYERS: tl.constexpr,
    BATCH: tl.constexpr,
    LENGTH: tl.constexpr,
    WIDTH: tl.constexpr,
    PADDED: tl.constexpr,
    INNER: tl.constexpr,
    HEADS: tl.constexpr,
    ACTIVATION: tl.constexpr,
    TYPED: tl.constexpr,
    FIRST: tl.constexpr,
    SCORED: tl.constexpr,
    EPSILON: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDER: tl.constexpr,
    DEPTH: tl.constexpr,
    OUTER_DEPTH: tl.constexpr,
    CHAINS: tl.constexpr,
    KEYS: tl.constexpr,
    GROUP: tl.constexpr,
    EMBEDDED: tl.constexpr,
    FIRST_ROWS: tl.constexpr,
    FIRST_COLUMNS: tl.constexpr,
    ROOM: tl.constexpr,
    FIRST_ROOM: tl.constexpr,
):
    """An inference; shapes and types of arrays are those in tiles.py.

    Weights of all layers lie one after the other, (LAYERS, …), as do gains and shifts of all norms, (2 LAYERS + 1,
    WIDTH). Buffers hold a row for every token, those named first and pooled one for every sequence. FIRST says that the
    last layer computes the first tokens alone, SCORED that a logit comes out, not an embedding. WIDER are the columns
    of a block of query, key and value and of the inner layer, COLUMNS those of the others; ROOM and FIRST_ROOM are the
    counters of a buffer.
    """
    head_width: tl.constexpr = WIDTH // HEADS
    full: tl.constexpr = LAYERS - FIRST
    embeds: tl.constexpr = (LENGTH + EMBEDDED - 1) // EMBEDDED  # blocks of threads of a sequence
    qkv_tiles: tl.constexpr = 3 * WIDTH // WIDER
    inner_tiles: tl.constexpr = INNER // WIDER
    tiles: tl.constexpr = WIDTH // COLUMNS
    groups: tl.constexpr = HEADS // GROUP
    heads: tl.constexpr = BATCH * groups
    first_blocks: tl.constexpr = (BATCH + FIRST_ROWS - 1) // FIRST_ROWS
    first_tiles: tl.constexpr = WIDTH // FIRST_COLUMNS
    first_inner_tiles: tl.constexpr = INNER // FIRST_COLUMNS

    count = tl.load(rows_at)
    blocks = (count + ROWS - 1) // ROWS
    behind_qkv = blocks * qkv_tiles
    behind_heads = behind_qkv + heads
    behind_attended = behind_heads + blocks * tiles
    behind_inner = behind_attended + blocks * inner_tiles
    each = behind_inner + blocks * tiles
    at = tl.program_id(0) - BATCH * embeds
    layer = tl.minimum(at // each, full)
    at -= layer * each

    if tl.program_id(0) < BATCH * embeds:
        sequence = tl.program_id(0) // embeds
        part = tl.program_id(0) % embeds * EMBEDDED
        embed_rows(
            sequence, part, ids, types, starts, words, positions, kinds, x, x_moments,
            LENGTH, WIDTH, PADDED, EMBEDDED, tiles, TYPED,
        )  # fmt: skip
        begin = tl.load(starts + sequence) + part
        end = tl.load(starts + sequence + 1)
        if begin < end:
            add_rows(progress, begin, tl.minimum(begin + EMBEDDED, end), ROWS)
    elif (layer < LAYERS) & (at < behind_qkv):
        block = at // qkv_tiles
        rows = tl.minimum(ROWS, count - block * ROWS)
        await_progress(progress + block, rows * (1 + layer * tiles))
        product(
            block * ROWS, at % qkv_tiles, count,
            x, x_moments, qkv_weight + layer * (3 * WIDTH * WIDTH), qkv_bias + layer * (3 * WIDTH),
            qkv_sums + layer * (3 * WIDTH), x, x_moments, gains, shifts, starts, qkv, x_moments,
            WIDTH, 3 * WIDTH, ROWS, WIDER, DEPTH, CHAINS, NONE, tiles, 0, False, EPSILON,
        )  # fmt: skip
        add_progress(progress + ROOM + block, rows)
    elif layer < full:
        if at < behind_heads:
            sequence = (at - behind_qkv) // groups
            begin = tl.load(starts + sequence)
            end = tl.load(starts + sequence + 1)
            await_rows(progress + ROOM, begin, end, count, (layer + 1) * qkv_tiles, ROWS)
            for head in tl.static_range(GROUP):
                for asking in range(0, end - begin, KEYS):
                    attend(
                        sequence, (at - behind_qkv) % groups * GROUP + head, asking, qkv, starts, context,
                        HEADS, head_width, KEYS, KEYS, False,
                    )  # fmt: skip
            add_rows(progress + 2 * ROOM, begin, end, ROWS)
        elif at < behind_attended:
            block = (at - behind_heads) // tiles
            rows = tl.minimum(ROWS, count - block * ROWS)
            await_progress(progress + 2 * ROOM + block, rows * (layer + 1) * groups)
            product(
                block * ROWS, (at - behind_heads) % tiles, count,
                context, x_moments, attended_weight + layer * (WIDTH * WIDTH), attended_bias + layer * WIDTH, gains,
                x, x_moments, gains + layer * (2 * WIDTH), shifts + layer * (2 * WIDTH), starts, y, y_moments,
                WIDTH, WIDTH, ROWS, COLUMNS, DEPTH, CHAINS, NONE, 0, tiles, False, EPSILON,
            )  # fmt: skip
            add_progress(progress + 3 * ROOM + block, rows)
        elif at < behind_inner:
            block = (at - behind_attended) // inner_tiles
            rows = tl.minimum(ROWS, count - block * ROWS)
            await_progress(progress + 3 * ROOM + block, rows * (layer + 1) * tiles)
            product(
                block * ROWS, (at - behind_attended) % inner_tiles, count,
                y, y_moments, inner_weight + layer * (WIDTH * INNER), inner_bias + layer * INNER,
                inner_sums + layer * INNER, y, y_moments, gains, shifts, starts, wide, y_moments,
                WIDTH, INNER, ROWS, WIDER, DEPTH, CHAINS, ACTIVATION, tiles, 0, False, EPSILON,
            )  # fmt: skip
            add_progress(progress + 4 * ROOM + block, rows)
        else:
            block = (at - behind_inner) // tiles
            rows = tl.minimum(ROWS, count - block * ROWS)
            await_progress(progress + 4 * ROOM + block, rows * (layer + 1) * inner_tiles)
            product(
                block * ROWS, (at - behind_inner) % tiles, count,
                wide, y_moments, outer_weight + layer * (WIDTH * INNER), outer_bias + layer * WIDTH, gains,
                y, y_moments, gains + layer * (2 * WIDTH) + WIDTH, shifts + layer * (2 * WIDTH) + WIDTH, starts,
                x, x_moments,
                INNER, WIDTH, ROWS, COLUMNS, OUTER_DEPTH, CHAINS, NONE, 0, tiles, False, EPSILON,
            )  # fmt: skip
            add_progress(progress + block, rows)
    elif FIRST:
        counters = progress + 5 * ROOM
        norm = 2 * WIDTH * full
        at -= behind_qkv
        if at < heads:
            sequence = at // groups
            begin = tl.load(starts + sequence)
            await_rows(progress + ROOM, begin, tl.load(starts + sequence + 1), count, LAYERS * qkv_tiles, ROWS)
            for head in tl.static_range(GROUP):
                attend(
                    sequence, at % groups * GROUP + head, 0, qkv, starts, first_context,
                    HEADS, head_width, 16, KEYS, True,
                )  # fmt: skip
            add_progress(counters + sequence // FIRST_ROWS, 1)
        elif at < heads + first_blocks * first_tiles:
            block = (at - heads) // first_tiles
            await_progress(counters + block, tl.minimum(FIRST_ROWS, BATCH - block * FIRST_ROWS) * groups)
            product(
                block * FIRST_ROWS, (at - heads) % first_tiles, BATCH,
                first_context, x_moments, attended_weight + full * (WIDTH * WIDTH), attended_bias + full * WIDTH,
                gains, x, x_moments, gains + norm, shifts + norm, starts, first_y, first_y_moments,
                WIDTH, WIDTH, FIRST_ROWS, FIRST_COLUMNS, DEPTH, CHAINS, NONE, 0, tiles, True, EPSILON,
            )  # fmt: skip
            add_progress(counters + FIRST_ROOM + block, 1)
        elif at < heads + first_blocks * (first_tiles + first_inner_tiles):
            at -= heads + first_blocks * first_tiles
            block = at // first_inner_tiles
            await_progress(counters + FIRST_ROOM + block, first_tiles)
            product(
                block * FIRST_ROWS, at % first_inner_tiles, BATCH,
                first_y, first_y_moments, inner_weight + full * (WIDTH * INNER), inner_bias + full * INNER,
                inner_sums + full * INNER, y, y_moments, gains, shifts, starts, first_wide, first_y_moments,
                WIDTH, INNER, FIRST_ROWS, FIRST_COLUMNS, DEPTH, CHAINS, ACTIVATION, first_tiles, 0, False, EPSILON,
            )  # fmt: skip
            add_progress(counters + 2 * FIRST_ROOM + block, 1)
        elif at < heads + first_blocks * (2 * first_tiles + first_inner_tiles):
            at -= heads + first_blocks * (first_tiles + first_inner_tiles)
            block = at // first_tiles
            await_progress(counters + 2 * FIRST_ROOM + block, first_inner_tiles)
            product(
                block * FIRST_ROWS, at % first_tiles, BATCH,
                first_wide, first_y_moments, outer_weight + full * (WIDTH * INNER), outer_bias + full * WIDTH, gains,
                first_y, first_y_moments, gains + norm + WIDTH, shifts + norm + WIDTH, starts,
                first_x, first_x_moments,
                INNER, WIDTH, FIRST_ROWS, FIRST_COLUMNS, OUTER_DEPTH, CHAINS, NONE, 0, first_tiles, False, EPSILON,
            )  # fmt: skip
            add_progress(counters + 3 * FIRST_ROOM + block, 1)
        elif SCORED:
            at -= heads + first_blocks * (2 * first_tiles + first_inner_tiles)
            if at < first_blocks * first_tiles:
                block = at // first_tiles
                await_progress(counters + 3 * FIRST_ROOM + block, first_tiles)
                product(
                    block * FIRST_ROWS, at % first_tiles, BATCH,
                    first_x, first_x_moments, pooler_weight, pooler_bias, pooler_sums,
                    x, x_moments, gains, shifts, starts, pooled, x_moments,
                    WIDTH, WIDTH, FIRST_ROWS, FIRST_COLUMNS, DEPTH, CHAINS, TANH, first_tiles, 0, False, EPSILON,
                )  # fmt: skip
                add_progress(counters + 4 * FIRST_ROOM + block, 1)
            elif at < first_blocks * first_tiles + BATCH:
                at -= first_blocks * first_tiles
                await_progress(counters + 4 * FIRST_ROOM + at // FIRST_ROWS, first_tiles)
                score_row(at, pooled, last, last_bias, out, WIDTH, PADDED)
        else:
            at -= heads + first_blocks * (2 * first_tiles + first_inner_tiles)
            if at < BATCH:
                await_progress(counters + 3 * FIRST_ROOM + at // FIRST_ROWS, first_tiles)
                pool_rows(
                    at, first_x, gains + norm + 2 * WIDTH, shifts + norm + 2 * WIDTH, starts, out,
                    WIDTH, PADDED, 1, False, EPSILON,
                )  # fmt: skip
    elif at < BATCH:
        begin = tl.load(starts + at)
        await_rows(progress, begin, tl.load(starts + at + 1), count, 1 + LAYERS * tiles, ROWS)
        pool_rows(
            at, x, gains + LAYERS * (2 * WIDTH), shifts + LAYERS * (2 * WIDTH), starts, out,
            WIDTH, PADDED, 16, True, EPSILON,
        )  # fmt: skip

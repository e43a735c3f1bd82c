"""How blocks of threads wait for each other's rows, in Triton: see network.py for why none waits for ever."""

import triton
import triton.language as tl

from .tiles import INTERPRETED

AWAIT = tl.constexpr("""{
    .reg .pred other, missing, lost;
    .reg .u32 thread, asked;
    .reg .s32 reached;
    mov.u32 asked, 0;
    mov.u32 thread, %tid.x;
    setp.ne.u32 other, thread, 0;
    @other bra done;
    again:
    ld.acquire.gpu.global.s32 reached, [$1];
    setp.lt.s32 missing, reached, $2;
    @!missing bra done;
    add.u32 asked, asked, 1;
    setp.gt.u32 lost, asked, 16777216;
    @lost trap;
    bra again;
    done:
    bar.sync 0;
    mov.s32 $0, 0;
}""")
ADD = tl.constexpr("""{
    .reg .pred one;
    .reg .u32 thread;
    bar.sync 0;
    mov.u32 thread, %tid.x;
    setp.eq.u32 one, thread, 0;
    @one red.release.gpu.global.add.s32 [$1], $2;
    mov.s32 $0, 0;
}""")


@triton.jit
def assembly(text: tl.constexpr, counter, number):
    """Runs assembly, in which $1 is the address of a counter and $2 a number; $0, its result, is not used."""
    tl.inline_asm_elementwise(text, "=r,l,r", [counter, number], dtype=tl.int32, is_pure=False, pack=1)


@triton.jit
def await_progress(counter, least):
    """Waits until a counter has reached least; what was stored before it did is then seen by the whole block."""
    if INTERPRETED:  # blocks run one by one, in order: what is waited for is there, and no more of it
        tl.device_assert(tl.load(counter) == least, "a block waits for too much or too little")
    else:
        assembly(AWAIT, counter, least)


@triton.jit
def add_progress(counter, more):
    """Adds to a counter once the whole block has stored what it says is there."""
    if INTERPRETED:
        tl.atomic_add(counter, more)
    else:
        assembly(ADD, counter, more)


@triton.jit
def await_rows(counters, begin, end, count, times, ROWS: tl.constexpr):
    """Waits for the blocks of the rows from begin to end, of count rows in all, to have come so many times."""
    for block in range(begin // ROWS, (end - 1) // ROWS + 1):
        await_progress(counters + block, tl.minimum(ROWS, count - block * ROWS) * times)


@triton.jit
def add_rows(counters, begin, end, ROWS: tl.constexpr):
    """Says that the rows from begin to end are there."""
    for block in range(begin // ROWS, (end - 1) // ROWS + 1):
        add_progress(counters + block, tl.minimum(end, (block + 1) * ROWS) - tl.maximum(begin, block * ROWS))

"""Attention in float32: softmax(scale * Q @ K' + mask) @ V, a tile of keys at a time.

For each band of query rows, the register tile multiplies it with a block of keys, the exponentials
are taken relative to the largest score so far, and the tile adds their product with the values to
the result; earlier sums are scaled down when a larger score comes. Scores exist only for one band
and block. K and V are packed for the tile, once per task and head.

Operands are read, and the result is written, where they lie: the rows of a head are contiguous, all
else is strides. Several query heads may share a head of K and V.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from numba_rt.jit import inline, kernel, prange, u
from numba_rt.kernels import math as km
from numba_rt.kernels.activation import ACTIVATIONS, activate, activation_address
from numba_rt.kernels.packing import NR
from numba_rt.simd.attention import dots, exponentials, weighted_sum
from numba_rt.simd.isa import ISA
from numba_rt.simd.rows import add_row, pack_keys, pack_values, scale_row
from numba_rt.simd.tile import MAX_K, tile

__all__ = [
    "NO_LENGTHS",
    "NO_ROWS",
    "attention",
    "attention_rows",
    "factors",
    "geometry",
    "rows_work_size",
    "work_size",
]

MR = ISA.mr
LANES = ISA.lanes
KEYS = 256 // NR * NR
"""Keys of a block."""
BANDS = 96 // MR
"""Bands of query rows that pass over a block of packed keys while it is in the cache."""
CHUNK = 32
"""Keys that several rows read while they are in the cache."""
HIDDEN = np.float32(-1e37)
"""A mask that adds less hides what it is added to: -inf, or the least number that is finite."""
SEEN = np.float32(-1e30)
"""Next to a score above this, what is hidden has an exponential of 0."""

NO_LENGTHS = np.zeros(1, np.int64)
NO_ROWS = np.zeros(1, np.int64)
TANH = ACTIVATIONS["Tanh"]
f32 = np.float32
INF = f32(math.inf)

Strides = Sequence[int]


def geometry(
    *,
    batch: int,
    heads: int,
    kv_heads: int,
    m: int,
    n: int,
    d: int,
    dv: int,
    q: Strides,
    k: Strides,
    v: Strides,
    y: Strides,
    mask: Strides | None = None,
    bias: Strides | None = None,
    lengths: tuple[int, int] | None = None,
    offset: int | None = 0,
    left: int = -1,
    right: int = -1,
    safe: int = 0,
    capped: bool = False,
    tasks: int = 1,
    parts: int | None = None,
) -> np.ndarray:
    """The sizes `g` of the kernels: m queries and n keys of d numbers, values of dv.

    q, k, v, y: where the first element is, then how far a step of the batch, the head and the row
    moves on. mask, bias: the period of the batch (batch items are counted as (batch // period,
    period)), then how far a step of both, of the head, the row and the key moves on. lengths: step from
    one batch item's number of keys to the next, and what is added to the number. offset: the position
    of the first query among the keys; None where queries are the last of the keys there are. left,
    right: how many keys beside its own a query sees; all if negative. safe: queries that see
    nothing give 0 instead of NaN; so do, if it is 1, those with NaN among their scores. capped:
    scores are limited by tanh. parts: for `attention_rows`, into how many parts keys are cut.
    """
    bands = -(-m // MR)
    blocks = -(-bands // BANDS)
    if batch * heads * blocks % tasks and batch * heads * blocks < 8 * tasks:
        blocks = min(bands, -(-blocks // tasks) * tasks)
    return np.array(
        [batch, heads, heads // max(kv_heads, 1), m, n, d, dv, parts or blocks, *q, *k, *v, *y,
         mask is not None, *(mask or (1, 0, 0, 0, 0, 0)), bias is not None, *(bias or (1, 0, 0, 0, 0, 0)),
         lengths is not None, *(lengths or (0, 0)), offset is None, offset or 0, left, right, safe,
         activation_address() if capped else 0],
        np.int64,
    )  # fmt: skip


def factors(scale: float, softcap: float = 0.0) -> np.ndarray:
    """The factors `f` of the kernels: what the products are multiplied with, and the cap, 0 for none."""
    return np.array([scale / softcap if softcap else scale, softcap], np.float32)


def work_size(n: int, d: int, dv: int) -> int:
    """Elements of working memory of one task of `attention`."""
    panels = -(-n // NR), -(-dv // NR)
    return (panels[0] * NR * d + panels[1] * NR * n + MR * KEYS + 3 * BANDS * MR + NR) // NR * NR


@inline
def mask_row(g, at, b, head):
    """Where the mask described at g[at] starts for a head of a batch item."""
    return b // g[at] * g[at + 1] + b % g[at] * g[at + 2] + head * g[at + 3]


@inline
def is_hidden(mask, start, row_step, step, rows, n):
    """Whether a mask hides n keys from all rows."""
    for r in range(rows if row_step != 0 else 1):
        at = start + r * row_step
        if mask[u(at)] >= HIDDEN:
            return False
        top = -INF
        for j in range(n if step != 0 else 1):
            x = mask[u(at + j)]
            top = top if x < top else x
        if not top < HIDDEN:
            return False
    return True


@inline
def hide_outside(scores, at, n, lo, hi):
    """-inf for keys outside [lo, hi)."""
    for j in range(min(max(lo, 0), n)):
        scores[u(at + j)] = -INF
    for j in range(min(max(hi, 0), n), n):
        scores[u(at + j)] = -INF


@inline
def _score(q, q_at, q_step, packed, keys_at, d, height, scale, cols, work, at, no_rows, none, tiles):
    """scale * Q @ K' of a band and a block of keys, and of the zeros up to the next whole vector."""
    cols = (cols + LANES - 1) // LANES * LANES
    for i in range(0, d, MAX_K):
        tile(
            q, q_at + i, q_step, no_rows, 0, 0, 0, 1, min(MAX_K, d - i),
            packed, keys_at + i * NR, d * NR, d * NR,
            work, at, KEYS, cols, none, -1, none, -1, 0 if i == 0 else 1, scale, -INF, INF, height, tiles,
        )  # fmt: skip


@kernel
def attention(q, k, v, mask, bias, lengths, no_rows, tiles, g, f, work, y, tasks):
    """q, k, v, mask, bias, y: flat float32; lengths int64; g: `geometry(...)`; f: `factors(...)`.

    work: (tasks * work_size(n, d, dv),). Elements of y between the heads stay as they are.
    """
    heads, group, m, n, d, dv, blocks = g[1], g[2], g[3], g[4], g[5], g[6], g[7]
    bands, units, cap = (m + MR - 1) // MR, g[0] * heads * blocks, f[1]
    least, higher = m // max(bands, 1), m % max(bands, 1)
    own = work.size // tasks
    for t in prange(tasks):
        keys, packed = t * own, np.int64(-1)
        values = keys + (n + NR - 1) // NR * NR * d
        scores = values + (dv + NR - 1) // NR * NR * n
        tops, totals = scores + MR * KEYS, scores + MR * KEYS + BANDS * MR
        rescale = totals + BANDS * MR
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            block, head, b = unit % blocks, unit // blocks % heads, unit // blocks // heads
            kv = b * (heads // group) + head // group
            if kv != packed:
                pack_keys(k, g[12] + b * g[13] + head // group * g[14], g[15], n, d, work, keys)
                pack_values(v, g[16] + b * g[17] + head // group * g[18], g[19], n, dv, work, values)
                packed = kv
            q0, y0 = g[8] + b * g[9] + head * g[10], g[20] + b * g[21] + head * g[22]
            mask0, bias0 = mask_row(g, 25, b, head), mask_row(g, 32, b, head)
            stop = min(n, max(lengths[u(b * g[39])] + g[40], 0)) if g[38] != 0 else n
            offset = stop - m if g[41] != 0 else g[42]
            first, last = block * bands // blocks, (block + 1) * bands // blocks
            for i in range((last - first) * MR):
                work[u(tops + i)] = -INF
                work[u(totals + i)] = f32(-1)
            for j0 in range(0, stop, KEYS):
                cols = min(KEYS, stop - j0)
                for band in range(first, last):
                    m0, height = band * least + min(band, higher), least + (1 if band < higher else 0)
                    state, at = (band - first) * MR, offset + m0 - j0
                    if (g[44] >= 0 and at + height - 1 + g[44] < 0) or (g[43] >= 0 and at - g[43] >= cols):
                        continue
                    if g[24] != 0 and j0 > 0:
                        low = INF
                        for r in range(height):
                            low = min(low, work[u(tops + state + r)])
                        if low > SEEN and is_hidden(
                            mask, mask0 + m0 * g[29] + j0 * g[30], g[29], g[30], height, cols
                        ):
                            continue
                    _score(q, q0 + m0 * g[11], g[11], work, keys + j0 * d, d, height, f[0], cols,
                           work, scores, no_rows, f, tiles)  # fmt: skip
                    if cap != f32(0):
                        activate(g[46], work, scores, height, cols, KEYS, TANH, cap, cap)
                    seen = not work[u(totals + state)] < f32(0)
                    for r in range(height):
                        s = scores + r * KEYS
                        if cap != f32(0):
                            scale_row(work, s, cols, cap)
                        if g[24] != 0:
                            add_row(work, s, mask, mask0 + (m0 + r) * g[29] + j0 * g[30], g[30], cols)
                        if g[31] != 0:
                            add_row(work, s, bias, bias0 + (m0 + r) * g[36] + j0 * g[37], g[37], cols)
                        if g[43] >= 0 or g[44] >= 0:
                            hi = at + r + g[44] + 1 if g[44] >= 0 else cols
                            hide_outside(work, s, cols, at + r - g[43] if g[43] >= 0 else np.int64(0), hi)
                    exponentials(work, scores, KEYS, height, cols, tops + state, totals + state, rescale)
                    if seen:
                        for r in range(height):
                            factor, row = work[u(rescale + r)], y0 + (m0 + r) * g[23]
                            if factor != f32(1):
                                scale_row(y, row, dv, factor)
                    tile(
                        work, scores, KEYS, no_rows, 0, 0, 0, 1, cols, work, values + j0 * NR, n * NR, n * NR,
                        y, y0 + m0 * g[23], g[23], dv, f, -1, f, -1, 1 if seen else 0, f32(1), -INF, INF,
                        height, tiles,
                    )  # fmt: skip
            for band in range(first, last):
                m0, height = band * least + min(band, higher), least + (1 if band < higher else 0)
                for r in range(height):
                    total, row = work[u(totals + (band - first) * MR + r)], y0 + (m0 + r) * g[23]
                    finish(y, row, dv, total, 2 if n == 0 else g[45])


@inline
def finish(y, at, dv, total, safe):
    """Divides a row by the sum of its exponentials; -1 is the sum of nothing: y is not written yet."""
    empty = total <= f32(0)
    if total < f32(0) or (empty and safe != 0) or (total != total and safe == 1):
        for i in range(at, at + dv):
            y[u(i)] = f32(0) if safe != 0 else f32(math.nan)
    else:
        scale_row(y, at, dv, f32(1) / total)


@kernel
def attention_rows(q, k, v, mask, bias, lengths, g, f, work, y, tasks):
    """The same for few queries, which read K and V where they lie: each is read once.

    Arguments as for `attention`, where g[7] is into how many parts the keys are cut.
    work: (rows_work_size(g, tasks),): scores of a task; then, for each part and row of the result, its
    sum, the largest score and the sum of exponentials.
    """
    heads, group, m, n, d, dv, parts = g[1], g[2], g[3], g[4], g[5], g[6], g[7]
    units, span = g[0] * heads * parts, (n // parts + 1 + LANES) // LANES * LANES
    stored, cap = dv + 3, f[1]
    for t in prange(tasks):
        scores, results = t * m * span, tasks * m * span
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            part, head, b = unit % parts, unit // parts % heads, unit // parts // heads
            stop = min(n, max(lengths[u(b * g[39])] + g[40], 0)) if g[38] != 0 else n
            offset = stop - m if g[41] != 0 else g[42]
            first, last = part * stop // parts, (part + 1) * stop // parts
            k0 = g[12] + b * g[13] + head // group * g[14]
            v0 = g[16] + b * g[17] + head // group * g[18]
            for j0 in range(first, last, CHUNK):
                for r in range(m):
                    q0 = g[8] + b * g[9] + head * g[10] + r * g[11]
                    dots(q, q0, k, k0 + j0 * g[15], g[15], min(CHUNK, last - j0), d, f[0],
                         work, scores + r * span + j0 - first)  # fmt: skip
            for r in range(m):
                s, cols, result = scores + r * span, last - first, results + (unit * m + r) * stored
                if cap != f32(0):
                    activate(g[46], work, s, 1, cols, span, TANH, cap, cap)
                    scale_row(work, s, cols, cap)
                if g[24] != 0:
                    row = mask_row(g, 25, b, head) + r * g[29] + first * g[30]
                    add_row(work, s, mask, row, g[30], cols)
                if g[31] != 0:
                    row = mask_row(g, 32, b, head) + r * g[36] + first * g[37]
                    add_row(work, s, bias, row, g[37], cols)
                if g[43] >= 0 or g[44] >= 0:
                    at = offset + r - first
                    hi = at + g[44] + 1 if g[44] >= 0 else cols
                    hide_outside(work, s, cols, at - g[43] if g[43] >= 0 else np.int64(0), hi)
                for i in range(result, result + dv):
                    work[u(i)] = f32(0)
                work[u(result + dv)] = -INF
                work[u(result + dv + 1)] = f32(0)
                exponentials(work, s, span, 1, cols, result + dv, result + dv + 1, result + dv + 2)
            for j0 in range(first, last, CHUNK):
                for r in range(m):
                    result = results + (unit * m + r) * stored
                    weighted_sum(work, scores + r * span + j0 - first, v, v0 + j0 * g[19], g[19],
                                 min(CHUNK, last - j0), dv, work, result)  # fmt: skip
    for row in range(g[0] * heads * m):
        head, first = row // m, tasks * m * span + (row // m * parts * m + row % m) * stored
        at = g[20] + head // heads * g[21] + head % heads * g[22] + row % m * g[23]
        top, total = -INF, f32(0)
        for part in range(parts):
            x = work[u(first + part * m * stored + dv)]
            top = x if x > top else top
        base = f32(0) if top == -INF else top
        for i in range(at, at + dv):
            y[u(i)] = f32(0)
        for part in range(parts):
            result = first + part * m * stored
            factor = km.exp_neg(work[u(result + dv)] - base)
            total += work[u(result + dv + 1)] * factor
            for i in range(dv):
                y[u(at + i)] += work[u(result + i)] * factor
        finish(y, at, dv, total, 2 if n == 0 else g[45])


def rows_work_size(g: np.ndarray, tasks: int) -> int:
    """Elements of working memory of `attention_rows`."""
    batch, heads, m, n, dv, parts = (int(g[i]) for i in (0, 1, 3, 4, 6, 7))
    span = (n // parts + 1 + LANES) // LANES * LANES
    return tasks * m * span + batch * heads * m * parts * (dv + 3)

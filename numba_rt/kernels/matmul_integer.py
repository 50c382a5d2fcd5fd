"""Products of small integers, exact in 32 bits, for matrices and convolutions.

Operands are 16-bit numbers, two that follow one another in a sum to a word (`numba_rt.simd.integer`).
"""

from __future__ import annotations

import numpy as np

from numba_rt.jit import kernel, prange, u
from numba_rt.kernels.gemm import divide
from numba_rt.simd.integer import integer_tile
from numba_rt.simd.isa import ISA

__all__ = [
    "centre_images",
    "centre_pixels",
    "centre_rows",
    "depthwise_integers",
    "multiply_integers",
    "pack_columns_of_integers",
    "pack_integers",
    "packed_words",
]

MR = ISA.mr
NR = ISA.nr
CACHED = 48 * 1024
"""Words of B that stay in the second-level cache while rows of A pass by."""
LONGEST = 1536
"""Words of the sum that one pass over a block of C adds."""

i16, i32 = np.int16, np.int32


def packed_words(words: int, n: int) -> int:
    """Words of a packed matrix whose n columns have so many words."""
    return -(-n // NR) * words * NR


def pack_integers(b: np.ndarray) -> np.ndarray:
    """Packs int16 matrices (..., k, n) of an even k as words (..., panels * k / 2 * NR)."""
    *batch, k, n = b.shape
    panels = -(-n // NR)
    first, second = (b[..., odd::2, :].astype(np.uint16).astype(np.uint32) for odd in (0, 1))
    words = np.zeros((*batch, k // 2, panels * NR), np.uint32)
    np.bitwise_or(first, second << 16, out=words[..., :n])
    by_panel = words.reshape(*batch, k // 2, panels, NR).swapaxes(-2, -3)
    return np.ascontiguousarray(by_panel).reshape(*batch, panels * k // 2 * NR).view(np.int32)


@kernel
def multiply_integers(a, b, starts, taps, tiles, g, c, tasks):
    """c = a @ b for a batch of matrices counted by two axes; sums wrap around.

    a, b: int32 words, flat; starts, taps: int64, see `integer_tile`; c: int32, flat; g int64: batch0,
    batch1, m, n, words of a tap, taps, lda, ldc, row step of starts, then strides of a, b and c along the
    two batch axes, those of a and b in words.
    """
    batch1, m, n, k, n_taps, lda, ldc, row_step = g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8]
    bands, panels = (m + MR - 1) // MR, (n + NR - 1) // NR
    batch = g[0] * batch1
    pieces = 1 if batch % tasks == 0 or batch >= 8 * tasks else tasks
    row_pieces, col_pieces = divide(bands, panels, pieces)
    least_height, higher = m // max(bands, 1), m % max(bands, 1)
    units, depth = batch * pieces, k * n_taps * NR
    tap_block = max(1, LONGEST // max(k, 1))
    k_parts = max(1, (k + LONGEST - 1) // LONGEST)
    parts = max(1, (n_taps + tap_block - 1) // tap_block * k_parts)
    block = max(1, CACHED // max(depth // parts, 1))
    for t in prange(tasks):
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            item, piece = unit // pieces, unit % pieces
            outer, inner = item // batch1, item % batch1
            a0, b0, c0 = (
                outer * g[9] + inner * g[10],
                outer * g[11] + inner * g[12],
                outer * g[13] + inner * g[14],
            )
            by_row, by_col = piece // col_pieces, piece % col_pieces
            band_stop, panel_stop = (by_row + 1) * bands // row_pieces, (by_col + 1) * panels // col_pieces
            for p0 in range(by_col * panels // col_pieces, panel_stop, block):
                cols = min((p0 + block) * NR, panel_stop * NR, n) - p0 * NR
                for part in range(parts):
                    tap0 = part // k_parts * tap_block
                    own_taps = min(tap_block, n_taps - tap0)
                    k0 = part % k_parts * k // k_parts
                    own_k = (part % k_parts + 1) * k // k_parts - k0
                    for i in range(by_row * bands // row_pieces, band_stop):
                        m0 = i * least_height + min(i, higher)
                        height = least_height + 1 if i < higher else least_height
                        integer_tile(
                            a, a0 + m0 * lda + k0, lda,
                            starts, m0 * row_step, row_step, taps, tap0, own_taps, own_k,
                            b, b0 + p0 * depth + (tap0 * k + k0) * NR, k * NR, depth,
                            c, c0 + m0 * ldc + p0 * NR, ldc, cols, 0 if part == 0 else 1, height, tiles,
                        )  # fmt: skip


@kernel
def centre_rows(x, zero, g, y, tasks):
    """Bytes less the zero point of their row, in 16 bits; rows of y are filled up to whole words.

    x: (rows * k,); zero: of x's dtype, row r takes that at r % period; y: int16, (rows * words * 2,);
    g int64: rows, k, period.
    """
    rows, k, period = g[0], g[1], g[2]
    width = (k + 1) // 2 * 2
    for t in prange(tasks):
        for r in range(t * rows // tasks, (t + 1) * rows // tasks):
            less = i16(zero[u(r % period)])
            source, target = r * k, r * width
            for j in range(k):
                y[u(target + j)] = i16(i16(x[u(source + j)]) - less)
            if width > k:
                y[u(target + k)] = 0


@kernel
def pack_columns_of_integers(b, zero, g, packed, tasks):
    """Packs bytes less the zero point of their column: matrices, or the filters of convolutions.

    b flat; zero: of b's dtype; packed: int16, flat; g int64: matrices, taps, rows of a tap, columns, then
    the strides of b along these axes, then those of zero along matrices and columns.
    """
    n_taps, k, n = g[1], g[2], g[3]
    words, panels = (k + 1) // 2, (n + NR - 1) // NR
    total = g[0] * panels
    for t in prange(tasks):
        for item in range(t * total // tasks, (t + 1) * total // tasks):
            matrix, first = item // panels, item % panels * NR
            cols = min(NR, n - first)
            target = item * n_taps * words * NR * 2
            for tap in range(n_taps):
                source = matrix * g[4] + tap * g[5] + first * g[7]
                for word in range(words):
                    at = source + 2 * word * g[6]
                    for j in range(cols):
                        less = i16(zero[u(matrix * g[8] + (first + j) * g[9])])
                        packed[u(target + 2 * j)] = i16(i16(b[u(at + j * g[7])]) - less)
                        if 2 * word + 1 < k:
                            packed[u(target + 2 * j + 1)] = i16(i16(b[u(at + g[6] + j * g[7])]) - less)
                        else:
                            packed[u(target + 2 * j + 1)] = 0
                    for j in range(2 * cols, 2 * NR):
                        packed[u(target + j)] = 0
                    target += 2 * NR


@kernel
def centre_images(x, zero, g, y, tasks):
    """Images of bytes less their zero point, channels last and in 16 bits, with zeros around them.

    x: (images * groups * own * d * h * w,); zero: (1,) of x's dtype; y: int16, (images * pd * ph * pw *
    groups * width,), where width is own filled up to whole words; g int64: images, groups, own, then d, h
    and w, then pd, ph and pw, then where an image begins in y along these axes.
    """
    groups, own, d, h, w, pd, ph, pw = g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8]
    width = (own + 1) // 2 * 2
    pixel = groups * width
    left, right = max(0, g[11]), min(pw, w + g[11])
    lines = g[0] * pd * ph
    for t in prange(tasks):
        less = i16(zero[0])
        for line in range(t * lines // tasks, (t + 1) * lines // tasks):
            image = line // (pd * ph)
            i0, i1 = line // ph % pd - g[9], line % ph - g[10]
            target = line * pw * pixel
            for j in range(target, target + pw * pixel):
                y[u(j)] = 0
            if i0 >= 0 and i0 < d and i1 >= 0 and i1 < h:
                for channel in range(groups * own):
                    source = (((image * groups * own + channel) * d + i0) * h + i1) * w - g[11]
                    at = target + channel // own * width + channel % own
                    for i2 in range(left, right):
                        y[u(at + i2 * pixel)] = i16(i16(x[u(source + i2)]) - less)


@kernel
def centre_pixels(x, zero, g, y, tasks):
    """`centre_images` of images whose channels are last already."""
    groups, own, d, h, w, pd, ph, pw = g[1], g[2], g[3], g[4], g[5], g[6], g[7], g[8]
    width = (own + 1) // 2 * 2
    pixel = groups * width
    left = min(pw, max(0, g[11]))
    right = max(left, min(pw, w + g[11]))
    lines = g[0] * pd * ph
    for t in prange(tasks):
        less = i16(zero[0])
        for line in range(t * lines // tasks, (t + 1) * lines // tasks):
            image = line // (pd * ph)
            i0, i1 = line // ph % pd - g[9], line % ph - g[10]
            start, stop = line * pw * pixel, (line + 1) * pw * pixel
            if i0 < 0 or i0 >= d or i1 < 0 or i1 >= h:
                for j in range(start, stop):
                    y[u(j)] = 0
                continue
            first, last = start + left * pixel, start + right * pixel
            source = (((image * d + i0) * h + i1) * w + left - g[11]) * groups * own
            for j in range(start, first):
                y[u(j)] = 0
            if width == own:
                for j in range(last - first):
                    y[u(first + j)] = i16(i16(x[u(source + j)]) - less)
            else:
                for part in range((right - left) * groups):
                    for j in range(own):
                        y[u(first + part * width + j)] = i16(i16(x[u(source + part * own + j)]) - less)
                    y[u(first + part * width + own)] = 0
            for j in range(last, stop):
                y[u(j)] = 0


@kernel
def depthwise_integers(a, w, g, c, tasks):
    """Convolution of each channel by itself; sums wrap around.

    a: int16, (images * pd * ph * pw * width,), as `centre_pixels` makes it of one group; w: int16, (taps *
    channels,); c: int32, (images * n0 * n1 * n2 * channels,); g int64: images, channels, then pd, ph and pw,
    then of three axes each the output's sizes, strides, the kernel and dilations.
    """
    channels, pd, ph, pw = g[1], g[2], g[3], g[4]
    n0, n1, n2, k0, k1, k2 = g[5], g[6], g[7], g[11], g[12], g[13]
    width = (channels + 1) // 2 * 2
    lines, apart = g[0] * n0 * n1, g[16] * width
    for t in prange(tasks):
        for line in range(t * lines // tasks, (t + 1) * lines // tasks):
            image, i0, i1 = line // (n0 * n1), line // n1 % n0 * g[8], line % n1 * g[9]
            for o2 in range(n2):
                at = (line * n2 + o2) * channels
                for j in range(channels):
                    c[u(at + j)] = 0
                for q in range(k0 * k1):
                    row = (image * pd + i0 + q // k1 * g[14]) * ph + i1 + q % k1 * g[15]
                    x, y = (row * pw + o2 * g[10]) * width, q * k2 * channels
                    for _ in range(k2 // 3):
                        x1, x2, y1, y2 = x + apart, x + 2 * apart, y + channels, y + 2 * channels
                        for j in range(channels):
                            first = i32(i32(a[u(x + j)]) * i32(w[u(y + j)]))
                            second = i32(i32(a[u(x1 + j)]) * i32(w[u(y1 + j)]))
                            third = i32(i32(a[u(x2 + j)]) * i32(w[u(y2 + j)]))
                            c[u(at + j)] = i32(c[u(at + j)] + i32(first + i32(second + third)))
                        x, y = x + 3 * apart, y + 3 * channels
                    for _ in range(k2 % 3):
                        for j in range(channels):
                            product = i32(i32(a[u(x + j)]) * i32(w[u(y + j)]))
                            c[u(at + j)] = i32(c[u(at + j)] + product)
                        x, y = x + apart, y + channels

"""Data movement on unsigned integers of the item size: one kernel moves every dtype.

Arrays are flat. Axes are described by an int64 array: `[x0, y0, end, outer]`, then
`size, stride in x, stride in y` of the `outer` axes and of the last two, outermost first.
"""

from numba_rt.jit import inline, kernel, prange, u
from numba_rt.simd.shuffle import VECTOR_BYTES, WIDEST, transpose_tile

LINE = 64
"""Bytes of a cache line: squares of that side are read and written whole."""
BLOCK_M = 128
BLOCK_N = 64
"""Rows and columns of the result that are transposed at a time: few enough pages to stay known."""


@kernel
def copy_bits(x, y, tasks):
    """y = x.   x, y: (n,)."""
    n = y.size
    for t in prange(tasks):
        for i in range(t * n // tasks, (t + 1) * n // tasks):
            y[u(i)] = x[u(i)]


@kernel
def copy_axes(x, g, y, tasks):
    """y[y0 + Σ i·sy] = x[x0 + Σ i·sx].   The last two axes cover `end` elements: the last run
    may be shorter than the others.
    """
    outer, at = g[3], 4 + 3 * g[3]
    m, mx, my = g[at], g[at + 1], g[at + 2]
    n, sx, sy = g[at + 3], g[at + 4], g[at + 5]
    rows = m
    for a in range(outer):
        rows *= g[4 + 3 * a]
    for t in prange(tasks):
        row, stop = t * rows // tasks, (t + 1) * rows // tasks
        while row < stop:
            block = row // m
            first = row - block * m
            last = min(m, first + stop - row)
            px, py = g[0] + first * mx, g[1] + first * my
            for back in range(outer):
                a = 4 + 3 * (outer - 1 - back)
                i = block % g[a]
                block //= g[a]
                px += i * g[a + 1]
                py += i * g[a + 2]
            for i in range(first, last):
                run = min(n, g[2] - i * n)
                if sx == 1 and sy == 1:
                    for j in range(run):
                        y[u(py + j)] = x[u(px + j)]
                elif sx == 0 and sy == 1:
                    v = x[u(px)]
                    for j in range(run):
                        y[u(py + j)] = v
                else:
                    for j in range(run):
                        y[u(py + j * sy)] = x[u(px + j * sx)]
                px += mx
                py += my
            row += last - first


@kernel
def transpose_axes(x, g, y, tasks):
    """Like copy_axes where y is contiguous along the last axis and x along the one before."""
    outer, at = g[3], 4 + 3 * g[3]
    m, sy = g[at], g[at + 2]
    n, sx = g[at + 3], g[at + 4]
    tile, line = min(WIDEST, VECTOR_BYTES // x.itemsize), LINE // x.itemsize
    blocks = (m + BLOCK_M - 1) // BLOCK_M
    parts = (n + BLOCK_N - 1) // BLOCK_N
    units = blocks * parts
    for a in range(outer):
        units *= g[4 + 3 * a]
    for t in prange(tasks):
        for unit in range(t * units // tasks, (t + 1) * units // tasks):
            part, rest = unit % parts, unit // parts
            block, rest = rest % blocks, rest // blocks
            px, py = g[0], g[1]
            for back in range(outer):
                a = 4 + 3 * (outer - 1 - back)
                i = rest % g[a]
                rest //= g[a]
                px += i * g[a + 1]
                py += i * g[a + 2]
            i1, j1 = min(m, (block + 1) * BLOCK_M), min(n, (part + 1) * BLOCK_N)
            for i in range(block * BLOCK_M, i1, line):
                for j in range(part * BLOCK_N, j1, line):
                    _square(x, px, sx, y, py, sy, i, min(i + line, i1), j, min(j + line, j1), tile)


@inline
def _square(x, px, sx, y, py, sy, i0, i1, j0, j1, tile):
    for j in range(j0, j1, tile):
        for i in range(i0, i1, tile):
            if i + tile <= i1 and j + tile <= j1:
                transpose_tile(x, px + j * sx + i, sx, y, py + i * sy + j, sy)
            else:
                _edge(x, px + j * sx, sx, y, py + j, sy, i, min(i + tile, i1), min(tile, j1 - j))


@inline
def _edge(x, px, sx, y, py, sy, i0, i1, n):
    for i in range(i0, i1):
        for j in range(n):
            y[u(py + i * sy + j)] = x[u(px + j * sx + i)]


@kernel
def fill_bits(value, y, tasks):
    """y = value, repeated.   value: (words,); y: (n,)."""
    n, words = y.size // value.size, value.size
    for t in prange(tasks):
        for k in range(words):
            v = value[k]
            for i in range(t * n // tasks, (t + 1) * n // tasks):
                y[u(i * words + k)] = v


@kernel
def pad_axes(x, value, g, table, y, tasks):
    """y[i, j, ...] = x[table[i] + table[j] + ...], or `value` where a table entry is negative.

    g is `[outer, n, lo, hi, first]`, then `size, start in table` of the outer axes. Of the last
    axis, of size n, the elements [lo, hi) are neighbours from `first` + lo on in x; the table
    begins with the others.   value: (words,).
    """
    outer, n, lo, hi = g[0], g[1], g[2], g[3]
    gap = hi - lo
    mask = value.size - 1
    rows = y.size // n
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            px, rest, inside = 0, row, True
            for back in range(outer):
                a = 5 + 2 * (outer - 1 - back)
                entry = table[g[a + 1] + rest % g[a]]
                rest //= g[a]
                inside = inside and entry >= 0
                px += entry
            py = row * n
            if not inside:
                for i in range(n):
                    y[u(py + i)] = value[u(i & mask)]
                continue
            start = px + g[4]
            for i in range(lo):
                entry = table[i]
                y[u(py + i)] = x[u(px + entry)] if entry >= 0 else value[u(i & mask)]
            for i in range(lo, hi):
                y[u(py + i)] = x[u(start + i)]
            for i in range(hi, n):
                entry = table[i - gap]
                y[u(py + i)] = x[u(px + entry)] if entry >= 0 else value[u(i & mask)]


@kernel
def trilu(x, words, k, upper, y, tasks):
    """y = x on and above diagonal k (below, unless `upper`), else 0.   x, y: (batch, m, n·words);
    k: (1,).   In place: yes.
    """
    batch, m, n = y.shape
    k = min(max(k[0], -m - 1), n // words + 1)
    for t in prange(tasks):
        for row in range(t * batch * m // tasks, (t + 1) * batch * m // tasks):
            b, i = row // m, row % m
            cut = min(max(i + k if upper else i + k + 1, 0) * words, n)
            for j in range(cut):
                y[u(b), u(i), u(j)] = 0 if upper else x[u(b), u(i), u(j)]
            for j in range(cut, n):
                y[u(b), u(i), u(j)] = x[u(b), u(i), u(j)] if upper else 0

"""Recurrent layers, step by step, after their inputs have been projected.

x holds the products of inputs and weights, (directions, steps and batch in the order of the
input, gates * hidden), and is used up. r: recurrent weights by direction; those of the last gate of
`gru` are apart. In float32 they are packed for the register tile (`tiles`, `no_rows`), otherwise in
blocks of COLUMNS columns, (hidden, COLUMNS) each, of which the last may be narrower. b: (directions,
2 * gates * hidden), or empty. lens: steps of each sequence of the batch, or empty. The state is
(parts, directions * batch, hidden): h first. A *row* is a sequence in one direction.

g: 0 steps, 1 batch, 2 hidden, 3 directions, 4 whether the first direction is reversed; strides:
5 and 6 of x by step and batch; 7, 8, 9 of y by step, direction and batch; 10 and 11 of the first
and last states by direction and batch; 12 a flag of the layer; from 13 on the activations of each
direction, three by three. f: the limit of what enters an activation; then alpha and beta of each.
"""

from __future__ import annotations

import numpy as np

from numba_rt.jit import inline, kernel, prange, u
from numba_rt.kernels import math as km
from numba_rt.kernels.packing import NR
from numba_rt.simd.isa import ISA
from numba_rt.simd.tile import MAX_K, tile

__all__ = ["ACTIVATIONS", "COLUMNS", "gru", "lstm", "rnn"]

ACTIVATIONS = (
    "Sigmoid", "Tanh", "Relu", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu",
    "Softsign", "Softplus",
)  # fmt: skip
"""Their numbers in g are their positions."""

COLUMNS = 512
"""Columns of r that are multiplied together: eight rows of them stay in the first-level cache."""
MR = ISA.mr
PANEL_COLUMNS = 96 // NR * NR
"""Columns of packed r that stay in the cache while all rows of h pass over them."""
INF = np.float32(np.inf)


@inline
def _activate(y, start, n, g, f, which):
    """Activation `which` of n elements of y, in place, after limiting them."""
    code, alpha, beta, stop = g[u(13 + which)], f[u(1 + 2 * which)], f[u(2 + 2 * which)], start + n
    one = y.dtype.type(1)
    zero = one - one
    if f[0] < np.inf:
        for i in range(start, stop):
            y[u(i)] = max(-f[0], min(f[0], y[u(i)]))
    if code == 0:
        for i in range(start, stop):
            y[u(i)] = km.sigmoid(y[u(i)])
    elif code == 1:
        for i in range(start, stop):
            y[u(i)] = km.tanh(y[u(i)])
    elif code == 2:
        for i in range(start, stop):
            y[u(i)] = max(y[u(i)], zero)
    elif code == 3:
        for i in range(start, stop):
            y[u(i)] = alpha * y[u(i)] + beta
    elif code == 4:
        for i in range(start, stop):
            y[u(i)] = y[u(i)] if y[u(i)] >= zero else alpha * y[u(i)]
    elif code == 5:
        for i in range(start, stop):
            y[u(i)] = y[u(i)] if y[u(i)] >= alpha else zero
    elif code == 6:
        for i in range(start, stop):
            y[u(i)] = alpha * km.tanh(beta * y[u(i)])
    elif code == 7:
        for i in range(start, stop):
            y[u(i)] = min(max(alpha * y[u(i)] + beta, zero), one)
    elif code == 8:
        for i in range(start, stop):
            y[u(i)] = y[u(i)] if y[u(i)] >= zero else alpha * (km.exp(min(y[u(i)], zero)) - one)
    elif code == 9:
        for i in range(start, stop):
            y[u(i)] = y[u(i)] / (one + abs(y[u(i)]))
    else:
        for i in range(start, stop):
            y[u(i)] = max(y[u(i)], zero) + km.log(one + km.exp_neg(-abs(y[u(i)])))


@inline
def _add_products(h, h_at, r, r_at, n, hidden, y, at, at0, shift, row0, row1, ld, tiles, no_rows, f):
    """Add rows of h (hidden) times n columns of r to the rows of y that have an address in `at`.

    ld: the distance of these rows; 0 if they are not equally far apart.
    """
    if y.itemsize != 4:
        _add_blocks(h, h_at, r, r_at, n, hidden, y, at, at0, shift, row0, row1)
        return
    bands = (row1 - row0 + MR - 1) // MR if ld > 0 else max(row1 - row0, 0)
    least, higher = (row1 - row0) // max(bands, 1), (row1 - row0) % max(bands, 1)
    for col in range(0, n, PANEL_COLUMNS):
        cols = min(PANEL_COLUMNS, n - col)
        for k0 in range(0, hidden, MAX_K):
            k = min(MAX_K, hidden - k0)
            for band in range(bands):
                row = row0 + band * least + min(band, higher)
                to = at[u(at0 + row)]
                if to >= 0:
                    tile(
                        h, h_at + row * hidden + k0, hidden, no_rows, 0, 0, 0, 1, k,
                        r, r_at + col * hidden + k0 * NR, hidden * NR, hidden * NR,
                        y, to + shift + col, ld, cols, f, -1, f, -1, 1, np.float32(1), -INF, INF,
                        least + (1 if band < higher else 0), tiles,
                    )  # fmt: skip


@inline
def _add_blocks(h, h_at, r, r_at, n, hidden, y, at, at0, shift, row0, row1):
    """The same on blocks of r."""
    for first in range(0, n, COLUMNS):
        cols = min(COLUMNS, n - first)
        block = r_at + first * hidden
        for k in range(0, hidden - 7, 8):
            r0 = block + k * cols
            r1, r2, r3, r4 = r0 + cols, r0 + 2 * cols, r0 + 3 * cols, r0 + 4 * cols
            r5, r6, r7 = r0 + 5 * cols, r0 + 6 * cols, r0 + 7 * cols
            for row in range(row0, row1):
                if at[u(at0 + row)] < 0:
                    continue
                to, a = at[u(at0 + row)] + shift + first, h_at + row * hidden + k
                h0, h1, h2, h3 = h[u(a)], h[u(a + 1)], h[u(a + 2)], h[u(a + 3)]
                h4, h5, h6, h7 = h[u(a + 4)], h[u(a + 5)], h[u(a + 6)], h[u(a + 7)]
                for j in range(cols):
                    low = h0 * r[u(r0 + j)] + h1 * r[u(r1 + j)] + h2 * r[u(r2 + j)] + h3 * r[u(r3 + j)]
                    high = h4 * r[u(r4 + j)] + h5 * r[u(r5 + j)] + h6 * r[u(r6 + j)] + h7 * r[u(r7 + j)]
                    y[u(to + j)] += low + high
        for k in range(hidden // 8 * 8, hidden):
            for row in range(row0, row1):
                if at[u(at0 + row)] >= 0:
                    to, value = at[u(at0 + row)] + shift + first, h[u(h_at + row * hidden + k)]
                    for j in range(cols):
                        y[u(to + j)] += value * r[u(block + k * cols + j)]


@inline
def _begin(first, g, state, part, row0, row1):
    """The given first state of some rows, or zeros."""
    batch, hidden = g[1], g[2]
    for row in range(row0, row1):
        to = (part * batch * g[3] + row) * hidden
        source = row // batch * g[10] + row % batch * g[11]
        for j in range(hidden):
            state[u(to + j)] = first[u(source + j)] if first.size else state.dtype.type(0)


@inline
def _finish(g, state, part, last, row0, row1):
    """The last state of some rows, where it is wanted."""
    batch, hidden = g[1], g[2]
    if last.size:
        for row in range(row0, row1):
            source = (part * batch * g[3] + row) * hidden
            to = row // batch * g[10] + row % batch * g[11]
            for j in range(hidden):
                last[u(to + j)] = state[u(source + j)]


@inline
def _open(x, b, lens, g, gates, step, y, at, row0, row1):
    """Addresses in x of a step's rows, -1 past a sequence's end, where y is 0; adds the biases."""
    steps, batch, hidden = g[0], g[1], g[2]
    n = gates * hidden
    for row in range(row0, row1):
        d, i = row // batch, row % batch
        length = min(max(np.int64(lens[u(i)]), 0), steps) if lens.size else steps
        if step >= length:
            at[u(row)] = -1
            if y.size:
                to = step * g[7] + d * g[8] + i * g[9]
                for j in range(hidden):
                    y[u(to + j)] = y.dtype.type(0)
            continue
        time = length - 1 - step if d == 1 or g[4] else step
        start = (d * steps * batch + time * g[5] + i * g[6]) * n
        at[u(row)] = start
        at[u(g[3] * batch + row)] = time * g[7] + d * g[8] + i * g[9]
        if b.size:
            of_w = d * 2 * n
            for j in range(n):
                x[u(start + j)] += b[u(of_w + j)] + b[u(of_w + n + j)]


@inline
def _emit(state, row, g, y, at):
    """Copy the state h of a row to y."""
    hidden = g[2]
    if y.size:
        to = at[u(g[3] * g[1] + row)]
        for j in range(hidden):
            y[u(to + j)] = state[u(row * hidden + j)]


@kernel
def rnn(x, r, b, lens, first_h, tiles, no_rows, g, f, y, last_h, state, at, tasks):
    """h = act(x + b + h @ r)."""
    steps, batch, hidden, dirs = g[0], g[1], g[2], g[3]
    rows, own, ld = dirs * batch, r.size // dirs, 0 if lens.size else g[6] * hidden
    for t in prange(tasks):
        for d in range(dirs):
            row0, row1 = max(t * rows // tasks, d * batch), min((t + 1) * rows // tasks, (d + 1) * batch)
            _begin(first_h, g, state, 0, row0, row1)
            for step in range(steps):
                _open(x, b, lens, g, 1, step, y, at, row0, row1)
                _add_products(
                    state, 0, r, d * own, hidden, hidden, x, at, 0, 0, row0, row1, ld, tiles, no_rows, f
                )  # fmt: skip
                for row in range(row0, row1):
                    if at[u(row)] < 0:
                        continue
                    a = at[u(row)]
                    _activate(x, a, hidden, g, f, 3 * d)
                    for j in range(hidden):
                        state[u(row * hidden + j)] = x[u(a + j)]
                    _emit(state, row, g, y, at)
            _finish(g, state, 0, last_h, row0, row1)


@kernel
def lstm(x, r, b, p, lens, first_h, first_c, tiles, no_rows, g, f, y, last_h, last_c, state, at, tasks):
    """Gates i, o, f, c.   p: (directions, 3 * hidden) for i, o, f, or empty; flag: f is 1 - i."""
    steps, batch, hidden, dirs = g[0], g[1], g[2], g[3]
    rows, n = dirs * batch, 4 * hidden
    own, ld = r.size // dirs, 0 if lens.size else g[6] * n
    one = x.dtype.type(1)
    for t in prange(tasks):
        for d in range(dirs):
            row0, row1 = max(t * rows // tasks, d * batch), min((t + 1) * rows // tasks, (d + 1) * batch)
            _begin(first_h, g, state, 0, row0, row1)
            _begin(first_c, g, state, 1, row0, row1)
            p0 = d * 3 * hidden
            for step in range(steps):
                _open(x, b, lens, g, 4, step, y, at, row0, row1)
                _add_products(
                    state, 0, r, d * own, n, hidden, x, at, 0, 0, row0, row1, ld, tiles, no_rows, f
                )  # fmt: skip
                for row in range(row0, row1):
                    if at[u(row)] < 0:
                        continue
                    i, o, h, c = at[u(row)], at[u(row)] + hidden, row * hidden, (rows + row) * hidden
                    forget, new = o + hidden, o + 2 * hidden
                    if p.size:
                        for j in range(hidden):
                            x[u(i + j)] += p[u(p0 + j)] * state[u(c + j)]
                            x[u(forget + j)] += p[u(p0 + 2 * hidden + j)] * state[u(c + j)]
                    _activate(x, i, hidden, g, f, 3 * d)
                    _activate(x, new, hidden, g, f, 3 * d + 1)
                    if g[12]:
                        for j in range(hidden):
                            x[u(forget + j)] = one - x[u(i + j)]
                    else:
                        _activate(x, forget, hidden, g, f, 3 * d)
                    for j in range(hidden):
                        cell = x[u(forget + j)] * state[u(c + j)] + x[u(i + j)] * x[u(new + j)]
                        state[u(c + j)] = cell
                        x[u(new + j)] = cell
                    if p.size:
                        for j in range(hidden):
                            x[u(o + j)] += p[u(p0 + hidden + j)] * state[u(c + j)]
                    _activate(x, o, hidden, g, f, 3 * d)
                    _activate(x, new, hidden, g, f, 3 * d + 2)
                    for j in range(hidden):
                        state[u(h + j)] = x[u(o + j)] * x[u(new + j)]
                    _emit(state, row, g, y, at)
            _finish(g, state, 0, last_h, row0, row1)
            _finish(g, state, 1, last_c, row0, row1)


@kernel
def gru(x, r, b, lens, first_h, tiles, no_rows, g, f, y, last_h, state, at, tasks):
    """Gates z, r, h; flag: r multiplies the product of h and r's last columns, not h itself."""
    steps, batch, hidden, dirs = g[0], g[1], g[2], g[3]
    rows, n = dirs * batch, 3 * hidden
    own, ld = r.size // dirs, 0 if lens.size else g[6] * n
    of_new = 2 * hidden * hidden if x.itemsize != 4 else (2 * hidden + NR - 1) // NR * NR * hidden
    one = x.dtype.type(1)
    for t in prange(tasks):
        for d in range(dirs):
            row0, row1 = max(t * rows // tasks, d * batch), min((t + 1) * rows // tasks, (d + 1) * batch)
            _begin(first_h, g, state, 0, row0, row1)
            r0 = d * own
            for step in range(steps):
                _open(x, b, lens, g, 3, step, y, at, row0, row1)
                _add_products(
                    state, 0, r, r0, 2 * hidden, hidden, x, at, 0, 0, row0, row1, ld, tiles, no_rows, f
                )  # fmt: skip
                for row in range(row0, row1):
                    if at[u(row)] >= 0:
                        z, reset, part = at[u(row)], at[u(row)] + hidden, (rows + row) * hidden
                        _activate(x, z, hidden, g, f, 3 * d)
                        _activate(x, reset, hidden, g, f, 3 * d)
                        if g[12]:
                            # What r multiplies: the product, to which the recurrent bias belongs.
                            of_r = (d * 6 + 5) * hidden
                            for j in range(hidden):
                                v = b[u(of_r + j)] if b.size else one - one
                                state[u(part + j)] = v
                                x[u(reset + hidden + j)] -= v
                        else:
                            for j in range(hidden):
                                state[u(part + j)] = x[u(reset + j)] * state[u(row * hidden + j)]
                if g[12]:
                    for row in range(row0, row1):
                        at[u(2 * rows + row)] = (rows + row) * hidden if at[u(row)] >= 0 else -1
                    _add_products(
                        state, 0, r, r0 + of_new, hidden, hidden, state, at, 2 * rows, 0,
                        row0, row1, ld // max(ld, 1) * hidden, tiles, no_rows, f,
                    )  # fmt: skip
                else:
                    _add_products(
                        state, rows * hidden, r, r0 + of_new, hidden, hidden, x, at, 0, 2 * hidden,
                        row0, row1, ld, tiles, no_rows, f,
                    )  # fmt: skip
                for row in range(row0, row1):
                    if at[u(row)] < 0:
                        continue
                    z, reset, h, part = at[u(row)], at[u(row)] + hidden, row * hidden, (rows + row) * hidden
                    new = reset + hidden
                    if g[12]:
                        for j in range(hidden):
                            x[u(new + j)] += x[u(reset + j)] * state[u(part + j)]
                    _activate(x, new, hidden, g, f, 3 * d + 1)
                    for j in range(hidden):
                        state[u(h + j)] = (one - x[u(z + j)]) * x[u(new + j)] + x[u(z + j)] * state[u(h + j)]
                    _emit(state, row, g, y, at)
            _finish(g, state, 0, last_h, row0, row1)

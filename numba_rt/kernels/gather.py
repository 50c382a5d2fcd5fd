"""Selecting and placing rows by index, in two steps: indices become offsets into a flat array,
each checked once; rows of `inner` elements are then read or written at those offsets.

A bad index sets `status` and counts as 0.
"""

import numpy as np

from numba_rt.jit import inline, kernel, prange, u


@inline
def checked(index, size, status):
    """A non-negative index below `size`, negative ones counted from the end."""
    j = index + size if index < 0 else index
    if j < 0 or j >= size:
        status[1] = index
        status[0] = 1
        return np.int64(0)
    return j


@kernel
def tuple_offsets(indices, axes, per_batch, batch, status, offsets, tasks):
    """offsets[r] = (r // per_batch)·batch + Σ indices[r, a]·stride of axis a.

    indices: (rows·k,); axes: (k, 2) of size and stride; offsets: (rows,).
    """
    k, rows = axes.shape[0], offsets.size
    for t in prange(tasks):
        for r in range(t * rows // tasks, (t + 1) * rows // tasks):
            at = r // per_batch * batch
            for a in range(k):
                j = checked(np.int64(indices[u(r * k + a)]), axes[u(a), 0], status)
                at += j * axes[u(a), 1]
            offsets[u(r)] = at


@kernel
def element_offsets(indices, axes, size, stride, status, offsets, tasks):
    """offsets[i] = indices[i]·stride + position of element i along the other axes.

    indices, offsets: flat; axes: (rank, 2) of the indices' sizes and the data's strides.
    """
    rank, n = axes.shape[0], indices.size
    inner, step = axes[rank - 1, 0], axes[rank - 1, 1]
    for t in prange(tasks):
        i, stop = t * n // tasks, (t + 1) * n // tasks
        while i < stop:
            row = i // inner
            first = i - row * inner
            at, rest = first * step, row
            for back in range(1, rank):
                a = rank - 1 - back
                at += rest % axes[a, 0] * axes[a, 1]
                rest //= axes[a, 0]
            last = min(row * inner + inner, stop)
            for k in range(i, last):
                offsets[u(k)] = at + checked(np.int64(indices[u(k)]), size, status) * stride
                at += step
            i = last


@kernel
def gather_rows(x, offsets, outer, step, inner, y, tasks):
    """y[o, r, :] = x[o·step + offsets[r] + :inner].   x: flat; y: flat (outer, rows, inner)."""
    rows = offsets.size
    for t in prange(tasks):
        first, stop = t * outer * rows // tasks, (t + 1) * outer * rows // tasks
        o = first // rows
        r = first - o * rows
        for k in range(first, stop):
            at = o * step + offsets[u(r)]
            if inner == 1:
                y[u(k)] = x[u(at)]
            else:
                for i in range(inner):
                    y[u(k * inner + i)] = x[u(at + i)]
            r += 1
            if r == rows:
                r = 0
                o += 1


@kernel
def scatter_rows(offsets, updates, kind, inner, step, y, tasks):
    """y[offsets[r] + :inner] = f(y[...], updates[r·step + :inner]), in the order of r; negative
    offsets are left out.   kind: 0 f(y, v) = v, 1 +, 2 ·, 3 max, 4 min.

    Each task writes the rows that start in its part of y, so equal offsets never race.
    """
    n = y.size
    for t in prange(tasks):
        low, high = t * n // tasks, (t + 1) * n // tasks
        for r in range(offsets.size):
            at = offsets[u(r)]
            if at < low or at >= high:
                continue
            source = r * step
            if kind == 0:
                for i in range(inner):
                    y[u(at + i)] = updates[u(source + i)]
            elif kind == 1:
                for i in range(inner):
                    y[u(at + i)] += updates[u(source + i)]
            elif kind == 2:
                for i in range(inner):
                    y[u(at + i)] *= updates[u(source + i)]
            else:
                for i in range(inner):
                    old, v = y[u(at + i)], updates[u(source + i)]
                    better = v > old if kind == 3 else v < old
                    if better or v != v:
                        y[u(at + i)] = v


@kernel
def class_offsets(indices, depth, inner, words, offsets, tasks):
    """Where a one-hot array (outer, depth, inner) is on: -1 for indices outside [-depth, depth)."""
    n = indices.size
    for t in prange(tasks):
        for e in range(t * n // tasks, (t + 1) * n // tasks):
            j = np.int64(indices[u(e)])
            if j < 0:
                j += depth
            at = (e // inner * depth + j) * inner + e % inner
            offsets[u(e)] = at * words if 0 <= j < depth else -1


@kernel
def reverse_offsets(lengths, time, time_stride, batch_stride, inner, time_first, status, offsets, tasks):
    """Offsets of the rows (time, batch), or (batch, time), of an array whose first lengths[b] steps
    are reversed for each b.
    """
    batch, n = lengths.size, offsets.size
    for t in prange(tasks):
        for r in range(t * n // tasks, (t + 1) * n // tasks):
            step, b = (r // batch, r % batch) if time_first else (r % time, r // time)
            length = lengths[u(b)]
            if length < 0 or length > time:
                status[1] = length
                status[0] = 1
                length = 0
            if step < length:
                step = length - 1 - step
            offsets[u(r)] = (step * time_stride + b * batch_stride) * inner


@kernel
def cache_offsets(starts, rows, length, capacity, inner, circular, status, offsets, tasks):
    """Offsets of rows (batch·rows, length) of a cache (batch·rows, capacity, inner) that are
    written from starts[b] on.
    """
    n = offsets.size
    for t in prange(tasks):
        for r in range(t * n // tasks, (t + 1) * n // tasks):
            sequence, step = r // length, r % length
            at = starts[u(sequence // rows)]
            if at < 0 or (at + length > capacity and not circular):
                status[1] = at
                status[0] = 1
                at = 0
            at = (at + step) % capacity
            offsets[u(r)] = (sequence * capacity + at) * inner

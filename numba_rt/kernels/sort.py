"""Kernels that order elements."""

from numba_rt.jit import inline, kernel, prange, u

BLOCK = 32
"""Elements looked at together before any is compared with the heap."""


@inline
def before(v, i, w, j, largest):
    """Whether (v, i) comes before (w, j): better value, or equal and a lower index. NaN is the
    largest number.
    """
    if v == w or (v != v and w != w):
        return i < j
    if v != v:
        return largest
    if w != w:
        return not largest
    return v > w if largest else v < w


@inline
def sift_down(values, indices, at, step, start, count, largest):
    """Restore the heap (its root comes last in order) below `start`."""
    root = start
    v, i = values[u(at + root * step)], indices[u(at + root * step)]
    while 2 * root + 1 < count:
        child = 2 * root + 1
        c = at + child * step
        if child + 1 < count and before(
            values[u(c)], indices[u(c)], values[u(c + step)], indices[u(c + step)], largest
        ):
            child += 1
            c += step
        if not before(v, i, values[u(c)], indices[u(c)], largest):
            break
        values[u(at + root * step)], indices[u(at + root * step)] = values[u(c)], indices[u(c)]
        root = child
    values[u(at + root * step)], indices[u(at + root * step)] = v, i


@kernel
def top_k(x, largest, values, indices, tasks):
    """The k first elements along n in order of size, and where they were.

    x: (outer, n, inner); values, indices: (outer, k, inner), which also hold the heap.
    """
    outer, n, inner = x.shape
    k = values.shape[1]
    flat_x, flat_values, flat_indices = x.reshape(-1), values.reshape(-1), indices.reshape(-1)
    for t in prange(tasks):
        for row in range(t * outer * inner // tasks, (t + 1) * outer * inner // tasks):
            o, c = row // inner, row % inner
            source, at = o * n * inner + c, o * k * inner + c
            for j in range(k):
                flat_values[u(at + j * inner)] = flat_x[u(source + j * inner)]
                flat_indices[u(at + j * inner)] = j
            for j in range(k // 2 - 1, -1, -1):
                sift_down(flat_values, flat_indices, at, inner, j, k, largest)
            for first in range(k, n, BLOCK):
                stop = min(first + BLOCK, n)
                worst = flat_values[u(at)]
                hits = 0
                for j in range(first, stop):
                    v = flat_x[u(source + j * inner)]
                    hits += not (v <= worst if largest else v >= worst)
                if hits == 0:
                    continue
                for j in range(first, stop):
                    v = flat_x[u(source + j * inner)]
                    if before(v, j, flat_values[u(at)], flat_indices[u(at)], largest):
                        flat_values[u(at)], flat_indices[u(at)] = v, j
                        sift_down(flat_values, flat_indices, at, inner, 0, k, largest)
            for end in range(k - 1, 0, -1):
                last = at + end * inner
                v, i = flat_values[u(last)], flat_indices[u(last)]
                flat_values[u(last)], flat_indices[u(last)] = flat_values[u(at)], flat_indices[u(at)]
                flat_values[u(at)], flat_indices[u(at)] = v, i
                sift_down(flat_values, flat_indices, at, inner, 0, end, largest)

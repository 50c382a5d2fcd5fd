"""Kernels that make values from scalars."""

from numba_rt.jit import kernel, prange, u


@kernel
def arange(start, delta, y, tasks):
    """y[i] = start + i·delta.   start, delta: float64 or int64; y: (n,)."""
    n = y.size
    for t in prange(tasks):
        for i in range(t * n // tasks, (t + 1) * n // tasks):
            y[u(i)] = start + i * delta

"""Data movement on unsigned integers of the item size: one kernel moves every dtype."""

from numba_rt.jit import kernel, prange, u


@kernel
def copy_bits(x, y, tasks):
    """y = x.   x, y: (n,)."""
    n = y.size
    for t in prange(tasks):
        for i in range(t * n // tasks, (t + 1) * n // tasks):
            y[u(i)] = x[u(i)]

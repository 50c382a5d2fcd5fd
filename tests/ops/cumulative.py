"""Cases of numba_rt/ops/cumulative.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, i64, integers, positive

KINDS = [{}, {"exclusive": True}, {"reverse": True}, {"exclusive": True, "reverse": True}]


def product(x, axis, exclusive=False, reverse=False):
    axis = int(axis.reshape(-1)[0])
    x = np.flip(x, axis) if reverse else x
    y = np.cumprod(x.astype(np.float64), axis)
    if exclusive:
        y = np.roll(y, 1, axis)
        y[tuple(0 if a == axis % x.ndim else slice(None) for a in range(x.ndim))] = 1
    return (np.flip(y, axis) if reverse else y).astype(x.dtype)


CASES = [
    *(Case("CumSum", (f32(4, 5, 6), np.array(axis)), kind) for kind in KINDS for axis in (-1, 1)),
    *(
        Case("CumProd", (positive(4, 5, 6), np.array(axis)), kind, oracle=product)
        for kind in KINDS
        for axis in (2, 0)
    ),
    Case("CumSum", (integers(5, 3, dtype=np.int32), np.array(0))),
    Case("CumSum", (f64(7), np.array(0, np.int32)), {"exclusive": True}),
    Case(
        "CumSum",
        (f32(100_000), np.array(0)),
        oracle=lambda x, a: np.cumsum(x, dtype=np.float64).astype(np.float32),
    ),
    Case("CumSum", (np.array([1, np.inf, 2, np.nan], np.float32), np.array(0))),
    Case("CumSum", (f32(0, 3), np.array(1))),
    Case("CumSum", (f32(3, 0), np.array(1))),
    Case("CumSum", (f32(2, 1), np.array(1)), {"exclusive": True}),
    Case("CumProd", (integers(2, 9), np.array(1)), oracle=product),
    Case("CumSum", (f32(3), np.array(1)), raises="out of range"),
    Case("CumSum", (f32(3), i64(0, 0)), raises="must be one number"),
]

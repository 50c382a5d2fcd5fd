"""Cases of numba_rt/ops/reduce.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, f64, i64, integers, positive

NAN, INF = np.nan, np.inf
NONE = np.array([], np.int64)


def exact(function):
    """An oracle in float64."""

    def oracle(data, axes=None, keepdims=True, noop_with_empty_axes=False):
        axis = None if axes is None or axes.size == 0 else tuple(int(a) for a in axes)
        if axis is None and noop_with_empty_axes:
            axis = ()
        return function(data.astype(np.float64), axis=axis, keepdims=keepdims).astype(data.dtype)

    return oracle


def log_sum_exp(x, axis, keepdims):
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    with np.errstate(divide="ignore"):
        out = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return out if keepdims else np.squeeze(out, axis)


SUMS = ["ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare"]
OTHERS = ["ReduceMax", "ReduceMin", "ReduceProd"]

CASES = [
    *(Case(name, (f32(3, 5, 7), i64(1))) for name in [*SUMS, *OTHERS, "ReduceLogSumExp"]),
    *(
        Case(name, (f32(3, 5, 7), i64(-1)), {"keepdims": False})
        for name in [*SUMS, *OTHERS, "ReduceLogSumExp"]
    ),
    *(Case(name, (integers(4, 3, 5, low=1),)) for name in SUMS),
    Case("ReduceLogSum", (positive(3, 5, 7), i64(0, 2)), opset=28),
    Case("ReduceLogSum", (positive(3, 5),), {"noop_with_empty_axes": True}, opset=28),
    Case("ReduceSum", (f32(2, 3, 4, 5, 6), i64(0, 2, 4))),
    Case("ReduceSum", (f32(2, 3, 1, 5, 6), i64(1, 3)), {"keepdims": False}),
    Case("ReduceSum", (f32(5, 1300), i64(0))),
    Case("ReduceSum", (f32(1000, 3), i64(0))),
    Case("ReduceSum", (f32(2, 77, 3), i64(1))),
    Case("ReduceSum", (f32(2, 9000), i64(1)), rtol=1e-6, oracle=exact(np.sum)),
    Case("ReduceSum", (positive(1_000_003),), rtol=1e-6, oracle=exact(np.sum)),
    Case("ReduceSum", (positive(300_001, 3), i64(0)), rtol=1e-6, oracle=exact(np.sum)),
    Case("ReduceSum", (f32(3, 4), NONE), {"noop_with_empty_axes": True}),
    Case("ReduceSum", (f32(3, 4), NONE)),
    Case("ReduceSum", (f32(3, 4),), {"noop_with_empty_axes": True}),
    Case("ReduceSum", (f32(),)),
    Case("ReduceSum", (f32(0, 3), i64(0))),
    Case("ReduceSum", (f32(0, 3), i64(1))),
    Case("ReduceSum", (f64(70, 9), i64(0))),
    Case("ReduceSum", (integers(3, 20, 4, dtype=np.int32), i64(1))),
    Case("ReduceSum", (integers(9, low=0, dtype=np.uint32),), {"keepdims": False}),
    Case("ReduceSum", (np.array([2**62, 2**61, 12345], np.int64),)),
    Case("ReduceSum", (np.array([1, INF, -INF], np.float32),), oracle=lambda x: np.full(1, NAN, np.float32)),
    Case("ReduceMean", (f32(2, 3, 4, 5), i64(0, 2, 3))),
    Case("ReduceMean", (f32(2, 40, 40, 8), i64(1, 2)), rtol=1e-4),
    Case("ReduceSumSquare", (f32(2, 3, 4), NONE), {"noop_with_empty_axes": True}),
    Case("ReduceL1", (integers(2, 3, low=0, dtype=np.uint8), i64(0)), raises="expected one of"),
    Case("ReduceMax", (np.array([[1, NAN, 3], [4, 5, 6]], np.float32), i64(1))),
    Case("ReduceMin", (np.array([[1, NAN, 3], [4, 5, 6]], np.float32), i64(0))),
    Case("ReduceMax", (bools(3, 4), i64(1))),
    Case("ReduceMin", (bools(3, 4), i64(0)), {"keepdims": False}),
    Case(
        "ReduceMax",
        (np.zeros((0, 3), np.float32), i64(0)),
        oracle=lambda *a, **k: np.full((1, 3), -INF, np.float32),
    ),
    Case(
        "ReduceMin", (np.zeros((0, 3), np.int64), i64(0)), oracle=lambda *a, **k: np.full((1, 3), 2**63 - 1)
    ),
    Case("ReduceMax", (integers(4, 6, dtype=np.int8), i64(0))),
    Case("ReduceMin", (integers(4, 600, low=0, dtype=np.uint8), i64(1))),
    Case("ReduceMax", (f32(5, 700), i64(0, 1))),
    Case("ReduceProd", (integers(3, 4, low=1, high=5),)),
    Case("ReduceProd", (positive(2, 3, 4), i64(0, 2))),
    Case("ReduceProd", (f32(2, 0), i64(1))),
    Case("ReduceLogSumExp", (f32(2, 3, 4) * 100, i64(0, 2)), oracle=exact(log_sum_exp)),
    Case(
        "ReduceLogSumExp", (np.array([[INF, 1], [-INF, -INF]], np.float32), i64(0)), oracle=exact(log_sum_exp)
    ),
    Case(
        "ReduceLogSumExp", (np.array([[INF, 1], [-INF, -INF]], np.float32), i64(1)), oracle=exact(log_sum_exp)
    ),
    Case("ReduceLogSumExp", (f64(3, 4), i64(1))),
    Case(
        "ReduceLogSumExp",
        (np.zeros((2, 0), np.float32), i64(1)),
        oracle=lambda *a: np.full((2, 1), -INF, np.float32),
    ),
    Case("ReduceLogSumExp", (integers(3),), raises="expected one of"),
    Case("ReduceSum", (f32(3, 4), i64(2)), raises="axes = 2 is out of range"),
    Case("ReduceSum", (f32(3, 4), i64(0, -2)), raises="names an axis twice"),
]

"""Cases of numba_rt/ops/argmax.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, integers

NAN, INF = np.nan, np.inf
TIES = integers(7, 1100, high=3, low=0, dtype=np.int32)
ODD = np.array([[1, NAN, 3, NAN], [4, 5, INF, INF], [-INF, -INF, -INF, -INF]], np.float32)


def last_position(function):
    """An oracle for select_last_index."""

    def oracle(x, axis=0, keepdims=True, select_last_index=True):
        return x.shape[axis] - 1 - function(np.flip(x, axis), axis=axis, keepdims=keepdims)

    return oracle


def argmax(x, axis=0, keepdims=True):
    return np.argmax(x, axis=axis, keepdims=keepdims)


LAST = {"select_last_index": True}

CASES = [
    *(Case(name, (f32(3, 5, 7),), {"axis": axis}) for name in ("ArgMax", "ArgMin") for axis in (0, 1, -1)),
    Case("ArgMax", (f32(3, 2000),), {"axis": 1, "keepdims": False}),
    Case("ArgMin", (f64(4, 1030),), {"axis": 1}),
    *(Case(name, (TIES,), {"axis": axis}) for name in ("ArgMax", "ArgMin") for axis in (0, 1)),
    *(
        Case(name, (TIES,), {"axis": axis, **LAST}, oracle=last_position(function))
        for name, function in (("ArgMax", np.argmax), ("ArgMin", np.argmin))
        for axis in (0, 1)
    ),
    *(Case("ArgMax", (ODD,), {"axis": axis}, oracle=argmax) for axis in (0, 1)),
    *(Case("ArgMin", (ODD,), {"axis": axis, **LAST}, oracle=last_position(np.argmin)) for axis in (0, 1)),
    Case("ArgMax", (integers(9, dtype=np.uint8, low=0),)),
    Case("ArgMax", (np.zeros((0, 3), np.float32),), {"axis": 1}),
    Case("ArgMax", (np.zeros((0, 3), np.float32),), raises="is empty: it has no ArgMax"),
    Case("ArgMax", (f32(),), raises="at least 1"),
    Case("ArgMin", (f32(3),), {"axis": 1}, raises="out of range"),
    Case("Hardmax", (f32(3, 4, 5),)),
    Case("Hardmax", (f32(3, 4, 5),), {"axis": 1}),
    Case("Hardmax", (np.array([[2, 2, 1], [0, 3, 3]], np.float32),)),
    Case("Hardmax", (f64(2, 0),), oracle=lambda x: x),
    Case("Hardmax", (f32(2, 3),), {"axis": -3}, raises="out of range"),
]

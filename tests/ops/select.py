"""Cases of numba_rt/ops/select.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, integers

CASES = [
    Case("NonZero", (integers(3, 4, low=0, high=2),)),
    Case("NonZero", (bools(30),)),
    Case("NonZero", (f32(2, 0, 3),)),
    Case("NonZero", (np.array([0.0, np.nan, -0.0, 1.0], np.float32),)),
    Case("NonZero", (np.array(5),), oracle=lambda x: np.zeros((0, 1), np.int64)),
    Case("NonZero", (np.array(0),), oracle=lambda x: np.zeros((0, 0), np.int64)),
    Case("NonZero", (np.array(["", "a"], object),), oracle=lambda x: np.array([[1]])),
    Case("Compress", (f32(3, 4), np.array([False, True, True])), {"axis": 0}),
    Case("Compress", (f32(3, 4), np.array([False, True])), {"axis": -1}),
    Case("Compress", (f32(3, 4), np.array([False, True, False, False, True]))),
    Case("Compress", (np.array(["a", "b"], object), np.array([False, True]))),
    Case(
        "Compress", (f32(3, 4), np.ones(5, np.bool_)), {"axis": 1}, raises="longer than what it selects from"
    ),
    Case("Compress", (f32(3, 4), np.ones(3, np.int64)), {"axis": 1}, raises="expected one of bool"),
]

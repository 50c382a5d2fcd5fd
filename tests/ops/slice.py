"""Cases of numba_rt/ops/slice.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, f64, i64, integers
from tests.ops.transpose import complex128

MAX, MIN = 2**63 - 1, -(2**63)

CASES = [
    Case("Slice", (f32(5, 6), i64(1), i64(4))),
    Case("Slice", (f32(5, 6), i64(0, 1), i64(MAX, -1))),
    Case("Slice", (f32(5, 6), i64(1), i64(MAX), i64(-1))),
    Case("Slice", (f32(5, 6), i64(-3, -100), i64(100, -2), i64(1, 0))),
    Case("Slice", (f32(5, 6), i64(0, 5), i64(5, 0), i64(0, 1), i64(2, -2))),
    Case("Slice", (f32(5, 6), i64(-1), i64(MIN), i64(1), i64(-1))),
    Case("Slice", (f32(40, 3), i64(1), i64(3), i64(1))),
    Case("Slice", (f32(5, 6), i64(4), i64(2))),
    Case("Slice", (f32(0, 6), i64(0), i64(2))),
    Case("Slice", (f32(5, 6), np.array([1], np.int32), np.array([3], np.int32))),
    Case("Slice", (f64(20), i64(19), i64(MIN), i64(0), i64(-3))),
    Case("Slice", (integers(9, 9, dtype=np.int8), i64(2, 2), i64(7, 8))),
    Case("Slice", (bools(9), i64(2), i64(7))),
    Case("Slice", (f32(9, 4).astype(np.float16), i64(1), i64(3), i64(1))),
    Case("Slice", (complex128(9, 2), i64(8), i64(0), i64(0), i64(-2))),
    Case("Slice", (f32(2, 3, 4, 5, 6), i64(0, 1, 1, 2, 0), i64(2, 3, 4, 5, 6), None, i64(1, 2, 1, 2, 3))),
    Case("Slice", (np.array(["a", "b", "c"], object), i64(1), i64(3))),
    Case("Slice", (f32(5), i64(0), i64(3), i64(0), i64(0)), raises="contains 0"),
    Case("Slice", (f32(5), i64(0), i64(3), i64(1)), raises="out of range"),
    Case("Slice", (f32(5, 5), i64(0, 0), i64(3, 3), i64(1, -1)), raises="names an axis twice"),
    Case("Slice", (f32(5), i64(0), i64(3, 4)), raises="as many of each"),
]

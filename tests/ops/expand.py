"""Cases of numba_rt/ops/expand.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, f64, i64, integers
from tests.ops.transpose import complex128

CASES = [
    Case("Expand", (f32(3, 1), i64(2, 1, 6))),
    Case("Expand", (f32(3, 1), i64(3, 4))),
    Case("Expand", (f32(3, 1), i64(1, 1))),
    Case("Expand", (f32(), i64(4))),
    Case("Expand", (f32(1, 4), i64(40, 4))),
    Case("Expand", (f32(2, 1, 3, 1), i64(2, 5, 3, 7))),
    Case("Expand", (f64(1), i64(0, 3))),
    Case("Expand", (integers(3, 1, dtype=np.int8), i64(3, 5))),
    Case("Expand", (f32(3, 1).astype(np.float16), i64(3, 5))),
    Case("Expand", (complex128(2, 1), i64(2, 3))),
    Case("Expand", (np.array(["a"], object), i64(2))),
    Case("Expand", (f32(3), i64(4)), raises="cannot be broadcast"),
    Case("Expand", (f32(3), i64(-1)), raises="negative size"),
    Case("Expand", (f32(1), i64(1 << 31, 1 << 31)), raises="larger than memory"),
    Case("Tile", (f32(2, 3), i64(2, 3))),
    Case("Tile", (f32(2, 3, 1), i64(1, 1, 40))),
    Case("Tile", (f32(2, 3), i64(0, 3))),
    Case("Tile", (f32(), np.array([], np.int64))),
    Case("Tile", (f64(3), i64(5))),
    Case("Tile", (bools(3, 2), i64(5, 2))),
    Case("Tile", (integers(3, dtype=np.int16), i64(5))),
    Case("Tile", (complex128(2, 3), i64(2, 1))),
    Case("Tile", (np.array(["a", "b"], object), i64(2))),
    Case("Tile", (f32(2, 3), i64(2)), raises="one for each axis"),
    Case("Tile", (f32(2, 3), i64(2, -1)), raises="negative number"),
    Case("Tile", (f32(2, 3), i64(1 << 40, 1 << 40)), raises="larger than memory"),
]

"""Cases of numba_rt/ops/layout.py and shape.py."""

import numpy as np

from tests.ops.cases import Case, f32, i64, integers

CASES = [
    Case("Identity", (f32(3, 4),)),
    Case("Reshape", (f32(2, 3, 4), i64(6, -1))),
    Case("Reshape", (f32(2, 3, 4), i64(0, 0, 2, 2))),
    Case("Reshape", (f32(0, 3), i64(3, 0)), {"allowzero": True}),
    Case("Reshape", (integers(1), np.array([], np.int64))),
    Case("Reshape", (f32(2, 3), i64(4, 2)), raises="does not fit into shape"),
    Case("Reshape", (f32(2, 3), i64(-1, -1)), raises="at most one -1"),
    Case("Flatten", (f32(2, 3, 4),), {"axis": 2}),
    Case("Flatten", (f32(2, 3, 4),), {"axis": 0}),
    Case("Flatten", (f32(2, 3, 4),), {"axis": -1}),
    Case("Flatten", (f32(2, 3),), {"axis": 3}, raises="axis = 3 is out of range"),
    Case("Squeeze", (f32(1, 3, 1), i64(0))),
    Case("Squeeze", (f32(1, 3, 1), i64(-1, 0))),
    Case("Squeeze", (f32(1, 3, 1), i64(1)), raises="only axes of size 1"),
    Case("Unsqueeze", (f32(3, 4), i64(0, -1))),
    Case("Unsqueeze", (f32(3, 4), i64(4)), raises="out of range"),
    Case("Shape", (f32(3, 4, 5),), {"start": 1}),
    Case("Shape", (f32(3, 4, 5),), {"start": -2, "end": -1}),
    Case("Size", (f32(3, 4),)),
]

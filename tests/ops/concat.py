"""Cases of numba_rt/ops/concat.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, f64, i64, integers
from tests.ops.transpose import complex128

CASES = [
    Case("Concat", (f32(2, 3), f32(4, 3, seed=1)), {"axis": 0}),
    Case("Concat", (f32(2, 3), f32(2, 1, seed=1), f32(2, 20, seed=2)), {"axis": -1}),
    Case("Concat", (f32(2, 3, 4), f32(2, 0, 4), f32(2, 1, 4, seed=1)), {"axis": 1}),
    Case("Concat", (f32(3),), {"axis": 0}),
    Case("Concat", (f64(5, 2), f64(5, 2, seed=1)), {"axis": 1}),
    Case("Concat", (integers(3, 2, dtype=np.int8), integers(3, 5, dtype=np.int8)), {"axis": 1}),
    Case("Concat", (f32(3).astype(np.float16), f32(5).astype(np.float16)), {"axis": 0}),
    Case("Concat", (complex128(2, 3), complex128(2, 1)), {"axis": 1}),
    Case("Concat", (bools(4), bools(3, seed=1)), {"axis": 0}),
    Case("Concat", (np.array(["a"], object), np.array(["b", "c"], object)), {"axis": 0}),
    Case("Concat", (f32(2, 3), f32(2, 4)), {"axis": 0}, raises="differs from inputs[0]"),
    Case("Concat", (f32(2, 3), f32(2)), {"axis": 0}, raises="rank 1"),
    Case("Concat", (f32(2, 3), f64(2, 3)), {"axis": 0}, raises="same dtype"),
    Case("Concat", (f32(2, 3),), {"axis": 2}, raises="axis = 2 is out of range"),
    Case("Concat", (f32(), f32()), {"axis": 0}, raises="rank 0"),
    Case("Split", (f32(6, 4),), {"num_outputs": 3}, 3),
    Case("Split", (f32(4, 7),), {"num_outputs": 3, "axis": -1}, 3),
    Case("Split", (f32(4, 7), i64(2, 0, 5)), {"axis": 1}, 3),
    Case("Split", (integers(2, 9, 3, dtype=np.int16), i64(1, 8)), {"axis": 1}, 2),
    Case("Split", (complex128(4, 3), i64(1, 2)), {"axis": 1}, 2),
    Case("Split", (f32(0, 3), i64(0, 0)), {}, 2),
    Case("Split", (f32(4, 7), i64(2, 6)), {"axis": 1}, 2, raises="adds up to 8"),
    Case("Split", (f32(4, 7), i64(-1, 8)), {"axis": 1}, 2, raises="negative"),
    Case("Split", (f32(4, 7), i64(3, 4)), {"axis": 1}, 3, raises="the node has 3 outputs"),
    Case("Split", (f32(5),), {"num_outputs": 4}, 4, raises="too many"),
    Case("Split", (f32(5),), {"num_outputs": 0}, raises="num_outputs = 0"),
    Case("Split", (f32(5),), {"num_outputs": 1, "axis": 1}, raises="axis = 1 is out of range"),
]

"""Cases of numba_rt/ops/binary.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, integers

CASES = [
    Case("Add", (f32(3, 4), f32(3, 4, seed=1))),
    Case("Add", (f32(3, 4), f32(4, seed=1))),
    Case("Add", (f32(3, 1), f32(1, 4, seed=1))),
    Case("Add", (f32(2, 3, 4, 5), f32(3, 1, 1, seed=1))),
    Case("Add", (f64(0, 4), f64(4))),
    Case("Add", (f64(), f64(3))),
    Case("Add", (integers(5, dtype=np.int8), integers(5, dtype=np.int8, seed=1))),
    Case("Add", (f32(3), f32(4)), raises="cannot be broadcast"),
    Case("Add", (f32(3), f64(3)), raises="same dtype"),
]

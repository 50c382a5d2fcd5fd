"""Cases of numba_rt/ops/trilu.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, f64, i64, integers
from tests.ops.transpose import complex128

CASES = [
    Case("Trilu", (f32(4, 5),)),
    Case("Trilu", (f32(2, 3, 5, 4),), {"upper": False}),
    Case("Trilu", (f32(5, 4), np.array(1)), {"upper": True}),
    Case("Trilu", (f32(5, 4), i64(-2)), {"upper": False}),
    Case("Trilu", (f32(5, 4), np.array(-100)), {"upper": False}),
    Case("Trilu", (f32(5, 4), np.array(2**63 - 1)), {"upper": False}),
    Case("Trilu", (f32(5, 4), np.array(-(2**63))), {"upper": True}, oracle=lambda x, *_, **__: x),
    Case("Trilu", (integers(3, 3, dtype=np.int8),)),
    Case("Trilu", (f64(300, 200),)),
    Case("Trilu", (bools(3, 3),), {"upper": False}),
    Case("Trilu", (f32(3, 3).astype(np.float16),)),
    Case("Trilu", (complex128(3, 4), np.array(1))),
    Case("Trilu", (f32(0, 3),)),
    Case("Trilu", (f32(3),), raises="rank 1"),
    Case("Trilu", (f32(3, 3), np.array(1, np.int32)), raises="expected one of int64"),
]

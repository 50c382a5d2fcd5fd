"""Cases of numba_rt/ops/linalg.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64

SINGULAR = np.array([[1, 2], [2, 4]], np.float32)

CASES = [
    Case("Det", (f32(2, 2),)),
    Case("Det", (f32(3, 2, 7, 7),), rtol=1e-4),
    Case("Det", (f64(1, 1),)),
    Case("Det", (SINGULAR,), atol=1e-6),
    Case("Det", (np.eye(3, dtype=np.float64)[[1, 0, 2]],)),
    Case("Det", (np.zeros((2, 3, 3), np.float64),)),
    Case("Det", (f64(0, 3, 3),)),
    Case("Det", (f64(3, 2),), raises="expected square matrices"),
    Case("Det", (f64(3),), raises="rank 1"),
]

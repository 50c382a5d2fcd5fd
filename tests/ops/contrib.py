"""Cases of numba_rt/ops/contrib.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64

MICROSOFT = "com.microsoft"

CASES = [
    Case("Inverse", (f32(2, 3, 4, 4),), domain=MICROSOFT, oracle=np.linalg.inv),
    Case("Inverse", (f64(1, 1),), domain=MICROSOFT, oracle=np.linalg.inv),
    Case("Inverse", (f32(0, 3, 3),), domain=MICROSOFT, oracle=np.linalg.inv),
    Case("Inverse", (np.ones((2, 2), np.float32),), domain=MICROSOFT, raises="no inverse"),
    Case("Inverse", (f32(2, 3),), domain=MICROSOFT, raises="no inverse"),
]

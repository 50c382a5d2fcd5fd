"""Cases of numba_rt/ops/compare.py."""

import ml_dtypes
import numpy as np

from tests.ops.cases import Case, bools, f32, integers

SPECIAL = np.array([1, np.inf, -np.inf, np.nan, 0], np.float32)
WORDS = np.array([["a", "b"], ["c", "d"]], object)

CASES = [
    Case("Equal", (integers(3, 4), integers(4, seed=1))),
    Case("Equal", (bools(5), bools(5, seed=1))),
    Case("Equal", (SPECIAL, SPECIAL)),
    Case("Equal", (WORDS, np.array(["a", "d"], object)), oracle=lambda A, B: A == B),
    Case("Equal", (integers(3), f32(3)), raises="same dtype"),
    Case("Greater", (f32(3, 4), f32(4, seed=1))),
    Case("GreaterOrEqual", (integers(7), integers(7, seed=1))),
    Case("Less", (f32(3, 4), f32(3, 1, seed=1))),
    Case("LessOrEqual", (integers(7, low=0, dtype=np.uint8), integers(7, low=0, dtype=np.uint8, seed=1))),
    Case("IsNaN", (SPECIAL,)),
    Case("IsInf", (SPECIAL,)),
    Case("IsInf", (SPECIAL,), {"detect_negative": 0}),
    Case("IsInf", (SPECIAL,), {"detect_negative": 0, "detect_positive": 0}),
    Case("IsInf", (SPECIAL.astype(ml_dtypes.float8_e5m2),), {"detect_positive": 0},
         oracle=lambda x, detect_positive: np.isinf(x) & (x < 0)),
    Case("Where", (bools(3, 4), f32(3, 4), f32(4, seed=1))),
    Case("Where", (bools(3, 1), integers(4), integers(1, seed=1))),
    Case("Where", (bools(5), f32(5).astype(np.float16), f32(5, seed=1).astype(np.float16))),
    Case("Where", (bools(3), f32(3) * 1j, f32(3) + 1j), oracle=np.where),
    Case("Where", (bools(2), WORDS, WORDS.T), oracle=np.where),
    Case("Where", (f32(3), f32(3), f32(3)), raises="expected bool"),
]  # fmt: skip

"""Cases of numba_rt/ops/unary.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, integers, positive

INF, NAN = np.inf, np.nan
SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, 0.5, 2.5, INF, -INF, NAN], np.float32)

CASES = [
    Case("Abs", (SPECIAL,)),
    Case("Abs", (integers(7, dtype=np.int8),)),
    Case("Abs", (integers(7, low=0, dtype=np.uint8),)),
    Case("Neg", (f32(2, 3),)),
    Case("Neg", (integers(7),)),
    Case("Neg", (integers(7, low=0, dtype=np.uint8),), raises="expected one of"),
    Case("Sign", (SPECIAL,)),
    Case("Sign", (integers(7),)),
    Case("Reciprocal", (positive(5),)),
    Case("Sqrt", (positive(5),)),
    Case("Exp", (f32(3, 5),)),
    Case("Exp", (f64(5),), rtol=1e-12),
    Case("Exp", (np.array([100, -100, INF, -INF, NAN], np.float32),)),
    Case("Exp", (integers(3),), raises="input = int64[3]: expected one of"),
    Case("Log", (positive(5),)),
    Case("Erf", (f32(5),)),
    Case("Erf", (f64(5),), rtol=1e-12),
    Case("Floor", (SPECIAL,)),
    Case("Ceil", (SPECIAL,)),
    Case("Round", (SPECIAL,)),
    Case("Sin", (f32(5),)),
    Case("Cos", (f32(5),)),
    Case("Cos", (f32(99) * 1e5,), oracle=lambda x: np.cos(x.astype(np.float64)).astype(np.float32)),
    Case("Tan", (f32(5),)),
    Case("Asin", (f32(5).clip(-1, 1),)),
    Case("Acos", (f32(5).clip(-1, 1),)),
    Case("Atan", (f32(5),)),
    Case("Sinh", (f32(5),)),
    Case("Cosh", (f32(5),)),
    Case("Tanh", (f32(5),)),
    Case("Tanh", (f32(7).astype(np.float16),), rtol=1e-3),
    Case("Asinh", (f32(5),)),
    Case("Acosh", (positive(5) + 1,)),
    Case("Atanh", (f32(5).clip(-0.9, 0.9),)),
]

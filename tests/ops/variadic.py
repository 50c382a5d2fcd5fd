"""Cases of numba_rt/ops/variadic.py."""

import numpy as np

from tests.ops.cases import Case, f32, integers

NAN = np.array([1, np.nan, 3, np.nan], np.float32)


def number(value: float, dtype: type = np.float32) -> np.ndarray:
    return np.array(value, dtype)


CASES = [
    Case("Sum", (f32(3, 4), f32(4, seed=1), f32(3, 1, seed=2))),
    Case("Sum", (f32(3),)),
    Case("Mean", (f32(3, 4), f32(3, 4, seed=1), f32(4, seed=2))),
    Case("Mean", (integers(3),), raises="expected one of"),
    Case("Max", (NAN, f32(3, 4))),
    Case("Max", (integers(5), integers(5, seed=1), integers(1, seed=2))),
    Case("Min", (f32(3, 4), NAN)),
    Case("Min", (integers(5, low=0, dtype=np.uint8), integers(5, low=0, dtype=np.uint8, seed=1))),
    Case("Clip", (f32(3, 4), number(-0.5), number(0.5))),
    Case("Clip", (NAN, number(2), number(0))),
    Case("Clip", (integers(7), number(-2, np.int64))),
    Case("Clip", (f32(7), None, number(0))),
    Case("Clip", (f32(), np.array([2], np.float32)), oracle=lambda x, low: np.maximum(x, low[0])),
    Case("Clip", (f32(7), f32(2)), raises="expected a single number"),
]

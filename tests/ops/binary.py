"""Cases of numba_rt/ops/binary.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, i64, integers, positive

MOST, LEAST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
INF = np.inf


def as_type(values: list[float], dtype: type) -> np.ndarray:
    return np.array(values, dtype)


def truncated(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Integer division as C does it, and 0 where that is not defined."""
    exact = [
        0 if b == 0 else abs(int(a)) // abs(int(b)) * (1 if (a < 0) == (b < 0) else -1)
        for a, b in zip(A, B, strict=True)
    ]
    return np.array([(q + 2**63) % 2**64 - 2**63 for q in exact], np.int64).astype(A.dtype)


def remainder(A: np.ndarray, B: np.ndarray, fmod: int = 0) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (np.fmod if fmod else np.mod)(A, B)


CASES = [
    Case("Add", (f32(3, 4), f32(3, 4, seed=1))),
    Case("Add", (f32(3, 4), f32(4, seed=1))),
    Case("Add", (f32(3, 1), f32(1, 4, seed=1))),
    Case("Add", (f32(2, 3, 4, 5), f32(3, 1, 1, seed=1))),
    Case("Add", (f64(0, 4), f64(4))),
    Case("Add", (f64(), f64(3))),
    Case("Add", (integers(5, dtype=np.int8), integers(5, dtype=np.int8, seed=1))),
    Case("Add", (f32(3).astype(np.float16), f32(3, seed=1).astype(np.float16)), rtol=1e-3),
    Case("Add", (f32(3), f32(4)), raises="cannot be broadcast"),
    Case("Add", (f32(3), f64(3)), raises="same dtype"),
    Case("Add", (np.array([True]), np.array([True])), raises="expected one of"),
    Case("Sub", (f32(3, 4), f32(4, seed=1))),
    Case("Mul", (f32(3, 4), f32(3, 1, seed=1))),
    Case("Div", (f32(3, 4), positive(4))),
    Case("Div", (i64(7, -7, 7, -7, 6, 5, LEAST), i64(2, 2, -2, -2, -3, 0, -1)), oracle=truncated),
    Case("Div", (np.array([7, 200, 3], np.uint8), np.array([2, 3, 0], np.uint8)), oracle=truncated),
    Case("Mod", (i64(7, -7, 7, -7, 6, 5, LEAST), i64(3, 3, -3, -3, -3, 0, -1)), oracle=remainder),
    Case("Mod", (i64(7, -7, 7, -7, 6, 5), i64(3, 3, -3, -3, -3, 0)), {"fmod": 1}, oracle=remainder),
    Case("Mod", (as_type([5.5, -5.5, 5.5, -0.0, INF, 2, 1], np.float32),
                 as_type([2, 2, -2, 3, 2, INF, 0], np.float32)),
         oracle=remainder),
    Case("Mod", (as_type([5.5, -5.5, 5.5, INF, 2], np.float32), as_type([2, 2, -2, 2, INF], np.float32)),
         {"fmod": 1}, oracle=remainder),
    Case("Pow", (positive(3, 4), f32(4))),
    Case("Pow", (f32(5), np.array(2, np.float32))),
    Case("Pow", (f32(5), np.array([3], np.int64))),
    Case("Pow", (i64(2, -2, 3, 1, -1, 0, 3), i64(3, 3, 0, -1, -1, 0, 41)),
         oracle=lambda X, Y: np.array([8, -8, 1, 1, -1, 1, 3**41 % 2**64 - 2**64], np.int64)),
    Case("Pow", (np.array([2, 3, 4], np.int32), as_type([0.5, 2, -1], np.float32)),
         oracle=lambda X, Y: np.array([1, 9, 0], np.int32)),
    Case("Pow", (np.array([1], np.uint8), np.array([1], np.uint8)), raises="expected one of"),
]  # fmt: skip

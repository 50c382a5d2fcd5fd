"""Cases of numba_rt/ops/logic.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, integers

SIGNED = np.array([1, -1, -128, 127, 5, -5], np.int8)
PLACES = np.array([1, 3, 7, 8, -1, 9], np.int8)
BYTES = integers(2, 5, low=0, high=256, dtype=np.uint8)

CASES = [
    Case("And", (bools(3, 4), bools(4, seed=1))),
    Case("Or", (bools(3, 4), bools(3, 1, seed=1))),
    Case("Xor", (bools(9), bools(9, seed=1))),
    Case("Not", (bools(9),)),
    Case("And", (bools(3), f32(3)), raises="B = float32[3]: expected one of bool"),
    Case("BitwiseAnd", (BYTES, BYTES[0])),
    Case("BitwiseOr", (integers(9), integers(9, seed=1))),
    Case("BitwiseXor", (integers(9), integers(9, seed=1))),
    Case("BitwiseNot", (SIGNED,)),
    Case("BitShift", (BYTES, BYTES[0] % 9), {"direction": "LEFT"}),
    Case("BitShift", (BYTES, BYTES[0] % 9), {"direction": "RIGHT"}),
    Case("BitShift", (SIGNED, PLACES), {"direction": "LEFT"}, opset=28,
         oracle=lambda X, Y, direction: np.array([2, -8, 0, 0, 0, 0], np.int8)),
    Case("BitShift", (SIGNED, PLACES), {"direction": "RIGHT"}, opset=28,
         oracle=lambda X, Y, direction: np.array([0, -1, -1, 0, 0, -1], np.int8)),
    Case("BitShift", (BYTES, BYTES), {"direction": "UP"}, raises="direction = 'UP'"),
]  # fmt: skip

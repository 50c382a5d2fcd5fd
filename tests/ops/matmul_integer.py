"""Cases of numba_rt/ops/matmul_integer.py."""

import ml_dtypes
import numpy as np

from numba_rt.kernels.matmul_integer import pack_integers
from tests.ops.cases import Case, f32, integers, positive

FP8 = ml_dtypes.float8_e4m3fn


def i8(*shape, seed=0):
    return integers(*shape, low=-128, high=128, dtype=np.int8, seed=seed)


def u8(*shape, seed=0):
    return integers(*shape, low=0, high=256, dtype=np.uint8, seed=seed)


def scale(value):
    return np.array(value, np.float32)


def qmatmul(a, sa, za, b, sb, zb, sy, zy):
    """QLinearMatMul in NumPy, for scales that broadcast."""
    wide = lambda x: x.astype(np.float32)  # noqa: E731
    exact = np.matmul((wide(a) - wide(za)).astype(np.float64), (wide(b) - wide(zb)).astype(np.float64))
    if zy.dtype == FP8:
        made = exact * sa.astype(np.float64) * sb / sy + wide(zy)
        return np.clip(made, -448, 448).astype(np.float32).astype(FP8)
    scales = (wide(sa) * wide(sb) / wide(sy)).astype(np.float32)
    info = np.iinfo(zy.dtype)
    return np.clip(np.rint(exact.astype(np.float32) * scales) + wide(zy), info.min, info.max).astype(zy.dtype)


def qcase(*inputs, **more):
    return Case("QLinearMatMul", inputs, oracle=qmatmul, **more)


A, B = u8(5, 37), i8(37, 19, seed=1)
SA, SB, SY = scale(0.02), scale(0.03), scale(1.1)
ZA, ZB, ZY = np.array(130, np.uint8), np.array(-3, np.int8), np.array(100, np.uint8)
WIDE = integers(8, 19, low=-255, high=256, dtype=np.int16)

CASES = [
    Case("MatMulInteger", (A, B, ZA, ZB)),
    Case("MatMulInteger", (A, B)),
    Case("MatMulInteger", (i8(70, 300), u8(300, 131), None, ZA)),
    Case("MatMulInteger", (i8(3, 1, 4, 5), i8(2, 5, 6), ZB, None)),
    Case("MatMulInteger", (A, B, u8(5, seed=3).reshape(5, 1), i8(19, seed=4))),
    Case(
        "MatMulInteger",
        (A, B, u8(5, seed=3)),
        oracle=lambda a, b, z: (a.astype(np.int32) - z[:, None]) @ b.astype(np.int32),
        label="rows",
    ),
    Case("MatMulInteger", (u8(7), u8(7, 3))),
    Case("MatMulInteger", (u8(7), u8(7))),
    Case("MatMulInteger", (u8(0, 7), u8(7, 2))),
    Case("MatMulInteger", (u8(2, 0), u8(0, 2))),
    Case("MatMulInteger", (A, i8(36, 2)), raises="37 columns"),
    Case("MatMulInteger", (A, f32(37, 2)), raises="B = float32[37, 2]"),
    Case("MatMulInteger", (A, B, ZB), raises="expected uint8"),
    Case("MatMulInteger", (A, B, ZA, i8(5)), raises="one for each column"),
    qcase(A, SA, ZA, B, SB, ZB, SY, ZY),
    qcase(A, positive(5, 1), u8(5, 1, seed=3), B, positive(19), i8(19, seed=4), scale(90), ZB),
    qcase(u8(2, 4, 9), SA, ZA, u8(2, 9, 3, seed=1), SB, ZA, SY.reshape(1), ZY.reshape(1)),
    qcase(
        f32(5, 9).astype(FP8),
        SA,
        np.zeros((), FP8),
        f32(9, 4).astype(FP8),
        SB,
        np.zeros((), FP8),
        SA,
        np.zeros((), FP8),
    ),
    qcase(f32(5, 9).astype(FP8), SA, np.zeros((), FP8), i8(9, 4), SB, ZB, SA, ZY),
    qcase(A, SA, ZA, f32(37, 2), SB, ZB, SY, ZY, raises="b = float32[37, 2]"),
    qcase(A, positive(4), ZA, B, SB, ZB, SY, ZY, raises="a_scale = float32[4]"),
    Case(
        "PackedMatMulInteger",
        (u8(2, 3, 7), pack_integers(WIDE), ZA),
        {"columns": 19},
        domain="numba_rt",
        oracle=lambda a, b, z, **_: (a.astype(np.int32) - z) @ WIDE[:7].astype(np.int32),
    ),
    Case(
        "PackedMatMulInteger",
        (i8(8), pack_integers(WIDE)),
        {"columns": 19},
        domain="numba_rt",
        oracle=lambda a, b, **_: a.astype(np.int32) @ WIDE.astype(np.int32),
    ),
    Case(
        "PackedMatMulInteger",
        (u8(3, 9), pack_integers(WIDE)),
        {"columns": 19},
        domain="numba_rt",
        raises="19 packed columns of 9 numbers",
    ),
]

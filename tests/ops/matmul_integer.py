"""Cases of numba_rt/ops/matmul_integer.py."""

import ml_dtypes
import numpy as np

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
IMAGES, FILTERS = u8(2, 4, 7, 6), i8(6, 4, 3, 3, seed=1)

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
    Case("ConvInteger", (IMAGES, FILTERS, ZA)),
    Case("ConvInteger", (IMAGES, FILTERS), {"pads": [1, 2, 0, 1], "strides": [2, 1], "dilations": [1, 2]}),
    Case("ConvInteger", (IMAGES, i8(6, 2, 3, 3), ZA, i8(6)), {"group": 2, "auto_pad": "SAME_UPPER"}),
    Case("ConvInteger", (IMAGES, u8(4, 1, 3, 3), None, ZA), {"group": 4, "pads": [1, 1, 1, 1]}),
    Case("ConvInteger", (i8(1, 3, 9), i8(2, 3, 4), ZB), {"pads": [2, 1]}),
    Case("ConvInteger", (i8(1, 2, 4, 5, 3), i8(3, 2, 2, 2, 2)), {"strides": [2, 1, 1]}),
    Case("ConvInteger", (i8(0, 2, 4), i8(3, 2, 2)), oracle=lambda x, w: np.zeros((0, 3, 3), np.int32)),
    Case("ConvInteger", (IMAGES, i8(6, 3, 3, 3)), raises="4 channels"),
    Case("ConvInteger", (IMAGES, FILTERS, u8(2)), raises="expected one number"),
    Case("QLinearConv", (IMAGES, SA, ZA, FILTERS, SB, ZB, SY, ZY)),
    Case("QLinearConv", (IMAGES, SA, ZA, FILTERS, positive(6), i8(6), scale(99), ZB), {"pads": [1, 1, 1, 1]}),
    Case(
        "QLinearConv",
        (IMAGES, SA, ZA, FILTERS, SB, ZB, SY, ZY, integers(6, low=-9999, high=9999, dtype=np.int32)),
        {"strides": [2, 2]},
    ),
    Case("QLinearConv", (IMAGES, SA, ZA, FILTERS, positive(5), ZB, SY, ZY), raises="each of 6 filters"),
    Case("QLinearConv", (IMAGES, SA, ZA, FILTERS, SB, ZB, SY, ZY, f32(6)), raises="B = float32[6]"),
    Case("Centred", (u8(9), ZA), domain="numba_rt", oracle=lambda x, z: x.astype(np.int16) - np.int16(z)),
]

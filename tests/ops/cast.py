"""Cases of numba_rt/ops/cast.py."""

import ml_dtypes
import numpy as np

from numba_rt.dtypes import NUMPY_TO_ONNX
from tests.ops.cases import Case, bools, f32, f64, integers

INF, NAN = np.inf, np.nan
SPECIAL = np.array([0, -0.0, 1.5, -2.7, 3.999, 70000, 1e30, 1e-7, 6e-8, -1e-9, INF, -INF, NAN], np.float32)
HALF_EDGES = np.array(
    [
        65504,
        65519.9,
        65520,
        2**-24,
        2**-25,
        2**-25 * 1.001,
        6.1e-5,
        1 + 2**-11,
        1 + 3 * 2**-11,
        1 + 2**-11 + 2**-30,
    ],
    np.float64,
)
SMALL = np.array(
    [0, 0.3, -0.3, 0.5, 1.2, -2.5, 3.5, 7, -8, 100, 448, 464, 480, 1e6, -1e6, INF, -INF, NAN], np.float32
)
E8M0 = ml_dtypes.float8_e8m0fnu
FP8 = (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz)


def as_type(x: np.ndarray, dtype: type) -> np.ndarray:
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def cast(x: np.ndarray, dtype: type, raises: str = "", **attributes: object) -> Case:
    """The oracle is NumPy, whose rounding is that of the standard."""
    return Case(
        "Cast",
        (x,),
        {"to": NUMPY_TO_ONNX[np.dtype(dtype)], **attributes},
        oracle=None if raises else lambda x, **_: as_type(x, dtype),
        rtol=0,
        atol=0,
        label=f"to={np.dtype(dtype)}",
        raises=raises,
    )


def bytes_of(dtype: type) -> np.ndarray:
    return np.arange(256, dtype=np.uint8).view(dtype)


CASES = [
    cast(f32(3, 4), np.float64),
    cast(integers(9), np.float32),
    cast(f32(9) * 9, np.int64),
    cast(np.array([1.5, -1.5, 1e10, -1e10, INF, NAN], np.float32), np.int32),
    cast(f32(9) * 99, np.int8),
    cast(np.array([0.5, 1e19, 2**63, 255], np.float64), np.uint64),
    cast(integers(9, low=-999, high=999), np.uint8),
    cast(SPECIAL, np.bool_),
    cast(bools(5), np.float32),
    cast(f32(0, 3), np.int32),
    cast(SPECIAL, np.float16),
    cast(HALF_EDGES, np.float16),
    cast(SPECIAL, ml_dtypes.bfloat16),
    cast(integers(5, low=-99999, high=99999, dtype=np.int32), ml_dtypes.bfloat16),
    cast(np.arange(0, 0x7C01, 5, dtype=np.uint16).view(np.float16), np.float32),
    cast(as_type(SPECIAL, ml_dtypes.bfloat16), np.float16),
    cast(SPECIAL[:5].astype(np.float16), np.int64),
    *(cast(bytes_of(t), np.float32) for t in (*FP8, E8M0, ml_dtypes.float6_e2m3fn)),
    *(cast(SMALL, t, saturate=0) for t in FP8),
    cast(f32(99).astype(np.float16), FP8[0], saturate=0),
    cast(bytes_of(FP8[0]), FP8[2], saturate=0),
    cast(SMALL[:14], ml_dtypes.float4_e2m1fn),
    cast(SMALL[:14], ml_dtypes.float6_e3m2fn),
    cast(integers(9, low=-99, high=99), ml_dtypes.int4),
    cast(integers(9, low=-99, high=99, dtype=np.int8), ml_dtypes.uint4),
    cast(SMALL[:9], ml_dtypes.int4),
    cast(bytes_of(np.uint8).view(ml_dtypes.int4), np.int8),
    Case("Cast", (SMALL[:-1],), {"to": 17}, oracle=lambda x, to: x.clip(-448, 448).astype(FP8[0])),
    Case("Cast", (np.array([0, 1, 1.1, 3, 1e38, INF], np.float32),), {"to": 24},
         oracle=lambda x, to: np.array([0, 127, 128, 129, 254, 254], np.uint8).view(E8M0)),
    Case("Cast", (np.array([1, 1.1, 3, 1.6], np.float32),), {"to": 24, "round_mode": "down"},
         oracle=lambda x, to, round_mode: np.array([127, 127, 128, 127], np.uint8).view(E8M0)),
    Case("Cast", (f32(1),), {"to": 24, "round_mode": "odd"}, raises="round_mode = 'odd'"),
    Case("Cast", (np.array(["1.5", "-INF", "NaN", "1e3"], object),), {"to": 1},
         oracle=lambda x, to: np.array([1.5, -INF, NAN, 1000], np.float32)),
    Case("Cast", (np.array(["3", "-4"], object),), {"to": 7}, oracle=lambda x, to: np.array([3, -4])),
    Case("Cast", (np.array([1.5, 3], np.float32),), {"to": 8},
         oracle=lambda x, to: np.array(["1.5", "3.0"], object)),
    Case("Cast", (f32(3),), {"to": 14}, raises="no dtype can be cast to it"),
    Case("Cast", (f32(3),), {"to": 99}, raises="to = 99 is not an element type"),
    Case("CastLike", (f32(3, 4), integers(2))),
    Case("CastLike", (f64(3), np.zeros(1, np.float16)), rtol=1e-3),
    Case("BitCast", (f32(3, 4),), {"to": 6}, oracle=lambda x, to: x.view(np.int32)),
    Case("BitCast", (integers(4, low=0, high=16).astype(ml_dtypes.uint4),), {"to": 22},
         oracle=lambda x, to: x.view(ml_dtypes.int4)),
    Case("BitCast", (f32(3),), {"to": 7}, raises="expected the same width"),
    Case("BitCast", (integers(3, dtype=np.int8),), {"to": 22}, raises="expected the same width"),
]  # fmt: skip

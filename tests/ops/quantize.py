"""Cases of numba_rt/ops/quantize.py."""

import ml_dtypes
import numpy as np

from tests.ops.cases import Case, f32, f64, integers, positive

BF16, FP8, E8M0 = ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e8m0fnu
ONE = np.array(0.05, np.float32)
NAN = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.125, 0.375], np.float32)


def quantized(x, scale, zero, dtype, precision=np.float32):
    """QuantizeLinear in NumPy, for scales that broadcast."""
    info = ml_dtypes.iinfo(dtype)
    with np.errstate(all="ignore"):
        scaled = (x.astype(precision) / scale.astype(precision)).astype(np.float32)
        scaled = np.rint(scaled) + np.float32(zero)
    return (
        np.clip(np.where(np.isnan(scaled), info.min, scaled), info.min, info.max)
        .astype(np.int32)
        .astype(dtype)
    )


def small(dtype, *shape, seed=0):
    info = ml_dtypes.iinfo(dtype)
    return integers(*shape, low=int(info.min), high=int(info.max) + 1, dtype=np.int8, seed=seed).astype(dtype)


X = f32(3, 5, 7) * 9
PER_AXIS, ZEROS = positive(5), integers(5, low=0, high=200, dtype=np.uint8)

CASES = [
    Case("QuantizeLinear", (X, ONE, np.uint8(128).reshape(()))),
    Case("QuantizeLinear", (X, ONE)),
    Case("QuantizeLinear", (X, ONE.reshape(1), np.array([-3], np.int8))),
    Case("QuantizeLinear", (X, PER_AXIS, ZEROS)),
    Case("QuantizeLinear", (X, positive(3), integers(3, dtype=np.int16)), {"axis": -3}),
    Case("QuantizeLinear", (X, positive(3, 2, 7), integers(3, 2, 7, dtype=np.int8)), {"block_size": 3}),
    Case("QuantizeLinear", (f32(3, 6), positive(3, 2)), {"axis": -1, "block_size": 3, "output_dtype": 3}),
    Case("QuantizeLinear", (f32(9) * 9, np.float32(1.0).reshape(()), np.array(1, ml_dtypes.int4))),
    Case("QuantizeLinear", (X, PER_AXIS, small(ml_dtypes.uint4, 5)), {"axis": 1}),
    Case("QuantizeLinear", (X, PER_AXIS), {"output_dtype": 26}),
    Case("QuantizeLinear", (X, PER_AXIS, np.zeros(5, FP8))),
    Case(
        "QuantizeLinear",
        (np.float32([1, 1e9, -3]), np.float32(2).reshape(())),
        {"output_dtype": 19, "saturate": 0},
    ),
    Case("QuantizeLinear", (X, ONE), {"output_dtype": 23}),
    Case("QuantizeLinear", (X.astype(np.float16), ONE.astype(np.float16), np.array(100, np.uint8))),
    Case(
        "QuantizeLinear",
        (X.astype(BF16), ONE.astype(BF16)),
        oracle=lambda x, s: quantized(x, s, 0, np.uint8, BF16),
    ),
    Case(
        "QuantizeLinear",
        (X, ONE),
        {"precision": 10, "output_dtype": 3},
        oracle=lambda x, s, **_: quantized(x, s, 0, np.int8, np.float16),
    ),
    Case(
        "QuantizeLinear",
        (integers(9, low=-999, high=999, dtype=np.int32), np.array(3, np.int32)),
        {"output_dtype": 5},
    ),
    Case(
        "QuantizeLinear",
        (NAN, np.array(0.25, np.float32), np.array(3, np.int8)),
        oracle=lambda x, s, z: quantized(x, s, z, np.int8),
    ),
    Case(
        "QuantizeLinear",
        (X, np.array(4, E8M0)),
        {"output_dtype": 3},
        oracle=lambda x, s, **_: quantized(x, s.astype(np.float32), 0, np.int8),
    ),
    Case("QuantizeLinear", (f32(0, 5), PER_AXIS)),
    Case("QuantizeLinear", (X, positive(4)), raises="expected one number, or 5 along axis 1"),
    Case("QuantizeLinear", (X, PER_AXIS, ZEROS[:4]), raises="expected the same shape"),
    Case(
        "QuantizeLinear",
        (X, positive(3, 3, 7)),
        {"block_size": 3},
        raises="expected [3, 2, 7] for blocks of 3",
    ),
    Case(
        "QuantizeLinear",
        (X, ONE, np.array(1, np.uint8)),
        {"output_dtype": 3},
        raises="which output_dtype asks for",
    ),
    Case("QuantizeLinear", (X, ONE), {"output_dtype": 7}, raises="no dtype to quantize to"),
    Case("QuantizeLinear", (f64(3), ONE), raises="x = float64[3]"),
    Case("DequantizeLinear", (integers(3, 5, dtype=np.int8), ONE, np.array(-3, np.int8))),
    Case("DequantizeLinear", (integers(3, 5, 2, dtype=np.uint8, low=0, high=256), PER_AXIS, ZEROS)),
    Case("DequantizeLinear", (integers(3, 5, dtype=np.int32), ONE)),
    Case(
        "DequantizeLinear",
        (integers(6, 5, dtype=np.int16), positive(3, 5), integers(3, 5, dtype=np.int16)),
        {"axis": 0, "block_size": 2},
    ),
    Case(
        "DequantizeLinear",
        (small(ml_dtypes.int4, 5, 3), positive(3, 3), small(ml_dtypes.int4, 3, 3)),
        {"axis": 0, "block_size": 2},
    ),
    Case("DequantizeLinear", (small(ml_dtypes.uint2, 5), ONE)),
    Case("DequantizeLinear", (np.arange(120, dtype=np.uint8).view(FP8), ONE, np.zeros((), FP8))),
    Case("DequantizeLinear", (integers(7, dtype=np.int8), ONE.astype(np.float16)), rtol=1e-3),
    Case(
        "DequantizeLinear",
        (integers(7, dtype=np.int8), ONE),
        {"output_dtype": 16},
        oracle=lambda x, s, **_: (x * s).astype(BF16),
    ),
    Case(
        "DequantizeLinear",
        (integers(7, dtype=np.int8), np.array(4, E8M0)),
        {"output_dtype": 1},
        oracle=lambda x, s, **_: x * s.astype(np.float32),
    ),
    Case("DequantizeLinear", (f32(3), ONE), raises="x = float32[3]"),
    Case(
        "DequantizeLinear",
        (integers(3, dtype=np.int8), ONE, np.array(1, np.uint8)),
        raises="expected the dtype of x",
    ),
    Case("DynamicQuantizeLinear", (f32(3, 7) * 5,), n_outputs=3),
    Case("DynamicQuantizeLinear", (positive(50),), n_outputs=3),
    Case("DynamicQuantizeLinear", (-positive(5),), n_outputs=3),
    Case("DynamicQuantizeLinear", (np.zeros(5, np.float32),), n_outputs=3),
    Case("DynamicQuantizeLinear", (f64(3),), n_outputs=3, raises="x = float64[3]"),
    Case(
        "ScaleToRange",
        (integers(9, dtype=np.int32) * 9, ONE, np.array(7, np.uint8)),
        {"dtype": np.dtype(np.uint8), "multiply": True},
        domain="numba_rt",
        oracle=lambda x, s, z, **_: np.clip(np.rint(x * s) + 7, 0, 255).astype(np.uint8),
    ),
    Case("ShiftAndScale", (integers(9, dtype=np.int8), ONE), domain="numba_rt", oracle=lambda x, s: x * s),
]

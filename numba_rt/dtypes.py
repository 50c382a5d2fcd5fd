"""ONNX element types and NumPy dtypes."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

ONNX_TO_NUMPY: dict[int, np.dtype[Any]] = {
    code: np.dtype(t)
    for code, t in {
        1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32,
        7: np.int64, 8: np.object_, 9: np.bool_, 10: np.float16, 11: np.float64, 12: np.uint32,
        13: np.uint64, 14: np.complex64, 15: np.complex128, 16: ml_dtypes.bfloat16,
        17: ml_dtypes.float8_e4m3fn, 18: ml_dtypes.float8_e4m3fnuz, 19: ml_dtypes.float8_e5m2,
        20: ml_dtypes.float8_e5m2fnuz, 21: ml_dtypes.uint4, 22: ml_dtypes.int4,
        23: ml_dtypes.float4_e2m1fn, 24: ml_dtypes.float8_e8m0fnu, 25: ml_dtypes.uint2,
        26: ml_dtypes.int2, 27: ml_dtypes.float6_e2m3fn, 28: ml_dtypes.float6_e3m2fn,
    }.items()
}  # fmt: skip
"""TensorProto.DataType → dtype. Strings are object arrays of str."""

NUMPY_TO_ONNX: dict[np.dtype[Any], int] = {v: k for k, v in ONNX_TO_NUMPY.items()}

FLOAT16 = np.dtype(np.float16)
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
INT32 = np.dtype(np.int32)
INT64 = np.dtype(np.int64)
UINT8 = np.dtype(np.uint8)
BOOL = np.dtype(np.bool_)
STRING = np.dtype(np.object_)

HALVES: frozenset[np.dtype[Any]] = frozenset({FLOAT16, BFLOAT16})
FLOATS: frozenset[np.dtype[Any]] = frozenset({FLOAT32, FLOAT64})
SIGNED = frozenset(np.dtype(t) for t in (np.int8, np.int16, np.int32, np.int64))
UNSIGNED = frozenset(np.dtype(t) for t in (np.uint8, np.uint16, np.uint32, np.uint64))
INTEGERS = SIGNED | UNSIGNED
NUMERIC = FLOATS | INTEGERS
NATIVE = NUMERIC | {BOOL}
"""dtypes that kernels compute with directly; every other one is moved as bytes or converted."""


def dtype_name(dtype: np.dtype[Any]) -> str:
    """Short name for messages: float32, bool, string, bfloat16."""
    return "string" if dtype == STRING else dtype.name


def from_onnx(code: int) -> np.dtype[Any] | None:
    """dtype of a TensorProto.DataType, None if there is none."""
    return ONNX_TO_NUMPY.get(code)


_ORT_NAMES = {
    "float32": "float",
    "float64": "double",
    "object": "string",
    "float8_e4m3fn": "float8e4m3fn",
    "float8_e4m3fnuz": "float8e4m3fnuz",
    "float8_e5m2": "float8e5m2",
    "float8_e5m2fnuz": "float8e5m2fnuz",
    "float4_e2m1fn": "float4e2m1",
}


def ort_type_name(dtype: np.dtype[Any]) -> str:
    """onnxruntime's name of an element type: float, double, int64, string."""
    return _ORT_NAMES.get(dtype.name, dtype.name)


PACKED_BITS: dict[str, int] = {
    "int2": 2,
    "uint2": 2,
    "int4": 4,
    "uint4": 4,
    "float4_e2m1fn": 4,
    "float6_e2m3fn": 6,
    "float6_e3m2fn": 6,
}
"""Name of a dtype → bits of an element in files, where several share a byte."""


def stored_bytes(dtype: np.dtype[Any], count: int) -> int:
    """Bytes that `count` elements take in a file; strings are stored otherwise."""
    bits = PACKED_BITS.get(dtype.name)
    return count * dtype.itemsize if bits is None else -(-count * bits // 8)

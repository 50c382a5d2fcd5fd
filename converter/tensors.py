"""TensorProto → array: writable, C-contiguous, of the dtype the model says, with every size checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from converter.external import read_external
from numba_rt.dtypes import STRING, dtype_name, from_onnx
from numba_rt.errors import LoadError

MOST_AXES = 64
MOST_ELEMENTS = 2**48

_FIELDS: dict[str, tuple[str, ...]] = {
    "float_data": ("float32", "complex64"),
    "int64_data": ("int64",),
    "double_data": ("float64", "complex128"),
    "uint64_data": ("uint32", "uint64"),
    "string_data": ("object",),
}
"""Typed field → dtypes stored in it; all others are in int32_data."""

_PACKED = {
    "int2": 2,
    "uint2": 2,
    "int4": 4,
    "uint4": 4,
    "float4_e2m1fn": 4,
    "float6_e2m3fn": 6,
    "float6_e3m2fn": 6,
}
"""Bits of the element types of which several share a byte."""


def to_array(tensor: onnx.TensorProto, directory: Path | None = None, where: str = "") -> np.ndarray:
    """The tensor's value; `directory` is where external data may lie, `where` names it in errors."""
    where = where or f"tensor {tensor.name!r}"
    dtype = from_onnx(tensor.data_type)
    if dtype is None:
        raise LoadError(f"{where} has element type {tensor.data_type}, which is not known")
    shape = _checked_shape(tensor.dims, where)
    count = math.prod(shape)
    if tensor.HasField("segment"):
        raise LoadError(f"{where} is stored in segments, which is not supported")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        if dtype == STRING:
            raise LoadError(f"{where} holds strings in external data: the standard does not allow it")
        raw = read_external(tensor, _nbytes(dtype, count), directory, where)
        return _from_bytes(raw, dtype, count, where).reshape(shape)
    filled = [f for f in (*_FIELDS, "int32_data") if len(getattr(tensor, f))]
    if tensor.HasField("raw_data") and not (filled and not tensor.raw_data):
        if filled:
            raise LoadError(f"{where} has both raw_data and {filled[0]}: expected one of them")
        if dtype == STRING:
            raise LoadError(f"{where} holds strings in raw_data: expected string_data")
        raw = np.frombuffer(tensor.raw_data, np.uint8)  # read-only, as weights are
        return _from_bytes(raw, dtype, count, where).reshape(shape)
    return _from_field(tensor, dtype, count, filled, where).reshape(shape)


def sparse_to_array(sparse: onnx.SparseTensorProto, directory: Path | None, where: str) -> np.ndarray:
    """A sparse tensor made dense."""
    shape = _checked_shape(sparse.dims, where)
    values = to_array(sparse.values, directory, f"{where} (values)")
    indices = to_array(sparse.indices, directory, f"{where} (indices)")
    count = math.prod(shape)
    n = values.size
    if values.ndim != 1 or indices.dtype != np.int64 or indices.shape not in ((n,), (n, len(shape))):
        found = f"{dtype_name(indices.dtype)}{list(indices.shape)}"
        raise LoadError(
            f"{where} has {n} values and indices {found}: expected int64[{n}] or [{n}, {len(shape)}]"
        )
    if count * max(values.itemsize, 1) > 2**31:
        raise LoadError(f"{where} is sparse with {count} elements: too many to be made dense")
    upper = np.array(count if indices.ndim == 1 else shape, np.int64)
    if (indices < 0).any() or (indices >= upper).any():
        raise LoadError(f"{where} has an index outside its shape {list(shape)}")
    flat = indices if indices.ndim == 1 else np.ravel_multi_index(tuple(indices.T), shape)
    dense = np.full(count, "", object) if values.dtype == STRING else np.zeros(count, values.dtype)
    dense[flat] = values
    return dense.reshape(shape)


def _checked_shape(dims: Sequence[int], where: str) -> tuple[int, ...]:
    shape = tuple(int(d) for d in dims)
    if len(shape) > MOST_AXES:
        raise LoadError(f"{where} has {len(shape)} axes: expected at most {MOST_AXES}")
    if any(d < 0 for d in shape):
        raise LoadError(f"{where} has dims {list(shape)}: expected no negative size")
    if math.prod(shape) > MOST_ELEMENTS:
        raise LoadError(f"{where} has dims {list(shape)}: more elements than can be stored")
    return shape


def _nbytes(dtype: np.dtype[Any], count: int) -> int:
    bits = _PACKED.get(dtype.name)
    return count * dtype.itemsize if bits is None else -(-count * bits // 8)


def _from_bytes(raw: np.ndarray, dtype: np.dtype[Any], count: int, where: str) -> np.ndarray:
    """`count` elements from bytes, little-endian as the standard stores them."""
    expected = _nbytes(dtype, count)
    if raw.size != expected:
        what = f"{count} elements of {dtype_name(dtype)}"
        raise LoadError(f"{where} has {raw.size} bytes of data: expected {expected} for {what}")
    if dtype.name in _PACKED:
        return _unpack(raw, dtype, count)
    if dtype == np.bool_:
        return raw != 0
    return raw.view(dtype)


def _unpack(raw: np.ndarray, dtype: np.dtype[Any], count: int) -> np.ndarray:
    """Elements of fewer than 8 bits, the first in the low bits."""
    width = _PACKED[dtype.name]
    bits = np.unpackbits(raw, bitorder="little")[: count * width].reshape(count, width)
    codes = np.packbits(bits, axis=1, bitorder="little").reshape(count)
    if dtype.name.startswith("int"):
        codes = codes.astype(np.int8)
        codes -= (codes >= 1 << (width - 1)).astype(np.int8) << width
    return codes.view(dtype) if dtype.name.startswith("float") else codes.astype(dtype)


def _from_field(
    tensor: onnx.TensorProto, dtype: np.dtype[Any], count: int, filled: list[str], where: str
) -> np.ndarray:
    field = next((f for f, names in _FIELDS.items() if dtype.name in names), "int32_data")
    if wrong := [f for f in filled if f != field]:
        raise LoadError(f"{where} of {dtype_name(dtype)} has its data in {wrong[0]}: expected {field}")
    data = getattr(tensor, field)
    per_element = 2 if dtype.kind == "c" else 1
    # Elements of 6 bits have an item each here; those of 4 and 2 share bytes as in raw_data.
    is_packed = dtype.name in _PACKED and _PACKED[dtype.name] < 6
    expected = _nbytes(dtype, count) if is_packed else count * per_element
    if len(data) != expected:
        raise LoadError(
            f"{where} has {len(data)} items in {field}: expected {expected} for dims {list(tensor.dims)}"
        )
    if dtype == STRING:
        return decode_strings(data, where)
    if dtype.kind == "c":
        return np.array(data, np.float32 if dtype.itemsize == 8 else np.float64).view(dtype)
    if field == "int32_data":
        stored = np.array(data, np.int32)
        if is_packed:
            return _unpack(stored.astype(np.uint8), dtype, count)
        if dtype.kind in "iub" and dtype.itemsize <= 4:
            return stored.astype(dtype)
        return stored.astype(f"u{dtype.itemsize}").view(dtype)
    return np.array(data, dtype)


def decode_strings(data: Sequence[bytes], where: str) -> np.ndarray:
    """Byte strings as an object array of str."""
    out = np.empty(len(data), object)
    for i, item in enumerate(data):
        out[i] = decode(item, f"{where}, element {i},")
    return out


def decode(data: bytes, where: str) -> str:
    """UTF-8 text."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise LoadError(f"{where} is not valid UTF-8: {data[:40]!r}") from None

"""Stored tensors → arrays: C-contiguous, of the dtype the model says, with every size checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from threading import Thread
from typing import Any

import numpy as np

from numba_rt.dtypes import PACKED_BITS, STRING, dtype_name, from_onnx, stored_bytes
from numba_rt.errors import LoadError
from numba_rt.format.definition import SparseTensorDef, TensorDef

MOST_AXES = 64
MOST_ELEMENTS = 2**48
LARGE = 1 << 20
"""Elements that are worth a second thread."""


def to_array(tensor: TensorDef, where: str = "") -> np.ndarray:
    """The tensor's value; `where` names it in errors."""
    where = where or f"tensor {tensor.name!r}"
    dtype = from_onnx(tensor.data_type)
    if dtype is None:
        raise LoadError(f"{where} has element type {tensor.data_type}, which is not known")
    shape = _checked_shape(tensor.dims, where)
    count = math.prod(shape)
    if tensor.source is None:
        raise LoadError(f"{where} has no elements")
    if dtype == STRING:
        items = tensor.source.strings(where)
        if len(items) != count:
            raise LoadError(f"{where} has {len(items)} strings: expected {count} for dims {list(shape)}")
        return decode_strings(items, where).reshape(shape)
    return _from_bytes(tensor.source.read(where), dtype, count, where).reshape(shape)


def to_arrays(tensors: Sequence[TensorDef]) -> list[np.ndarray]:
    """Values of initialisers. Where they are large, two threads read them: new memory is slow to come by.

    Raises:
        LoadError: one of them is not sound; of several, the first.
    """
    found: list[np.ndarray | Exception] = [LoadError("not read")] * len(tensors)
    pending = iter(range(len(tensors)))

    def read() -> None:
        for i in pending:
            try:
                found[i] = to_array(tensors[i], f"initializer {tensors[i].name!r}")
            except Exception as error:
                found[i] = error

    if sum(math.prod(t.dims) for t in tensors) < LARGE:
        read()
    else:
        helper = Thread(target=read)
        helper.start()
        read()
        helper.join()
    arrays = []
    for array in found:
        if isinstance(array, Exception):
            raise array
        arrays.append(array)
    return arrays


def sparse_to_array(sparse: SparseTensorDef, where: str) -> np.ndarray:
    """A sparse tensor made dense."""
    shape = _checked_shape(sparse.dims, where)
    if sparse.values is None or sparse.indices is None:
        raise LoadError(f"{where} lacks values or indices")
    values = to_array(sparse.values, f"{where} (values)")
    indices = to_array(sparse.indices, f"{where} (indices)")
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
    if math.prod(d or 1 for d in shape) > MOST_ELEMENTS:
        raise LoadError(f"{where} has dims {list(shape)}: more elements than can be stored")
    return shape


def _from_bytes(raw: np.ndarray, dtype: np.dtype[Any], count: int, where: str) -> np.ndarray:
    """`count` elements from bytes, little-endian as the standard stores them."""
    expected = stored_bytes(dtype, count)
    if raw.size != expected:
        what = f"{count} elements of {dtype_name(dtype)}"
        raise LoadError(f"{where} has {raw.size} bytes of data: expected {expected} for {what}")
    if dtype.name in PACKED_BITS:
        return _unpack(raw, dtype, count)
    if dtype == np.bool_:
        return raw != 0
    raw = raw if raw.ctypes.data % dtype.alignment == 0 else raw.copy()
    return raw.view(dtype)


def _unpack(raw: np.ndarray, dtype: np.dtype[Any], count: int) -> np.ndarray:
    """Elements of fewer than 8 bits, the first in the low bits."""
    width = PACKED_BITS[dtype.name]
    bits = np.unpackbits(raw, bitorder="little")[: count * width].reshape(count, width)
    codes = np.packbits(bits, axis=1, bitorder="little").reshape(count)
    if dtype.name.startswith("int"):
        codes = codes.astype(np.int8)
        codes -= (codes >= 1 << (width - 1)).astype(np.int8) << width
    return codes.view(dtype) if dtype.name.startswith("float") else codes.astype(dtype)


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

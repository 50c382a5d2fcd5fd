"""Number formats of at most 8 bits, as tables: they are small enough to list every number."""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

from numba_rt.dtypes import HALVES, INTEGERS, NATIVE
from numba_rt.errors import ShapeError

E8M0 = np.dtype(ml_dtypes.float8_e8m0fnu)
SMALL_INTEGERS = frozenset(
    np.dtype(t) for t in (ml_dtypes.int2, ml_dtypes.uint2, ml_dtypes.int4, ml_dtypes.uint4)
)
SMALL_FLOATS = frozenset(
    np.dtype(t)
    for t in (
        ml_dtypes.float8_e4m3fn,
        ml_dtypes.float8_e4m3fnuz,
        ml_dtypes.float8_e5m2,
        ml_dtypes.float8_e5m2fnuz,
        ml_dtypes.float8_e8m0fnu,
        ml_dtypes.float6_e2m3fn,
        ml_dtypes.float6_e3m2fn,
        ml_dtypes.float4_e2m1fn,
    )
)
SMALL = SMALL_INTEGERS | SMALL_FLOATS
"""Formats that kernels see as bytes and convert by tables."""


def values_of(dtype: np.dtype[Any]) -> np.ndarray:
    """The number each of the 256 bytes stands for."""
    return np.arange(256, dtype=np.uint8).view(dtype)


def convert(x: np.ndarray, to: np.dtype[Any], saturate: bool = True, round_mode: str = "up") -> np.ndarray:
    """An array in another numeric format, computed on the host."""
    if x.dtype in SMALL and to in NATIVE | HALVES:
        x = x.astype(np.float32)
    if to not in SMALL:
        return _whole(x, to) if to in INTEGERS and x.dtype.kind in "fV" else x.astype(to)
    if to in SMALL_INTEGERS:
        return wrapping_codes(to)[convert(x, np.dtype(np.int64)) & 255].view(to)
    wide = np.atleast_1d(x.astype(np.float32))
    thresholds, codes = rounding_tables(to, saturate, round_mode)
    count = np.searchsorted(thresholds[~np.isnan(thresholds)], np.abs(wide), side="right")
    count = np.where(np.isnan(wide), 256, count)
    return codes[np.signbit(wide).astype(np.intp), count].view(to).reshape(x.shape)


def _whole(x: np.ndarray, to: np.dtype[Any]) -> np.ndarray:
    """Floats cut to integers; those that do not fit give the lowest number, or its low bits."""
    wide = x.astype(np.float64)
    if to == np.uint64:
        high = (wide >= 2.0**63) & (wide < 2.0**64)
        rest = _whole(np.where(high, wide - 2.0**63, wide), np.dtype(np.int64)).astype(np.uint64)
        return np.where(high, rest ^ np.uint64(1 << 63), rest)
    through, bits = (np.int64, 63) if to.itemsize == 8 or to == np.uint32 else (np.int32, 31)
    lowest = -(2.0**bits)
    fits = (wide >= lowest) & (wide < -lowest)
    return np.where(fits, wide, lowest).astype(through).astype(to)


@cache
def wrapping_codes(to: np.dtype[Any]) -> np.ndarray:
    """For each low byte of an integer, the byte of a format that keeps only its lowest bits."""
    bits = np.arange(256)
    info = ml_dtypes.iinfo(to.type)
    span = int(info.max) - int(info.min) + 1
    return ((bits - int(info.min)) % span + int(info.min)).astype(np.int8).astype(to).view(np.uint8)


@cache
def rounding_tables(to: np.dtype[Any], saturate: bool, round_mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds and codes for the kernel `round_to_codes`.

    The number of thresholds that a magnitude reaches is the rank of the number it becomes; codes
    has a row for positive and one for negative numbers, and NaN's code in its last column.
    """
    magnitudes = np.unique(np.abs(values_of(to).astype(np.float32)))
    magnitudes = magnitudes[np.isfinite(magnitudes)]
    limits = _power_thresholds(magnitudes, round_mode) if to == E8M0 else _nearest_thresholds(magnitudes)
    has_more = to.name.startswith("float8")  # the formats of fewer bits always saturate
    last = np.float32(np.inf) if has_more and not saturate else magnitudes[-1]
    row = np.concatenate([magnitudes, np.full(256 - magnitudes.size, last), [np.nan]]).astype(np.float32)
    negative = row if to == E8M0 else -row
    codes = np.stack([row, negative]).astype(to).view(np.uint8)
    return _filled(limits), codes


def _filled(limits: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.concatenate([limits, np.full(256 - limits.size, np.nan)]).astype(np.float32)


def _nearest_thresholds(magnitudes: np.ndarray) -> np.ndarray:
    """From where on a number is nearer to the next one up; a tie goes to the even code. Beyond the
    largest number the format goes on as if it had one more.
    """
    beyond = 2 * magnitudes[-1] - magnitudes[-2]
    upper = np.concatenate([magnitudes[1:], [beyond]]).astype(np.float32)
    middle = (magnitudes.astype(np.float64) + upper) / 2
    odd = np.arange(1, magnitudes.size + 1) % 2 == 1
    middle32 = middle.astype(np.float32)
    return np.where(odd, np.nextafter(middle32, np.float32(np.inf)), middle32)


def _power_thresholds(magnitudes: np.ndarray, round_mode: str) -> np.ndarray:
    """The same where all numbers are powers of two, and rounding may be up or down."""
    if round_mode not in ("up", "down", "nearest"):
        raise ShapeError(f"round_mode = {round_mode!r}: expected up, down or nearest")
    upper = 2 * magnitudes.astype(np.float64)
    if round_mode == "nearest":
        return (magnitudes + upper) / 2
    with np.errstate(over="ignore"):
        return upper if round_mode == "down" else np.nextafter(magnitudes, np.float32(np.inf))

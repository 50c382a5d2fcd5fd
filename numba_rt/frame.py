"""Frames: the arguments of a kernel's machine code, one 64-bit word for each value it reads.

An array is seven words or more: two that are 0, its number of elements, their size, the address of
the first one, then sizes and distances in bytes by axis. A number is one word, with its bits lowest.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

ADDRESS = 4
"""Where in the words of an array its address stands."""

_NUMBERS = {int: "<i8", bool: "|b1", float: "<f8"}


def code_of(arg: Any) -> str:
    """The type of an argument: the dtype, and for an array the number of its axes."""
    if isinstance(arg, np.ndarray):
        return array_code(arg.dtype, arg.ndim)
    found = _NUMBERS.get(type(arg))
    return np.dtype(type(arg)).str if found is None else found


@lru_cache
def array_code(dtype: np.dtype[Any], rank: int) -> str:
    """The type of an array."""
    return f"{dtype.str}:{rank}"


def address_of(array: np.ndarray) -> int:
    """Address of the first element."""
    return int(array.__array_interface__["data"][0])


def array_words(address: int, shape: tuple[int, ...], itemsize: int) -> list[int]:
    """The words of a C-contiguous array."""
    words = _shape_words(shape, itemsize).copy()
    words[ADDRESS] = address
    return words


@lru_cache(512)
def _shape_words(shape: tuple[int, ...], itemsize: int) -> list[int]:
    strides = [itemsize * prod(shape[axis + 1 :]) for axis in range(len(shape))]
    return [0, 0, prod(shape), itemsize, 0, *shape, *strides]


def number_word(value: Any) -> int:
    """The word of a number."""
    if type(value) is int:
        return value
    scalar = np.float64(value) if type(value) is float else np.asarray(value)[()]
    return int.from_bytes(scalar.tobytes().ljust(8, b"\0"), "little", signed=True)


def frame_of(codes: tuple[str, ...], args: tuple[Any, ...]) -> np.ndarray:
    """The frame of arguments of these types.

    Raises:
        TypeError: An argument has another type, or an array is not C-contiguous and aligned.
    """
    if codes != tuple(map(code_of, args)):
        raise TypeError(f"arguments of types {', '.join(map(code_of, args))}, expected {', '.join(codes)}")
    return np.array(list(itertools.chain.from_iterable(map(_words, args))), np.int64)


def _words(arg: Any) -> list[int]:
    if not isinstance(arg, np.ndarray):
        return [number_word(arg)]
    if not (arg.flags.c_contiguous and arg.flags.aligned):
        raise TypeError("kernels take arrays that are C-contiguous and aligned")
    return array_words(address_of(arg), arg.shape, arg.itemsize)

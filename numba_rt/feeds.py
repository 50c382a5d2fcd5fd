"""Feeds: what a caller passes becomes arrays as plans take them, or an error that says what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from numba_rt.dtypes import STRING, dtype_name
from numba_rt.errors import InputError
from numba_rt.graph import Fact, Sym


def check_feed(name: str, value: Any, fact: Fact, sizes: dict[str, int]) -> Any:
    """A feed as a C-contiguous, aligned array of the declared dtype.

    `sizes` holds the symbolic sizes met so far; one name must mean one size.
    """
    if fact.kind.startswith("optional") and value is None:
        return None
    if fact.kind.endswith("sequence"):
        return _check_sequence(name, value, fact)
    if fact.kind.endswith("map"):
        return _check_map(name, value, fact)
    array = _as_array(name, value, fact.dtype)
    if array.dtype != fact.dtype:
        raise InputError(f"input {name!r} has dtype {_name(array.dtype)}: expected {dtype_name(fact.dtype)}")
    if fact.shape is not None:
        _check_shape(name, array, fact, sizes)
    if fact.dtype == STRING:
        return _check_strings(name, array)
    if not (array.flags.c_contiguous and array.flags.aligned):
        array = np.array(array, order="C", copy=True)
    return array


def _as_array(name: str, value: Any, dtype: np.dtype[Any]) -> np.ndarray:
    if value is None:
        raise InputError(f"input {name!r} is None: expected an array of {dtype_name(dtype)}")
    try:
        array = np.asarray(value)
        if dtype == STRING and array.dtype.kind in "US":
            return array.astype(np.str_).astype(object)
        if not array.dtype.isnative:
            return array.astype(array.dtype.newbyteorder("="))
        if isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__") or array.dtype == dtype:
            return array
        if array.size and not np.can_cast(array.dtype, dtype, "same_kind"):
            raise InputError(f"input {name!r} holds {_name(array.dtype)}: expected {dtype_name(dtype)}")
        return np.asarray(value, dtype)
    except (TypeError, ValueError, OverflowError, UnicodeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"input {name!r} cannot be made into {dtype_name(dtype)}: {error}") from error


def _check_shape(name: str, array: np.ndarray, fact: Fact, sizes: dict[str, int]) -> None:
    assert fact.shape is not None
    if array.ndim != len(fact.shape):
        raise InputError(f"input {name!r} has shape {array.shape}: expected rank {len(fact.shape)}, {fact}")
    for axis, (found, declared) in enumerate(zip(array.shape, fact.shape, strict=True)):
        where = f"input {name!r} has size {found} on axis {axis}"
        if isinstance(declared, Sym):
            expected = sizes.setdefault(str(declared), found)
            if expected != found:
                raise InputError(f"{where}: {declared} is {expected} elsewhere")
        elif found != declared:
            raise InputError(f"{where}: expected {declared} ({fact})")


def _check_strings(name: str, array: np.ndarray) -> np.ndarray:
    for item in array.reshape(-1):
        if not isinstance(item, str):
            raise InputError(f"input {name!r} holds {type(item).__name__}: expected string")
    return array


def _check_sequence(name: str, value: Any, fact: Fact) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InputError(f"input {name!r} is {type(value).__name__}: expected a list, {fact}")
    element = Fact(fact.dtype, None, None, fact.kind[: -len(" sequence")] if "map" in fact.kind else "tensor")
    return [check_feed(f"{name}[{i}]", item, element, {}) for i, item in enumerate(value)]


def _check_map(name: str, value: Any, fact: Fact) -> dict[Any, Any]:
    """A dict whose values are scalars of the declared dtype."""
    if not isinstance(value, Mapping):
        raise InputError(f"input {name!r} is {type(value).__name__}: expected a dict, {fact}")
    keys = (str,) if fact.kind.startswith("string") else (int, np.integer)
    for key in value:
        if not isinstance(key, keys):
            expected = "strings" if keys == (str,) else "integers"
            raise InputError(f"input {name!r} has the key {key!r}: expected {expected}")
    element = Fact(fact.dtype, None)
    made = {k: check_feed(f"{name}[{k!r}]", _scalar(v, fact), element, {}) for k, v in value.items()}
    return {k: v.reshape(-1)[0] for k, v in made.items()}


def _scalar(value: Any, fact: Fact) -> Any:
    """A value of a map; Python's numbers are taken for the dtype that is expected."""
    return fact.dtype.type(value) if isinstance(value, int | float) and fact.dtype != STRING else value


def _name(dtype: np.dtype[Any]) -> str:
    return "object" if dtype == STRING else dtype.name

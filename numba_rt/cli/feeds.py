"""Inputs for a model: from .npy and .npz files, or random."""

from __future__ import annotations

import argparse
import sys
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from numba_rt.dtypes import BOOL, STRING, dtype_name
from numba_rt.errors import InputError
from numba_rt.model import Model, TensorInfo
from numba_rt.printable import printable


class Sizes:
    """What `-s name=size` says, and which of it was used."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.given: dict[str, int] = {}
        self.used: set[str] = set()
        self.assumed: list[str] = []
        for text in texts:
            name, separator, size = text.rpartition("=")
            if not separator or not name or not (size.isascii() and size.isdecimal()):
                raise InputError(f"-s {text!r}: expected name=size")
            if name in self.given:
                raise InputError(f"-s {text!r}: {name!r} has a size already")
            self.given[name] = int(size)

    def of(self, info: TensorInfo, axis: int, dim: int | str | None) -> int:
        """The size of one axis; 1 where nothing is said."""
        if isinstance(dim, int):
            return dim
        names = [n for n in (dim, f"{info.name}.{axis}") if n is not None]
        for name in names:
            if name in self.given:
                self.used.add(name)
                return self.given[name]
        if names[0] not in self.assumed:
            self.assumed.append(names[0])
        return 1

    def check_used(self) -> None:
        """Refuse sizes that no random input has."""
        if unused := [n for n in self.given if n not in self.used]:
            text = f"-s {unused[0]}={self.given[unused[0]]}"
            raise InputError(f"{text} is not used: no random input has such a size")


def make_feeds(model: Model, args: argparse.Namespace) -> tuple[dict[str, Any], set[str]]:
    """Arrays for all inputs of a model, in its order: from files, or random; names of the random ones."""
    given = read_files(args.input, [i.name for i in model.inputs])
    sizes = Sizes(args.size)
    rng = np.random.default_rng(args.seed)
    feeds = {i.name: given[i.name] if i.name in given else _random(i, sizes, rng) for i in model.inputs}
    sizes.check_used()
    for name in sizes.assumed:
        shown = printable(name)
        print(f"numba-rt: size 1 is assumed for {shown}; say -s {shown}=SIZE", file=sys.stderr)
    return feeds, feeds.keys() - given.keys()


def read_files(texts: Sequence[str], known: Sequence[str]) -> dict[str, Any]:
    """Arrays of `name=file.npy`, `file.npz`, and of `file.npy` for a model with one input."""
    feeds: dict[str, Any] = {}
    for text in texts:
        name, separator, path = text.partition("=")
        if not separator or name not in known:
            name, path = ("", text) if not separator or "/" in name else (name, path)
        found = _load(path)
        if isinstance(found, dict):
            if name:
                raise InputError(f"-i {text!r}: an .npz names its arrays itself, expected -i {path}")
        elif name or len(known) == 1:
            found = {name or known[0]: found}
        else:
            raise InputError(f"-i {text!r}: expected name=file.npy, the model takes {list(known)}")
        for key, array in found.items():
            if key not in known:
                raise InputError(f"-i {text!r}: the model has no input {key!r}, it takes {list(known)}")
            if key in feeds:
                raise InputError(f"-i {text!r}: input {key!r} is given twice")
            feeds[key] = array
    return feeds


def _load(path: str) -> np.ndarray | dict[str, np.ndarray]:
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return found
        with found:
            return {name: found[name] for name in found.files}
    except OSError as error:
        raise InputError(f"{path!r} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path!r} is not a .npy or .npz file of numbers: {error}") from error


def _random(info: TensorInfo, sizes: Sizes, rng: np.random.Generator) -> Any:
    """Small numbers: integers are 0 or 1, which most models take as indices, masks and lengths."""
    if info.kind != "tensor":
        raise InputError(f"input {info.name!r} is a {info.kind}: neither a file nor chance can give one")
    if info.shape is None:
        raise InputError(f"input {info.name!r} has no declared rank: give it with -i {info.name}=file.npy")
    shape = tuple(sizes.of(info, axis, dim) for axis, dim in enumerate(info.shape))
    if info.dtype == STRING:
        return np.full(shape, "text", object)
    if info.dtype.kind in "iu" or info.dtype == BOOL:
        return rng.integers(0, 2, shape).astype(info.dtype)
    try:
        return rng.standard_normal(shape, np.float32).astype(info.dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"input {info.name!r}: no random {dtype_name(info.dtype)} can be made") from error

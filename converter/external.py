"""Tensor data in files next to the model: only regular files below the model's own directory."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING

import numpy as np

from numba_rt.errors import LoadError

if TYPE_CHECKING:
    import onnx

EXTERNAL = 1
"""The data location of tensors that are in a file of their own."""
KEYS = ("location", "offset", "length", "checksum", "basepath")


def read_external(tensor: onnx.TensorProto, nbytes: int, directory: Path | None, where: str) -> np.ndarray:
    """The `nbytes` bytes of a tensor's external data."""
    entries = _entries(tensor, where)
    location = entries.get("location", "")
    if directory is None:
        raise LoadError(
            f"{where} has its data in the file {location!r}: load the model by its path, not from memory"
        )
    parts = _safe_parts(location, where)
    offset = _number(entries, "offset", 0, where)
    length = _number(entries, "length", nbytes, where)
    if length != nbytes:
        raise LoadError(
            f"{where} has external data of length {length}: its dims and dtype need {nbytes} bytes"
        )
    try:
        with os.fdopen(_open(directory, parts, where), "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if offset + length > size:
                raise LoadError(
                    f"{where} has external data at {offset} to {offset + length} of {location!r}, "
                    f"which has {size} bytes"
                )
            file.seek(offset)
            data = np.fromfile(file, np.uint8, length)
    except (OSError, ValueError) as error:
        raise LoadError(f"{where}: external data {location!r} cannot be read: {error}") from error
    if data.size != length:
        raise LoadError(f"{where}: external data {location!r} ends after {data.size} of {length} bytes")
    return data


def _entries(tensor: onnx.TensorProto, where: str) -> dict[str, str]:
    entries: dict[str, str] = {}
    for entry in tensor.external_data:
        if entry.key not in KEYS:
            raise LoadError(
                f"{where} has external data with the key {entry.key!r}: expected one of {list(KEYS)}"
            )
        if entry.key in entries:
            raise LoadError(f"{where} has external data with two entries {entry.key!r}")
        entries[entry.key] = entry.value
    return entries


def _number(entries: dict[str, str], key: str, default: int, where: str) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise LoadError(f"{where} has external data with {key} = {text[:40]!r}: expected a number of bytes")
    return int(text)


def _safe_parts(location: str, where: str) -> tuple[str, ...]:
    """The path's components, all of them names below the model's directory."""
    path = PurePosixPath(location)
    windows = PureWindowsPath(location)
    if not location or "\0" in location or not path.parts:
        raise LoadError(f"{where} has external data at {location!r}: expected the name of a file")
    if path.is_absolute() or windows.is_absolute() or windows.drive or windows.root:
        raise LoadError(f"{where} has external data at the absolute path {location!r}: refused")
    if ".." in path.parts or ".." in windows.parts:
        raise LoadError(
            f"{where} has external data at {location!r}, which leaves the model's directory: refused"
        )
    return path.parts


def _open(directory: Path, parts: tuple[str, ...], where: str) -> int:
    """A descriptor of the file, reached from the directory without following a link."""
    if os.open not in os.supports_dir_fd:
        return _open_by_path(directory, parts, where)
    here = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for depth, part in enumerate(parts):
            last = depth == len(parts) - 1
            _refuse_link(os.stat(part, dir_fd=here, follow_symlinks=False), last, parts, where)
            # O_NONBLOCK: a pipe put in place meanwhile must not make the open wait for a writer.
            flags = os.O_RDONLY | os.O_NOFOLLOW | (os.O_NONBLOCK if last else os.O_DIRECTORY)
            there = os.open(part, flags, dir_fd=here)
            os.close(here)
            here = there
        _refuse_link(os.fstat(here), True, parts, where)
    except BaseException:
        os.close(here)
        raise
    return here


def _open_by_path(directory: Path, parts: tuple[str, ...], where: str) -> int:
    path = directory
    for depth, part in enumerate(parts):
        path = path / part
        _refuse_link(os.lstat(path), depth == len(parts) - 1, parts, where)
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))


def _refuse_link(found: os.stat_result, last: bool, parts: tuple[str, ...], where: str) -> None:
    location = "/".join(parts)
    if stat.S_ISLNK(found.st_mode):
        raise LoadError(
            f"{where} has external data at {location!r}, reached through a symbolic link: refused"
        )
    if last and not stat.S_ISREG(found.st_mode):
        raise LoadError(f"{where} has external data at {location!r}, which is not a regular file: refused")
    if last and found.st_nlink > 1:
        raise LoadError(
            f"{where} has external data at {location!r}, which has {found.st_nlink} names: refused, since "
            "it may be a file from elsewhere. Copy it to make it the model's own."
        )

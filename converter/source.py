"""Where a model comes from: a file, bytes or a ModelProto; damaged ones are refused by name."""

from __future__ import annotations

import os
import stat
import sys
import weakref
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from converter.messages import Model
from converter.wire import Bytes, Message, WireError, read_message
from numba_rt.errors import LoadError

PIECE = 1 << 16
"""Bytes read from a file at once, where fewer are asked for."""


def read(source: str | os.PathLike[str] | bytes | Any) -> tuple[Any, Path | None]:
    """The model, as a ModelProto or with the same fields, and the directory its external data may come from
    (None for models from memory).
    """
    if _is_message(source):
        return _checked(source, "the ModelProto"), None
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _parse(Memory(bytes(source)), f"the model ({len(source)} bytes)"), None
    if isinstance(source, (str, os.PathLike)):
        path = Path(os.path.abspath(os.fsdecode(source)))
        return _parse(_open(path), f"{str(path)!r}"), path.parent
    raise LoadError(
        f"a model cannot be loaded from {type(source).__name__}: expected a path, bytes or an onnx.ModelProto"
    )


class Memory:
    """Bytes of a model in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def get(self, start: int, stop: int) -> bytes:
        """Some of them."""
        return self.data[start:stop]

    def array(self, start: int, size: int, where: str) -> np.ndarray:
        """Some of them, read-only."""
        return np.frombuffer(self.data, np.uint8, size, start)


class File:
    """A file of a model, which stays open while anything may be read from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = open(path, "rb", buffering=0)  # noqa: SIM115 - tensors are read later
        weakref.finalize(self, self.file.close)
        self.stamp = self._stamp()
        self.size = self.stamp[0]
        self._piece, self._start = b"", 0
        self._lock = Lock()

    def get(self, start: int, stop: int) -> bytes:
        """Some of the bytes, of a piece that is kept for what follows."""
        begin = start - self._start
        if begin < 0 or stop - self._start > len(self._piece):
            size = min(max(PIECE, stop - start), self.size - start)
            self._piece, self._start, begin = (
                self._read(start, size, repr(str(self.path))).tobytes(),
                start,
                0,
            )
        return self._piece[begin : begin + stop - start]

    def array(self, start: int, size: int, where: str) -> np.ndarray:
        """Some of the bytes, in memory of their own; from several threads too."""
        return self._read(start, size, f"{where} of {str(self.path)!r}")

    def _read(self, start: int, size: int, where: str) -> np.ndarray:
        data = np.empty(size, np.uint8)
        rest = data.data
        try:
            while rest and (count := self._fill(rest, start + size - len(rest))):
                rest = rest[count:]
            changed = self._stamp() != self.stamp
        except (OSError, ValueError) as error:
            raise LoadError(f"{where} cannot be read: {error}") from error
        if rest or changed:
            raise LoadError(f"{where} cannot be read: the file has changed meanwhile")
        return data

    def _fill(self, part: memoryview, start: int) -> int | None:
        if hasattr(os, "preadv"):
            return os.preadv(self.file.fileno(), [part], start)
        with self._lock:
            self.file.seek(start)
            return self.file.readinto(part)

    def _stamp(self) -> tuple[int, int]:
        found = os.fstat(self.file.fileno())
        return found.st_size, found.st_mtime_ns


def _is_message(source: object) -> bool:
    """Whether it is an onnx.ModelProto: there are none unless the package is imported."""
    return isinstance(source, getattr(sys.modules.get("onnx"), "ModelProto", ()))


def _open(path: Path) -> File:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise LoadError(f"{str(path)!r} is a directory: expected an .onnx file")
        if not stat.S_ISREG(found.st_mode):
            raise LoadError(f"{str(path)!r} is not a regular file")
        return File(path)
    except FileNotFoundError:
        raise LoadError(f"{str(path)!r} does not exist") from None
    except (OSError, ValueError) as error:
        raise LoadError(f"{str(path)!r} cannot be read: {error}") from error


def _parse(source: Bytes, where: str) -> Message:
    if not source.size:
        raise LoadError(f"{where} is empty: expected an ONNX model")
    guess = _guess(source.get(0, min(512, source.size)))
    model = Model()
    try:
        read_message(model, source)
    except WireError as error:
        raise LoadError(f"{where} is not an ONNX model, or is damaged{guess}: {error}") from error
    return _checked(model, where + guess)


def _checked(model: Any, where: str) -> Any:
    if not model.HasField("graph"):
        raise LoadError(f"{where} holds no graph: not an ONNX model, or damaged")
    return model


def _guess(head: bytes) -> str:
    """What a file that is no model seems to be."""
    if head.startswith(b"\x1f\x8b"):
        return " (it is gzip-compressed)"
    if head.startswith(b"version https://git-lfs"):
        return " (it is a Git LFS pointer: fetch the file with git lfs pull)"
    if head.startswith(b"PK\x03\x04"):
        return " (it is a zip archive)"
    if all(c in b"\t\n\r" or 32 <= c < 127 for c in head):
        return " (it is text)"
    return ""

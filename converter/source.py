"""Where a model comes from: a file, bytes or a ModelProto; damaged ones are refused by name."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from numba_rt.errors import LoadError

LARGEST = 2**31 - 1
"""Bytes of a protobuf message; more must be external data."""


def read(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> tuple[onnx.ModelProto, Path | None]:
    """The model and the directory its external data may come from (None for models from memory)."""
    if isinstance(source, onnx.ModelProto):
        return _checked(source, "the ModelProto"), None
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _parse(bytes(source), f"the model ({len(source)} bytes)"), None
    if isinstance(source, (str, os.PathLike)):
        path = Path(os.path.abspath(os.fsdecode(source)))
        return _parse(_read_file(path), f"{str(path)!r}"), path.parent
    raise LoadError(
        f"a model cannot be loaded from {type(source).__name__}: expected a path, bytes or an onnx.ModelProto"
    )


def _read_file(path: Path) -> bytes:
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise LoadError(f"{str(path)!r} is a directory: expected an .onnx file")
        if not stat.S_ISREG(found.st_mode):
            raise LoadError(f"{str(path)!r} is not a regular file")
        if found.st_size > LARGEST:
            raise LoadError(
                f"{str(path)!r} has {found.st_size} bytes: expected at most {LARGEST}, "
                "and the weights as external data"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise LoadError(f"{str(path)!r} does not exist") from None
    except (OSError, ValueError) as error:
        raise LoadError(f"{str(path)!r} cannot be read: {error}") from error


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise LoadError(f"{where} is empty: expected an ONNX model")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError, RuntimeError, ValueError) as error:
        raise LoadError(f"{where} is not an ONNX model, or is damaged{_guess(data)}: {error}") from error
    return _checked(model, where + _guess(data))


def _checked(model: onnx.ModelProto, where: str) -> onnx.ModelProto:
    if not model.HasField("graph"):
        raise LoadError(f"{where} holds no graph: not an ONNX model, or damaged")
    return model


def _guess(data: bytes) -> str:
    """What a file that is no model seems to be."""
    head = data[:512]
    if head.startswith(b"\x1f\x8b"):
        return " (it is gzip-compressed)"
    if head.startswith(b"version https://git-lfs"):
        return " (it is a Git LFS pointer: fetch the file with git lfs pull)"
    if head.startswith(b"PK\x03\x04"):
        return " (it is a zip archive)"
    if all(c in b"\t\n\r" or 32 <= c < 127 for c in head):
        return " (it is text)"
    return ""

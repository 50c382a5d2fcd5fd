"""RTen's model files, version 1 and 2 → the model's definition, its tensors being views of the file.

Version 1 is a FlatBuffer. Version 2 is a header, a FlatBuffer and the data of large constants:
`RTEN`, version (u32), start and length of the FlatBuffer and start of the data (u64 each).
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from struct import Struct

import numpy as np

from converter.rten_buffer import Buffer
from converter.rten_graph import Reader
from converter.rten_schema import METADATA
from numba_rt.errors import LoadError
from numba_rt.format.definition import Entry, ModelDef, OperatorSet

MAGIC = b"RTEN"
OPSET = 24
"""Opset whose forms the operators are given."""

IR_VERSION = 11
"""The version of ONNX that came with it."""

_HEADER = Struct("<4sIQQQ")
_LARGEST = 2**31 - 1
"""Bytes of a FlatBuffer."""


def read_rten(source: str | os.PathLike[str] | bytes) -> ModelDef:
    """The model.

    Raises:
        LoadError: the file is missing, damaged or of another version.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = np.frombuffer(bytes(source), np.uint8)
        where = f"the model ({data.size} bytes)"
    else:
        path = Path(os.path.abspath(os.fsdecode(source)))
        where = repr(str(path))
        data = _mapped(path, where)
    if data[:4].tobytes() != MAGIC:
        if data.size > _LARGEST:
            raise LoadError(f"{where} has {data.size} bytes: expected at most {_LARGEST} in version 1")
        return _model(data, data[:0], where)
    return _model(*_sections(data, where), where)


def _mapped(path: Path, where: str) -> np.ndarray:
    try:
        if path.exists() and not path.is_file():
            raise LoadError(f"{where} is not a regular file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise LoadError(f"{where} is empty: expected a model")
            return np.frombuffer(mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ), np.uint8)
    except FileNotFoundError:
        raise LoadError(f"{where} does not exist") from None
    except (OSError, ValueError) as error:
        raise LoadError(f"{where} cannot be read: {error}") from error


def _sections(data: np.ndarray, where: str) -> tuple[np.ndarray, np.ndarray]:
    """The FlatBuffer, and the data of constants."""
    if data.size < _HEADER.size:
        raise LoadError(f"{where} is damaged: it ends within the header")
    _, version, start, size, rest = _HEADER.unpack(data[: _HEADER.size].tobytes())
    if version != 2:
        raise LoadError(f"{where} is of version {version} of RTen's format: expected 1 or 2")
    length = data.size
    if not _HEADER.size <= start <= length or size > min(length - start, _LARGEST) or rest > length:
        raise LoadError(f"{where} is damaged: its parts lie outside of {length} bytes")
    return data[start : start + size], data[rest:]


def _model(nodes: np.ndarray, tensors: np.ndarray, where: str) -> ModelDef:
    root = Buffer(nodes, where).root()
    version = root.number(0, "i", 0)
    if version != 1:
        raise LoadError(f"{where} is no model of RTen's, or has schema version {version}: expected 1")
    table = root.table(1)
    if table is None:
        raise LoadError(f"{where} is damaged: it has no graph")
    about = root.table(2)
    told = {key: about.text(field) for field, key in enumerate(METADATA)} if about is not None else {}
    return ModelDef(
        ir_version=IR_VERSION,
        opset_import=[OperatorSet("", OPSET)],
        graph=Reader(table, tensors).read(),
        producer_name="rten",
        doc_string=told.pop("description", ""),
        metadata_props=[Entry(key, text) for key, text in told.items() if text],
    )

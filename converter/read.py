"""The definition of a model, whatever its file is; none needs the onnx package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from numba_rt.format.container import is_nrt
from numba_rt.format.definition import ModelDef

RTEN, RTEN_SUFFIX = b"RTEN", ".rten"
"""How RTen's files begin, and what they are called."""


def read(source: str | os.PathLike[str] | bytes | Any) -> ModelDef:
    """The definition of a model: from a path, bytes, an onnx.ModelProto, or the definition itself.

    Raises:
        LoadError: the model is missing, damaged or unsafe.
    """
    # The readers are imported when they are needed: a process has use for one of them.
    if isinstance(source, ModelDef):
        return source
    if is_nrt(source):
        from numba_rt.format.container import open_container
        from numba_rt.format.reader import read_model

        return read_model(open_container(source))
    if is_rten(source):
        from converter.rten import read_rten

        return read_rten(source)
    from converter import source as messages
    from converter.from_onnx import FromOnnx

    model, directory = messages.read(source)
    return FromOnnx(directory).model(model)


def is_rten(source: object) -> bool:
    """Whether a path or bytes are RTen's. Files of version 1 need not say so: a path tells by its suffix."""
    if isinstance(source, bytes | bytearray | memoryview):
        return _marked(bytes(source[:8]))
    if not isinstance(source, str | os.PathLike):
        return False
    path = Path(os.fsdecode(source))
    if path.suffix.lower() == RTEN_SUFFIX:
        return True
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return _marked(file.read(8))
    except (OSError, ValueError):
        return False


def _marked(head: bytes) -> bool:
    # In ONNX the name of a producer may stand in the same place, but not behind two zeros.
    return head[:4] == RTEN or head[2:8] == b"\0\0" + RTEN

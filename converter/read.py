"""The definition of a model, whatever its file is; none needs the onnx package."""

from __future__ import annotations

import os
from typing import Any

from converter.rten import is_rten, read_rten
from numba_rt.format.container import is_nrt, open_container
from numba_rt.format.definition import ModelDef
from numba_rt.format.reader import read_model


def read(source: str | os.PathLike[str] | bytes | Any) -> ModelDef:
    """The definition of a model: from a path, bytes, an onnx.ModelProto, or the definition itself.

    Raises:
        LoadError: the model is missing, damaged or unsafe.
    """
    if isinstance(source, ModelDef):
        return source
    if is_nrt(source):
        return read_model(open_container(source))
    if is_rten(source):
        return read_rten(source)
    from converter import source as messages
    from converter.from_onnx import FromOnnx

    model, directory = messages.read(source)
    return FromOnnx(directory).model(model)

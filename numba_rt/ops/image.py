"""Pictures read from files' bytes; needs Pillow."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from numba_rt.dtypes import UINT8
from numba_rt.errors import MissingExtra, ShapeError
from numba_rt.graph import Fact, fresh_dim
from numba_rt.ops._checks import check_dtype, check_rank
from numba_rt.ops._op import Op, op

_MODES = {"RGB": "RGB", "BGR": "RGB", "Grayscale": "L"}


@op("ImageDecoder", since=20)
class ImageDecoder(Op):
    """The pixels (height, width, channels) of an encoded picture; none if it cannot be decoded.

    Pillow decodes; its pixels of lossy formats may differ by a little from those of others.
    """

    pixel_format: str = "RGB"

    def infer(self, encoded_stream: Fact) -> Fact:
        check_dtype(encoded_stream, "encoded_stream", {UINT8})
        check_rank(encoded_stream, "encoded_stream", exactly=1)
        if self.pixel_format not in _MODES:
            raise ShapeError(f"pixel_format = {self.pixel_format!r}: expected {', '.join(_MODES)}")
        channels = 1 if self.pixel_format == "Grayscale" else 3
        return Fact(UINT8, (fresh_dim("height"), fresh_dim("width"), channels))

    def run(self, encoded_stream: np.ndarray) -> np.ndarray:
        fact = self.infer(Fact(encoded_stream.dtype, encoded_stream.shape))
        image = _pillow()
        try:
            with image.open(io.BytesIO(encoded_stream.tobytes())) as picture:
                pixels = np.array(picture.convert(_MODES[self.pixel_format]), np.uint8)
        except (OSError, ValueError, SyntaxError, image.DecompressionBombError):
            assert fact.shape is not None
            return np.zeros((0, 0, fact.shape[2]), np.uint8)
        pixels = pixels.reshape(*pixels.shape[:2], -1)
        return np.ascontiguousarray(pixels[:, :, ::-1] if self.pixel_format == "BGR" else pixels)


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("ImageDecoder needs Pillow: pip install 'numba_rt[image]'") from error
    return Image

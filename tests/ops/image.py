"""Cases of numba_rt/ops/image.py."""

import io

import numpy as np
from PIL import Image

from tests.ops.cases import Case, f32, integers

PIXELS = integers(5, 7, 3, low=0, high=256, dtype=np.uint8)


def encoded(pixels, kind="PNG"):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return np.frombuffer(stream.getvalue(), np.uint8).copy()


def decode(data, expected, raises="", **attributes):
    return Case("ImageDecoder", (data,), attributes, oracle=lambda *_, **__: expected, raises=raises)


PNG = encoded(PIXELS)

CASES = [
    decode(PNG, PIXELS),
    decode(encoded(PIXELS, "BMP"), PIXELS),
    decode(encoded(PIXELS, "TIFF"), PIXELS[:, :, ::-1], pixel_format="BGR"),
    decode(encoded(PIXELS[:, :, 0]), PIXELS[:, :, :1], pixel_format="Grayscale"),
    decode(encoded(PIXELS[:, :, 0]), np.repeat(PIXELS[:, :, :1], 3, 2)),
    decode(PNG[:40], np.zeros((0, 0, 3), np.uint8)),
    decode(integers(9, low=0, dtype=np.uint8), np.zeros((0, 0, 1), np.uint8), pixel_format="Grayscale"),
    decode(f32(3), None, raises="float32[3]"),
    decode(PNG, None, raises="pixel_format = 'CMYK'", pixel_format="CMYK"),
]

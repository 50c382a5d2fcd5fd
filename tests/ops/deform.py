"""Cases of numba_rt/ops/deform.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64

X, W = f32(2, 4, 6, 5), f32(6, 4, 3, 2, seed=1)
OFFSET, MASK, BIAS = f32(2, 12, 4, 4, seed=2), f32(2, 6, 4, 4, seed=3), f32(6, seed=4)
LOOSE = {"rtol": 1e-3, "atol": 1e-4}


def convolved(
    x, w, offset, b=None, mask=None, group=1, offset_group=1, strides=(1, 1), dilations=(1, 1), pads=(0,) * 4
):
    """Every tap interpolated from four pixels of a canvas with zeros around the image."""
    (n, channels, height, width), (filters, own, kh, kw) = x.shape, w.shape
    oh, ow = offset.shape[2:]
    offset = offset.reshape(n, offset_group, kh, kw, 2, oh, ow).astype(np.float64)
    mask = (
        np.ones((n, offset_group, kh, kw, oh, ow))
        if mask is None
        else mask.reshape(n, offset_group, kh, kw, oh, ow)
    )
    y = np.zeros((n, filters, oh, ow))
    for i, f, c, p, q, h, v in np.ndindex(n, filters, own, kh, kw, oh, ow):
        channel = f // (filters // group) * own + c
        place = channel // (channels // offset_group)
        top = h * strides[0] + p * dilations[0] - pads[0] + offset[i, place, p, q, 0, h, v]
        left = v * strides[1] + q * dilations[1] - pads[1] + offset[i, place, p, q, 1, h, v]
        total = 0.0
        for a in (int(np.floor(top)), int(np.floor(top)) + 1):
            for e in (int(np.floor(left)), int(np.floor(left)) + 1):
                if 0 <= a < height and 0 <= e < width:
                    total += (1 - abs(top - a)) * (1 - abs(left - e)) * x[i, channel, a, e]
        y[i, f, h, v] += w[f, c, p, q] * total * mask[i, place, p, q, h, v]
    return (y if b is None else y + b.reshape(-1, 1, 1)).astype(x.dtype)


CASES = [
    Case("DeformConv", (X, W, OFFSET, BIAS, MASK), **LOOSE),
    Case("DeformConv", (X, W, OFFSET), **LOOSE),
    Case(
        "DeformConv",
        (X, f32(6, 2, 3, 3), f32(2, 36, 3, 3), None, f32(2, 18, 3, 3)),
        {"group": 2, "offset_group": 2, "strides": (2, 2), "pads": (1, 1, 1, 1)},
        oracle=convolved,
        **LOOSE,
    ),
    Case(
        "DeformConv",
        (X, f32(4, 1, 2, 2), 5 * f32(2, 8, 5, 5), f32(4)),
        {"group": 4, "dilations": (2, 1), "pads": (0, 0, 1, 1)},
        oracle=convolved,
        **LOOSE,
    ),
    Case("DeformConv", (f64(1, 2, 4, 4), f64(3, 2, 2, 2), f64(1, 8, 3, 3)), oracle=convolved),
    Case("DeformConv", (f32(0, 4, 6, 5), W, f32(0, 12, 4, 4)), oracle=convolved),
    Case("DeformConv", (f32(2, 0, 6, 5), f32(6, 0, 3, 2), OFFSET, BIAS), oracle=convolved),
    Case("DeformConv", (f32(2, 4, 0, 5), W, OFFSET), {"pads": (3, 0, 3, 0)}, raises="pixels"),
    Case("DeformConv", (X, f32(6, 3, 3, 2), OFFSET), raises="channels"),
    Case("DeformConv", (X, W, f32(2, 11, 4, 4)), raises="offset"),
    Case("DeformConv", (X, W, OFFSET, f32(5)), raises="B"),
    Case("DeformConv", (X, W, OFFSET, None, f32(2, 6, 4, 3)), raises="mask"),
    Case("DeformConv", (X, W, OFFSET), {"offset_group": 3}, raises="offset_group"),
    Case("DeformConv", (X, W, OFFSET), {"kernel_shape": (3, 3)}, raises="kernel_shape"),
]

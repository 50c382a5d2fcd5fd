"""Cases of numba_rt/ops/conv_integer.py."""

import numpy as np

from numba_rt.kernels.matmul_integer import pack_integers
from tests.ops.cases import Case, f32, integers, positive
from tests.ops.matmul_integer import SA, SB, SY, ZA, ZB, ZY, i8, scale, u8

IMAGES, FILTERS = u8(2, 4, 7, 6), i8(6, 4, 3, 3, seed=1)


def packed(w, groups):
    """Filters (oc, even channels, taps) as PackedConvInteger has them."""
    oc, channels, taps = w.shape
    columns = w.reshape(groups, oc // groups, channels, taps).transpose(0, 3, 2, 1)
    return pack_integers(columns.reshape(groups, taps * channels, oc // groups)).reshape(-1)


LINES = integers(6, 2, 3, low=-255, high=256, dtype=np.int16)


def windows(x, groups):
    """Windows of 3 of lines (1, n, 2 * groups), as (pixels, groups, 2, 3)."""
    wide = np.lib.stride_tricks.sliding_window_view(x[0].T.astype(np.int32), 3, -1)
    return wide.reshape(groups, 2, -1, 3).transpose(2, 0, 1, 3)


CASES = [
    Case("ConvInteger", (IMAGES, FILTERS, ZA)),
    Case("ConvInteger", (IMAGES, FILTERS), {"pads": [1, 2, 0, 1], "strides": [2, 1], "dilations": [1, 2]}),
    Case("ConvInteger", (IMAGES, i8(6, 2, 3, 3), ZA, i8(6)), {"group": 2, "auto_pad": "SAME_UPPER"}),
    Case("ConvInteger", (IMAGES, u8(4, 1, 3, 3), None, ZA), {"group": 4, "pads": [1, 1, 1, 1]}),
    Case("ConvInteger", (i8(1, 3, 9), i8(2, 3, 4), ZB), {"pads": [2, 1]}),
    Case("ConvInteger", (i8(1, 2, 4, 5, 3), i8(3, 2, 2, 2, 2)), {"strides": [2, 1, 1]}),
    Case("ConvInteger", (i8(0, 2, 4), i8(3, 2, 2)), oracle=lambda x, w: np.zeros((0, 3, 3), np.int32)),
    Case("ConvInteger", (IMAGES, i8(6, 3, 3, 3)), raises="4 channels"),
    Case("ConvInteger", (IMAGES, FILTERS, u8(2)), raises="expected one number"),
    Case("QLinearConv", (IMAGES, SA, ZA, FILTERS, SB, ZB, SY, ZY)),
    Case("QLinearConv", (IMAGES, SA, ZA, FILTERS, positive(6), i8(6), scale(99), ZB), {"pads": [1, 1, 1, 1]}),
    Case(
        "QLinearConv",
        (IMAGES, SA, ZA, FILTERS, SB, ZB, SY, ZY, integers(6, low=-9999, high=9999, dtype=np.int32)),
        {"strides": [2, 2]},
    ),
    Case("QLinearConv", (IMAGES, SA, ZA, FILTERS, positive(5), ZB, SY, ZY), raises="each of 6 filters"),
    Case("QLinearConv", (IMAGES, SA, ZA, FILTERS, SB, ZB, SY, ZY, f32(6)), raises="B = float32[6]"),
    Case(
        "PackedConvInteger",
        (u8(1, 9, 4), packed(LINES, 2), ZA),
        {"filters": 6, "group": 2, "kernel_shape": (3,)},
        domain="numba_rt",
        oracle=lambda x, w, z, **_: (
            np.einsum(
                "pgct,gfct->pgf", windows(x - np.int32(z), 2), LINES.reshape(2, 3, 2, 3).astype(np.int32)
            )
            .reshape(1, 7, 6)
            .astype(np.int32)
        ),
    ),
    Case(
        "PackedConvInteger",
        (u8(1, 9, 6), packed(LINES, 2)),
        {"filters": 6, "group": 2, "kernel_shape": (3,)},
        domain="numba_rt",
        raises="6 packed filters of 6 channels",
    ),
    Case(
        "DepthwiseConvInteger",
        (u8(1, 9, 3), LINES.reshape(-1)[:12], ZA),
        {"filters": 3, "group": 3, "kernel_shape": (4,), "strides": (2,)},
        domain="numba_rt",
        oracle=lambda x, w, z, **_: np.stack(
            [((x[0, i : i + 4] - np.int32(z)) * w.reshape(4, 3)).sum(0) for i in (0, 2, 4)]
        )[None].astype(np.int32),
    ),
    Case(
        "DepthwiseConvInteger",
        (u8(1, 9, 3), LINES.reshape(-1)[:11]),
        {"filters": 3, "group": 3, "kernel_shape": (4,)},
        domain="numba_rt",
        raises="3 packed filters of 3 channels",
    ),
]

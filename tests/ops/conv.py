"""Cases of numba_rt/ops/conv.py."""

import numpy as np

from numba_rt.kernels.packing import pack_conv
from numba_rt.kernels.winograd import pack_winograd
from tests.ops.cases import Case, f32, f64

WIDE = {"rtol": 1e-4, "atol": 1e-4}


def conv(x, w, b=None, **attributes):
    return Case("Conv", (x, w) if b is None else (x, w, b), attributes, **WIDE)


def nhwc(x, w, b=None, z=None, *, strides=(1, 1), pads=(0, 0, 0, 0), group=1, lo=-np.inf, winograd=0):
    """NhwcConv with weights packed here; the oracle adds up windows in float64."""
    depthwise = w.shape[1] == 1 and group == w.shape[0]
    if depthwise:
        packed = np.ascontiguousarray(w.reshape(w.shape[0], -1).T)
    else:
        packed = (pack_winograd(w, winograd) if winograd else pack_conv(w, group)).reshape(-1)
    attributes = {
        "channels": w.shape[0],
        "kernel_shape": w.shape[2:],
        "strides": strides,
        "pads": pads,
        "group": group,
        "depthwise": depthwise,
        "winograd": winograd,
        "lo": lo,
    }
    return Case(
        "NhwcConv",
        (x, packed, b, z),
        attributes,
        domain="numba_rt",
        oracle=lambda *_, **__: direct(x, w, b, z, strides, pads, group, lo),
        **WIDE,
    )


def direct(x, w, b, z, strides, pads, group, lo):
    padded = np.pad(x.astype(np.float64), ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, w.shape[2:], (1, 2))
    windows = windows[:, :: strides[0], :: strides[1]]
    own_in, own_out = x.shape[3] // group, w.shape[0] // group
    parts = [
        np.einsum(
            "bhwcij,ocij->bhwo",
            windows[..., i * own_in : (i + 1) * own_in, :, :],
            w[i * own_out : (i + 1) * own_out],
        )
        for i in range(group)
    ]
    y = np.concatenate(parts, -1)
    y = y if b is None else y + b
    y = y if z is None else y + z
    return np.maximum(y, lo).astype(np.float32)


CASES = [
    conv(f32(1, 3, 8, 9), f32(5, 3, 3, 3, seed=1), f32(5, seed=2), pads=[1, 1, 1, 1]),
    conv(f32(2, 16, 7, 5), f32(33, 16, 1, 1, seed=1)),
    conv(f32(1, 4, 9, 9), f32(8, 2, 3, 3, seed=1), group=2, strides=[2, 2]),
    conv(f32(1, 6, 9, 9), f32(6, 1, 3, 3, seed=1), group=6, dilations=[2, 2], pads=[2, 2, 2, 2]),
    conv(f32(1, 3, 11, 10), f32(4, 3, 5, 3, seed=1), auto_pad="SAME_UPPER", strides=[2, 2]),
    conv(f32(1, 3, 11, 10), f32(4, 3, 4, 2, seed=1), auto_pad="SAME_LOWER"),
    conv(f32(2, 3, 20), f32(4, 3, 5, seed=1), f32(4), pads=[2, 2], strides=[2]),
    conv(f32(1, 2, 4, 5, 6), f32(3, 2, 2, 3, 2, seed=1), f32(3), pads=[0, 1, 0, 1, 1, 0]),
    conv(f64(1, 2, 5, 6), f64(4, 1, 3, 2, seed=1), group=2),
    conv(f32(0, 3, 8, 8), f32(2, 3, 3, 3)),
    nhwc(
        f32(1, 9, 7, 16),
        f32(40, 16, 3, 3, seed=1),
        f32(40, seed=2),
        f32(1, 9, 7, 40, seed=3),
        pads=(1, 1, 1, 1),
        lo=0.0,
    ),
    nhwc(
        f32(2, 9, 7, 12),
        f32(12, 1, 3, 3, seed=1),
        f32(12, seed=2),
        pads=(1, 1, 1, 1),
        group=12,
        strides=(2, 1),
    ),
    nhwc(f32(1, 6, 6, 8), f32(12, 2, 2, 2, seed=1), group=4),
    *(
        nhwc(
            f32(2, 21, 14, 16),
            f32(40, 16, 3, 3, seed=1),
            f32(40, seed=2),
            f32(2, 21, 14, 40, seed=3),
            pads=(1, 1, 1, 1),
            lo=0.0,
            winograd=size,
        )
        for size in (2, 4)
    ),
    nhwc(f32(0, 9, 7, 16), f32(16, 16, 3, 3, seed=1), winograd=4),
    Case("Conv", (f32(1, 3, 8, 8), f32(4, 2, 3, 3)), raises="3 channels"),
    Case("Conv", (f32(1, 3, 2, 2), f32(4, 3, 3, 3)), raises="does not fit"),
    Case("Conv", (f32(1, 3, 8, 8), f32(4, 3, 3, 3)), {"strides": [0, 1]}, raises="strides"),
    Case("Conv", (f32(1, 3, 8, 8), f32(4, 3, 3, 3)), {"kernel_shape": [2, 2]}, raises="kernel_shape"),
    Case("Conv", (f32(1, 4, 8, 8), f32(3, 2, 3, 3)), {"group": 2}, raises="does not divide"),
]

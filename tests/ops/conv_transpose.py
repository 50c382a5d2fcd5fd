"""Cases of numba_rt/ops/conv_transpose.py."""

import itertools

import numpy as np

from tests.ops.cases import Case, f32, f64, i64, integers


def spread(x, w, b=None, group=1, strides=None, dilations=None, pads=None, **rest):
    """Every pixel's window added to a large enough canvas, which is cut to size."""
    rank = x.ndim - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    begin, out = _begin_and_size(x, w, strides, dilations, pads, **rest)
    canvas = [
        max(o + p, s * (n - 1) + d * (k - 1) + 1)
        for o, p, s, n, d, k in zip(out, begin, strides, x.shape[2:], dilations, w.shape[2:], strict=True)
    ]
    y = np.zeros((x.shape[0], w.shape[1] * group, *canvas))
    own_in, own_out = x.shape[1] // group, w.shape[1]
    for place in itertools.product(*map(range, x.shape[2:])):
        for tap in itertools.product(*map(range, w.shape[2:])):
            at = tuple(p * s + q * d for p, s, q, d in zip(place, strides, tap, dilations, strict=True))
            for g in range(group):
                factor = w[(slice(g * own_in, (g + 1) * own_in), slice(None), *tap)]
                part = x[(slice(None), slice(g * own_in, (g + 1) * own_in), *place)]
                y[(slice(None), slice(g * own_out, (g + 1) * own_out), *at)] += part @ factor
    y = y[(slice(None), slice(None), *(slice(p, p + o) for p, o in zip(begin, out, strict=True)))]
    if b is not None:
        y = y + b.reshape(-1, *(1,) * rank)
    return y.astype(x.dtype)


def _begin_and_size(
    x, w, strides, dilations, pads, auto_pad="NOTSET", output_padding=None, output_shape=None
):
    rank = x.ndim - 2
    added = output_padding or (0,) * rank
    whole = [
        s * (n - 1) + a + d * (k - 1) + 1
        for s, n, a, d, k in zip(strides, x.shape[2:], added, dilations, w.shape[2:], strict=True)
    ]
    if output_shape or auto_pad.startswith("SAME"):
        out = output_shape or [n * s for n, s in zip(x.shape[2:], strides, strict=True)]
        cut = [max(a - o, 0) for a, o in zip(whole, out, strict=True)]
        return [c // 2 if auto_pad == "SAME_UPPER" else c - c // 2 for c in cut], out
    pads = pads or (0,) * (2 * rank)
    return pads[:rank], [n - p - q for n, p, q in zip(whole, pads[:rank], pads[rank:], strict=True)]


X, W, B = f32(2, 6, 5, 7), f32(6, 3, 3, 4, seed=1), f32(3, seed=2)
WINDOWS = [
    {},
    {"strides": (2, 3)},
    {"strides": (2, 2), "pads": (1, 0, 2, 1)},
    {"dilations": (2, 3), "strides": (3, 1)},
    {"strides": (2, 2), "output_padding": (1, 1), "pads": (1, 1, 1, 1)},
    {"strides": (2, 3), "auto_pad": "SAME_UPPER"},
    {"strides": (2, 2), "auto_pad": "SAME_LOWER"},
    {"strides": (4, 5), "auto_pad": "SAME_LOWER"},
    {"strides": (2, 2), "output_shape": (10, 15)},
    {"strides": (2, 2), "output_shape": (14, 20)},
    {"auto_pad": "VALID", "strides": (1, 2)},
]
LOOSE = {"rtol": 1e-4, "atol": 1e-5}
COLUMNS = f32(2, 12, 20)

CASES = [
    *(
        Case("ConvTranspose", (X, W, B), w, oracle=spread, label=str(i), **LOOSE)
        for i, w in enumerate(WINDOWS)
    ),
    Case("ConvTranspose", (X, W), {"group": 3, "strides": (2, 2)}, oracle=spread, **LOOSE),
    Case("ConvTranspose", (X, W, f32(18)), {"group": 6, "pads": (1, 1, 1, 1)}, oracle=spread, **LOOSE),
    Case("ConvTranspose", (X, W, B), {"kernel_shape": (3, 4)}, **LOOSE),
    Case("ConvTranspose", (f32(2, 3, 9), f32(3, 5, 4)), {"strides": (3,)}, oracle=spread, **LOOSE),
    Case(
        "ConvTranspose",
        (f32(1, 2, 3, 4, 5), f32(2, 3, 2, 3, 2), B),
        {"strides": (2, 1, 2), "pads": (0, 1, 0, 1, 1, 0)},
        oracle=spread,
        **LOOSE,
    ),
    Case("ConvTranspose", (f64(1, 4, 3, 4), f64(4, 2, 2, 2), f64(2)), {"strides": (2, 2)}, oracle=spread),
    Case("ConvTranspose", (f32(0, 4, 3, 4), f32(4, 2, 2, 2)), oracle=spread),
    Case("ConvTranspose", (f32(1, 0, 3, 4), f32(0, 2, 2, 2), f32(2)), oracle=spread),
    Case("ConvTranspose", (f32(1, 4, 0, 4), f32(4, 2, 3, 2), f32(2)), oracle=spread),
    Case("ConvTranspose", (X, f32(5, 3, 3, 3)), raises="channels"),
    Case("ConvTranspose", (X, W), {"group": 4}, raises="group"),
    Case("ConvTranspose", (X, W, f32(4)), raises="B"),
    Case("ConvTranspose", (X, W), {"kernel_shape": (3, 3)}, raises="kernel_shape"),
    Case("ConvTranspose", (X, W), {"strides": (2,)}, raises="strides"),
    Case("ConvTranspose", (X, W), {"output_shape": (2,)}, raises="output_shape"),
    Case("ConvTranspose", (X, W), {"auto_pad": "ALL"}, raises="auto_pad"),
    Case("ConvTranspose", (X, W), {"pads": (9, 9, 9, 9)}, raises="padding"),
    Case("ConvTranspose", (f32(1, 1, 2, 2, 2, 2), f32(1, 1, 2, 2, 2, 2)), raises="spatial axes"),
    Case("Col2Im", (COLUMNS, i64(5, 7), i64(2, 3))),
    Case(
        "Col2Im",
        (f32(1, 12, 24), i64(7, 6), i64(2, 3)),
        {"strides": (2, 1), "pads": (1, 0, 0, 2), "dilations": (1, 1)},
    ),
    Case("Col2Im", (f32(1, 6, 12), i64(5, 8), i64(2, 3)), {"dilations": (2, 2)}),
    Case("Col2Im", (f32(1, 4, 5), i64(6), i64(2))),
    Case("Col2Im", (f32(1, 16, 12), i64(3, 4, 3), i64(2, 2, 2))),
    Case("Col2Im", (integers(1, 4, 4), i64(3, 3), i64(2, 2))),
    Case(
        "Col2Im", (f32(0, 6, 16), i64(5, 6), i64(2, 3)), oracle=lambda *a: np.zeros((0, 1, 5, 6), np.float32)
    ),
    Case("Col2Im", (COLUMNS, i64(5, 6), i64(5, 1)), raises="multiple"),
    Case("Col2Im", (COLUMNS, i64(5, 6), i64(2, 3)), raises="windows"),
    Case("Col2Im", (COLUMNS, i64(1, 6), i64(2, 3)), raises="fit"),
]

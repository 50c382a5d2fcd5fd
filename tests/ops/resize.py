"""Cases of numba_rt/ops/resize.py."""

import numpy as np

from numba_rt.ops._resample import COORDINATES, NEAREST
from tests.ops.cases import Case, bools, f32, f64, i64, integers

IMAGE = f32(1, 2, 5, 7)
UNEVEN = np.array([1, 1, 1.7, 0.6], np.float32)
NONE = np.zeros(0, np.float32)
ROI = np.array([0, 0, -0.2, 0.3, 1, 1, 0.7, 1.2], np.float32)
CROP = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0}
BEYOND = {"mode": "linear", "coordinate_transformation_mode": "pytorch_half_pixel"}
CORNERS = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
LOOSE = {"rtol": 1e-4, "atol": 1e-5}


def resized(x, roi, scales=None, sizes=None, **attributes):
    """What the reference says of float64, rounded to the integers of x."""
    inputs = (x.astype(np.float64), roi, scales, sizes)
    y = Case("Resize", inputs, attributes).expected()[0]
    info = np.iinfo(x.dtype)
    return np.clip(np.rint(y), info.min, info.max).astype(x.dtype)


def pixels(dtype):
    return integers(1, 3, 6, 7, low=0, high=256, dtype=dtype)


def enlarged(x, roi, scales, axes):
    return x.repeat(2, 2).repeat(2, 3)


def nothing(*inputs, **attributes):
    return np.zeros((0, 9), np.float32)


def sevens(x, roi, scales, sizes, **attributes):
    return np.full(sizes, 7, x.dtype)


def doubled(x, roi, scales):
    return x.repeat(2, 0).repeat(3, 1)


CASES = [
    *(
        Case("Resize", (IMAGE, None, UNEVEN), {"coordinate_transformation_mode": c, "mode": m}, **LOOSE)
        for c in COORDINATES
        if c != "tf_crop_and_resize"
        for m in ("nearest", "linear", "cubic")
    ),
    *(
        Case(
            "Resize",
            (IMAGE, None, None, i64(1, 2, 9, 4)),
            {"nearest_mode": n, "coordinate_transformation_mode": c},
        )
        for n in NEAREST
        for c in ("half_pixel", "asymmetric", "align_corners")
    ),
    *(
        Case("Resize", (IMAGE, ROI, None, i64(1, 2, 8, 9)), {**CROP, "mode": m}, **LOOSE)
        for m in ("nearest", "linear", "cubic")
    ),
    *(
        Case(
            "Resize",
            (f32(1, 1, 13, 11), None, None, i64(1, 1, 5, 16)),
            {"mode": m, "antialias": True, "exclude_outside": e},
            **LOOSE,
        )
        for m in ("linear", "cubic")
        for e in (False, True)
    ),
    Case(
        "Resize",
        (IMAGE, None, UNEVEN),
        {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": True},
        **LOOSE,
    ),
    *(
        Case(
            "Resize",
            (IMAGE, None, None, i64(7, 6)),
            {"mode": "linear", "axes": a, "keep_aspect_ratio_policy": p},
            **LOOSE,
        )
        for a in ((2, 3), (3, 2))
        for p in ("stretch", "not_larger", "not_smaller")
    ),
    Case("Resize", (IMAGE, None, np.array([2, 2], np.float32)), {"axes": (-1, -2)}, oracle=enlarged),
    Case("Resize", (f32(2, 4, 3, 5), None, None, i64(2, 7, 2, 5)), {"mode": "linear"}, **LOOSE),
    Case("Resize", (f32(1, 2, 3, 5, 4), None, None, i64(1, 2, 5, 7, 3)), {"mode": "linear"}, **LOOSE),
    Case("Resize", (f32(2, 4, 6, 5), NONE, NONE, i64(2, 9, 6, 5)), label="empty"),
    Case("Resize", (f32(9), None, np.array([0.34], np.float32)), {"mode": "linear"}, **LOOSE),
    Case("Resize", (f32(9), None, None, i64(1)), BEYOND),
    Case("Resize", (f32(9), None, None, i64(1)), CORNERS),
    Case("Resize", (f32(3, 4), None, None, i64(3, 4)), {"mode": "cubic"}),
    *(
        Case(
            "Resize",
            (f32(4), np.array([np.nan, np.inf], np.float32), None, i64(6)),
            {**CROP, "mode": m},
            oracle=sevens,
        )
        for m in ("nearest", "linear")
    ),
    Case("Resize", (f64(5, 4), None, None, i64(7, 9)), {"mode": "cubic"}),
    Case("Resize", (f32(0, 4), None, None, i64(0, 9)), {"mode": "linear"}, oracle=nothing),
    Case("Resize", (f32(3, 4), None, None, i64(0, 9)), oracle=nothing),
    *(
        Case("Resize", (x, None, np.array([2, 3], np.float32)), oracle=doubled)
        for x in (
            integers(3, 5, low=0, dtype=np.uint8),
            integers(3, 5),
            bools(3, 5),
            f64(3, 5) + 1j,
            np.array([["a", "b"], ["c", "dd"]], object),
        )
    ),
    *(
        Case("Resize", (pixels(dtype), None, None, i64(1, 3, 12, 14)), {"mode": m}, oracle=resized)
        for dtype, m in ((np.uint8, "linear"), (np.uint8, "cubic"), (np.int32, "cubic"))
    ),
    Case("Resize", (f32(2, 3), None, None, None), raises="exactly one"),
    Case("Resize", (f32(2, 3), None, np.ones(2, np.float32), i64(2, 3)), raises="exactly one"),
    Case("Resize", (f32(2, 3), None, np.ones(3, np.float32)), raises="scales"),
    *(
        Case("Resize", (f32(2, 3), None, np.array([1, v], np.float32)), raises="scales")
        for v in (-1, np.inf, np.nan)
    ),
    Case("Resize", (f32(2, 3), None, None, i64(2, -3)), raises="sizes"),
    Case("Resize", (f32(0, 3), None, None, i64(2, 3)), raises="empty"),
    Case("Resize", (f32(2, 3), None, None, i64(2, 3)), {"mode": "area"}, raises="mode"),
    Case("Resize", (f32(2, 3), None, None, i64(2, 3)), {"antialias": True}, raises="antialias"),
    Case("Resize", (f32(2, 3), None, None, i64(2, 3)), CROP, raises="roi"),
    Case("Resize", (f32(2, 3), None, None, i64(2, 3)), {"axes": (0, 0)}, raises="axes"),
    Case("Resize", (bools(2, 3), None, None, i64(2, 3)), {"mode": "linear"}, raises="X"),
]

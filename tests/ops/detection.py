"""Cases of numba_rt/ops/detection.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, i64, rng

BOXES = rng(1).uniform(0, 1, (2, 30, 4)).astype(np.float32)
SCORES = rng(2).integers(0, 20, (2, 3, 30)).astype(np.float32) / 20
MOST, IOU, SCORE = i64(5), np.array([0.2], np.float32), np.array([0.3], np.float32)
IMAGES, WHICH = f32(2, 3, 7, 9), i64(0, 1, 1, 0)
REGIONS = np.array([[0, 0, 6, 5], [1.3, 2.1, 8.7, 4.2], [-4, -3, 3, 12], [5, 5, 5, 5]], np.float32)
NUMBERED = np.concatenate([WHICH[:, None], REGIONS], 1).astype(np.float32)
BROKEN = np.array([[0, 0, np.nan, 1], [0, 0, 1e9, 1e9], [np.inf, 0, 1, 1], [3, 3, 2, 2]], np.float32)
EMPTY = np.zeros((0, 4), np.float32)


def max_regions(x, rois, pooled_shape, spatial_scale=1.0):
    rows, columns = pooled_shape
    y = np.zeros((len(rois), x.shape[1], rows, columns), x.dtype)
    for r, (image, *corners) in enumerate(rois):
        left, top, right, bottom = (
            int(np.copysign(np.floor(abs(v * spatial_scale) + 0.5), v)) for v in corners
        )
        high, wide = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for i, j in np.ndindex(rows, columns):
            v = np.clip([i * high // rows + top, -(-(i + 1) * high // rows) + top], 0, x.shape[2])
            h = np.clip([j * wide // columns + left, -(-(j + 1) * wide // columns) + left], 0, x.shape[3])
            part = x[int(image), :, v[0] : v[1], h[0] : h[1]]
            if part.size:
                y[r, :, i, j] = part.max((1, 2))
    return y


def no_boxes(*inputs, **attributes):
    return np.zeros((0, 3), np.int64)


def no_regions(x, rois, *rest, output_height=1, output_width=1, pooled_shape=None, **attributes):
    return np.zeros((0, x.shape[1], *(pooled_shape or (output_height, output_width))), x.dtype)


CASES = [
    Case("NonMaxSuppression", (BOXES, SCORES, MOST, IOU, SCORE)),
    Case("NonMaxSuppression", (BOXES, SCORES, i64(100), np.array([0.6], np.float32), SCORE)),
    Case("NonMaxSuppression", (BOXES, SCORES, MOST, IOU, SCORE), {"center_point_box": 1}),
    Case("NonMaxSuppression", (BOXES, SCORES, MOST, IOU)),
    Case("NonMaxSuppression", (BOXES, SCORES, MOST, IOU, np.array([2], np.float32)), oracle=no_boxes),
    Case("NonMaxSuppression", (BOXES, SCORES), oracle=no_boxes),
    Case("NonMaxSuppression", (BOXES[:, :0], SCORES[:, :, :0], MOST), oracle=no_boxes),
    Case("NonMaxSuppression", (BOXES, SCORES[:1], MOST), raises="batch"),
    Case("NonMaxSuppression", (BOXES[..., :3], SCORES, MOST), raises="four"),
    Case("NonMaxSuppression", (BOXES[0], SCORES, MOST), raises="rank"),
    Case("NonMaxSuppression", (BOXES, SCORES, MOST), {"center_point_box": 2}, raises="center_point_box"),
    *(
        Case(
            "RoiAlign",
            (IMAGES, REGIONS, WHICH),
            {
                "mode": m,
                "coordinate_transformation_mode": c,
                "sampling_ratio": s,
                "output_height": 3,
                "output_width": 2,
            },
        )
        for m in ("avg", "max")
        for c in ("half_pixel", "output_half_pixel")
        for s in (0, 2)
    ),
    Case("RoiAlign", (IMAGES, REGIONS, WHICH), {"spatial_scale": 0.5, "output_height": 4, "output_width": 5}),
    Case("RoiAlign", (f64(1, 2, 5, 5), np.array([[0.5, 1, 4, 3]]), i64(0)), {"sampling_ratio": 3}),
    Case("RoiAlign", (IMAGES, EMPTY, i64()), oracle=no_regions),
    Case("RoiAlign", (IMAGES, BROKEN, WHICH), oracle=lambda *a: np.zeros((4, 3, 1, 1), np.float32)),
    Case("RoiAlign", (IMAGES, REGIONS, i64(0, 1, 2, 0)), raises="batch_indices contains 2"),
    Case("RoiAlign", (IMAGES, REGIONS, i64(0, 1)), raises="batch_indices"),
    Case("RoiAlign", (IMAGES, NUMBERED, WHICH), raises="4 numbers"),
    Case("RoiAlign", (IMAGES, REGIONS, WHICH), {"mode": "sum"}, raises="mode"),
    Case("RoiAlign", (IMAGES, REGIONS, WHICH), {"output_height": 0}, raises="bins"),
    Case("RoiAlign", (IMAGES[:, :, :0], REGIONS, WHICH), raises="pixels"),
    Case("MaxRoiPool", (IMAGES, NUMBERED), {"pooled_shape": (3, 2)}, oracle=max_regions),
    Case(
        "MaxRoiPool", (IMAGES, NUMBERED), {"pooled_shape": (2, 4), "spatial_scale": 0.6}, oracle=max_regions
    ),
    Case(
        "MaxRoiPool",
        (f64(1, 2, 5, 5), np.array([[0.0, 1, 0, 3, 4]])),
        {"pooled_shape": (2, 2)},
        oracle=max_regions,
    ),
    Case("MaxRoiPool", (IMAGES, np.zeros((0, 5), np.float32)), {"pooled_shape": (2, 2)}, oracle=no_regions),
    Case("MaxRoiPool", (IMAGES, NUMBERED + 2), {"pooled_shape": (2, 2)}, raises="rois contains"),
    Case("MaxRoiPool", (IMAGES, REGIONS), {"pooled_shape": (2, 2)}, raises="5 numbers"),
    Case("MaxRoiPool", (IMAGES, NUMBERED), {"pooled_shape": (2,)}, raises="pooled_shape"),
]

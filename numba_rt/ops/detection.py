"""Operators of object detectors: choosing boxes, and pooling over regions of feature maps."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, FLOATS, INT64
from numba_rt.errors import IndexRangeError, ShapeError
from numba_rt.graph import Fact, fresh_dim
from numba_rt.kernels.detection import region_align, region_max, suppress
from numba_rt.ops._checks import check_dtype, check_rank, check_same_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op

READS = 8
"""Work of a sample, relative to an addition."""


@op("NonMaxSuppression", since=11)
class NonMaxSuppression(Op):
    """The best boxes of each class, without those that overlap a better one: (batch, class, box) in rows."""

    center_point_box: int = 0

    data_dependent = True

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (INT64,)

    def infer(
        self,
        boxes: Fact,
        scores: Fact,
        max_output_boxes_per_class: Fact | None = None,
        iou_threshold: Fact | None = None,
        score_threshold: Fact | None = None,
    ) -> Fact:
        for name, fact in (("boxes", boxes), ("scores", scores)):
            check_dtype(fact, name, {FLOAT32})
            check_rank(fact, name, exactly=3)
        assert boxes.shape is not None and scores.shape is not None
        if self.center_point_box not in (0, 1):
            raise ShapeError(f"center_point_box = {self.center_point_box}: expected 0 or 1")
        if not same_dim(boxes.shape[2], 4):
            raise ShapeError(f"boxes = {boxes}: expected four numbers for each box")
        if not (same_dim(boxes.shape[0], scores.shape[0]) and same_dim(boxes.shape[1], scores.shape[2])):
            raise ShapeError(f"scores = {scores} and boxes = {boxes} differ in batch or number of boxes")
        return Fact(INT64, (fresh_dim("boxes"), 3))

    def evaluate(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        max_output_boxes_per_class: np.ndarray | None = None,
        iou_threshold: np.ndarray | None = None,
        score_threshold: np.ndarray | None = None,
    ) -> np.ndarray:
        (_, classes, n), rows = scores.shape, prod(scores.shape[:2])
        flat = np.asarray(scores, np.float32).reshape(rows, n)
        wanted = np.full((rows, n), True)
        if score_threshold is not None and score_threshold.size:
            wanted = flat > np.float32(_number(score_threshold, 0))
        row, box = np.nonzero(wanted)
        box = box[np.lexsort((-flat[row, box], row))]
        starts = np.searchsorted(row, np.arange(rows + 1)).astype(np.int64)
        longest = int(np.diff(starts).max(initial=0))
        most = min(max(int(_number(max_output_boxes_per_class, 0)), 0), longest)
        if most == 0:
            return np.zeros((0, 3), np.int64)
        corners = _corners(np.asarray(boxes, np.float32), self.center_point_box == 1)
        kept, counts = np.zeros((rows, most), np.int64), np.zeros(rows, np.int64)
        threshold = np.float32(_number(iou_threshold, 0))
        suppress(corners.reshape(-1), box.astype(np.int64), starts, n, classes, threshold, kept, counts, 1)
        row, place = np.nonzero(np.arange(most) < counts[:, None])
        return np.stack([row // classes, row % classes, kept[row, place]], 1)


def _number(value: np.ndarray | None, default: float) -> Any:
    return default if value is None or value.size == 0 else value.reshape(-1)[0]


def _corners(boxes: np.ndarray, by_center: bool) -> np.ndarray:
    """Boxes as y1, x1, y2, x2 in order."""
    if by_center:
        x, y, half_w, half_h = boxes[..., 0], boxes[..., 1], boxes[..., 2] / 2, boxes[..., 3] / 2
        return np.stack([y - half_h, x - half_w, y + half_h, x + half_w], -1)
    low = np.minimum(boxes[..., :2], boxes[..., 2:])
    return np.concatenate([low, np.maximum(boxes[..., :2], boxes[..., 2:])], -1)


def _check_regions(X: Fact, rois: Fact, columns: int, size: tuple[int, ...], scale: float) -> None:
    check_same_dtype(("X", X), ("rois", rois))
    check_dtype(X, "X", FLOATS)
    check_rank(X, "X", exactly=4)
    check_rank(rois, "rois", exactly=2)
    assert X.shape is not None and rois.shape is not None
    if not same_dim(rois.shape[1], columns):
        raise ShapeError(f"rois = {rois}: expected {columns} numbers for each region")
    if min(size) < 1:
        raise ShapeError(f"the output has {' x '.join(map(str, size))} bins: expected at least one")
    if not scale > 0:
        raise ShapeError(f"spatial_scale = {scale}: expected a positive number")
    if any(isinstance(n, int) and n == 0 for n in X.shape[2:]):
        raise ShapeError(f"X = {X} has no pixels")


def _image_guard(low: Lowering, X: View, name: str) -> View:
    batch = X.shape[0]
    return low.guard(lambda bad: IndexRangeError(f"{name} contains {bad}: X has {batch} images"))


@op("RoiAlign", since=22)
class RoiAlign(Op):
    """Averages or maxima of samples between pixels, for bins of regions of X."""

    coordinate_transformation_mode: str = "half_pixel"
    mode: str = "avg"
    output_height: int = 1
    output_width: int = 1
    sampling_ratio: int = 0
    spatial_scale: float = 1.0

    def infer(self, X: Fact, rois: Fact, batch_indices: Fact) -> Fact:
        size = (self.output_height, self.output_width)
        _check_regions(X, rois, 4, size, self.spatial_scale)
        check_dtype(batch_indices, "batch_indices", {INT64})
        check_rank(batch_indices, "batch_indices", exactly=1)
        assert X.shape is not None and rois.shape is not None and batch_indices.shape is not None
        if self.mode not in ("avg", "max"):
            raise ShapeError(f"mode = {self.mode!r}: expected avg or max")
        if self.coordinate_transformation_mode not in ("half_pixel", "output_half_pixel"):
            found = self.coordinate_transformation_mode
            raise ShapeError(
                f"coordinate_transformation_mode = {found!r}: expected half_pixel or output_half_pixel"
            )
        if self.sampling_ratio < 0:
            raise ShapeError(f"sampling_ratio = {self.sampling_ratio}: expected 0 or more")
        if not same_dim(rois.shape[0], batch_indices.shape[0]):
            raise ShapeError(f"batch_indices = {batch_indices}: expected a number for each of rois = {rois}")
        return Fact(X.dtype, (rois.shape[0], X.shape[1], *size))

    def lower(self, low: Lowering, X: View, rois: View, batch_indices: View, Y: View) -> None:
        if Y.size == 0:
            return
        half_pixel = self.coordinate_transformation_mode == "half_pixel"
        g = np.array([self.sampling_ratio, half_pixel, self.mode == "max"], np.int64)
        tasks = low.tasks(Y.size * READS * max(self.sampling_ratio, 2) ** 2)
        scale, status = X.dtype.type(self.spatial_scale), _image_guard(low, X, "batch_indices")
        if X.size == 0:
            raise ShapeError("X has no images that rois could be regions of")
        low.call(region_align, X, rois, batch_indices, low.const(g), scale, status, Y, tasks)


@op("MaxRoiPool", since=22)
class MaxRoiPool(Op):
    """Maxima of bins of regions of X."""

    pooled_shape: tuple[int, ...]
    spatial_scale: float = 1.0

    def infer(self, X: Fact, rois: Fact) -> Fact:
        if len(self.pooled_shape) != 2:
            raise ShapeError(f"pooled_shape = {list(self.pooled_shape)}: expected two numbers")
        _check_regions(X, rois, 5, self.pooled_shape, self.spatial_scale)
        assert X.shape is not None and rois.shape is not None
        return Fact(X.dtype, (rois.shape[0], X.shape[1], *self.pooled_shape))

    def lower(self, low: Lowering, X: View, rois: View, Y: View) -> None:
        if Y.size == 0:
            return
        if X.size == 0:
            raise ShapeError("X has no images that rois could be regions of")
        status = _image_guard(low, X, "rois")
        tasks = low.tasks(Y.size * READS)
        low.call(region_max, X, rois, X.dtype.type(self.spatial_scale), status, Y, tasks)

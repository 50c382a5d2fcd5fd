"""Reshapes of images: merged pixels stay in NHWC order, and so do the weights of what reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.graph import Sym
from numba_rt.optimize.fusions.conv import to_nchw, to_nhwc
from numba_rt.optimize.fusions.norm import LayerNorm
from numba_rt.optimize.layout_moves import AXIS, TO_NCHW, TO_NHWC
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Rule, scalar

MOST_WEIGHTS = 1 << 25
"""Bytes of weights that are put into another order to save the Transpose of an image: with more of
them it takes no noticeable part of the product's time.
"""


def _is_image(m: Match) -> bool:
    return m.transpose.op.perm == TO_NCHW


class MergedPixels(Rule):
    """Reshape(Transpose(x), (b, c, h w))  →  Transpose(Reshape(x, (b, h w, c)), (0, 2, 1))"""

    shared = True

    def pattern(op, x, s):
        return op.Reshape(op.Transpose(x, name="transpose"), s, name="merge")

    def check(m):
        before, after = m.x.fact.shape, m.merge.outputs[0].fact.shape
        if not _is_image(m) or before is None or after is None or len(after) != 3:
            return ""
        if after[:2] != (before[0], before[3]) or isinstance(before[3], Sym):
            return "it does not merge height and width"
        return None

    def replace(op, m):
        pixels = op.Reshape(m.x, np.array([0, -1, m.x.fact.shape[3]], np.int64))
        return op.Transpose(pixels, perm=(0, 2, 1))


class SplitPixels(Rule):
    """Transpose(Reshape(Transpose(x, (0, 2, 1)), (b, c, h, w)), (0, 2, 3, 1))  →  Reshape(x, (b, h, w, c))"""

    shared = True

    def pattern(op, x, s):
        split = op.Reshape(op.Transpose(x, name="first"), s, name="split")
        return op.Transpose(split, name="last")

    def check(m):
        before, after = m.x.fact.shape, m.split.outputs[0].fact.shape
        if m.last.op.perm != TO_NHWC or m.first.op.perm != (0, 2, 1) or before is None or after is None:
            return ""
        if len(after) != 4 or after[:2] != (before[0], before[2]):
            return "it does not split pixels into height and width"
        return "more than one size is symbolic" if sum(isinstance(d, Sym) for d in after[1:]) > 1 else None

    def replace(op, m):
        _, c, h, w = m.split.outputs[0].fact.shape
        target = [0, *(-1 if isinstance(d, Sym) else d for d in (h, w, c))]
        return op.Reshape(m.x, np.array(target, np.int64))


class SplitChannels(Rule):
    """Reshape(Transpose(x), (b, g, n, h, w))  →  Transpose(Reshape(x, (b, h, w, g, n)), (0, 3, 4, 1, 2))"""

    shared = True

    def pattern(op, x, s):
        return op.Reshape(op.Transpose(x, name="transpose"), s, name="split")

    def check(m):
        before, after = m.x.fact.shape, m.split.outputs[0].fact.shape
        if not _is_image(m) or before is None or after is None or len(after) != 5:
            return ""
        if (after[0], *after[3:]) != before[:3] or isinstance(after[1] * after[2], Sym):
            return "it does not split channels"
        return None

    def replace(op, m):
        groups = m.split.outputs[0].fact.shape[1:3]
        split = op.Reshape(m.x, np.array([0, 0, 0, *groups], np.int64))
        return op.Transpose(split, perm=(0, 3, 4, 1, 2))


class LayerNormOfChannels(LayerNorm):
    """LayerNorm over axis 1 of images  →  Transpose(LayerNormalization(Transpose(x)))"""

    def check(m):
        if m.x.fact.shape is None or m.x.fact.rank != 4 or scalar(m.eps) is None:
            return ""
        for node in (m.mean, m.variance):
            axes = node.inputs[1].constant if len(node.inputs) > 1 and node.inputs[1] is not None else None
            if axes is None or axes.size != 1 or int(axes.reshape(())) % 4 != 1 or not node.op.keepdims:
                return ""
        for factor in (m.scale, m.bias):
            shape = (1, 1, 1, *(factor.fact.shape or ()))[-4:]
            if not factor.is_constant or shape != (1, m.x.fact.shape[1], 1, 1):
                return f"{factor.name!r} is not one number a channel"
        return None

    def replace(op, m):
        scale, bias = (v.constant.reshape(-1) for v in (m.scale, m.bias))
        x = to_nhwc(op, m.x)
        return to_nchw(op, op.LayerNormalization(x, scale, bias, axis=-1, epsilon=scalar(m.eps)))


class FlattenedOperand(Rule):
    """Gemm(Flatten(Transpose(x)), w)  →  Gemm(Flatten(x), w with its rows in the order of x)"""

    shared = True

    def pattern(op, x, s, w):
        image = op.Transpose(x, name="transpose")
        flats = (op.Flatten(image, name="flat"), op.Reshape(image, s, name="flat"))
        kinds = (
            lambda flat: op.Gemm(flat, w, ..., name="product"),
            lambda flat: op.MatMul(flat, w, name="product"),
        )
        return tuple(kind(flat) for flat in flats for kind in kinds)

    def check(m):
        if not _is_image(m):
            return ""
        before, after, w = m.x.fact.shape, m.flat.outputs[0].fact.shape, m.w.constant
        if before is None or after is None or len(after) != 2 or after[0] != before[0]:
            return "it is not one row for each image"
        if w is None or w.ndim != 2 or any(isinstance(d, Sym) for d in before[1:]):
            return "the weights are not constant, or the image's size is not known"
        if getattr(m.product.op, "transA", False):
            return "A is transposed"
        return "there are too many weights" if w.nbytes > MOST_WEIGHTS else None

    def replace(op, m):
        _, h, w, c = m.x.fact.shape
        rows = np.arange(c * h * w).reshape(c, h, w).transpose(1, 2, 0).reshape(-1)
        turned = getattr(m.product.op, "transB", False)
        weights = np.take(m.w.constant, rows, axis=1 if turned else 0)
        return op.add(m.product.op, op.Flatten(m.x, axis=1), weights, *m.product.inputs[2:])


class SqueezedMap(Rule):
    """Squeeze(Transpose(x), axes)  →  Squeeze(x, axes')"""

    shared = True

    def pattern(op, x, axes):
        return op.Squeeze(op.Transpose(x, name="transpose"), axes, name="squeeze")

    def check(m):
        if not _is_image(m) or m.axes.constant is None:
            return ""
        return None if _kept(m) == sorted(_kept(m)) else "axes that are left change their order"

    def replace(op, m):
        return op.Squeeze(m.x, np.array([AXIS[int(a) % 4] for a in m.axes.constant.reshape(-1)], np.int64))


class SqueezedRow(Rule):
    """Transpose(Squeeze(Transpose(x), 2), (0, 2, 1))  →  Squeeze(x, 1)"""

    shared = True

    def pattern(op, x, axes):
        row = op.Squeeze(op.Transpose(x, name="transpose"), axes)
        return op.Transpose(row, name="last")

    def check(m):
        fits = _is_image(m) and m.last.op.perm == (0, 2, 1) and m.axes.constant is not None
        return None if fits and (m.axes.constant.reshape(-1) % 4).tolist() == [2] else ""

    def replace(op, m):
        return op.Squeeze(m.x, np.array([1], np.int64))


def _kept(m: Match) -> list[Any]:
    """Where the axes that are left are in NHWC data."""
    gone = {int(a) % 4 for a in m.axes.constant.reshape(-1)}
    return [AXIS[a] for a in range(4) if a not in gone]


PIXELS = (MergedPixels, SplitChannels, SplitPixels, FlattenedOperand, SqueezedMap, SqueezedRow)

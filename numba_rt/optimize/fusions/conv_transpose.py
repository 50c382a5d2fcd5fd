"""ConvTranspose as a convolution of which every filter makes one pixel of each block of the result."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.optimize.fusions.matmul import FUSED_ACTIVATIONS
from numba_rt.optimize.rule import Rule

MOST_ZEROS = 2.0
"""Taps of the convolution for each tap of the ConvTranspose that are still worth it."""


class ConvTransposeToConv(Rule):
    """ConvTranspose(x, w, b)  →  Slice(DepthToSpace(Conv(x, w', b')))

    With stride s, pixel u·s + r takes taps r, r + s, ... of pixels u, u - 1, ...: one filter for each r.
    """

    def pattern(op, x, w):
        return op.ConvTranspose(x, w, ..., name="conv")

    def check(m):
        conv, w = m.conv.op, m.w.constant
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        if w is None or (bias is not None and not bias.is_constant):
            return "the weights are not constant"
        if m.x.fact.dtype != FLOAT32 or w.ndim != 4:
            return "it is not two-dimensional, of float32"
        strides, dilations = conv.strides or (1, 1), conv.dilations or (1, 1)
        if strides[0] != strides[1] or (strides[0] != 1 and set(dilations) != {1}):
            return "its strides differ, or it has dilations as well"
        axes = [axis_of(conv, w.shape[2 + a], a) for a in (0, 1)]
        if conv.output_shape or min(n for axis in axes for n in axis) < 0:
            return "its padding depends on the size, or is larger than the window"
        s = strides[0]
        taps = np.prod([-(-k // s) * s for k in w.shape[2:]])
        return None if taps <= MOST_ZEROS * np.prod(w.shape[2:]) else "most taps would be zero"

    def replace(op, m):
        conv, w = m.conv.op, m.w.constant
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        s = (conv.strides or (1, 1))[0]
        axes = [axis_of(conv, w.shape[2 + a], a) for a in (0, 1)]
        mode = "DCR" if conv.group == 1 else "CRD"
        filters = filters_of(w, conv.group, (s, s), mode)
        if bias is not None:
            bias = np.tile(bias.constant, s * s) if mode == "DCR" else np.repeat(bias.constant, s * s)
        pads = tuple(axis[side] for side in (0, 1) for axis in axes)
        y = op.Conv(m.x, filters, bias, pads=pads, dilations=conv.dilations, group=conv.group)
        if s > 1:
            y = op.DepthToSpace(y, blocksize=s, mode=mode)
        if any(axis[2] or axis[3] for axis in axes):
            far = np.iinfo(np.int64).max
            starts = np.array([axis[2] for axis in axes], np.int64)
            ends = np.array([-axis[3] if axis[3] else far for axis in axes], np.int64)
            y = op.Slice(y, starts, ends, np.array([2, 3], np.int64))
        return y


def axis_of(conv: Any, k: int, axis: int) -> tuple[int, int, int, int]:
    """Padding of the convolution before and behind, and what is cut off its blocks there; negative where
    it cannot be done.
    """
    count = len(conv.pads) // 2 if conv.pads else 0
    s = conv.strides[axis] if conv.strides else 1
    reach = (conv.dilations[axis] if conv.dilations else 1) * (k - 1) + 1
    whole = reach + (conv.output_padding[axis] if conv.output_padding else 0)
    begin, end = 0, 0
    if conv.auto_pad == "NOTSET" and conv.pads:
        begin, end = conv.pads[axis], conv.pads[axis + count]
    elif conv.auto_pad.startswith("SAME"):
        cut = max(whole - s, 0)
        if whole < s:
            return -1, -1, -1, -1
        begin = cut // 2 if conv.auto_pad == "SAME_UPPER" else cut - cut // 2
        end = cut - begin
    last = whole - end - 1
    taps = reach if s == 1 else -(-k // s)
    return taps - 1 - begin // s, last // s, begin % s, s - 1 - last % s


def filters_of(w: np.ndarray, groups: int, block: tuple[int, int], mode: str) -> np.ndarray:
    """Weights (c, f, kh, kw) as filters (f·block, c, taps, taps), in the order of DepthToSpace's mode."""
    (c, own, kh, kw), (sh, sw) = w.shape, block
    th, tw = -(-kh // sh), -(-kw // sw)
    padded = np.zeros((groups, c // groups, own, th * sh, tw * sw), w.dtype)
    padded[..., :kh, :kw] = w.reshape(groups, c // groups, own, kh, kw)
    taps = padded.reshape(groups, c // groups, own, th, sh, tw, sw)[:, :, :, ::-1, :, ::-1]
    order = (0, 4, 6, 2, 1, 3, 5) if mode == "DCR" else (0, 2, 4, 6, 1, 3, 5)
    return np.ascontiguousarray(taps.transpose(order)).reshape(-1, c // groups, th, tw)


class ActivationBeforeBlocks(Rule):
    """act(DepthToSpace(x))  →  DepthToSpace(act(x)); likewise where a Slice follows"""

    def pattern(op, x):
        blocks = op.DepthToSpace(x, name="blocks")
        acts = FUSED_ACTIVATIONS + "|Clip"
        return (
            op.OneOf(acts, blocks, ..., name="act"),
            op.OneOf(acts, op.Slice(blocks, ..., name="cut"), ..., name="act"),
        )

    def check(m):
        limits = m.act.inputs[1:]
        return None if all(v is None or v.is_constant for v in limits) else "the limits are not constant"

    def replace(op, m):
        y = op.add(m.blocks.op, op.add(m.act.op, m.x, *m.act.inputs[1:]))
        return op.add(m.cut.op, y, *m.cut.inputs[1:]) if "cut" in m.bound else y


CONV_TRANSPOSES = (ConvTransposeToConv, ActivationBeforeBlocks)

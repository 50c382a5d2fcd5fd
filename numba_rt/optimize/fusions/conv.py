"""Convolutions: what follows them goes into their weights, or into the store of the result."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Value
from numba_rt.kernels.packing import merge_groups, merged_groups, pack_conv
from numba_rt.kernels.winograd import best_size, pack_winograd
from numba_rt.optimize.fusions.matmul import FUSED_ACTIVATIONS, activation_of
from numba_rt.optimize.fusions.shuffle import ShuffleIntoGroups
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Builder, Rule, scalar


def _scale_and_shift(norm: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """BatchNormalization as x * scale + shift in float64, if its parameters are constant."""
    arrays = [None if v is None else v.constant for v in norm.inputs[1:5]]
    if len(arrays) != 4 or any(a is None for a in arrays) or norm.op.training_mode:
        return None
    gamma, beta, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    scale = gamma / np.sqrt(variance + norm.op.epsilon)
    return scale, beta - mean * scale


KINDS = "Conv|ConvTranspose"


def _scaled(m: Match, factors: np.ndarray) -> np.ndarray:
    """The weights with a factor for each filter."""
    w = m.w.constant
    if m.conv.op.op_type == "Conv":
        scaled = w * factors.reshape(-1, *[1] * (w.ndim - 1))
    else:
        groups = m.conv.op.group
        rows = np.repeat(factors.reshape(groups, -1), w.shape[0] // groups, axis=0)
        scaled = w * rows.reshape(*w.shape[:2], *[1] * (w.ndim - 2))
    return scaled.astype(w.dtype)


def _count(m: Match) -> int:
    """How many filters there are."""
    shape = m.w.fact.shape
    return shape[0] if m.conv.op.op_type == "Conv" else shape[1] * m.conv.op.group


class BatchNormIntoConv(Rule):
    """BatchNormalization(Conv(x, w, b))  →  Conv(x, w', b')"""

    def pattern(op, x, w, scale):
        conv = op.OneOf(KINDS, x, w, ..., name="conv")
        return op.BatchNormalization(conv, scale, ..., name="norm")

    def check(m):
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        if not m.w.is_constant or (bias is not None and not bias.is_constant):
            return "the weights are not constant"
        return None if _scale_and_shift(m.norm) is not None else "its parameters are not constant"

    def replace(op, m):
        scale, shift = _scale_and_shift(m.norm)
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        added = shift if bias is None else bias.constant * scale + shift
        return op.add(m.conv.op, m.x, _scaled(m, scale), added.astype(m.w.fact.dtype))


class BatchNormToScale(Rule):
    """BatchNormalization(x)  →  x * scale + shift"""

    def pattern(op, x, scale):
        return op.BatchNormalization(x, scale, ..., name="norm")

    def check(m):
        if m.x.fact.shape is None:
            return "the rank is not known"
        return None if _scale_and_shift(m.norm) is not None else "its parameters are not constant"

    def replace(op, m):
        scale, shift = _scale_and_shift(m.norm)
        shape = (-1, *[1] * (m.x.fact.rank - 2))
        dtype = m.x.fact.dtype
        scaled = op.Mul(m.x, scale.astype(dtype).reshape(shape))
        return op.Add(scaled, shift.astype(dtype).reshape(shape))


def _per_channel(m: Match, value: Value) -> str | None:
    """Reason why a value is not a constant with one number a channel of the convolution."""
    shape, out = value.fact.shape, m.conv.outputs[0].fact.shape
    if not value.is_constant or shape is None or out is None or not m.w.is_constant:
        return "it is not combined with a constant"
    full = (1,) * (len(out) - len(shape)) + shape
    if len(full) != len(out) or any(d != 1 for d in (full[0], *full[2:])):
        return "the constant is not one number a channel"
    return None if full[1] in (1, _count(m)) else "the constant is not one number a channel"


def _numbers(m: Match, value: Value) -> np.ndarray:
    """One number a channel, in float64."""
    array = np.asarray(value.constant, np.float64).reshape(-1)
    return np.broadcast_to(array, (_count(m),))


def _bias(m: Match) -> np.ndarray | None:
    bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
    return None if bias is None else bias.constant


def _has_fixed_bias(m: Match) -> bool:
    return len(m.conv.inputs) < 3 or m.conv.inputs[2] is None or m.conv.inputs[2].is_constant


class ConvBias(Rule):
    """Conv(x, w, b) + c  →  Conv(x, w, b + c)"""

    def pattern(op, x, w, c):
        return op.OneOf(KINDS, x, w, ..., name="conv") + c

    def check(m):
        return _per_channel(m, m.c) or (None if _has_fixed_bias(m) else "the bias is not constant")

    def replace(op, m):
        bias = _numbers(m, m.c) if _bias(m) is None else _numbers(m, m.c) + _bias(m)
        return op.add(m.conv.op, m.x, m.w, bias.astype(m.w.fact.dtype))


class ConvScale(Rule):
    """Conv(x, w, b) * c  →  Conv(x, w * c, b * c)"""

    def pattern(op, x, w, c):
        return op.OneOf(KINDS, x, w, ..., name="conv") * c

    def check(m):
        return _per_channel(m, m.c) or (None if _has_fixed_bias(m) else "the bias is not constant")

    def replace(op, m):
        c, bias = _numbers(m, m.c), _bias(m)
        added = None if bias is None else (bias * c).astype(m.w.fact.dtype)
        return op.add(m.conv.op, m.x, _scaled(m, c), added)


class ConvToNhwc(Rule):
    """Conv(x, w, b)  →  Transpose(NhwcConv(Transpose(x), w, b))"""

    def pattern(op, x, w):
        return op.Conv(x, w, ..., name="conv")

    def check(m):
        if m.x.fact.dtype != FLOAT32 or m.x.fact.shape is None:
            return "it is not float32 of known rank"
        if m.x.fact.rank != 4:
            return "it is not two-dimensional"
        return None if m.w.is_constant else "the weights are not constant"

    def replace(op, m):
        conv, w = m.conv.op, m.w.constant
        bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
        depthwise = w.shape[1] == 1 and w.shape[0] == conv.group
        winograd = 0 if op.graph.strict else _winograd_size(conv, w, m.conv.outputs[0])
        merged = 1
        if winograd:
            packed = pack_winograd(w, winograd).reshape(-1)
        elif depthwise:
            packed = np.ascontiguousarray(w.reshape(w.shape[0], -1).T)
        else:
            if not op.graph.strict:
                taps = int(np.prod(w.shape[2:]))
                merged = merged_groups(w.shape[1], w.shape[0] // conv.group, taps, conv.group)
            packed = pack_conv(merge_groups(w, conv.group, merged), conv.group // merged).reshape(-1)
        made = op.NhwcConv(
            to_nhwc(op, m.x),
            op.constant(packed, m.w.name),
            bias,
            depthwise=depthwise,
            winograd=winograd,
            channels=w.shape[0],
            kernel_shape=tuple(w.shape[2:]),
            strides=conv.strides,
            pads=conv.pads,
            dilations=conv.dilations,
            group=conv.group // merged,
            merged=merged,
            auto_pad=conv.auto_pad,
        )
        return to_nchw(op, made)


_LARGE_MAP = 56
"""Height and width that are assumed where they are not known."""


def _winograd_size(conv: Any, w: np.ndarray, y: Value) -> int:
    """Size of Winograd's tiles for a convolution; 0 for the direct algorithm.

    NUMBA_RT_WINOGRAD=0 in the environment, or `precision="strict"`, switches Winograd's algorithm off.
    """
    if os.environ.get("NUMBA_RT_WINOGRAD", "1") == "0" or conv.group != 1 or w.shape[2:] != (3, 3):
        return 0
    if any(step != 1 for step in (*(conv.strides or ()), *(conv.dilations or ()))):
        return 0
    sizes = (y.fact.shape or (None,) * 4)[2:]
    h, width = (d if isinstance(d, int) else _LARGE_MAP for d in sizes)
    return best_size((h, width), w.shape[1], w.shape[0])


def to_nhwc(op: Builder, x: Value) -> Value:
    """x with its channels moved to the end."""
    return op.Transpose(x, perm=(0, 2, 3, 1))


def to_nchw(op: Builder, x: Value) -> Value:
    """x with its last axis moved to where ONNX has channels."""
    return op.Transpose(x, perm=(0, 3, 1, 2))


def _with(op: Builder, m: Match, inputs: list[Value | None] | None = None, **changes: Any) -> Value:
    ins = list(m.conv.inputs) if inputs is None else inputs
    return op.add(dataclasses.replace(m.conv.op, **changes), *ins)


def _inputs(m: Match) -> list[Value | None]:
    return list(m.conv.inputs) + [None] * (4 - len(m.conv.inputs))


def _is_plain(m: Match) -> str | None:
    conv = m.conv.op
    if conv.activation or not np.isneginf(conv.lo) or not np.isposinf(conv.hi):
        return "it has an activation already"
    return "it has a residual already" if _inputs(m)[3] is not None else None


class ConvResidual(Rule):
    """NhwcConv(x, w, b) + r  →  NhwcConv(x, w, b, r)"""

    def pattern(op, x, r):
        return op.NhwcConv(x, ..., name="conv") + r

    def check(m):
        if m.r.fact.shape is None or m.r.fact.shape != m.conv.outputs[0].fact.shape:
            return "what is added has another shape"
        return _is_plain(m)

    def replace(op, m):
        return _with(op, m, [*_inputs(m)[:3], m.r])


class ConvActivation(Rule):
    """act(NhwcConv(...))  →  NhwcConv(..., activation)"""

    def pattern(op, x):
        conv = op.NhwcConv(x, ..., name="conv")
        return op.OneOf(FUSED_ACTIVATIONS, conv, name="act")

    def check(m):
        done = m.conv.op.activation or not np.isneginf(m.conv.op.lo) or not np.isposinf(m.conv.op.hi)
        return "it has an activation already" if done else None

    def replace(op, m):
        return _with(op, m, **activation_of(m.act.op))


class ConvClip(Rule):
    """Clip(NhwcConv(...), lo, hi)  →  NhwcConv(..., lo, hi)"""

    def pattern(op, x):
        return op.Clip(op.NhwcConv(x, ..., name="conv"), ..., name="clip")

    def check(m):
        if any(v is not None and scalar(v) is None for v in m.clip.inputs[1:]):
            return "the limits are not constant"
        done = m.conv.op.activation or not np.isneginf(m.conv.op.lo) or not np.isposinf(m.conv.op.hi)
        return "it has an activation already" if done else None

    def replace(op, m):
        limits = [None if v is None else scalar(v) for v in m.clip.inputs[1:]] + [None, None]
        lo = -np.inf if limits[0] is None else limits[0]
        hi = np.inf if limits[1] is None else limits[1]
        return _with(op, m, lo=float(lo), hi=float(hi))


CONV_WEIGHTS = (BatchNormIntoConv, ConvBias, ConvScale)
CONVS = (ConvResidual, ConvActivation, ConvClip, ShuffleIntoGroups)

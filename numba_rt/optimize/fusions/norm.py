"""Normalisations as exporters write them out."""

from __future__ import annotations

from numba_rt.graph import Value
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Rule, scalar

MEANS = "ReduceMean|GlobalAveragePool"
"""A pool over all of three axes but the first two is a mean over the last."""


def _over_last_axis(m: Match, *names: str) -> str | None:
    """Reason why the named reductions are not means over the last axis, keeping it."""
    for name in names:
        node = getattr(m, name)
        if node.op.op_type == "GlobalAveragePool":
            if m.x.fact.shape is None or m.x.fact.rank != 3:
                return "a mean is not over the last axis"
            continue
        axes = node.inputs[1].constant if len(node.inputs) > 1 and node.inputs[1] is not None else None
        if axes is None or not node.op.keepdims:
            return "a mean is not over constant axes that are kept"
        rank = m.x.fact.rank if m.x.fact.shape is not None else None
        if axes.size != 1 or rank is None or int(axes.reshape(())) % rank != rank - 1:
            return "a mean is not over the last axis"
    return None


def _vector_of(value: Value, x: Value) -> str | None:
    """Reason why `value` is not a constant of the size of the last axis of x."""
    array = value.constant
    if array is None:
        return f"{value.name!r} is not constant"
    if x.fact.shape is None or array.ndim == 0 or array.size != array.shape[-1]:
        return f"{value.name!r} is not a vector"
    return (
        None if array.size == x.fact.shape[-1] else f"{value.name!r} does not have the size of the last axis"
    )


class LayerNorm(Rule):
    """(x - mean(x)) / sqrt(mean((x - mean(x))²) + eps) * scale + bias  →  LayerNormalization"""

    def pattern(op, x, eps, scale, bias):
        forms = []
        for minus in (op.Sub(x, op.ReduceMean(x, op.Any(), name="mean")),):
            for square in (op.Mul(minus, minus), op.Pow(minus, 2.0)):
                deviation = op.Sqrt(op.ReduceMean(square, op.Any(), name="variance") + eps)
                for normal in (minus / deviation, minus * op.Reciprocal(deviation)):
                    forms.append(op.Add(normal * scale, bias))
        return tuple(forms)

    def check(m):
        if scalar(m.eps) is None:
            return "epsilon is not a constant number"
        return _over_last_axis(m, "mean", "variance") or _vector_of(m.scale, m.x) or _vector_of(m.bias, m.x)

    def replace(op, m):
        scale, bias = (v.constant.reshape(-1) for v in (m.scale, m.bias))
        return op.LayerNormalization(m.x, scale, bias, axis=-1, epsilon=scalar(m.eps))


class FoldedLayerNorm(Rule):
    """x * r + (bias - mean(x) * r) with r = scale / sqrt(var(x) + eps)  →  LayerNormalization"""

    def pattern(op, x, eps, scale, bias):
        mean = op.OneOf(MEANS, x, ..., name="mean")
        minus = op.Sub(x, mean)
        forms = []
        for square in (op.Mul(minus, minus), op.Pow(minus, 2.0)):
            root = op.Sqrt(op.OneOf(MEANS, square, ..., name="variance") + eps)
            factor = op.Reciprocal(root) * scale
            forms.append(op.Add(x * factor, op.Sub(bias, mean * factor)))
        return tuple(forms)

    check = LayerNorm.check
    replace = LayerNorm.replace


class RMSNorm(Rule):
    """x / sqrt(mean(x²) + eps) * scale  →  RMSNormalization"""

    def pattern(op, x, eps, scale):
        forms = []
        for square in (op.Mul(x, x), op.Pow(x, 2.0)):
            root = op.Sqrt(op.OneOf(MEANS, square, ..., name="mean") + eps)
            for normal in (x / root, x * op.Reciprocal(root), x * (1.0 / root)):
                forms.append(normal * scale)
            forms.append(x * (op.Reciprocal(root) * scale))
        return tuple(forms)

    def check(m):
        if scalar(m.eps) is None:
            return "epsilon is not a constant number"
        return _over_last_axis(m, "mean") or _vector_of(m.scale, m.x)

    def replace(op, m):
        return op.RMSNormalization(m.x, m.scale.constant.reshape(-1), axis=-1, epsilon=scalar(m.eps))


class AddLayerNorm(Rule):
    """LayerNormalization(x + y, scale, bias)  →  FusedAddLayerNormalization(x, y, scale, bias)"""

    def pattern(op, x, y, scale, bias):
        return op.LayerNormalization(op.Add(x, y), scale, bias, name="norm")

    def check(m):
        if m.x.fact.shape is None or m.x.fact.shape != m.y.fact.shape:
            return "the sum is broadcast"
        return None

    def replace(op, m):
        attributes = {"axis": m.norm.op.axis, "epsilon": m.norm.op.epsilon}
        return op.FusedAddLayerNormalization(m.x, m.y, m.scale, m.bias, outputs=2, **attributes)[0]


LAYER_NORM = (LayerNorm, FoldedLayerNorm)
RMS_NORM = (RMSNorm,)
ADD_NORM = (AddLayerNorm,)

"""Scaling to and from numbers of few bits as arithmetic, which joins the chains around it."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, INT32
from numba_rt.graph import Value
from numba_rt.ops.quantize import WORDS, ShiftAndScale, to_range
from numba_rt.optimize.rule import Rule


class QuantizeAsArithmetic(Rule):
    """QuantizeLinear(x, scale, zero) → ScaleToRange, of one scale or constant ones along an axis"""

    def pattern(op, x):
        return op.QuantizeLinear(x, ..., name="quantize")

    def check(m):
        if m.quantize.outputs[0].fact.dtype not in WORDS or m.x.fact.dtype != FLOAT32:
            return "only float32 to integers of 8 and 16 bits"
        return _refusal(m.quantize)

    def replace(op, m):
        node = m.quantize
        scaling = to_range(node.outputs[0].fact.dtype, node.op.division(FLOAT32, FLOAT32))
        return op.add(scaling, *_operands(node))


class DequantizeAsArithmetic(Rule):
    """DequantizeLinear(x, scale, zero) → ShiftAndScale, of one scale or constant ones along an axis"""

    def pattern(op, x):
        return op.DequantizeLinear(x, ..., name="dequantize")

    def check(m):
        if m.x.fact.dtype not in WORDS | {INT32} or m.dequantize.outputs[0].fact.dtype != FLOAT32:
            return "only integers of 8, 16 and 32 bits to float32"
        return _refusal(m.dequantize)

    def replace(op, m):
        return op.add(ShiftAndScale(), *_operands(m.dequantize))


def _refusal(node: Any) -> str | None:
    x, scale, *zeros = node.inputs
    if scale.fact.dtype != FLOAT32 or node.op.block_size or x.fact.shape is None:
        return "blocks, scales that are not float32, or an unknown number of axes"
    parts = [v for v in (scale, *zeros) if v is not None]
    if all(v.is_constant for v in parts):
        return None
    single = all(v.fact.shape is not None and v.fact.is_static and v.fact.size == 1 for v in parts)
    return None if single and x.fact.rank else "scales along an axis that are not constants"


def _operands(node: Any) -> list[Value | np.ndarray | None]:
    """x, scale and zero point, the latter two under shapes that broadcast to that of x."""
    x, *parts = node.inputs
    return [x, *(_across(v, x.fact.rank, node.op.axis) for v in parts)]


def _across(part: Value | None, rank: int, axis: int) -> Value | np.ndarray | None:
    if part is None or part.constant is None:
        return part
    array = part.constant
    return array.reshape(() if array.size == 1 else (array.size, *(1,) * (rank - axis % rank - 1)))


QUANTIZATION = (QuantizeAsArithmetic, DequantizeAsArithmetic)

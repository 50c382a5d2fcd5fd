"""Depthwise convolutions and the 1x1 convolutions around them become one operator."""

from __future__ import annotations

from math import prod
from typing import Any

from numba_rt.graph import Node, Value
from numba_rt.optimize.rule import Builder, Rule
from numba_rt.simd.depthwise import MAX_CHANNELS
from numba_rt.simd.tile import MAX_K


def _inputs(node: Node) -> list[Value | None]:
    return [*node.inputs, *[None] * (4 - len(node.inputs))]


def _first(*reasons: str | None) -> str | None:
    return next((reason for reason in reasons if reason is not None), None)


def _is_pointwise(node: Node, residual: bool = False) -> str | None:
    """Reason why a convolution is not a product of pixels and weights."""
    conv: Any = node.op
    if conv.depthwise or conv.group * conv.merged * conv.shuffled * prod(conv.kernel_shape) != 1:
        return "a convolution next to the depthwise one is not 1x1"
    if prod(conv.strides or (1,)) != 1 or any(conv.pads or ()):
        return "a 1x1 convolution has strides or pads"
    if not residual and _inputs(node)[3] is not None:
        return "a value is added before the depthwise convolution"
    shape = node.inputs[0].fact.shape if node.inputs[0] is not None else None
    if shape is None or not isinstance(shape[3], int) or shape[3] > MAX_K:
        return "a sum takes more than one pass of the register tile"
    return None


def _is_depthwise(node: Node) -> str | None:
    conv: Any = node.op
    if not conv.depthwise:
        return ""
    if _inputs(node)[3] is not None:
        return "a value is added to the depthwise convolution"
    return "it has too many channels" if conv.channels > MAX_CHANNELS else None


def _block(op: Builder, expand: Node | None, depthwise: Node, project: Node | None) -> Value:
    w1, b1 = _inputs(expand)[1:3] if expand else (None, None)
    w2, b2 = _inputs(depthwise)[1:3]
    w3, b3, z = _inputs(project)[1:4] if project else (None, None, None)
    made: Value = op.DepthwiseBlock(
        (expand or depthwise).inputs[0], w1, b1, w2, b2, w3, b3, z,
        depthwise=depthwise.op, expand=expand and expand.op, project=project and project.op,
    )  # fmt: skip
    return made


class InvertedResidual(Rule):
    """project(depthwise(expand(x)))  →  DepthwiseBlock(x)"""

    def pattern(op, x):
        expand = op.NhwcConv(x, ..., name="expand")
        return op.NhwcConv(op.NhwcConv(expand, ..., name="depthwise"), ..., name="project")

    def check(m):
        return _first(
            _is_depthwise(m.depthwise),
            _is_pointwise(m.expand),
            _is_pointwise(m.project, residual=True),
        )

    def replace(op, m):
        return _block(op, m.expand, m.depthwise, m.project)


class DepthwiseProject(Rule):
    """project(depthwise(x))  →  DepthwiseBlock(x)"""

    def pattern(op, x):
        return op.NhwcConv(op.NhwcConv(x, ..., name="depthwise"), ..., name="project")

    def check(m):
        return _first(
            _is_depthwise(m.depthwise),
            _is_pointwise(m.project, residual=True),
        )

    def replace(op, m):
        return _block(op, None, m.depthwise, m.project)


class ExpandDepthwise(Rule):
    """depthwise(expand(x))  →  DepthwiseBlock(x)"""

    def pattern(op, x):
        return op.NhwcConv(op.NhwcConv(x, ..., name="expand"), ..., name="depthwise")

    def check(m):
        return _first(_is_depthwise(m.depthwise), _is_pointwise(m.expand))

    def replace(op, m):
        return _block(op, m.expand, m.depthwise, None)


BLOCKS = (InvertedResidual,)
PARTS_OF_BLOCKS = (DepthwiseProject, ExpandDepthwise)

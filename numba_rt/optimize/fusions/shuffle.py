"""Channels in another order: exporters write Reshape, Transpose, Reshape; weights can take the order in."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from numba_rt.graph import Dim
from numba_rt.kernels.packing import NR
from numba_rt.ops._op import Op
from numba_rt.optimize.pattern import Match
from numba_rt.optimize.rule import Builder, Rule, operator


class ShuffleOfReshapes(Rule):
    """Reshape(Transpose(Reshape(x)))  →  ChannelShuffle(x), DepthToSpace(x) or SpaceToDepth(x)"""

    shared = True

    def pattern(op, x, s, t):
        split = op.Reshape(x, s, name="split")
        return op.Reshape(op.Transpose(split, name="transpose"), t, name="merge")

    def check(m):
        return None if _recognised(m) is not None else ""

    def replace(op, m):
        return op.add(_recognised(m), m.x)


def _recognised(m: Match) -> Op | None:
    """The operator that three nodes amount to."""
    before, split, after = (v.fact.shape for v in (m.x, m.split.outputs[0], m.merge.outputs[0]))
    if before is None or split is None or after is None or len(before) != 4 or len(after) != 4:
        return None
    perm = m.transpose.op.perm
    if perm in ((0, 2, 1, 3), (0, 2, 1, 3, 4)) and before == after:
        return _shuffle(before, split)
    kind = _BLOCKS.get(perm)
    return None if kind is None else _blocks(*kind, before, split, after)


def _shuffle(before: tuple[Dim, ...], split: tuple[Dim, ...]) -> Op | None:
    b, groups, own = split[:3]
    if b != before[0] or not isinstance(groups, int) or groups * own != before[1]:
        return None
    pixels = before[2:] if len(split) == 5 else (before[2] * before[3],)
    return operator("ChannelShuffle")(groups=groups) if split[3:] == pixels else None


_BLOCKS: dict[tuple[int, ...], tuple[str, str, int]] = {
    (0, 1, 4, 2, 5, 3): ("DepthToSpace", "CRD", 2),
    (0, 3, 4, 1, 5, 2): ("DepthToSpace", "DCR", 1),
    (0, 1, 3, 5, 2, 4): ("SpaceToDepth", "CRD", 3),
    (0, 3, 5, 1, 2, 4): ("SpaceToDepth", "DCR", 3),
}
"""Operator, mode, and the axis of the split shape that holds the block's size, by permutation."""


def _blocks(
    name: str, mode: str, at: int, before: tuple[Dim, ...], split: tuple[Dim, ...], after: tuple[Dim, ...]
) -> Op | None:
    size: Any = split[at]
    if not isinstance(size, int) or size < 1:
        return None
    b, c, h, w = before
    wanted: tuple[Dim, ...]
    if name == "DepthToSpace":
        own = c // (size * size)
        wanted = (b, own, size, size, h, w) if mode == "CRD" else (b, size, size, own, h, w)
        result = (b, own, h * size, w * size)
    else:
        wanted = (b, c, h // size, size, w // size, size)
        result = (b, c * size * size, h // size, w // size)
    return operator(name)(blocksize=size, mode=mode) if split == wanted and after == result else None


def _weights(m: Match) -> str | None:
    """Why the weights of a convolution cannot be put into another order."""
    bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
    fixed = m.w.is_constant and (bias is None or bias.is_constant)
    return None if fixed else "the weights are not constant"


def _with_filters(op: Builder, m: Match, x: Any, order: np.ndarray) -> Any:
    """The convolution of x that makes channel order[i] as its channel i."""
    bias = m.conv.inputs[2] if len(m.conv.inputs) > 2 else None
    return op.add(m.conv.op, x, m.w.constant[order], None if bias is None else bias.constant[order])


class ShuffleAfterDepthwise(Rule):
    """Conv(ChannelShuffle(x), w) of each channel on its own  →  ChannelShuffle(Conv(x, w'))"""

    def pattern(op, x, w):
        return op.Conv(op.ChannelShuffle(x, name="shuffle"), w, ..., name="conv")

    def check(m):
        filters = (m.w.fact.shape or (None, None))[:2]
        if filters != (m.conv.op.group, 1) or m.shuffle.op.axis != 1:
            return ""
        return _weights(m)

    def replace(op, m):
        back = np.argsort(m.shuffle.op.order(m.conv.op.group))
        return op.ChannelShuffle(_with_filters(op, m, m.x, back), groups=m.shuffle.op.groups)


class ShuffleIntoConv(Rule):
    """Conv(ChannelShuffle(x), w)  →  Conv(x, w') in one group"""

    shared = True

    def pattern(op, x, w):
        return op.Conv(op.ChannelShuffle(x, name="shuffle"), w, ..., name="conv")

    def check(m):
        if m.conv.op.group != 1:
            return "it has groups"
        return "the weights are not constant" if not m.w.is_constant or m.shuffle.op.axis != 1 else None

    def replace(op, m):
        back = np.argsort(m.shuffle.op.order(m.w.fact.shape[1]))
        return op.add(m.conv.op, m.x, m.w.constant[:, back], *m.conv.inputs[2:])


LEAST_RUN = 6
"""Fewest channels that are worth a tap of their own."""


class ShuffleIntoGroups(Rule):
    """NhwcConv(ChannelShuffle(x), w)  →  NhwcConv(x, w'), whose groups read a run of each block of x"""

    def pattern(op, x, w):
        return op.NhwcConv(op.ChannelShuffle(x, name="shuffle"), w, ..., name="conv")

    def check(m):
        conv, shape, blocks = m.conv.op, m.x.fact.shape, m.shuffle.op.groups
        if conv.depthwise or conv.winograd or conv.shuffled > 1 or not m.w.is_constant:
            return ""
        if shape is None or not isinstance(shape[-1], int) or m.shuffle.op.axis % len(shape) != 3:
            return "its channels are not known"
        run, rest = divmod(shape[-1] // conv.group, blocks)
        if conv.group > 1 and (rest or run < LEAST_RUN):
            return "a group does not read long runs of channels"
        return None

    def replace(op, m):
        conv, own, blocks = m.conv.op, m.x.fact.shape[-1] // m.conv.op.group, m.shuffle.op.groups
        order = np.arange(own).reshape(-1, blocks).T.reshape(-1)
        panels = -(-conv.channels // conv.group // NR)
        w = m.w.constant.reshape(conv.group, panels, -1, own, NR)[:, :, :, order]
        made = dataclasses.replace(conv, shuffled=blocks if conv.group > 1 else 1)
        packed = op.constant(np.ascontiguousarray(w).reshape(-1), m.w.name)
        return op.add(made, m.x, packed, *m.conv.inputs[2:])


class ShuffleOfConv(Rule):
    """ChannelShuffle(Conv(x, w))  →  Conv(x, w') in one group"""

    def pattern(op, x, w):
        return op.ChannelShuffle(op.Conv(x, w, ..., name="conv"), name="shuffle")

    def check(m):
        if m.conv.op.group != 1 or m.shuffle.op.axis != 1:
            return "it has groups"
        return _weights(m)

    def replace(op, m):
        return _with_filters(op, m, m.x, m.shuffle.op.order(m.w.fact.shape[0]))


class BlocksOfConv(Rule):
    """DepthToSpace(Conv(x, w), mode="CRD")  →  DepthToSpace(Conv(x, w'), mode="DCR"): longer runs to copy"""

    def pattern(op, x, w):
        return op.DepthToSpace(op.Conv(x, w, ..., name="conv"), name="blocks")

    def check(m):
        if m.blocks.op.mode != "CRD" or m.conv.op.group != 1:
            return ""
        return _weights(m)

    def replace(op, m):
        size = m.blocks.op.blocksize
        order = np.arange(m.w.fact.shape[0]).reshape(-1, size * size).T.reshape(-1)
        return op.DepthToSpace(_with_filters(op, m, m.x, order), blocksize=size, mode="DCR")


SHUFFLES = (ShuffleOfReshapes, ShuffleAfterDepthwise, ShuffleIntoConv, ShuffleOfConv, BlocksOfConv)

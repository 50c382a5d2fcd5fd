"""Channels in another order, and moved to and from blocks of pixels of NHWC images."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.ops._checks import check_axis
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops.transpose import DepthToSpace, SpaceToDepth, permute


@op("ChannelShuffle", domain=OWN)
class ChannelShuffle(Op):
    """The first channel of each group, then the second of each, and so on."""

    groups: int
    axis: int = 1

    half = False

    def infer(self, x: Fact) -> Fact:
        channels = (x.shape or ())[check_axis(self.axis, x.rank)]
        if self.groups < 1 or (not isinstance(channels, Sym) and channels % self.groups):
            raise ShapeError(f"groups = {self.groups} does not divide the {channels} channels of x = {x}")
        return x

    def order(self, channels: int) -> np.ndarray:
        """Which channel of the input is each one of the output."""
        return np.arange(channels).reshape(self.groups, -1).T.reshape(-1)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.take(x, self.order(x.shape[self.axis]), self.axis)

    def lower(self, low: Lowering, x: View, y: View) -> None:
        axis = self.axis % x.rank
        outer, inner = prod(x.shape[:axis]), prod(x.shape[axis + 1 :])
        shape = (outer, self.groups, x.shape[axis] // self.groups, inner)
        permute(low, x, y, shape, (0, 2, 1, 3))


def _as_nchw(shape: tuple) -> tuple:
    return (shape[0], shape[3], shape[1], shape[2])


def _as_nhwc(fact: Fact) -> Fact:
    assert fact.shape is not None
    b, c, h, w = fact.shape
    return Fact(fact.dtype, (b, h, w, c))


def _planes(fact: Fact) -> Fact:
    """The fact of the same image with its channels in front; other ranks as they are, to be refused."""
    assert fact.shape is not None
    return Fact(fact.dtype, _as_nchw(fact.shape)) if fact.rank == 4 else fact


@op("NhwcDepthToSpace", domain=OWN)
class NhwcDepthToSpace(DepthToSpace):
    """DepthToSpace of NHWC images."""

    def infer(self, input: Fact) -> Fact:
        return _as_nhwc(super().infer(_planes(input)))

    def split(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        b, h, w, c = shape
        s = self.blocksize
        if self.mode == "DCR":
            return (b, h, w, s, s, c // (s * s)), (0, 1, 3, 2, 4, 5)
        return (b, h, w, c // (s * s), s, s), (0, 1, 4, 2, 5, 3)

    def evaluate(self, input: np.ndarray) -> np.ndarray:
        shape, perm = self.split(input.shape)
        b, h, w, c = input.shape
        s = self.blocksize
        return input.reshape(shape).transpose(perm).reshape(b, h * s, w * s, c // (s * s))


@op("NhwcSpaceToDepth", domain=OWN)
class NhwcSpaceToDepth(SpaceToDepth):
    """SpaceToDepth of NHWC images."""

    def infer(self, input: Fact) -> Fact:
        return _as_nhwc(super().infer(_planes(input)))

    def split(self, shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        b, h, w, c = shape
        s = self.blocksize
        return (b, h // s, s, w // s, s, c), (0, 1, 3, 2, 4, 5) if self.mode == "DCR" else (0, 1, 3, 5, 2, 4)

    def evaluate(self, input: np.ndarray) -> np.ndarray:
        shape, perm = self.split(input.shape)
        b, h, w, c = input.shape
        s = self.blocksize
        return input.reshape(shape).transpose(perm).reshape(b, h // s, w // s, c * s * s)

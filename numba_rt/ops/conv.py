"""Convolutions: Conv as ONNX has it, and the channels-last form the optimiser makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, FLOATS
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels.activation import ACTIVATIONS
from numba_rt.kernels.conv import Window, convolution, pad_images
from numba_rt.kernels.conv_any import conv_any
from numba_rt.kernels.depthwise import depthwise, depthwise_sizes, depthwise_tiles
from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, epilogue, gemm
from numba_rt.kernels.packing import pack_rows, packed_size
from numba_rt.kernels.winograd import winograd, winograd_plan
from numba_rt.ops._checks import check_dtype, check_groups, check_rank, check_same_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops._strided import copy_strided
from numba_rt.ops._window import Sliding, slide, slide_filters
from numba_rt.ops.transpose import permute
from numba_rt.simd.tile import tile_addresses

Flags = tuple[bool, bool, int, int]
"""Whether there is a bias, a residual, which activation, and how far apart pixels of the result are."""


@op("Conv", since=22)
class Conv(Op):
    """Convolution over 1 to 3 spatial axes of (b, c, ...)."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def infer(self, X: Fact, W: Fact, B: Fact | None = None) -> Fact:
        check_same_dtype(*((n, f) for n, f in (("X", X), ("W", W), ("B", B)) if f is not None))
        check_dtype(X, "X", FLOATS)
        check_rank(X, "X", at_least=3)
        check_rank(W, "W", exactly=X.rank)
        check_groups(X, W, self.group)
        assert X.shape is not None and W.shape is not None
        if B is not None:
            check_rank(B, "B", exactly=1)
            if not same_dim((B.shape or (1,))[0], W.shape[0]):
                raise ShapeError(f"B = {B}: expected one number for each of {W.shape[0]} filters")
        return Fact(
            X.dtype, (X.shape[0], W.shape[0], *slide_filters(self, X.shape, W.shape, self.auto_pad).sizes)
        )

    def flops(self, X: View, W: View, B: View | None, Y: View) -> int:
        return 2 * Y.size * math.prod(W.shape[1:])

    def lower(self, low: Lowering, X: View, W: View, B: View | None, Y: View) -> None:
        if Y.size == 0:
            return
        window = slide_filters(self, X.shape, W.shape, self.auto_pad)
        if X.dtype == FLOAT32 and X.rank <= 4 and min(window.pads) >= 0:
            self._lower_tiles(low, X, W, B, Y, window)
        else:
            self._lower_any(low, X, W, B, Y, window)

    def _lower_tiles(self, low: Lowering, X: View, W: View, B: View | None, Y: View, window: Sliding) -> None:
        """Through channels-last copies of the images and of the result."""
        lead = (1,) * (4 - X.rank)
        (batch, c), size = X.shape[:2], (*lead, *X.shape[2:])
        oc, own = W.shape[0], W.shape[1]
        kernel, out = (*lead, *window.kernel), Y.shape[2:] if not lead else (1, *Y.shape[2:])
        pads = (*(0,) * len(lead), *window.begins, *(0,) * len(lead), *window.ends)
        x = low.scratch((batch, *size, c))
        permute(low, X, x, (batch, c, *size), (0, 2, 3, 1))
        g, taps = self.group, math.prod(kernel)
        turned = low.scratch((g, taps * own, oc // g))
        permute(low, W, turned, (g, oc // g, own, taps), (0, 3, 2, 1))
        packed = low.scratch((g * packed_size(taps * own, oc // g),))
        sizes = np.array([1, g, taps * own, oc // g, oc // g, 0, taps * own * (oc // g)], np.int64)
        low.call(pack_rows, low.flat(turned), low.const(sizes), packed, low.tasks(packed.size * 2))
        y = low.scratch((batch, *out, oc))
        NhwcConv(
            channels=oc,
            kernel_shape=kernel,
            strides=(*lead, *window.strides),
            pads=tuple(int(p) for p in pads),
            dilations=(*lead, *window.dilations),
            group=g,
        ).lower(low, x, packed, B, None, y)
        permute(low, y, Y, (batch, *out, oc), (0, 3, 1, 2))

    def _lower_any(self, low: Lowering, X: View, W: View, B: View | None, Y: View, window: Sliding) -> None:
        """Any float dtype and up to three axes, without tiles."""
        if X.rank > 5:
            raise ShapeError(f"X = {X.shape} has {X.rank - 2} spatial axes: expected at most 3")
        lead = (1,) * (5 - X.rank)
        none = (0,) * len(lead)
        x = low.view(X, (*X.shape[:2], *lead, *X.shape[2:]))
        w = low.view(W, (*W.shape[:2], *lead, *W.shape[2:]))
        y = low.view(Y, (*Y.shape[:2], *lead, *Y.shape[2:]))
        bias = low.const(np.zeros(W.shape[0], X.dtype)) if B is None else B
        geometry = np.array(
            [self.group, *lead, *window.strides, *lead, *window.dilations, *none, *map(int, window.begins)],
            np.int64,
        )
        work = float(Y.size) * math.prod(W.shape[1:])
        low.call(conv_any, x, w, bias, low.const(geometry), y, low.tasks(work))


@op("NhwcConv", domain=OWN)
class NhwcConv(Op):
    """act(clamp(convolution + bias + residual, lo, hi)) of images (b, h, w, c), in float32.

    W is packed: by `numba_rt.kernels.packing.pack_conv`, or as (taps, c) where `depthwise` is set, or by
    `numba_rt.kernels.winograd.pack_winograd` for tiles of the size `winograd`, if that is not 0.
    """

    channels: int
    kernel_shape: tuple[int, ...]
    strides: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    dilations: tuple[int, ...] | None = None
    group: int = 1
    auto_pad: str = "NOTSET"
    merged: int = 1
    """How many groups of the model are one of `group`."""
    shuffled: int = 1
    """Blocks of channels of X of which each group reads a run, one after the other, as if `ChannelShuffle`
    came before; the rows of W are in this order."""
    depthwise: bool = False
    winograd: int = 0
    lo: float = -math.inf
    hi: float = math.inf
    activation: str = ""
    act_alpha: float = 0.0
    act_beta: float = 0.0

    def infer(self, X: Fact, W: Fact, B: Fact | None = None, Z: Fact | None = None) -> Fact:
        assert X.shape is not None
        return Fact(FLOAT32, (X.shape[0], *self._window(X.shape).sizes, self.channels))

    def _window(self, x: tuple[Any, ...]) -> Sliding:
        return slide(
            x[1:3], self.kernel_shape, strides=self.strides, dilations=self.dilations, pads=self.pads,
            auto_pad=self.auto_pad,
        )  # fmt: skip

    @property
    def inplace(self) -> tuple[int, ...]:  # type: ignore[override]
        """The residual; the depthwise kernel reads it after writing its neighbours."""
        return () if self.depthwise else (3,)

    def flops(self, X: View, W: View, B: View | None, Z: View | None, Y: View) -> int:
        channels = 1 if self.depthwise else X.shape[3] // (self.group * self.merged)
        return 2 * Y.size * math.prod(self.kernel_shape) * channels

    @property
    def algorithm(self) -> str:
        kernel = "×".join(map(str, self.kernel_shape))
        if self.winograd:
            return f"winograd F({self.winograd}×{self.winograd},{kernel})"
        strides = "" if max(self.strides or (1,)) == 1 else f" /{max(self.strides or (1,))}"
        count = self.group * self.merged
        groups = f" g{count}" if count > 1 and not self.depthwise else ""
        shuffled = " shuffled" if self.shuffled > 1 else ""
        return f"{'depthwise' if self.depthwise else 'direct'} {kernel}{strides}{groups}{shuffled}"

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        """Pixels of the images, of the residual and of the result may be apart."""
        return position in (0, 3) and run == shape[-1]

    def writes_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return run == shape[-1]

    def lower(self, low: Lowering, X: View, W: View, B: View | None, Z: View | None, Y: View) -> None:
        if Y.size == 0:
            return
        sliding = self._window(X.shape)
        pads = sliding.pads
        window = Window(
            X.shape[0], (X.shape[1], X.shape[2]), X.shape[3], _pair(sliding.kernel), _pair(sliding.strides),
            _pair(sliding.dilations), (pads[0], pads[1], pads[2], pads[3]), X.pitch,
        )  # fmt: skip
        none = low.const(NO_VECTOR)
        f = low.const(epilogue(1.0, self.lo, self.hi, self.act_alpha, self.act_beta))
        act = ACTIVATIONS[self.activation] if self.activation else 0
        operands = [
            low.span(X), low.flat(W), none if B is None else low.flat(B), self._residual(low, Z, Y, none)
        ]  # fmt: skip
        flags = B is not None, Z is not None, act, Y.pitch
        work = float(Y.size) * math.prod(sliding.kernel) * (X.shape[3] // self.group)
        if self.depthwise:
            self._lower_depthwise(low, window, operands, flags, f, work, low.span(Y))
        elif self.winograd:
            tasks = low.tasks(work / 32)
            plan = _winograd(window, self.channels, self.winograd, tasks, *flags)
            low.call(
                winograd, *operands, low.const(NO_ROWS), low.const(tile_addresses()), low.const(plan.g), f,
                low.scratch((plan.scratch,)), low.span(Y), tasks,
            )  # fmt: skip
        else:
            self._lower_direct(low, window, operands, flags, f, work, low.span(Y))

    def _residual(self, low: Lowering, Z: View | None, Y: View, none: View) -> View:
        """The residual, with pixels as far apart as those of the result."""
        if Z is None:
            return none
        if Z.pitch == Y.pitch:
            return low.span(Z)
        moved = low.rows_apart(low.scratch((low.span(Y).size,)), Y.shape) if self.depthwise else Y
        moved = replace(moved, run=Y.run, pitch=Y.pitch)
        copy_strided(low, Z, moved, list(zip(Y.shape, Z.strides, Y.strides, strict=True)))
        return low.span(moved)

    def _lower_depthwise(
        self, low: Lowering, window: Window, operands: list[View], flags: Flags, f: View, work: float, y: View
    ) -> None:
        tiles, g = low.const(depthwise_tiles(window)), low.const(depthwise_sizes(window, *flags))
        low.call(depthwise, *operands, tiles, g, f, y, low.tasks(work / 4))

    def _lower_direct(
        self, low: Lowering, window: Window, operands: list[View], flags: Flags, f: View, work: float, y: View
    ) -> None:
        made = _convolution(window, self.channels, self.group, *flags, self.shuffled)
        if made.pad is not None:
            padded = low.scratch((made.scratch,))
            low.call(pad_images, operands[0], low.const(made.pad), padded, low.tasks(made.scratch / 4))
            operands = [padded, *operands[1:]]
        table, tiles, g = low.const(made.table), low.const(tile_addresses()), low.const(made.g)
        low.call(gemm, *operands, table, tiles, g, f, y, low.tasks(work / 8))


def _pair(numbers: tuple[int, ...]) -> tuple[int, int]:
    return numbers[0], numbers[1]


_convolution = lru_cache(maxsize=64)(convolution)
_winograd = lru_cache(maxsize=64)(winograd_plan)

"""ConvTranspose and Col2Im: windows spread over an image and added up where they overlap."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOATS, NUMERIC
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym
from numba_rt.kernels.col2im import col2im
from numba_rt.ops._checks import check_dtype, check_rank, check_same_dtype, known_ints, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._window import AUTO_PADS, Sliding
from numba_rt.ops.matmul import MatMul
from numba_rt.ops.transpose import permute

AXES = 3
"""Most spatial axes."""
COLUMNS = 1 << 24
"""Bytes of windows that are kept at a time, if there is more than one image."""

Numbers = tuple[int, ...]


def _numbers(name: str, given: Sequence[int] | None, default: int, count: int, least: int) -> Numbers:
    numbers = (default,) * count if not given else tuple(given)
    if len(numbers) != count or min(numbers) < least:
        raise ShapeError(f"{name} = {list(numbers)}: expected {count} numbers of at least {least}")
    return numbers


def _check_axes(count: int, what: str) -> None:
    if not 1 <= count <= AXES:
        raise ShapeError(f"{what} has {count} spatial axes: expected 1 to {AXES}")


def _spread(low: Lowering, columns: View, bias: View, window: Sliding, windows: Numbers, y: View) -> None:
    """Add up windows of y, which has its spatial axes last."""
    rows = (
        (windows, 1), (window.sizes, 1), (window.kernel, 1), (window.strides, 1), (window.dilations, 1),
        (window.begins, 0),
    )  # fmt: skip
    lead = AXES - len(windows)
    g = np.array([v for values, fill in rows for v in (*(fill,) * lead, *map(int, values))], np.int64)
    tasks = low.tasks(columns.size + y.size)
    low.call(col2im, low.flat(columns), low.flat(bias), low.const(g), low.flat(y), tasks)


@op("ConvTranspose", since=22)
class ConvTranspose(Op):
    """What a convolution's gradient computes: every pixel spreads a window of weights, which are added up."""

    auto_pad: str = "NOTSET"
    dilations: Numbers | None = None
    group: int = 1
    kernel_shape: Numbers | None = None
    output_padding: Numbers | None = None
    output_shape: Numbers | None = None
    pads: Numbers | None = None
    strides: Numbers | None = None

    def infer(self, X: Fact, W: Fact, B: Fact | None = None) -> Fact:
        check_same_dtype(*((n, f) for n, f in (("X", X), ("W", W), ("B", B)) if f is not None))
        check_dtype(X, "X", FLOATS)
        check_rank(X, "X", at_least=3)
        check_rank(W, "W", exactly=X.rank)
        _check_axes(X.rank - 2, f"X = {X}")
        assert X.shape is not None and W.shape is not None
        channels = X.shape[1]
        if self.group < 1 or (isinstance(channels, int) and channels % self.group):
            raise ShapeError(f"X = {X} has {channels} channels, which group = {self.group} does not divide")
        if not same_dim(channels, W.shape[0]):
            raise ShapeError(f"X = {X} has {channels} channels: W = {W} has weights for {W.shape[0]}")
        filters = W.shape[1] * self.group
        if B is not None:
            check_rank(B, "B", exactly=1)
            if not same_dim((B.shape or (1,))[0], filters):
                raise ShapeError(f"B = {B}: expected one number for each of {filters} filters")
        return Fact(X.dtype, (X.shape[0], filters, *self.window(X.shape[2:], W.shape[2:]).sizes))

    def flops(self, X: View, W: View, B: View | None, Y: View) -> int:
        return 2 * X.size * prod(W.shape[1:])

    def window(self, sizes: Sequence[Dim], kernel: Sequence[Dim]) -> Sliding:
        """Windows of the output; `begins` is known only if the sizes are."""
        rank = len(sizes)
        taps = tuple(int(k) for k in kernel)
        if self.kernel_shape and tuple(self.kernel_shape) != taps:
            raise ShapeError(f"kernel_shape = {list(self.kernel_shape)}: W has {list(taps)}")
        if self.auto_pad not in AUTO_PADS:
            raise ShapeError(f"auto_pad = {self.auto_pad!r}: expected one of {', '.join(AUTO_PADS)}")
        strides = _numbers("strides", self.strides, 1, rank, 1)
        dilations = _numbers("dilations", self.dilations, 1, rank, 1)
        added = _numbers("output_padding", self.output_padding, 0, rank, 0)
        whole = tuple(
            stride * (size - 1) + more + dilation * (k - 1) + 1
            for size, k, stride, dilation, more in zip(sizes, taps, strides, dilations, added, strict=True)
        )
        begins: tuple[Dim, ...]
        if self.output_shape or self.auto_pad.startswith("SAME"):
            out = self._asked(sizes, strides)
            begins = tuple(self._begin(total, size) for total, size in zip(whole, out, strict=True))
        else:
            pads = (0,) * (2 * rank)
            if self.auto_pad == "NOTSET":
                pads = _numbers("pads", self.pads, 0, 2 * rank, 0)
            begins = pads[:rank]
            out = tuple(w - b - e for w, b, e in zip(whole, begins, pads[rank:], strict=True))
        if any(not isinstance(n, Sym) and n < 0 for n in out):
            raise ShapeError(f"the padding leaves an output of {list(out)}")
        return Sliding(taps, strides, dilations, begins, begins, out)

    def _asked(self, sizes: Sequence[Dim], strides: Numbers) -> tuple[Dim, ...]:
        """Output sizes that are given, so that the padding follows from them."""
        if not self.output_shape:
            return tuple(size * stride for size, stride in zip(sizes, strides, strict=True))
        if len(self.output_shape) not in (len(sizes), len(sizes) + 2):
            raise ShapeError(f"output_shape = {list(self.output_shape)}: expected {len(sizes)} spatial sizes")
        return tuple(self.output_shape[-len(sizes) :])

    def _begin(self, whole: Dim, size: Dim) -> Dim:
        """Padding in front: half of what is cut off, rounded down where the rest goes behind."""
        cut = whole - size
        if isinstance(cut, Sym):
            return cut
        cut = max(cut, 0)
        return cut // 2 if self.auto_pad == "SAME_UPPER" else cut - cut // 2

    def lower(self, low: Lowering, X: View, W: View, B: View | None, Y: View) -> None:
        if Y.size == 0:
            return
        window = self.window(X.shape[2:], W.shape[2:])
        bias = low.const(np.zeros(1, X.dtype)) if B is None else B
        g, (batch, channels) = self.group, X.shape[:2]
        windows = X.shape[2:]
        points, own, rows = prod(windows), channels // g, W.shape[1] * prod(window.kernel)
        turned = self._turned(low, W, (g, own, rows))
        image = channels * points * X.dtype.itemsize
        columns = g * rows * points * X.dtype.itemsize
        at_once = min(batch, max(1, COLUMNS // max(1, columns)))
        for first in range(0, batch, at_once):
            count = min(at_once, batch - first)
            x = low.view(X, (count, g, own, points), offset=first * image)
            y_bytes = Y.nbytes // batch
            y = low.view(Y, (count, *Y.shape[1:]), offset=first * y_bytes)
            made = low.scratch((count, g, rows, points), X.dtype)
            MatMul().lower(low, turned, x, made)
            _spread(low, made, bias, window, windows, y)

    @staticmethod
    def _turned(low: Lowering, W: View, shape: Numbers) -> View:
        """Weights as (1, groups, filters · taps, channels)."""
        g, own, rows = shape
        if W.constant is not None:
            return low.const(np.swapaxes(W.constant.reshape(shape), 1, 2)[None])
        turned = low.scratch((1, g, rows, own), W.dtype)
        permute(low, W, turned, shape, (0, 2, 1))
        return turned


@op("Col2Im", since=18)
class Col2Im(Op):
    """An image from its windows, which are added up where they overlap."""

    dilations: Numbers | None = None
    pads: Numbers | None = None
    strides: Numbers | None = None

    needs_value = (1, 2)

    def infer(self, input: Fact, image_shape: Fact, block_shape: Fact) -> Fact:
        check_dtype(input, "input", NUMERIC)
        check_rank(input, "input", exactly=3)
        assert input.shape is not None
        image = known_ints(image_shape, "image_shape")
        window = self._window(image, [int(k) for k in known_ints(block_shape, "block_shape")])
        taps, (batch, rows, count) = prod(window.kernel), input.shape
        if not isinstance(rows, Sym) and rows % taps:
            raise ShapeError(
                f"input = {input} has {rows} rows: expected a multiple of {taps}, the block's size"
            )
        found = prod(self._windows(window))
        if not same_dim(count, found):
            raise ShapeError(f"input = {input} has {count} windows: expected {found} for {list(image)}")
        return Fact(input.dtype, (batch, rows // taps, *image))

    def _window(self, image: Sequence[Dim], block: Sequence[int]) -> Sliding:
        rank = len(image)
        _check_axes(rank, f"image_shape = {list(image)}")
        pads = _numbers("pads", self.pads, 0, 2 * rank, 0)
        return Sliding(
            _numbers("block_shape", block, 1, rank, 1), _numbers("strides", self.strides, 1, rank, 1),
            _numbers("dilations", self.dilations, 1, rank, 1), pads[:rank], pads[rank:], tuple(image),
        )  # fmt: skip

    @staticmethod
    def _windows(window: Sliding) -> tuple[Any, ...]:
        """How many windows there are along each axis."""
        made = []
        for size, k, stride, dilation, begin, end in zip(
            window.sizes, window.kernel, window.strides, window.dilations, window.begins, window.ends,
            strict=True,
        ):  # fmt: skip
            room = size + begin + end - dilation * (k - 1) - 1
            if not isinstance(room, Sym) and room < 0:
                raise ShapeError(f"a block of {k} does not fit into {size} padded by {begin} and {end}")
            made.append(room // stride + 1)
        return tuple(made)

    def lower(self, low: Lowering, input: View, image_shape: View, block_shape: View, output: View) -> None:
        if output.size == 0:
            return
        assert block_shape.constant is not None
        window = self._window(output.shape[2:], block_shape.constant.reshape(-1).tolist())
        bias = low.const(np.zeros(1, input.dtype))
        _spread(low, input, bias, window, self._windows(window), output)

"""Convolutions of 8-bit integers, and those of quantized numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from numba_rt.dtypes import INT32
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym
from numba_rt.kernels.matmul_integer import (
    centre_images,
    centre_pixels,
    depthwise_integers,
    pack_columns_of_integers,
    packed_words,
)
from numba_rt.ops._checks import check_dtype, check_groups, check_rank, same_dim
from numba_rt.ops._generate import lower_steps
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops._window import Sliding, slide_filters
from numba_rt.ops.binary import Add
from numba_rt.ops.elementwise import Step
from numba_rt.ops.matmul_integer import check_zero, multiplier, multiply_words, no_zero
from numba_rt.ops.quantize import BYTES, step, to_range
from numba_rt.ops.transpose import permute


@dataclass(frozen=True, eq=False)
class Layout:
    """How the windows of a convolution lie in padded images of words, channels last."""

    padded: tuple[int, ...]
    """Three spatial sizes."""
    pixel: int
    """Words of a pixel."""
    starts: np.ndarray
    """First word of each window."""
    taps: np.ndarray
    """First word of each run of words, from there."""
    run: int
    own: int
    """Words of the channels of a group."""

    @property
    def image(self) -> int:
        """Words of an image."""
        return math.prod(self.padded) * self.pixel


@lru_cache(256)
def _arranged(
    kernel: tuple[int, ...],
    strides: tuple[int, ...],
    dilations: tuple[int, ...],
    sizes: tuple[int, ...],
    groups: int,
    channels: int,
) -> Layout:
    """For three spatial axes."""
    padded = tuple(
        (n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(sizes, strides, kernel, dilations, strict=True)
    )
    own = -(-channels // 2)
    pixel = groups * own
    steps = (padded[1] * padded[2] * pixel, padded[2] * pixel, pixel)
    whole = groups == 1 and dilations[2] == 1
    counts = (*kernel[:2], 1) if whole else kernel

    def offsets(numbers: tuple[int, ...], factors: tuple[int, ...]) -> np.ndarray:
        places = np.indices(numbers, np.int64).reshape(3, -1)
        return sum(p * f * s for p, f, s in zip(places, factors, steps, strict=True))  # type: ignore[return-value]

    run = own * kernel[2] if whole else own
    return Layout(padded, pixel, offsets(sizes, strides), offsets(counts, dilations), run, own)


@dataclass(init=False, eq=False, repr=False)
class IntegerConvolution(Op):
    """Convolution of 8-bit integers over 1 to 3 spatial axes."""

    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    group: int = 1
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def shape(self, x: Fact, w: Fact, w_zero_point: Fact | None) -> tuple[Dim, ...]:
        """Shape of the result."""
        check_dtype(x, "x", BYTES)
        check_dtype(w, "w", BYTES)
        check_rank(x, "x", at_least=3)
        check_rank(w, "w", exactly=x.rank)
        assert x.shape is not None and w.shape is not None
        if x.rank > 5:
            raise ShapeError(f"x = {x} has {x.rank - 2} spatial axes: expected at most 3")
        check_groups(x, w, self.group, ("x", "w"))
        check_filters(w_zero_point, "w_zero_point", w)
        return (x.shape[0], w.shape[0], *slide_filters(self, x.shape, w.shape, self.auto_pad).sizes)

    def lower_sums(
        self, low: Lowering, x: View, x_zero: View | None, w: View, w_zero: View | None, sums: View
    ) -> None:
        """The convolution in int32, channels last."""
        window = slide_filters(self, x.shape, w.shape, self.auto_pad)
        filters, channels, taps = w.shape[0], w.shape[1], math.prod(w.shape[2:])
        own, size = filters // self.group, channels * taps
        words = packed_words(-(-channels // 2) * taps, own)
        packed = low.scratch((self.group, 2 * words), np.int16)
        zero = no_zero(low, w.dtype) if w_zero is None else low.flat(w_zero)
        steps = (own, 1) if zero.size > 1 else (0, 0)
        sizes = [self.group, taps, channels, own, own * size, 1, taps, size, *steps]
        g = low.const(np.array(sizes, np.int64))
        low.call(pack_columns_of_integers, low.flat(w), zero, g, low.flat(packed), low.tasks(w.size))
        columns = low.view(packed, (self.group, words), np.int32)
        lower_windows(low, x, x_zero, window, columns, own, sums, last=False)


def _axes(window: Sliding) -> Iterator[tuple[int, ...]]:
    """Kernel, strides, dilations and sizes, for three spatial axes."""
    for numbers in (window.kernel, window.strides, window.dilations, window.sizes):
        yield (*(1,) * (3 - len(numbers)), *map(int, numbers))


def lower_windows(
    low: Lowering,
    x: View,
    x_zero: View | None,
    window: Sliding,
    packed: View,
    own: int,
    sums: View,
    last: bool,
) -> None:
    """sums (images, pixels, filters) of packed filters: a row for each group, with `own` columns; `last`
    says that the channels of x are.
    """
    groups, words = packed.shape
    layout = _arranged(*_axes(window), groups, x.shape[-1 if last else 1] // groups)
    images = x.shape[0]
    made = centred(low, x, x_zero, window, layout, groups, last)
    pixels, filters, n_taps = layout.starts.size, groups * own, layout.taps.size
    g = np.array(
        [images, groups, pixels, own, layout.run, n_taps, 0, filters, 1, layout.image, layout.own,
         0, words, pixels * filters, own],
        np.int64,
    )  # fmt: skip
    source = low.view(made, (made.size // 2,), np.int32)
    work = float(sums.size) * layout.run * n_taps
    multiply_words(low, source, packed, layout.starts, layout.taps, g, sums, work)


def centred(
    low: Lowering, x: View, x_zero: View | None, window: Sliding, layout: Layout, groups: int, last: bool
) -> View:
    """Images less their zero point in 16 bits, padded, channels last."""
    lead = (1,) * (5 - x.rank)
    sizes = x.shape[1:-1] if last else x.shape[2:]
    made = low.scratch((x.shape[0], layout.image * 2), np.int16)
    zero = no_zero(low, x.dtype) if x_zero is None else low.flat(x_zero)
    begins = (*((0,) * len(lead)), *(int(n) for n in window.begins))
    channels = x.shape[-1 if last else 1] // groups
    g = np.array([x.shape[0], groups, channels, *lead, *sizes, *layout.padded, *begins], np.int64)
    centre = centre_pixels if last else centre_images
    low.call(centre, low.flat(x), zero, low.const(g), low.flat(made), low.tasks(made.size))
    return made


def channels_first(low: Lowering, x: View, y: View) -> None:
    """y (images, channels, ...) of x (images, pixels, channels)."""
    pixels = math.prod(y.shape[2:])
    permute(
        low, x, low.view(y, (y.shape[0], y.shape[1], pixels)), (y.shape[0], pixels, y.shape[1]), (0, 2, 1)
    )


@op("PackedConvInteger", domain=OWN)
class PackedConvInteger(Op):
    """The convolution of x - x_zero_point with packed filters, in int32; channels are last."""

    filters: int
    group: int
    auto_pad: str = "NOTSET"
    dilations: tuple[int, ...] | None = None
    kernel_shape: tuple[int, ...] | None = None
    pads: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (INT32,)

    def infer(self, x: Fact, w: Fact, x_zero_point: Fact | None = None) -> Fact:
        check_dtype(x, "x", BYTES)
        check_rank(x, "x", exactly=2 + len(self.kernel_shape or ()))
        assert x.shape is not None
        channels = x.shape[-1]
        wanted = None if isinstance(channels, Sym) else self._weights(channels)
        if wanted is not None and (w.dtype, w.shape) != (wanted.dtype, wanted.shape):
            raise ShapeError(f"w = {w}: expected {self.filters} packed filters of {channels} channels")
        return Fact(INT32, (x.shape[0], *self._window(x.shape).sizes, self.filters))

    def _weights(self, channels: int) -> Fact:
        words = -(-channels // self.group // 2) * math.prod(self.kernel_shape or ())
        return Fact(INT32, (self.group * packed_words(words, self.filters // self.group),))

    def _window(self, shape: Any) -> Sliding:
        shape = (shape[0], shape[-1], *shape[1:-1])
        return slide_filters(self, shape, (self.filters, 1, *(self.kernel_shape or ())), self.auto_pad)

    def flops(self, x: View, w: View, x_zero_point: View | None, y: View) -> int:
        return 2 * y.size * x.shape[-1] // self.group * math.prod(self.kernel_shape or ())

    def lower(self, low: Lowering, x: View, w: View, x_zero_point: View | None, y: View) -> None:
        if y.size:
            packed = low.view(w, (self.group, w.size // self.group))
            own = self.filters // self.group
            lower_windows(low, x, x_zero_point, self._window(x.shape), packed, own, y, last=True)


@op("DepthwiseConvInteger", domain=OWN)
class DepthwiseConvInteger(PackedConvInteger):
    """The same with a filter for each channel by itself, in 16 bits: taps, then channels."""

    def _weights(self, channels: int) -> Fact:
        taps = math.prod(self.kernel_shape or ())
        return Fact(np.dtype(np.int16), (taps * self.filters if channels == self.group else -1,))

    def lower(self, low: Lowering, x: View, w: View, x_zero_point: View | None, y: View) -> None:
        if y.size == 0:
            return
        window = self._window(x.shape)
        kernel, strides, dilations, sizes = _axes(window)
        layout = _arranged(kernel, strides, dilations, sizes, 1, self.filters)
        made = centred(low, x, x_zero_point, window, layout, 1, True)
        numbers = (x.shape[0], self.filters, *layout.padded, *sizes, *strides, *kernel, *dilations)
        g, work = np.array(numbers, np.int64), float(y.size) * math.prod(kernel)
        low.call(depthwise_integers, low.flat(made), w, low.const(g), low.flat(y), low.tasks(work / 2))


def check_filters(part: Fact | None, name: str, w: Fact) -> None:
    """Refuse what is neither one number nor one for each filter."""
    if part is None or part.rank == 0 or part.shape == (1,):
        return
    assert part.shape is not None and w.shape is not None
    if part.rank != 1 or not same_dim(part.shape[0], w.shape[0]):
        raise ShapeError(f"{name} = {part}: expected one number, or one for each of {w.shape[0]} filters")


def check_single(part: Fact | None, name: str) -> None:
    """Refuse what is not one number."""
    if part is not None and part.rank and part.shape != (1,):
        raise ShapeError(f"{name} = {part}: expected one number")


@op("ConvInteger", since=10)
class ConvInteger(IntegerConvolution):
    """The convolution of x - x_zero_point with w - w_zero_point, in int32; padding is 0."""

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (INT32,)

    def infer(
        self, x: Fact, w: Fact, x_zero_point: Fact | None = None, w_zero_point: Fact | None = None
    ) -> Fact:
        made = Fact(INT32, self.shape(x, w, w_zero_point))
        check_zero(x_zero_point, "x_zero_point", x)
        check_zero(w_zero_point, "w_zero_point", w)
        check_single(x_zero_point, "x_zero_point")
        return made

    def lower(
        self, low: Lowering, x: View, w: View, x_zero_point: View | None, w_zero_point: View | None, y: View
    ) -> None:
        if y.size:
            sums = low.scratch((y.shape[0], *y.shape[2:], y.shape[1]), np.int32)
            self.lower_sums(low, x, x_zero_point, w, w_zero_point, sums)
            channels_first(low, sums, y)


@op("QLinearConv", since=10)
class QLinearConv(IntegerConvolution):
    """The convolution of quantized numbers, exact in between, quantized."""

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (facts[7].dtype,)

    def infer(
        self, x: Fact, x_scale: Fact, x_zero_point: Fact, w: Fact, w_scale: Fact, w_zero_point: Fact,
        y_scale: Fact, y_zero_point: Fact, B: Fact | None = None,
    ) -> Fact:  # fmt: skip
        made = Fact(y_zero_point.dtype, self.shape(x, w, w_zero_point))
        check_dtype(y_zero_point, "y_zero_point", BYTES)
        check_zero(x_zero_point, "x_zero_point", x)
        check_zero(w_zero_point, "w_zero_point", w)
        check_filters(w_scale, "w_scale", w)
        single = (("x_scale", x_scale), ("x_zero_point", x_zero_point), ("y_scale", y_scale),
                  ("y_zero_point", y_zero_point))  # fmt: skip
        for name, part in single:
            check_single(part, name)
        if B is not None:
            check_dtype(B, "B", {INT32})
            check_rank(B, "B", exactly=1)
            check_filters(B, "B", w)
        return made

    def lower(
        self, low: Lowering, x: View, x_scale: View, x_zero_point: View, w: View, w_scale: View,
        w_zero_point: View, y_scale: View, y_zero_point: View, B: View | None, y: View,
    ) -> None:  # fmt: skip
        if y.size == 0:
            return
        sums = low.scratch((y.shape[0], *y.shape[2:], y.shape[1]), np.int32)
        self.lower_sums(low, x, x_zero_point, w, w_zero_point, sums)
        scale = multiplier(low, low.view(x_scale, ()), low.flat(w_scale), low.view(y_scale, ()))
        scale = low.view(scale, (scale.size,) if scale.size > 1 else ())
        scaling, zero = to_range(y.dtype, multiply=True), low.view(y_zero_point, ())
        made = low.scratch(sums.shape, y.dtype)
        if B is None:
            step(low, scaling, sums, scale, zero, made)
        else:
            steps = (Step(Add(), (0, 1)), Step(scaling, (4, 2, 3)))
            lower_steps(low, steps, [sums, B, scale, zero], made)
        channels_first(low, made, y)

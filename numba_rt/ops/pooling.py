"""Pooling over windows, of NCHW values and of NHWC images."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import FLOATS, INT64, UINT8
from numba_rt.errors import IndexRangeError, ShapeError
from numba_rt.graph import Dim, Fact, Sym
from numba_rt.jit import Kernel
from numba_rt.kernels import pooling as kernels
from numba_rt.ops._checks import check_dtype, check_rank, known_ints, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops._window import Sliding, slide
from numba_rt.ops.reduce import ReduceMax, lower_runs, reduce_sum

AXES = 3
"""Most spatial axes."""


def spatial(x: Fact, name: str) -> tuple[Dim, ...]:
    """The spatial sizes of an NCHW value."""
    check_rank(x, name, at_least=3)
    assert x.shape is not None
    if x.rank > AXES + 2:
        raise ShapeError(f"{name} = {x} has {x.rank - 2} spatial axes: expected at most {AXES}")
    return x.shape[2:]


Numbers = tuple[int, ...]


@dataclass(init=False, eq=False, repr=False)
class Pool(Op):
    """A number for every place of a window that slides over the spatial axes."""

    kernel_shape: Numbers
    strides: Numbers | None = None
    dilations: Numbers | None = None
    pads: Numbers | None = None
    auto_pad: str = "NOTSET"
    ceil_mode: bool = False

    dtypes: ClassVar[Collection[Any]] = FLOATS

    def window(self, sizes: tuple[Dim, ...]) -> Sliding:
        """The window over spatial axes of these sizes."""
        return slide(
            sizes, self.kernel_shape, strides=self.strides, dilations=self.dilations, pads=self.pads,
            auto_pad=self.auto_pad, ceil_mode=self.ceil_mode,
        )  # fmt: skip

    def check(self, x: Fact) -> tuple[Dim, ...]:
        """Spatial sizes of the output for an NCHW input."""
        check_dtype(x, "X", self.dtypes)
        return self.window(spatial(x, "X")).sizes

    def infer(self, X: Fact) -> Any:
        sizes = self.check(X)
        assert X.shape is not None
        return Fact(X.dtype, (*X.shape[:2], *sizes))


def geometry(window: Sliding, sizes: Numbers) -> np.ndarray:
    """The argument `g` of the kernels."""
    columns = (
        (sizes, 1), (window.sizes, 1), (window.kernel, 1), (window.strides, 1), (window.dilations, 1),
        (window.begins, 0),
    )  # fmt: skip
    lead = AXES - len(sizes)
    numbers = [v for values, fill in columns for v in (*(fill,) * lead, *map(int, values))]
    stride, out, begin = window.strides[-1], int(window.sizes[-1]), int(window.begins[-1])
    for tap in range(window.kernel[-1]):
        shift = tap * window.dilations[-1] - begin
        numbers += [
            max(0, -(shift // stride)),
            max(0, min(out, (sizes[-1] - 1 - shift) // stride + 1)),
            shift,
        ]
    return np.array(numbers, np.int64)


def window_counts(window: Sliding, sizes: Numbers, padding: bool, dtype: Any) -> np.ndarray:
    """Elements of the windows along each axis, one axis after the other; `padding` counts too, or not."""
    out = [np.ones(1)] * (AXES - len(sizes))
    for axis, size in enumerate(sizes):
        begin, end = int(window.begins[axis]), int(window.ends[axis])
        taps = np.arange(window.kernel[axis]) * window.dilations[axis] - begin
        places = np.arange(int(window.sizes[axis]))[:, None] * window.strides[axis] + taps
        low, high = (-begin, size + end) if padding else (0, size)
        out.append(((places >= low) & (places < high)).sum(1))
    return np.concatenate(out).astype(dtype)


def is_whole(window: Sliding, sizes: Numbers) -> bool:
    """Whether the window is all of the input, once."""
    return (
        window.kernel == sizes and not any(window.pads) and set(window.sizes) == {1} == {*window.dilations, 1}
    )


def work(y: View, window: Sliding) -> float:
    """Taps that are read."""
    return y.size * prod(window.kernel)


@op("MaxPool", since=22)
class MaxPool(Pool):
    """The largest element of every window, and where it is."""

    storage_order: int = 0
    n_outputs: int = 1

    dtypes = FLOATS | {UINT8, np.dtype(np.int8)}

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (facts[0].dtype, INT64)[: self.n_outputs]

    def infer(self, X: Fact) -> tuple[Fact, ...]:
        sizes = self.check(X)
        assert X.shape is not None
        shape = (*X.shape[:2], *sizes)
        return (Fact(X.dtype, shape), Fact(INT64, shape))[: self.n_outputs]

    def lower(self, low: Lowering, X: View, Y: View, Indices: View | None = None) -> None:
        if Y.size == 0:
            return
        window = self.window(X.shape[2:])
        first, x, y = ReduceMax.of_nothing(X.dtype), low.flat(X), low.flat(Y)
        g, tasks = low.const(geometry(window, X.shape[2:])), low.tasks(work(Y, window))
        if Indices is not None:
            low.call(kernels.max_positions, x, g, first, self.storage_order == 1, y, low.flat(Indices), tasks)
        elif is_whole(window, X.shape[2:]):
            lower_runs(ReduceMax().reduce, low, X, range(2, X.rank), Y)
        else:
            low.call(kernels.max_planes, x, g, first, y, tasks)


def lower_sum(low: Lowering, x: View, window: Sliding, power: int, padding: bool, y: View) -> None:
    """Averages of windows (power 0) or their norms."""
    if y.size == 0:
        return
    sizes = x.shape[2:]
    if is_whole(window, sizes) and power <= 2:
        finish = (1, 0, 2)[power]
        lower_runs(partial(reduce_sum, power=power, finish=finish), low, x, range(2, x.rank), y)
        return
    g, counts = low.const(geometry(window, sizes)), low.const(window_counts(window, sizes, padding, x.dtype))
    low.call(kernels.sum_planes, low.flat(x), g, power, counts, low.flat(y), low.tasks(work(y, window)))


@op("AveragePool", since=22)
class AveragePool(Pool):
    """The mean of every window."""

    count_include_pad: bool = False

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        lower_sum(low, X, self.window(X.shape[2:]), 0, self.count_include_pad, Y)


@op("LpPool", since=22)
class LpPool(Pool):
    """The p-norm of every window."""

    p: int = 2

    def infer(self, X: Fact) -> Any:
        check_power(self.p)
        return super().infer(X)

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        lower_sum(low, X, self.window(X.shape[2:]), self.p, False, Y)


def check_power(p: int) -> None:
    """Refuse a p that is not the power of a norm."""
    if p < 1:
        raise ShapeError(f"p = {p}: expected at least 1")


@dataclass(init=False, eq=False, repr=False)
class GlobalPool(Op):
    """A number for every channel of every image."""

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", FLOATS)
        check_rank(X, "X", at_least=2)
        assert X.shape is not None
        return Fact(X.dtype, (*X.shape[:2], *(1,) * (X.rank - 2)))


@op("GlobalAveragePool", since=22)
class GlobalAveragePool(GlobalPool):
    """The mean of each channel."""

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        lower_runs(partial(reduce_sum, power=0, finish=1), low, X, range(2, X.rank), Y)


@op("GlobalMaxPool", since=22)
class GlobalMaxPool(GlobalPool):
    """The largest element of each channel."""

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        lower_runs(ReduceMax().reduce, low, X, range(2, X.rank), Y)


@op("GlobalLpPool", since=22)
class GlobalLpPool(GlobalPool):
    """The p-norm of each channel."""

    p: int = 2

    def infer(self, X: Fact) -> Fact:
        check_power(self.p)
        return super().infer(X)

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        if Y.size:
            planes = low.view(X, (*X.shape[:2], prod(X.shape[2:])))
            lower_sum(low, planes, slide(planes.shape[2:], planes.shape[2:]), self.p, False, Y)


@op("MaxUnpool", since=22)
class MaxUnpool(Op):
    """The elements of X at their positions in a larger value, zeros elsewhere."""

    kernel_shape: Numbers
    strides: Numbers | None = None
    pads: Numbers | None = None

    needs_value = (2,)

    def sizes(self, spatial_sizes: tuple[Dim, ...]) -> tuple[Dim, ...]:
        """Spatial sizes of what was pooled, as far as the window tells: positions count through these."""
        rank = len(spatial_sizes)
        strides, pads = self.strides or (1,) * rank, self.pads or (0,) * (2 * rank)
        if len(self.kernel_shape) != rank or len(strides) != rank or len(pads) != 2 * rank:
            raise ShapeError(f"kernel_shape, strides and pads must fit {rank} spatial axes")
        return tuple(
            (size - 1) * strides[i] + self.kernel_shape[i] - pads[i] - pads[rank + i]
            for i, size in enumerate(spatial_sizes)
        )

    def infer(self, X: Fact, I: Fact, output_shape: Fact | None = None) -> Fact:  # noqa: E741
        check_dtype(X, "X", FLOATS)
        check_dtype(I, "I", {INT64})
        sizes = self.sizes(spatial(X, "X"))
        assert X.shape is not None and I.shape is not None
        if X.rank != I.rank or not all(same_dim(a, b) for a, b in zip(X.shape, I.shape, strict=True)):
            raise ShapeError(f"X = {X} and I = {I} must have the same shape")
        if output_shape is None:
            return Fact(X.dtype, (*X.shape[:2], *sizes))
        shape = tuple(known_ints(output_shape, "output_shape"))
        if len(shape) != X.rank or any(
            not isinstance(a, Sym) and not isinstance(b, Sym) and a < b
            for a, b in zip(shape[2:], sizes, strict=False)
        ):
            raise ShapeError(f"output_shape = {list(shape)} must be at least {[*X.shape[:2], *sizes]}")
        return Fact(X.dtype, shape)

    def lower(
        self,
        low: Lowering,
        X: View,
        I: View,  # noqa: E741
        output_shape: View | None,
        output: View,
    ) -> None:
        if output.size == 0:
            return
        lead = (1,) * (AXES + 2 - X.rank)
        sizes, out = ((*lead, *s) for s in (self.sizes(X.shape[2:]), output.shape[2:]))
        status = low.guard(
            lambda bad: IndexRangeError(f"I has the position {bad}, which is outside the output")
        )
        low.call(
            kernels.unpool, low.flat(X), low.flat(I), low.const(np.array(sizes, np.int64)),
            low.const(np.array(out, np.int64)), status, low.flat(output), low.tasks(output.size),
        )  # fmt: skip


class NhwcPool(Pool):
    """Pooling of NHWC images."""

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", self.dtypes)
        check_rank(X, "X", exactly=4)
        assert X.shape is not None
        return Fact(X.dtype, (X.shape[0], *self.window(X.shape[1:3]).sizes, X.shape[3]))

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return run == shape[-1]

    writes_rows = reads_rows


def lower_pixels(low: Lowering, kernel: Kernel, x: View, window: Sliding, y: View, *numbers: Any) -> None:
    """Call a kernel of NHWC images; `numbers` are its own arguments after the geometry."""
    g = geometry(window, x.shape[1:3])
    layout = kernels.pixel_layout(g, x.shape[0], x.shape[3], *(v.pitch or v.shape[3] for v in (x, y)))
    tasks = low.tasks(y.size * sum(window.kernel))
    span, width = map(int, layout[-2:])
    lines, windows = low.scratch((tasks * width,), x.dtype), low.scratch((tasks * span,), x.dtype)
    low.call(
        kernel, low.span(x), low.const(g), low.const(layout), *numbers, lines, windows, low.span(y), tasks
    )  # fmt: skip


@op("NhwcMaxPool", domain=OWN)
class NhwcMaxPool(NhwcPool):
    """MaxPool of NHWC images."""

    dtypes = MaxPool.dtypes

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        if Y.size == 0:
            return
        window = self.window(X.shape[1:3])
        if is_whole(window, X.shape[1:3]) and not X.pitch and not Y.pitch:
            lower_runs(ReduceMax().reduce, low, X, (1, 2), Y)
            return
        lower_pixels(low, kernels.max_pixels, X, window, Y, ReduceMax.of_nothing(X.dtype))


def lower_sum_of_pixels(low: Lowering, x: View, window: Sliding, power: int, padding: bool, y: View) -> None:
    """Like `lower_sum`, of NHWC images."""
    if y.size == 0:
        return
    sizes = x.shape[1:3]
    if is_whole(window, sizes) and power <= 2 and not x.pitch and not y.pitch:
        lower_runs(partial(reduce_sum, power=power, finish=(1, 0, 2)[power]), low, x, (1, 2), y)
        return
    counts = low.const(window_counts(window, sizes, padding, x.dtype))
    lower_pixels(low, kernels.sum_pixels, x, window, y, power, counts)


@op("NhwcAveragePool", domain=OWN)
class NhwcAveragePool(NhwcPool):
    """AveragePool of NHWC images."""

    count_include_pad: bool = False

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        lower_sum_of_pixels(low, X, self.window(X.shape[1:3]), 0, self.count_include_pad, Y)


@op("NhwcLpPool", domain=OWN)
class NhwcLpPool(NhwcPool):
    """LpPool of NHWC images."""

    p: int = 2

    def infer(self, X: Fact) -> Fact:
        check_power(self.p)
        return super().infer(X)

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        lower_sum_of_pixels(low, X, self.window(X.shape[1:3]), self.p, False, Y)

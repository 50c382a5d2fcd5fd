"""Normalisation by statistics over batches or arbitrary axes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOATS
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.kernels import norm as kernels
from numba_rt.ops._checks import check_axes, check_axis, check_dtype, check_rank
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops.elementwise import Elementwise, Step, lower_steps
from numba_rt.ops.norm import COST, check_channels
from numba_rt.ops.reduce import lower_runs, reduce_sum


@dataclass(init=False, eq=False, repr=False)
class Centre(Elementwise):
    """x - mean"""

    expr = "{0} - {1}"


@dataclass(init=False, eq=False, repr=False)
class Standardise(Elementwise):
    """x / (sqrt(variance) + 1e-9)"""

    expr = "{0} / ({T}(np.sqrt({1})) + {T}(1e-9))"


@dataclass(init=False, eq=False, repr=False)
class DivideUnlessZero(Elementwise):
    """x / norm, 0 where the norm is 0."""

    expr = "{T}(0) if {1} == {T}(0) else {0} / {1}"


@dataclass(init=False, eq=False, repr=False)
class Blend(Elementwise):
    """old * momentum + new * (1 - momentum)"""

    momentum: float

    expr = "{0} * {momentum} + {1} * ({T}(1) - {momentum})"


def over_axes(low: Lowering, x: View, axes: tuple[int, ...], power: int, finish: int) -> View:
    """Sums of |x|^power over axes, finished as `kernels.reduce_sum` says; the axes keep size 1."""
    shape = tuple(1 if a in axes else d for a, d in enumerate(x.shape))
    y = low.scratch(shape, x.dtype)
    lower_runs(partial(reduce_sum, power=power, finish=finish), low, x, axes, y)
    return y


def apply(low: Lowering, step: Elementwise, x: View, other: View, y: View) -> None:
    """y = step(x, other), broadcast."""
    lower_steps(low, (Step(step, (0, 1)),), [x, other], y)


def variance(low: Lowering, x: View, axes: tuple[int, ...], centred: View) -> tuple[View, View]:
    """Mean and variance of x over axes; x - mean is written to `centred`."""
    mean = over_axes(low, x, axes, 0, 1)
    apply(low, Centre(), x, mean, centred)
    return mean, over_axes(low, centred, axes, 2, 1)


@op("BatchNormalization", since=15)
class BatchNormalization(Op):
    """(X - mean) / sqrt(var + epsilon) * scale + B per channel, by given statistics or the batch's."""

    epsilon: float = 1e-5
    momentum: float = 0.9
    training_mode: bool = False
    n_outputs: int = 1

    inplace = (0,)

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (facts[0].dtype, facts[3].dtype, facts[3].dtype)[: self.n_outputs]

    def infer(self, X: Fact, scale: Fact, B: Fact, input_mean: Fact, input_var: Fact) -> tuple[Fact, ...]:
        check_rank(X, "X", at_least=1)
        assert X.shape is not None
        channels = X.shape[1] if X.rank > 1 else 1
        vectors = {"scale": scale, "B": B, "input_mean": input_mean, "input_var": input_var}
        for name, fact in {"X": X, **vectors}.items():
            check_dtype(fact, name, FLOATS)
        check_channels(X, channels, **vectors)
        if self.n_outputs > 1 and not self.training_mode:
            raise ShapeError("running_mean and running_var are outputs only with training_mode = 1")
        statistics = Fact(input_mean.dtype, (channels,))
        return (Fact(X.dtype, X.shape), statistics, statistics)[: self.n_outputs]

    def lower(
        self, low: Lowering, X: View, scale: View, B: View, input_mean: View, input_var: View,
        Y: View, *running: View,
    ) -> None:  # fmt: skip
        if Y.size == 0:
            return
        mean, var = input_mean, input_var
        if self.training_mode:
            axes = tuple(a for a in range(X.rank) if a != 1)
            channels = input_mean.shape
            mean, var = variance(low, X, axes, low.scratch(X.shape, X.dtype))
            mean, var = low.view(mean, channels), low.view(var, channels)
            for given, new, made in zip((input_mean, input_var), (mean, var), running, strict=False):
                apply(low, Blend(momentum=self.momentum), given, new, made)
        low.call(
            kernels.batch_norm, low.flat(X), scale, B, mean, var, prod(X.shape[2:]),
            X.dtype.type(self.epsilon), low.flat(Y), low.tasks(X.size * COST),
        )  # fmt: skip


@op("MeanVarianceNormalization", since=13)
class MeanVarianceNormalization(Op):
    """(X - mean) / (standard deviation + 1e-9) over some axes."""

    axes: tuple[int, ...] = (0, 2, 3)

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", FLOATS)
        check_axes(self.axes, X.rank)
        return Fact(X.dtype, X.shape)

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        if Y.size:
            _, var = variance(low, X, check_axes(self.axes, X.rank), Y)
            apply(low, Standardise(), Y, var, Y)


@op("LpNormalization", since=22)
class LpNormalization(Op):
    """The input divided by its p-norm along an axis; 0 where that is 0."""

    axis: int = -1
    p: int = 2

    def infer(self, input: Fact) -> Fact:
        check_dtype(input, "input", FLOATS)
        check_rank(input, "input", at_least=1)
        check_axis(self.axis, input.rank)
        if self.p not in (1, 2):
            raise ShapeError(f"p = {self.p}: expected 1 or 2")
        return Fact(input.dtype, input.shape)

    def lower(self, low: Lowering, input: View, output: View) -> None:
        if output.size:
            axes = (self.axis % input.rank,)
            norm = over_axes(low, input, axes, self.p, 2 if self.p == 2 else 0)
            apply(low, DivideUnlessZero(), input, norm, output)

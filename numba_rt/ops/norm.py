"""Normalisation over trailing axes, over groups of channels and over neighbouring channels."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import FLOAT32, FLOAT64, FLOATS
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.kernels import norm as kernels
from numba_rt.ops._checks import check_axis, check_dtype, check_rank, check_same_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View, remembered
from numba_rt.ops._op import OWN, Op, op

COST = 4
"""Work per element relative to an addition."""
PIECE, MOST_PIECES = 1 << 16, 16
"""Elements of an image whose moments are taken together, and most pieces of an image."""
ROW = 64
"""Fewest elements that loops over channels run over: pixels of few channels are taken together."""


def check_channels(x: Fact, channels: Any, **vectors: Fact) -> None:
    """Refuse vectors that do not have one element per channel."""
    for name, fact in vectors.items():
        check_rank(fact, name, exactly=1)
        assert fact.shape is not None
        if not same_dim(fact.shape[0], channels):
            raise ShapeError(f"{name} = {fact} must have one element for each of {channels} channels")


def check_trailing(x: Fact, axis: int, **factors: Fact | None) -> None:
    """Refuse factors that cannot be broadcast to the axes from `axis` on."""
    assert x.shape is not None
    own = x.shape[axis:]
    for name, fact in factors.items():
        if fact is None:
            continue
        assert fact.shape is not None
        pairs = zip(own[::-1], fact.shape[::-1], strict=False)
        if fact.rank > len(own) or not all(same_dim(f, 1) or same_dim(d, f) for d, f in pairs):
            raise ShapeError(f"{name} = {fact} cannot be broadcast to the normalised axes {list(own)}")


@remembered
def _nothing(dtype: np.dtype[Any]) -> np.ndarray:
    return np.zeros(0, dtype)


def full_vector(low: Lowering, x: View | None, shape: tuple[int, ...], dtype: Any) -> View:
    """A factor with one element for each normalised one; a single zero if it is absent."""
    if x is None:
        return low.const(_nothing(np.dtype(dtype)))
    if x.size == prod(shape):
        return low.flat(x)
    positions = np.broadcast_to(np.arange(x.size).reshape(x.shape), shape).reshape(-1)
    y = low.scratch((prod(shape),), x.dtype)
    low.call(kernels.expand, low.flat(x), low.const(positions), y, 1)
    return y


@op("LayerNormalization", since=17)
class LayerNormalization(Op):
    """(X - mean) / sqrt(variance + epsilon) * Scale + B over the axes from `axis` on."""

    axis: int = -1
    epsilon: float = 1e-5
    stash_type: int = 1
    n_outputs: int = 1

    inplace = (0,)

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (facts[0].dtype, FLOAT32, FLOAT32)[: self.n_outputs]

    def infer(self, X: Fact, Scale: Fact, B: Fact | None = None) -> tuple[Fact, ...]:
        axis = check_layer(self.axis, X, Scale=Scale, B=B)
        assert X.shape is not None
        kept = X.shape[:axis] + (1,) * (X.rank - axis)
        return (Fact(X.dtype, X.shape), Fact(FLOAT32, kept), Fact(FLOAT32, kept))[: self.n_outputs]

    def lower(self, low: Lowering, X: View, Scale: View, B: View | None, Y: View, *statistics: View) -> None:
        if Y.size == 0:
            return
        own = X.shape[self.axis % X.rank :]
        nothing = low.const(_nothing(FLOAT32))
        wanted = [low.flat(s) for s in statistics] + [nothing] * (2 - len(statistics))
        scale, bias = full_vector(low, Scale, own, X.dtype), full_vector(low, B, own, X.dtype)
        low.call(
            kernels.layer_norm, low.flat(X), scale, bias, prod(own), X.dtype.type(self.epsilon), True,
            low.flat(Y), *wanted, low.tasks(X.size * COST),
        )  # fmt: skip


def check_layer(axis: int, x: Fact, **factors: Fact | None) -> int:
    """The first normalised axis of valid inputs."""
    check_dtype(x, "X", FLOATS)
    check_rank(x, "X", at_least=1)
    check_same_dtype(("X", x), *((n, f) for n, f in factors.items() if f is not None))
    axis = check_axis(axis, x.rank)
    check_trailing(x, axis, **factors)
    return axis


@op("RMSNormalization", since=23)
class RMSNormalization(Op):
    """X / sqrt(mean of squares + epsilon) * scale over the axes from `axis` on."""

    axis: int = -1
    epsilon: float = 1e-5
    stash_type: int = 1

    inplace = (0,)

    def infer(self, X: Fact, scale: Fact) -> Fact:
        check_layer(self.axis, X, scale=scale)
        return Fact(X.dtype, X.shape)

    def lower(self, low: Lowering, X: View, scale: View, Y: View) -> None:
        if Y.size == 0:
            return
        own = X.shape[self.axis % X.rank :]
        nothing, factor = low.const(_nothing(FLOAT32)), full_vector(low, scale, own, X.dtype)
        low.call(
            kernels.layer_norm, low.flat(X), factor, full_vector(low, None, own, X.dtype), prod(own),
            X.dtype.type(self.epsilon), False, low.flat(Y), nothing, nothing, low.tasks(X.size * COST),
        )  # fmt: skip


@op("FusedAddLayerNormalization", domain=OWN)
class FusedAddLayerNormalization(Op):
    """LayerNormalization of A + B, and A + B itself; not `centred`: RMSNormalization."""

    axis: int = -1
    epsilon: float = 1e-5
    centred: bool = True

    inplace = (0, 1)

    def infer(self, A: Fact, B: Fact, Scale: Fact, Bias: Fact | None = None) -> tuple[Fact, Fact]:
        check_layer(self.axis, A, Scale=Scale, Bias=Bias)
        check_same_dtype(("A", A), ("B", B))
        assert A.shape is not None and B.shape is not None
        if A.rank != B.rank or not all(same_dim(a, b) for a, b in zip(A.shape, B.shape, strict=True)):
            raise ShapeError(f"A = {A} and B = {B} must have the same shape")
        return Fact(A.dtype, A.shape), Fact(A.dtype, A.shape)

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (facts[0].dtype,) * 2

    def lower(
        self,
        low: Lowering,
        A: View,
        B: View,
        Scale: View,
        Bias: View | None,
        Y: View,
        total: View | None = None,
    ) -> None:
        if Y.size == 0:
            return
        own = A.shape[self.axis % A.rank :]
        scale, bias = full_vector(low, Scale, own, A.dtype), full_vector(low, Bias, own, A.dtype)
        made = low.flat(total) if total is not None else low.scratch((A.size,), A.dtype)
        low.call(
            kernels.add_layer_norm, low.flat(A), low.flat(B), scale, bias, prod(own),
            A.dtype.type(self.epsilon), self.centred, low.flat(Y), made, low.tasks(A.size * COST),
        )  # fmt: skip


class GroupNorm(Op):
    """Normalisation of groups of channels of an image."""

    inplace = (0,)
    names: ClassVar[tuple[str, str, str]] = ("X", "scale", "bias")
    axis: ClassVar[int] = 1
    """Where the channels are."""

    def check(self, *facts: Fact) -> None:
        """Refuse inputs that do not fit together."""
        x, scale, bias = facts
        check_dtype(x, self.names[0], FLOATS)
        check_same_dtype(*zip(self.names, facts, strict=True))
        check_rank(x, self.names[0], at_least=2)
        assert x.shape is not None
        check_channels(x, x.shape[self.axis], **{self.names[1]: scale, self.names[2]: bias})

    def normalise(
        self, low: Lowering, groups: int, epsilon: float, x: View, scale: View, bias: View, y: View
    ) -> None:
        """Normalise each of the groups."""
        if y.size == 0:
            return
        epsilon, tasks = x.dtype.type(epsilon), low.tasks(x.size * COST)
        if self.axis == -1:
            self.normalise_pixels(low, groups, epsilon, x, scale, bias, y, tasks)
            return
        count, segment = x.shape[0] * groups, prod(x.shape[2:])
        low.call(
            kernels.group_norm, low.flat(x), low.flat(scale), low.flat(bias), x.size // count, segment,
            epsilon, low.flat(y), tasks,
        )  # fmt: skip

    def normalise_pixels(
        self, low: Lowering, groups: int, epsilon: Any, x: View, scale: View, bias: View, y: View, tasks: int
    ) -> None:
        """Normalise groups of channels that come last."""
        pixels, channels = prod(x.shape[1:-1]), x.shape[-1]
        pieces = max(1, min(MOST_PIECES, pixels * channels // PIECE, pixels))
        fold = -(-ROW // channels)
        width = fold * channels
        lines, totals = low.scratch((tasks * 3 * width,), x.dtype), low.scratch((tasks * 2 * width,), FLOAT64)
        moments = low.scratch((x.shape[0] * pieces * 2 * channels,), FLOAT64)
        image = low.flat(x)
        low.call(kernels.pixel_moments, image, channels, pixels, pieces, fold, lines, totals, moments, tasks)
        low.call(
            kernels.group_norm_pixels, image, low.flat(scale), low.flat(bias), moments, pixels, groups,
            pieces, fold, epsilon, totals, lines, low.flat(y), tasks,
        )  # fmt: skip


@op("InstanceNormalization", since=22)
class InstanceNormalization(GroupNorm):
    """Each channel of each image to mean 0 and variance 1, times its scale plus its bias."""

    epsilon: float = 1e-5

    names = ("input", "scale", "B")

    def infer(self, input: Fact, scale: Fact, B: Fact) -> Fact:
        self.check(input, scale, B)
        return Fact(input.dtype, input.shape)

    def lower(self, low: Lowering, input: View, scale: View, B: View, output: View) -> None:
        self.normalise(low, input.shape[self.axis], self.epsilon, input, scale, B, output)


@op("GroupNormalization", since=21)
class GroupNormalization(GroupNorm):
    """Each group of channels of an image to mean 0 and variance 1, times channel scales plus biases."""

    num_groups: int
    epsilon: float = 1e-5
    stash_type: int = 1

    def infer(self, X: Fact, scale: Fact, bias: Fact) -> Fact:
        self.check(X, scale, bias)
        assert X.shape is not None
        channels = X.shape[self.axis]
        if self.num_groups < 1 or (not isinstance(channels, Sym) and channels % self.num_groups):
            raise ShapeError(
                f"num_groups = {self.num_groups} does not divide the {channels} channels of X = {X}"
            )
        return Fact(X.dtype, X.shape)

    def lower(self, low: Lowering, X: View, scale: View, bias: View, Y: View) -> None:
        self.normalise(low, self.num_groups, self.epsilon, X, scale, bias, Y)


@op("NhwcInstanceNormalization", domain=OWN)
class NhwcInstanceNormalization(InstanceNormalization):
    """InstanceNormalization of images whose channels come last."""

    axis = -1


@op("NhwcGroupNormalization", domain=OWN)
class NhwcGroupNormalization(GroupNormalization):
    """GroupNormalization of images whose channels come last."""

    axis = -1


@op("LRN", since=13)
class LRN(Op):
    """X / (bias + alpha / size * sum of squares over `size` neighbouring channels) ** beta."""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", FLOATS)
        check_rank(X, "X", at_least=2)
        if self.size < 1:
            raise ShapeError(f"size = {self.size}: expected at least 1")
        return Fact(X.dtype, X.shape)

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        if Y.size == 0:
            return
        real, tasks = X.dtype.type, low.tasks(X.size * (self.size + 10))
        squares = low.scratch((tasks * kernels.COLUMNS,), X.dtype)
        factors = (real(self.alpha / self.size), real(self.beta), real(self.bias))
        low.call(
            kernels.lrn, low.flat(X), *low.rows(X, 1).shape, self.size, *factors, squares, low.flat(Y), tasks
        )  # fmt: skip


@op("NhwcLRN", domain=OWN)
class NhwcLRN(LRN):
    """LRN of images whose channels come last."""

    def lower(self, low: Lowering, X: View, Y: View) -> None:
        if Y.size == 0:
            return
        real, tasks = X.dtype.type, low.tasks(X.size * (self.size + 10))
        factors = (real(self.alpha / self.size), real(self.beta), real(self.bias))
        low.call(kernels.lrn_pixels, low.flat(X), X.shape[-1], self.size, *factors, low.flat(Y), tasks)

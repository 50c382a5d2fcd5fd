"""Expand and Tile: elements repeated along axes."""

from __future__ import annotations

import numpy as np

from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym
from numba_rt.ops._checks import broadcast_shape, known_ints
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._strided import copy_strided, strides_of


@op("Expand", since=13)
class Expand(Op):
    """Broadcast with `shape`, in both directions: a 1 in `shape` keeps the input's size."""

    half = False
    needs_value = (1,)

    def infer(self, input: Fact, shape: Fact) -> Fact:
        target = known_ints(shape, "shape")
        if any(not isinstance(d, Sym) and d < 0 for d in target):
            raise ShapeError(f"shape = {target} contains a negative size")
        return Fact(input.dtype, broadcast_shape(input, Fact(input.dtype, tuple(target))))

    def evaluate(self, input: np.ndarray, shape: np.ndarray) -> np.ndarray:
        target = np.broadcast_shapes(input.shape, tuple(int(d) for d in shape))
        return np.broadcast_to(input, target).copy()

    def lower(self, low: Lowering, input: View, shape: View | None, output: View) -> None:
        sizes = (1,) * (output.rank - input.rank) + input.shape
        axes = [
            (n, 0 if size == 1 else sx, sy)
            for n, size, sx, sy in zip(
                output.shape, sizes, strides_of(sizes), strides_of(output.shape), strict=True
            )
        ]
        copy_strided(low, input, output, axes)


@op("Tile", since=13)
class Tile(Op):
    """The whole input `repeats` times along each axis."""

    half = False
    needs_value = (1,)

    def infer(self, input: Fact, repeats: Fact) -> Fact:
        times = known_ints(repeats, "repeats")
        assert input.shape is not None
        if len(times) != input.rank:
            raise ShapeError(
                f"repeats = {times} has {len(times)} numbers: expected one for each axis of {input}"
            )
        if any(not isinstance(t, Sym) and t < 0 for t in times):
            raise ShapeError(f"repeats = {times} contains a negative number")
        shape: list[Dim] = [n * t for n, t in zip(input.shape, times, strict=True)]
        return Fact(input.dtype, tuple(shape))

    def evaluate(self, input: np.ndarray, repeats: np.ndarray) -> np.ndarray:
        return np.tile(input, [int(t) for t in repeats])

    def lower(self, low: Lowering, input: View, repeats: View, output: View) -> None:
        axes = []
        for n, m, sx, sy in zip(
            input.shape, output.shape, strides_of(input.shape), strides_of(output.shape), strict=True
        ):
            axes += [(m // n if n else 0, 0, n * sy), (n, sx, sy)]
        copy_strided(low, input, output, axes)

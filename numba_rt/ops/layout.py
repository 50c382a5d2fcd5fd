"""Operators that only change the shape of a value."""

from __future__ import annotations

from math import prod

import numpy as np

from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym, Undecided
from numba_rt.ops._checks import check_axes, check_axis, known_ints
from numba_rt.ops._op import Op, op


@op("Identity", since=25)
class Identity(Op):
    """The input itself."""

    view = True
    half = False

    def infer(self, input: Fact) -> Fact:
        return input

    def evaluate(self, input: np.ndarray) -> np.ndarray:
        return input


@op("Reshape", since=25)
class Reshape(Op):
    """Another shape for the same elements; 0 copies a dimension (unless allowzero), -1 is what is left."""

    allowzero: bool = False

    view = True
    half = False
    needs_value = (1,)

    def infer(self, data: Fact, shape: Fact) -> Fact:
        target = known_ints(shape, "shape")
        assert data.shape is not None
        out: list[Dim] = []
        for i, dim in enumerate(target):
            if not isinstance(dim, Sym) and dim == 0 and not self.allowzero:
                if i >= data.rank:
                    raise ShapeError(
                        f"shape = {target} copies dimension {i} of data = {data}, which has none"
                    )
                dim = data.shape[i]
            out.append(dim)
        free = [i for i, d in enumerate(out) if not isinstance(d, Sym) and d == -1]
        if len(free) > 1 or any(not isinstance(d, Sym) and d < -1 for d in out):
            raise ShapeError(
                f"shape = {target} is not a shape: expected at most one -1 and no other negative size"
            )
        if free:
            rest: Dim = 1
            for i, dim in enumerate(out):
                if i != free[0]:
                    rest = rest * dim
            out[free[0]] = _missing_size(data, rest, target)
        _check_size(data, out, target)
        return Fact(data.dtype, tuple(out))

    def evaluate(self, data: np.ndarray, shape: np.ndarray) -> np.ndarray:
        sizes = [int(d) for d in shape]
        if not self.allowzero:
            sizes = [data.shape[i] if d == 0 else d for i, d in enumerate(sizes)]
        return data.reshape(sizes)


def _missing_size(data: Fact, rest: Dim, target: list[Dim]) -> Dim:
    size = data.size
    if not isinstance(rest, Sym) and rest == 0:
        raise ShapeError(f"shape = {target} leaves -1 undetermined for data = {data}")
    if not isinstance(rest, Sym) and not isinstance(size, Sym) and size % rest:
        raise ShapeError(f"data = {data} with {size} elements does not fit into shape {target}")
    return size // rest


def _check_size(data: Fact, out: list[Dim], target: list[Dim]) -> None:
    size: Dim = 1
    for dim in out:
        size = size * dim
    if not isinstance(size, Sym) and not isinstance(data.size, Sym) and size != data.size:
        raise ShapeError(f"data = {data} with {data.size} elements does not fit into shape {target}")


@op("Flatten", since=25)
class Flatten(Op):
    """A matrix: axes before `axis` make its rows, the others its columns."""

    axis: int = 1

    view = True
    half = False

    def infer(self, input: Fact) -> Fact:
        axis = self.axis if self.axis == input.rank else check_axis(self.axis, input.rank)
        assert input.shape is not None
        rows: Dim = 1
        for dim in input.shape[:axis]:
            rows = rows * dim
        columns: Dim = 1
        for dim in input.shape[axis:]:
            columns = columns * dim
        return Fact(input.dtype, (rows, columns))

    def evaluate(self, input: np.ndarray) -> np.ndarray:
        axis = self.axis if self.axis >= 0 else self.axis + input.ndim
        return input.reshape(prod(input.shape[:axis]), prod(input.shape[axis:]))


@op("Squeeze", since=25)
class Squeeze(Op):
    """Without the given axes of size 1, or without all of them."""

    view = True
    half = False
    needs_value = (1,)

    def infer(self, data: Fact, axes: Fact | None = None) -> Fact:
        assert data.shape is not None
        if axes is None:
            if not data.is_static:
                raise Undecided("which sizes are 1 is not known before the model runs")
            gone = tuple(i for i, d in enumerate(data.shape) if d == 1)
        else:
            gone = check_axes([int(a) for a in known_ints(axes, "axes")], data.rank)
        for axis in gone:
            dim = data.shape[axis]
            if not isinstance(dim, Sym) and dim != 1:
                raise ShapeError(
                    f"axis {axis} of data = {data} has size {dim}: only axes of size 1 can be squeezed"
                )
        return Fact(data.dtype, tuple(d for i, d in enumerate(data.shape) if i not in gone))

    def evaluate(self, data: np.ndarray, axes: np.ndarray | None = None) -> np.ndarray:
        return np.squeeze(data, None if axes is None else tuple(int(a) for a in axes.reshape(-1)))


@op("Unsqueeze", since=25)
class Unsqueeze(Op):
    """With axes of size 1 inserted at the given places of the output."""

    view = True
    half = False
    needs_value = (1,)

    def infer(self, data: Fact, axes: Fact) -> Fact:
        wanted = known_ints(axes, "axes")
        assert data.shape is not None
        places = check_axes([int(a) for a in wanted], data.rank + len(wanted))
        rest = iter(data.shape)
        shape = tuple(1 if i in places else next(rest) for i in range(data.rank + len(wanted)))
        return Fact(data.dtype, shape)

    def evaluate(self, data: np.ndarray, axes: np.ndarray) -> np.ndarray:
        rank = data.ndim + axes.size
        return np.expand_dims(data, tuple(int(a) % rank for a in axes.reshape(-1)))

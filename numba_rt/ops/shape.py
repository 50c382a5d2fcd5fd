"""Shape and Size: known as soon as shapes are."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import INT64
from numba_rt.graph import Dim, Fact, Sym, substitute
from numba_rt.ops._op import OWN, Op, op


def shape_value(dims: tuple[Dim, ...]) -> np.ndarray:
    """Dimensions as a value: int64, or objects while some are symbolic."""
    if any(isinstance(d, Sym) for d in dims):
        out = np.empty(len(dims), object)
        out[:] = dims
        return out
    return np.array(dims, np.int64)


@op("Shape", since=25)
class Shape(Op):
    """The shape, or the part of it in [start, end)."""

    start: int = 0
    end: int | None = None

    value_from_shape = True
    half = False

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype[np.int64], ...]:
        return (INT64,)

    def infer(self, data: Fact) -> Fact:
        assert data.shape is not None
        part = data.shape[slice(self.start, self.end)]
        return Fact(INT64, (len(part),), shape_value(part))

    def evaluate(self, data: np.ndarray) -> np.ndarray:
        return np.array(data.shape[slice(self.start, self.end)], np.int64)


@op("Size", since=25)
class Size(Op):
    """The number of elements."""

    value_from_shape = True
    half = False

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype[np.int64], ...]:
        return (INT64,)

    def infer(self, data: Fact) -> Fact:
        return Fact(INT64, (), shape_value((data.size,)).reshape(()))

    def evaluate(self, data: np.ndarray) -> np.ndarray:
        return np.array(data.size, np.int64)


@op("SizeArithmetic", domain=OWN)
class SizeArithmetic(Op):
    """Integers computed from the sizes of the inputs, as the expressions found when the model was loaded."""

    expressions: np.ndarray
    """Sizes and expressions over them, an object array of the output's shape."""
    symbols: tuple[tuple[str, int, int], ...]
    """Each name in the expressions, with the input and the axis whose size it is."""

    value_from_shape = True
    half = False

    def out_dtypes(self, *facts: Fact) -> tuple[np.dtype[np.int64], ...]:
        return (INT64,)

    def infer(self, *sources: Fact) -> Fact:
        sizes = {name: (sources[i].shape or ())[axis] for name, i, axis in self.symbols}
        dims = tuple(substitute(d, sizes) for d in self.expressions.reshape(-1).tolist())
        return Fact(INT64, self.expressions.shape, shape_value(dims).reshape(self.expressions.shape))

    def evaluate(self, *sources: np.ndarray) -> np.ndarray:
        value = self.infer(*(Fact(x.dtype, x.shape) for x in sources)).value
        assert value is not None
        return value

    def key(self) -> object:
        return (type(self), str(self.expressions.tolist()), self.symbols)

    def __str__(self) -> str:
        return f"SizeArithmetic<{self.expressions.tolist()}>"

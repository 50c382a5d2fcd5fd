"""Elementwise operators on any number of values: Sum, Mean, Max, Min, and Clip, which is made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import FLOATS, HALVES, NUMERIC
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym, dim_max, dim_min
from numba_rt.ops._checks import check_dtype, check_same_dtype
from numba_rt.ops._lowering import Lowering
from numba_rt.ops._op import op
from numba_rt.ops.elementwise import Elementwise, exact, quiet


class Variadic(Elementwise):
    """Any number of values of one type."""

    allowed: ClassVar[frozenset[np.dtype[Any]]] = NUMERIC | HALVES

    inplace = (0, 1, 2, 3)
    commutative = True

    def check(self, *facts: Fact) -> None:
        check_same_dtype(*((self.input_name(i), f) for i, f in enumerate(facts)))
        check_dtype(facts[0], "data_0[1]", self.allowed)

    def infer(self, *data_0: Fact) -> Fact:
        if not data_0:
            raise ShapeError("data_0 is missing: expected at least one input")
        return super().infer(*data_0)


def folded(form: str, n: int) -> str:
    """A form of two operands applied to n, from the left."""
    return reduce(lambda left, i: form.format(left, f"{{{i}}}"), range(1, n), "{0}")


@op("Sum", since=13)
class Sum(Variadic):
    """The sum of all inputs"""

    allowed = FLOATS | HALVES

    def expression(self, *dtypes: Any) -> str:
        return folded("({} + {})", len(dtypes))

    def evaluate(self, *data_0: np.ndarray) -> np.ndarray:
        return quiet(reduce, np.add, data_0)


@op("Mean", since=13)
class Mean(Variadic):
    """The mean of all inputs"""

    allowed = FLOATS | HALVES

    def expression(self, *dtypes: Any) -> str:
        return f"{folded('({} + {})', len(dtypes))} / {{T}}({len(dtypes)})"

    def evaluate(self, *data_0: np.ndarray) -> np.ndarray:
        return quiet(reduce, np.add, data_0) / data_0[0].dtype.type(len(data_0))


@op("Max", since=13)
class Max(Variadic):
    """The largest of all inputs; NaN if one is NaN"""

    def expression(self, *dtypes: Any) -> str:
        return folded("ke.maximum({}, {})", len(dtypes))

    def evaluate(self, *data_0: np.ndarray) -> np.ndarray:
        return _extreme(np.maximum, dim_max, *data_0)


@op("Min", since=13)
class Min(Variadic):
    """The smallest of all inputs; NaN if one is NaN"""

    def expression(self, *dtypes: Any) -> str:
        return folded("ke.minimum({}, {})", len(dtypes))

    def evaluate(self, *data_0: np.ndarray) -> np.ndarray:
        return _extreme(np.minimum, dim_min, *data_0)


def _extreme(choose: Callable[..., Any], of_sizes: Callable[..., Any], *data: np.ndarray) -> np.ndarray:
    if any(x.dtype == object for x in data):
        choose = np.frompyfunc(of_sizes, 2, 1)
    return np.asarray(reduce(choose, exact(*data)))


@op("Clip", since=13)
class Clip(Elementwise):
    """The input limited to [min, max]; max where min is greater"""

    inplace = (0,)

    def check(self, *facts: Any) -> None:
        named = [(self.input_name(i), f) for i, f in enumerate(facts) if f is not None]
        check_same_dtype(*named)
        check_dtype(facts[0], "input", NUMERIC | HALVES)
        for name, fact in named[1:]:
            if not isinstance(fact.size, Sym) and fact.size != 1:
                raise ShapeError(f"{name} = {fact}: expected a single number")

    def infer(self, input: Fact, min: Fact | None = None, max: Fact | None = None) -> Fact:
        self.check(input, min, max)
        return Fact(input.dtype, input.shape)

    def expression(self, *dtypes: Any) -> str:
        text = "{0}"
        if len(dtypes) > 1 and dtypes[1] is not None:
            text = "({1} if {0} < {1} else {0})"
        if len(dtypes) > 2 and dtypes[2] is not None:
            text = f"({{2}} if {text} > {{2}} else {text})"
        return text

    def evaluate(
        self, input: np.ndarray, min: np.ndarray | None = None, max: np.ndarray | None = None
    ) -> np.ndarray:
        out = input
        if min is not None:
            out = _extreme(np.maximum, dim_max, out, min.reshape(()))
        return out if max is None else _extreme(np.minimum, dim_min, out, max.reshape(()))

    def lower(self, low: Lowering, *operands: Any) -> None:
        x, *limits, y = operands
        super().lower(low, x, *(None if v is None else low.view(v, ()) for v in limits), y)

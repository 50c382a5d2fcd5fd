"""Comparisons, tests of one number, and the choice they steer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import BOOL, FLOATS, HALVES, NATIVE, NUMERIC, STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.kernels.convert import look_up
from numba_rt.ops._checks import FAR, check_dtype, check_same_dtype
from numba_rt.ops._formats import SMALL_FLOATS, values_of
from numba_rt.ops._generate import stored
from numba_rt.ops._lowering import Lowering
from numba_rt.ops._op import op
from numba_rt.ops.elementwise import Elementwise, quiet


class Comparison(Elementwise):
    """Two values of one type, and whether something holds of them."""

    allowed: ClassVar[frozenset[np.dtype[Any]]] = NUMERIC | HALVES

    inplace = (0, 1)

    def check(self, *facts: Fact) -> None:
        check_same_dtype(("A", facts[0]), ("B", facts[1]))
        check_dtype(facts[0], "A", self.allowed)

    def infer(self, A: Fact, B: Fact) -> Fact:
        return super().infer(A, B)

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        return BOOL


@op("Equal", since=19)
class Equal(Comparison):
    """A == B"""

    expr = "{0} == {1}"
    commutative = True
    allowed = NATIVE | HALVES | {STRING}

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        if A.dtype == object or B.dtype == object:
            return np.frompyfunc(_equal, 2, 1)(A, B)
        return A == B


def _equal(a: Any, b: Any) -> bool:
    """Undecided if that depends on a size."""
    if any(isinstance(x, Sym) and isinstance(y, int) and abs(y) >= FAR for x, y in ((a, b), (b, a))):
        return False
    return a == b if isinstance(a, str) else bool(a == b or not (a < b or a > b))


@op("Greater", since=13)
class Greater(Comparison):
    """A > B"""

    expr = "{0} > {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A > B


@op("Less", since=13)
class Less(Comparison):
    """A < B"""

    expr = "{0} < {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A < B


@op("GreaterOrEqual", since=16)
class GreaterOrEqual(Comparison):
    """A >= B"""

    expr = "{0} >= {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A >= B


@op("LessOrEqual", since=16)
class LessOrEqual(Comparison):
    """A <= B"""

    expr = "{0} <= {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A <= B


class Property(Elementwise):
    """Whether something holds of a float."""

    def check(self, *facts: Fact) -> None:
        check_dtype(facts[0], "X", FLOATS | HALVES | SMALL_FLOATS)

    def infer(self, X: Fact) -> Fact:
        return super().infer(X)

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        return BOOL

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return False

    writes_rows = reads_rows

    def lower(self, low: Lowering, *operands: Any) -> None:
        x, y = operands
        if x.dtype not in SMALL_FLOATS:
            super().lower(low, x, y)
        elif y.size:
            table = low.const(self.evaluate(values_of(x.dtype)))  # type: ignore[attr-defined]
            low.call(look_up, low.view(x, (x.size,), np.uint8), table, low.flat(y), low.tasks(y.size))


@op("IsNaN", since=20)
class IsNaN(Property):
    """Whether X is not a number"""

    expr = "{0} != {0}"

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return np.isnan(X)


@op("IsInf", since=20)
class IsInf(Property):
    """Whether X is infinite, of a sign that is asked for"""

    detect_negative: bool = True
    detect_positive: bool = True

    def expression(self, *dtypes: Any) -> str:
        tests = ["{0} == {T}(np.inf)"] * self.detect_positive + ["{0} == {T}(-np.inf)"] * self.detect_negative
        return " | ".join(f"({t})" for t in tests) or "False"

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        found = np.isinf(X)
        wide = X.astype(np.float64)
        return found & ((wide > 0) & self.detect_positive | (wide < 0) & self.detect_negative)


@op("Where", since=16)
class Where(Elementwise):
    """X where condition holds, else Y"""

    expr = "{1} if {0} else {2}"
    half = False
    inplace = (1, 2)

    def check(self, *facts: Fact) -> None:
        if facts[0].dtype != BOOL:
            raise ShapeError(f"condition = {facts[0]}: expected bool")
        check_same_dtype(("X", facts[1]), ("Y", facts[2]))

    def infer(self, condition: Fact, X: Fact, Y: Fact) -> Fact:
        return super().infer(condition, X, Y)

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        return dtypes[1]

    def evaluate(self, condition: np.ndarray, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        return quiet(np.where, condition.astype(bool), X, Y)

    def lower(self, low: Lowering, *operands: Any) -> None:
        super().lower(low, *(low.rows_apart(x, x.shape, stored(x.dtype)) for x in operands))

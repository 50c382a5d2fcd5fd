"""Functions of one number: arithmetic, rounding, powers, trigonometry."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import FLOATS, HALVES, NUMERIC, UNSIGNED
from numba_rt.graph import Fact
from numba_rt.ops._checks import check_dtype
from numba_rt.ops._op import op
from numba_rt.ops.elementwise import Elementwise, quiet


class Unary(Elementwise):
    """One number, and a result of its type; `formula` is the same for NumPy arrays."""

    formula: ClassVar[Callable[..., Any]]
    allowed: ClassVar[frozenset[np.dtype[Any]]] = FLOATS | HALVES

    inplace = (0,)

    def check(self, *facts: Fact) -> None:
        check_dtype(facts[0], self.input_name(0), self.allowed)

    def infer(self, X: Fact) -> Fact:
        return super().infer(X)

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return quiet(type(self).formula, X)


class UnaryOfInput(Unary):
    """One number, which ONNX calls input."""

    def infer(self, input: Fact) -> Fact:
        return super().infer(input)


@op("Abs", since=13)
class Abs(Unary):
    """|X|"""

    formula = np.abs
    allowed = NUMERIC | HALVES

    def expression(self, *dtypes: Any) -> str:
        return "{0}" if dtypes[0] in UNSIGNED else "abs({0})"


@op("Neg", since=13)
class Neg(Unary):
    """-X"""

    expr = "-{0}"
    formula = np.negative
    allowed = NUMERIC - UNSIGNED | HALVES


@op("Sign", since=13)
class Sign(UnaryOfInput):
    """-1, 0 or 1; NaN for NaN"""

    formula = np.sign
    allowed = NUMERIC | HALVES

    def expression(self, *dtypes: Any) -> str:
        rest = "{0}" if dtypes[0] in UNSIGNED else "({T}(-1) if {0} < {T}(0) else {0})"
        return f"{{T}}(1) if {{0}} > {{T}}(0) else {rest}"


@op("Reciprocal", since=13)
class Reciprocal(Unary):
    """1 / X"""

    expr = "{T}(1) / {0}"
    formula = np.reciprocal


@op("Sqrt", since=13)
class Sqrt(Unary):
    """√X; NaN for negative numbers"""

    expr = "np.sqrt({0})"
    formula = np.sqrt
    cost = 2


@op("Exp", since=13)
class Exp(UnaryOfInput):
    """e to the power of the input"""

    expr = "km.exp({0})"
    formula = np.exp
    cost = 4


@op("Log", since=13)
class Log(UnaryOfInput):
    """The natural logarithm"""

    expr = "km.log({0})"
    formula = np.log
    cost = 5


@op("Erf", since=13)
class Erf(UnaryOfInput):
    """The error function"""

    expr = "km.erf({0})"
    formula = np.vectorize(math.erf, otypes=[np.float64])
    cost = 6


class Rounding(Unary):
    """An integer near X, as a float."""

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return X if X.dtype == object else super().evaluate(X)  # sizes are whole


@op("Floor", since=13)
class Floor(Rounding):
    """The integer at or below X"""

    expr = "np.floor({0})"
    formula = np.floor


@op("Ceil", since=13)
class Ceil(Rounding):
    """The integer at or above X"""

    expr = "np.ceil({0})"
    formula = np.ceil


@op("Round", since=22)
class Round(Rounding):
    """The integer nearest to X, the even one of two"""

    expr = "np.rint({0})"
    formula = np.rint


class Trigonometric(UnaryOfInput):
    """A function that mostly only the C library has."""

    cost = 50


@op("Sin", since=22)
class Sin(Trigonometric):
    """The sine"""

    expr = "km.sin({0})"
    formula = np.sin
    cost = 10


@op("Cos", since=22)
class Cos(Trigonometric):
    """The cosine"""

    expr = "km.cos({0})"
    formula = np.cos
    cost = 10


@op("Tan", since=22)
class Tan(Trigonometric):
    """The tangent"""

    expr = "np.tan({0})"
    formula = np.tan


@op("Asin", since=22)
class Asin(Trigonometric):
    """The inverse of the sine"""

    expr = "np.arcsin({0})"
    formula = np.arcsin


@op("Acos", since=22)
class Acos(Trigonometric):
    """The inverse of the cosine"""

    expr = "np.arccos({0})"
    formula = np.arccos


@op("Atan", since=22)
class Atan(Trigonometric):
    """The inverse of the tangent"""

    expr = "np.arctan({0})"
    formula = np.arctan


@op("Sinh", since=22)
class Sinh(Trigonometric):
    """The hyperbolic sine"""

    expr = "np.sinh({0})"
    formula = np.sinh


@op("Cosh", since=22)
class Cosh(Trigonometric):
    """The hyperbolic cosine"""

    expr = "np.cosh({0})"
    formula = np.cosh


@op("Tanh", since=13)
class Tanh(Trigonometric):
    """The hyperbolic tangent"""

    expr = "km.tanh({0})"
    formula = np.tanh
    cost = 5


@op("Asinh", since=22)
class Asinh(Trigonometric):
    """The inverse of the hyperbolic sine"""

    expr = "np.arcsinh({0})"
    formula = np.arcsinh


@op("Acosh", since=22)
class Acosh(Trigonometric):
    """The inverse of the hyperbolic cosine"""

    expr = "np.arccosh({0})"
    formula = np.arccosh


@op("Atanh", since=22)
class Atanh(Trigonometric):
    """The inverse of the hyperbolic tangent"""

    expr = "np.arctanh({0})"
    formula = np.arctanh

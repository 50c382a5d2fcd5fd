"""Arithmetic on two numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import FLOATS, HALVES, INT32, INT64, INTEGERS, NUMERIC, SIGNED
from numba_rt.graph import Fact, Sym
from numba_rt.ops._checks import check_dtype, check_same_dtype
from numba_rt.ops._op import op
from numba_rt.ops.elementwise import Elementwise, exact, quiet


class Arithmetic(Elementwise):
    """Two numbers of one type, and a result of that type."""

    inplace = (0, 1)

    def check(self, *facts: Fact) -> None:
        check_same_dtype(("A", facts[0]), ("B", facts[1]))
        check_dtype(facts[0], "A", NUMERIC | HALVES)

    def infer(self, A: Fact, B: Fact) -> Fact:
        return super().infer(A, B)


@op("Add", since=14)
class Add(Arithmetic):
    """A + B"""

    expr = "{0} + {1}"
    commutative = True

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return quiet(np.add, *exact(A, B))


@op("Sub", since=14)
class Sub(Arithmetic):
    """A - B"""

    expr = "{0} - {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return quiet(np.subtract, *exact(A, B))


@op("Mul", since=14)
class Mul(Arithmetic):
    """A * B"""

    expr = "{0} * {1}"
    commutative = True

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return quiet(np.multiply, *exact(A, B))


@op("Div", since=14)
class Div(Arithmetic):
    """A / B; of integers rounded toward zero, and 0 where B is 0"""

    def expression(self, *dtypes: Any) -> str:
        if dtypes[0] in SIGNED:
            return "ka.divide({0}, {1})"
        return "{0} / {1}" if dtypes[0] in FLOATS else "{0} // {1} if {1} != {T}(0) else {T}(0)"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        if A.dtype == object or B.dtype == object:
            if A.dtype.kind == "f" or B.dtype.kind == "f":
                raise TypeError("the quotient of a size may be a fraction")
            return np.frompyfunc(_divided, 2, 1)(A, B)
        if A.dtype not in INTEGERS:
            return quiet(np.divide, A, B)
        quotient = quiet(np.floor_divide, A, B)
        if A.dtype in SIGNED:
            quotient = quotient + ((quotient < 0) & (quiet(np.multiply, quotient, B) != A)).astype(A.dtype)
        return np.where(B == 0, A.dtype.type(0), quotient)


def _divided(a: Any, b: Any) -> Any:
    if isinstance(a, Sym) or isinstance(b, Sym):
        return a // b
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


@op("Mod", since=28)
class Mod(Arithmetic):
    """Remainder of A / B: with the sign of B, or of A if fmod; 0 for integers where B is 0"""

    fmod: bool = False

    cost = 40

    def expression(self, *dtypes: Any) -> str:
        if dtypes[0] in FLOATS:
            return "np.fmod({0}, {1})" if self.fmod else "ka.floored_mod({0}, {1})"
        if dtypes[0] in SIGNED:
            return "ka.remainder_like_a({0}, {1})" if self.fmod else "ka.remainder({0}, {1})"
        return "{0} % {1} if {1} != {T}(0) else {T}(0)"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return quiet(np.fmod if self.fmod else np.mod, *exact(A, B))


@op("Pow", since=15)
class Pow(Elementwise):
    """X ** Y, of X's type"""

    inplace = (0,)
    cost = 30

    def check(self, *facts: Fact) -> None:
        check_dtype(facts[0], "X", FLOATS | HALVES | {INT32, INT64})
        check_dtype(facts[1], "Y", NUMERIC | HALVES)

    def infer(self, X: Fact, Y: Fact) -> Fact:
        return super().infer(X, Y)

    def expression(self, *dtypes: Any) -> str:
        base, exponent = dtypes
        if base in INTEGERS and exponent in INTEGERS:
            return "ka.power(int64({0}), int64({1}))"
        if base in INTEGERS:
            return "ka.float_power(float64({0}), float64({1}))"
        return "ka.float_power({0}, {T}({1}))"

    def evaluate(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        if X.dtype.kind in "iu" and Y.dtype.kind in "iu":
            wide = np.frompyfunc(_integer_power, 2, 1)(X, Y)
            return np.asarray(wide, np.int64).astype(X.dtype)
        made = quiet(np.power, X, Y.astype(np.float64 if X.dtype.kind in "iu" else X.dtype))
        return quiet(np.asarray(made).astype, X.dtype)


def _integer_power(base: int, exponent: int) -> int:
    if exponent < 0:
        return base ** (exponent % 2) if base in (1, -1) else 0
    made = pow(base, exponent, 1 << 64)
    return made - (1 << 64) if made >= 1 << 63 else made

"""Activation functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import FLOATS, HALVES, NUMERIC, UNSIGNED
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.ops._checks import check_dtype, check_same_dtype
from numba_rt.ops._op import op
from numba_rt.ops.elementwise import Elementwise, quiet
from numba_rt.ops.unary import Erf, Unary, UnaryOfInput

MICROSOFT = "com.microsoft"


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e**-x) without overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (e + x.dtype.type(1))


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + e**x) without overflow."""
    return np.log1p(np.exp(-np.abs(x))) + np.maximum(x, x.dtype.type(0))


@op("Relu", since=14)
class Relu(Unary):
    """max(X, 0)"""

    # In this order the hardware's maximum keeps NaN.
    expr = "{T}(0) if {0} < {T}(0) else {0}"
    allowed = NUMERIC - UNSIGNED | HALVES

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return np.maximum(X, X.dtype.type(0))


@op("LeakyRelu", since=16)
class LeakyRelu(Unary):
    """X where it is not negative, else alpha * X"""

    alpha: float = 0.01

    expr = "{alpha} * {0} if {0} < {T}(0) else {0}"

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return np.where(X < 0, X.dtype.type(self.alpha) * X, X)


@op("PRelu", since=16)
class PRelu(Elementwise):
    """X where it is not negative, else slope * X; slope broadcasts to the shape of X"""

    expr = "{1} * {0} if {0} < {T}(0) else {0}"
    inplace = (0,)

    def check(self, *facts: Fact) -> None:
        check_same_dtype(("X", facts[0]), ("slope", facts[1]))
        check_dtype(facts[0], "X", NUMERIC | HALVES)

    def infer(self, X: Fact, slope: Fact) -> Fact:
        out = super().infer(X, slope)
        if out.rank != X.rank or any(map(_differ, out.shape or (), X.shape or ())):
            raise ShapeError(f"slope = {slope} cannot be broadcast to the shape of X = {X}")
        return Fact(X.dtype, X.shape)

    def evaluate(self, X: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return np.where(X < 0, quiet(np.multiply, slope, X), X)


def _differ(left: Any, right: Any) -> bool:
    return not isinstance(left, Sym) and not isinstance(right, Sym) and left != right


@op("ThresholdedRelu", since=22)
class ThresholdedRelu(Unary):
    """X where it is above alpha, else 0"""

    alpha: float = 1.0

    expr = "{0} if {0} > {alpha} else {T}(0)"

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return np.where(X.dtype.type(self.alpha) < X, X, X.dtype.type(0))


@op("Elu", since=22)
class Elu(Unary):
    """X where it is not negative, else alpha * (exp(X) - 1)"""

    alpha: float = 1.0

    expr = "{alpha} * (km.exp({0}) - {T}(1)) if {0} < {T}(0) else {0}"
    cost = 4

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return np.where(X < 0, X.dtype.type(self.alpha) * quiet(np.expm1, X), X)


@op("Selu", since=22)
class Selu(Unary):
    """gamma * Elu(X)"""

    alpha: float = 1.67326319217681884765625
    gamma: float = 1.05070102214813232421875

    expr = "{gamma} * ({alpha} * (km.exp({0}) - {T}(1)) if {0} < {T}(0) else {0})"
    cost = 4

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return X.dtype.type(self.gamma) * Elu(alpha=self.alpha).evaluate(X)


@op("Celu", since=28)
class Celu(Unary):
    """max(0, X) + min(0, alpha * (exp(X / alpha) - 1))"""

    alpha: float = 1.0

    expr = "ke.maximum({T}(0), {0}) + ke.minimum({T}(0), {alpha} * (km.exp({0} / {alpha}) - {T}(1)))"
    cost = 5

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        zero, alpha = X.dtype.type(0), X.dtype.type(self.alpha)
        return np.maximum(zero, X) + np.minimum(zero, alpha * quiet(np.expm1, X / alpha))


@op("Sigmoid", since=13)
class Sigmoid(Unary):
    """1 / (1 + exp(-X))"""

    expr = "km.sigmoid({0})"
    formula = sigmoid
    cost = 5


@op("HardSigmoid", since=22)
class HardSigmoid(Unary):
    """max(0, min(1, alpha * X + beta))"""

    alpha: float = 0.2
    beta: float = 0.5

    expr = "ke.maximum({T}(0), ke.minimum({T}(1), {alpha} * {0} + {beta}))"
    cost = 2

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        number = X.dtype.type
        return np.clip(number(self.alpha) * X + number(self.beta), number(0), number(1))


@op("HardSwish", since=22)
class HardSwish(Unary):
    """X * max(0, min(1, X / 6 + 0.5))"""

    expr = "{0} * ke.maximum({T}(0), ke.minimum({T}(1), {0} * {T}(1 / 6) + {T}(0.5)))"
    cost = 2

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return X * HardSigmoid(alpha=1 / 6, beta=0.5).evaluate(X)


@op("Softplus", since=22)
class Softplus(Unary):
    """log(1 + exp(X))"""

    expr = "ka.softplus({0}, {T}(1))"
    formula = softplus
    cost = 10


@op("Softsign", since=22)
class Softsign(UnaryOfInput):
    """X / (1 + |X|)"""

    expr = "{0} / ({T}(1) + abs({0}))"

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return X / (X.dtype.type(1) + np.abs(X))


@op("Mish", since=22)
class Mish(Unary):
    """X * tanh(log(1 + exp(X)))"""

    expr = "ka.mish({0}, {T}(1))"
    cost = 5

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return X * np.tanh(quiet(softplus, X))


class Swishing(Unary):
    """A number times a sigmoid of it."""

    expr = "{0} * km.sigmoid({alpha} * {0})"
    cost = 5

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return X * quiet(sigmoid, X.dtype.type(self.alpha) * X)  # type: ignore[attr-defined]


@op("Swish", since=24)
class Swish(Swishing):
    """X * Sigmoid(alpha * X)"""

    alpha: float = 1.0


@op("QuickGelu", domain=MICROSOFT)
class QuickGelu(Swishing):
    """X * Sigmoid(alpha * X)"""

    alpha: float = 1.702


@op("SwiGLU", since=28)
class SwiGLU(Elementwise):
    """Swish(A) * B, for A and B of the same shape"""

    alpha: float = 1.0

    expr = "{0} * km.sigmoid({alpha} * {0}) * {1}"
    inplace = (0, 1)
    cost = 5

    def check(self, *facts: Fact) -> None:
        check_same_dtype(("A", facts[0]), ("B", facts[1]))
        check_dtype(facts[0], "A", FLOATS | HALVES)

    def infer(self, A: Fact, B: Fact) -> Fact:
        if A.rank != B.rank or any(map(_differ, A.shape or (), B.shape or ())):
            raise ShapeError(f"A = {A} and B = {B}: expected the same shape")
        return super().infer(A, B)

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return Swish(alpha=self.alpha).evaluate(A) * B


ERF_FORM = "{T}(0.5) * {0} * ({T}(1) + km.erf({0} * {T}(0.7071067811865476)))"
TANH_FORM = "{0} * km.sigmoid({0} * ({T}(1.5957691216057308) + {T}(0.07135481282636) * {0} * {0}))"
"""Both forms of Gelu; (1 + tanh(u)) / 2 is the sigmoid of 2 u."""


@op("Gelu", since=20)
class Gelu(Unary):
    """X times the normal distribution's cumulative function, or tanh's approximation of it"""

    approximate: str = "none"

    cost = 7

    def check(self, *facts: Fact) -> None:
        super().check(*facts)
        if self.approximate not in ("none", "tanh"):
            raise ShapeError(f"approximate = {self.approximate!r}: expected none or tanh")

    def expression(self, *dtypes: Any) -> str:
        return TANH_FORM if self.approximate == "tanh" else ERF_FORM

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        wide = X.astype(np.float64)
        if self.approximate == "tanh":
            return wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3))) / 2
        return wide * (1 + Erf().evaluate(wide / np.sqrt(2))) / 2


@op("Gelu", domain=MICROSOFT)
class MicrosoftGelu(Unary):
    """Gelu before it was part of ONNX"""

    expr = ERF_FORM
    cost = 7

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return Gelu().evaluate(X)


class Biased(Elementwise):
    """An activation of a sum with a bias, a vector as long as the last axis."""

    inplace = (0,)
    cost = 7

    def check(self, *facts: Any) -> None:
        given = [f for f in facts if f is not None]
        check_same_dtype(*((self.input_name(i), f) for i, f in enumerate(given)))
        check_dtype(facts[0], self.input_name(0), FLOATS | HALVES)
        if len(given) > 1 and given[1].rank != 1:
            raise ShapeError(f"{self.input_name(1)} = {given[1]}: expected a vector")


def biased(form: str) -> str:
    """An expression of one number for the sum of two."""
    return form.replace("{0}", "({0} + {1})")


@op("BiasGelu", domain=MICROSOFT)
class BiasGelu(Biased):
    """Gelu(A + B)"""

    expr = biased(ERF_FORM)

    def infer(self, A: Fact, B: Fact) -> Fact:
        return super().infer(A, B)

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return Gelu().evaluate(A + B)


@op("FastGelu", domain=MICROSOFT)
class FastGelu(Biased):
    """Gelu(X + bias), approximated by tanh"""

    def infer(self, X: Fact, bias: Fact | None = None) -> Fact:
        return super().infer(X, bias)

    def expression(self, *dtypes: Any) -> str:
        return biased(TANH_FORM) if len(dtypes) > 1 and dtypes[1] is not None else TANH_FORM

    def evaluate(self, X: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
        return Gelu(approximate="tanh").evaluate(X if bias is None else X + bias)


@op("Shrink", since=9)
class Shrink(UnaryOfInput):
    """The input moved toward 0 by bias where it is beyond lambd, else 0"""

    bias: float = 0.0
    lambd: float = 0.5

    expr = "{0} + {bias} if {0} < -{lambd} else ({0} - {bias} if {0} > {lambd} else {bias} - {bias})"
    allowed = NUMERIC | HALVES

    def scalars(self, *dtypes: Any) -> dict[str, Any]:
        number = dtypes[0].type if dtypes[0] in FLOATS else np.float64
        return {"bias": number(self.bias), "lambd": number(self.lambd)}

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        moved = np.where(-self.lambd > X, X + self.bias, np.where(self.lambd < X, X - self.bias, 0))
        return moved.astype(X.dtype)

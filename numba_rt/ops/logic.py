"""Logic of truth values and of bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import BOOL, INTEGERS, SIGNED
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.ops._checks import check_dtype, check_same_dtype
from numba_rt.ops._op import op
from numba_rt.ops.elementwise import Elementwise, quiet


class Logical(Elementwise):
    """Two truth values."""

    commutative = True
    inplace = (0, 1)

    def check(self, *facts: Fact) -> None:
        check_dtype(facts[0], "A", {BOOL})
        check_dtype(facts[1], "B", {BOOL})

    def infer(self, A: Fact, B: Fact) -> Fact:
        return super().infer(A, B)


@op("And", since=7)
class And(Logical):
    """A and B"""

    expr = "{0} & {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A & B


@op("Or", since=7)
class Or(Logical):
    """A or B"""

    expr = "{0} | {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A | B


@op("Xor", since=7)
class Xor(Logical):
    """Either A or B"""

    expr = "{0} != {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A ^ B


@op("Not", since=1)
class Not(Elementwise):
    """Not X"""

    expr = "not {0}"
    inplace = (0,)

    def check(self, *facts: Fact) -> None:
        check_dtype(facts[0], "X", {BOOL})

    def infer(self, X: Fact) -> Fact:
        return super().infer(X)

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return np.logical_not(X)


class Bitwise(Elementwise):
    """Two integers of one type."""

    commutative = True
    inplace = (0, 1)

    def check(self, *facts: Fact) -> None:
        check_same_dtype(("A", facts[0]), ("B", facts[1]))
        check_dtype(facts[0], "A", INTEGERS)

    def infer(self, A: Fact, B: Fact) -> Fact:
        return super().infer(A, B)


@op("BitwiseAnd", since=18)
class BitwiseAnd(Bitwise):
    """Bits that are set in A and in B"""

    expr = "{0} & {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A & B


@op("BitwiseOr", since=18)
class BitwiseOr(Bitwise):
    """Bits that are set in A or in B"""

    expr = "{0} | {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A | B


@op("BitwiseXor", since=18)
class BitwiseXor(Bitwise):
    """Bits that differ between A and B"""

    expr = "{0} ^ {1}"

    def evaluate(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        return A ^ B


@op("BitwiseNot", since=18)
class BitwiseNot(Elementwise):
    """All bits of X inverted"""

    expr = "~{0}"
    inplace = (0,)

    def check(self, *facts: Fact) -> None:
        check_dtype(facts[0], "X", INTEGERS)

    def infer(self, X: Fact) -> Fact:
        return super().infer(X)

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        return ~X


@op("BitShift", since=28)
class BitShift(Elementwise):
    """The bits of X moved by Y places. Right shifts copy the sign; a Y that is negative or not
    less than X's width moves out all bits.
    """

    direction: str

    inplace = (0, 1)

    def check(self, *facts: Fact) -> None:
        check_same_dtype(("X", facts[0]), ("Y", facts[1]))
        check_dtype(facts[0], "X", INTEGERS)
        if self.direction not in ("LEFT", "RIGHT"):
            raise ShapeError(f"direction = {self.direction!r}: expected LEFT or RIGHT")

    def infer(self, X: Fact, Y: Fact) -> Fact:
        return super().infer(X, Y)

    def expression(self, *dtypes: Any) -> str:
        bits = dtypes[0].itemsize * 8
        wide = "int64" if dtypes[0] in SIGNED else "uint64"
        inside = f"({wide}({{1}}) >= {wide}(0)) & ({wide}({{1}}) < {wide}({bits}))"
        if self.direction == "LEFT":
            return f"{wide}({{0}}) << {wide}({{1}}) if {inside} else {wide}(0)"
        out = f"{wide}({{0}}) >> {wide}(63)" if dtypes[0] in SIGNED else f"{wide}(0)"
        return f"{wide}({{0}}) >> {wide}({{1}}) if {inside} else {out}"

    def evaluate(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        # NumPy defines shifts by the width and more; a negative place is such a one as unsigned.
        return quiet(np.left_shift if self.direction == "LEFT" else np.right_shift, X, Y)

"""Binary arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.dtypes import NUMERIC
from numba_rt.graph import Fact
from numba_rt.ops._checks import check_dtype, check_same_dtype
from numba_rt.ops._op import op
from numba_rt.ops.elementwise import Elementwise


class Arithmetic(Elementwise):
    """Two numbers of one type, and a result of that type."""

    inplace = (0, 1)

    def check(self, *facts: Fact) -> None:
        check_same_dtype(("A", facts[0]), ("B", facts[1]))
        check_dtype(facts[0], "A", NUMERIC)

    def infer(self, A: Fact, B: Fact) -> Fact:  # type: ignore[override]
        return super().infer(A, B)


@op("Add", since=14)
class Add(Arithmetic):
    """A + B"""

    expr = "{0} + {1}"
    commutative = True

    def evaluate(self, A: Any, B: Any) -> np.ndarray:
        return A + B

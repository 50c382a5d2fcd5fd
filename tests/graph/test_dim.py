"""Symbolic sizes: arithmetic agrees with integers, and what follows from sizes >= 0 is decided."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_rt.graph import Dim, Sym, Undecided, dim_max, dim_min, fresh_dim, substitute

N, M = Sym("n"), Sym("m")


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> Dim:
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from([N, M, 0, 1, 2, 3, -1]))
    left, right = draw(expressions(depth - 1)), draw(expressions(depth - 1))
    kind = draw(st.sampled_from(["+", "-", "*", "//", "max", "min"]))
    if kind == "//":
        return left // draw(st.integers(1, 4))
    made: dict[str, Any] = {
        "+": operator.add, "-": operator.sub, "*": operator.mul, "max": dim_max, "min": dim_min
    }  # fmt: skip
    return made[kind](left, right)


@settings(max_examples=200)
@given(expressions(), expressions(), st.integers(0, 5), st.integers(0, 5))
def test_what_is_decided_holds_for_all_sizes(left: Dim, right: Dim, n: int, m: int) -> None:
    sizes: dict[str, Dim] = {"n": n, "m": m}
    a, b = substitute(left, sizes), substitute(right, sizes)
    for compare in (operator.lt, operator.le, operator.gt, operator.ge):
        try:
            decided = compare(left, right)
        except Undecided:
            continue
        assert decided == compare(a, b)
    assert substitute(dim_max(left, right), sizes) == max(a, b)
    assert substitute(dim_min(left, right), sizes) == min(a, b)


def test_sizes_are_at_least_zero() -> None:
    assert N >= 0
    assert not N < 0
    assert N + 1 > 0
    assert N // 2 >= 0
    assert N + M >= M
    assert dim_max(N, 0) == N
    assert dim_min(N * M, 0) == 0
    assert dim_min(N, N + 1) == N


@pytest.mark.parametrize("question", [lambda: N > 0, lambda: N < 5, lambda: N - 3 < 0, lambda: N < M])
def test_what_depends_on_sizes_is_undecided(question: Any) -> None:
    with pytest.raises(Undecided):
        question()


def test_fresh_sizes_are_equal_to_no_other() -> None:
    assert fresh_dim("nonzero") != fresh_dim("nonzero")

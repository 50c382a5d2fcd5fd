"""Checks that operators share: axes, ranks, dtypes, broadcasting."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from numba_rt.dtypes import FLOAT32, HALVES, dtype_name
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Sym, Undecided, dim_max

FAR = 10**9
"""More than any size: where a slice that ends here, or further, has no end; tf2onnx writes this number."""


def check_axis(axis: int, rank: int, what: str = "axis") -> int:
    """`axis` as a non-negative number below `rank`."""
    if not -rank <= axis < rank:
        raise ShapeError(f"{what} = {axis} is out of range for rank {rank}: expected {-rank} to {rank - 1}")
    return axis % rank


def check_axes(axes: Sequence[int], rank: int, what: str = "axes") -> tuple[int, ...]:
    """Every axis normalised; each at most once."""
    out = tuple(check_axis(int(a), rank, what) for a in axes)
    if len(set(out)) != len(out):
        raise ShapeError(f"{what} = {list(axes)} names an axis twice")
    return out


def check_rank(fact: Fact, name: str, at_least: int = 0, exactly: int | None = None) -> None:
    """Refuse a value with the wrong number of axes."""
    if exactly is not None and fact.rank != exactly:
        raise ShapeError(f"{name} = {fact} has rank {fact.rank}: expected {exactly}")
    if fact.rank < at_least:
        raise ShapeError(f"{name} = {fact} has rank {fact.rank}: expected at least {at_least}")


def check_dtype(fact: Fact, name: str, allowed: Collection[np.dtype[Any]]) -> None:
    """Refuse a value whose dtype the operator does not take; 16-bit floats will become float32."""
    widened = FLOAT32 if fact.dtype in HALVES else fact.dtype
    if fact.dtype not in allowed and widened not in allowed:
        names = ", ".join(sorted(dtype_name(d) for d in allowed))
        raise ShapeError(f"{name} = {fact}: expected one of {names}")


def check_same_dtype(*named: tuple[str, Fact]) -> None:
    """Refuse values of different dtypes where the standard asks for one type."""
    if len({fact.dtype for _, fact in named}) > 1:
        raise ShapeError("expected the same dtype, found " + ", ".join(f"{n} = {f}" for n, f in named))


def same_dim(left: Dim, right: Dim) -> bool:
    """Whether two dimensions may be equal: False only if both are known and differ."""
    return isinstance(left, Sym) or isinstance(right, Sym) or left == right


def check_groups(x: Fact, w: Fact, group: int, names: tuple[str, str] = ("X", "W")) -> None:
    """Channels of an image (b, c, ...) and filters (oc, c / group, ...) fit each other."""
    assert x.shape is not None and w.shape is not None
    channels, (filters, own) = x.shape[1], w.shape[:2]
    if group < 1 or not same_dim(channels, own * group):
        raise ShapeError(
            f"{names[0]} = {x} has {channels} channels: expected {own} for each of {group} groups of "
            f"{names[1]} = {w}"
        )
    if isinstance(filters, int) and filters % group:
        raise ShapeError(f"{names[1]} = {w} has {filters} filters, which group = {group} does not divide")


def broadcast_dim(left: Dim, right: Dim) -> Dim:
    """The common size of two dimensions under NumPy's rules."""
    if left == right or (not isinstance(right, Sym) and right == 1):
        return left
    if not isinstance(left, Sym) and left == 1:
        return right
    if isinstance(left, Sym) and isinstance(right, Sym):
        return dim_max(left, right)
    if isinstance(left, Sym):
        return right
    if isinstance(right, Sym):
        return left
    raise ShapeError(f"sizes {left} and {right} cannot be broadcast together")


def broadcast_shape(*facts: Fact) -> tuple[Dim, ...]:
    """The common shape of several values under NumPy's (and ONNX's) rules."""
    rank = max(f.rank for f in facts)
    out: list[Dim] = [1] * rank
    for fact in facts:
        assert fact.shape is not None
        for i, dim in enumerate(fact.shape, rank - fact.rank):
            try:
                out[i] = broadcast_dim(out[i], dim)
            except ShapeError:
                shapes = ", ".join(str(f) for f in facts)
                raise ShapeError(f"shapes cannot be broadcast together: {shapes}") from None
    return tuple(out)


def known_value(fact: Fact | None, name: str) -> np.ndarray:
    """The value of an input that decides the output's shape; Undecided while it is not known."""
    if fact is None:
        raise ShapeError(f"{name} is missing")
    if fact.value is None:
        raise Undecided(f"{name} is not known before the model runs")
    return fact.value


def known_ints(fact: Fact | None, name: str) -> list[Dim]:
    """A known value as a list of dimensions."""
    return [d if isinstance(d, Sym) else int(d) for d in known_value(fact, name).reshape(-1).tolist()]

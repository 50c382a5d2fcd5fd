"""Sequences and optionals: positions, joins, splits, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numba_rt.errors import IndexRangeError, ShapeError
from numba_rt.graph import Fact
from numba_rt.ops import get
from numba_rt.ops._eager import run_op

A, B, C = (np.full((2, 3), v, np.float32) for v in (1, 2, 3))


def run(op_type: str, *inputs: Any, **attributes: Any) -> Any:
    cls = get("", op_type)
    assert cls is not None
    return run_op(cls(**attributes), inputs, 1)[0]


def at(position: int) -> np.ndarray:
    return np.array(position)


def firsts(sequence: list[np.ndarray]) -> list[float]:
    return [float(x.flat[0]) for x in sequence]


def test_construct_and_count() -> None:
    assert firsts(run("SequenceConstruct", A, B)) == [1, 2]
    assert run("SequenceLength", [A, B]) == 2
    assert run("SequenceEmpty") == []


@pytest.mark.parametrize(("position", "expected"), [(0, 1), (2, 3), (-1, 3), (-3, 1)])
def test_at(position: int, expected: float) -> None:
    assert run("SequenceAt", [A, B, C], at(position)).flat[0] == expected


@pytest.mark.parametrize(
    ("position", "expected"), [(None, [1, 2, 3]), (0, [3, 1, 2]), (-1, [1, 3, 2]), (2, [1, 2, 3])]
)
def test_insert(position: int | None, expected: list[float]) -> None:
    sequence = [A, B]
    assert firsts(run("SequenceInsert", sequence, C, None if position is None else at(position))) == expected
    assert len(sequence) == 2


@pytest.mark.parametrize(("position", "expected"), [(None, [1, 2]), (0, [2, 3]), (-2, [1, 3])])
def test_erase(position: int | None, expected: list[float]) -> None:
    assert firsts(run("SequenceErase", [A, B, C], None if position is None else at(position))) == expected


@pytest.mark.parametrize(
    ("op_type", "inputs"),
    [
        ("SequenceAt", ([A], at(1))),
        ("SequenceAt", ([A], at(-2))),
        ("SequenceAt", ([], at(0))),
        ("SequenceInsert", ([A], B, at(2))),
        ("SequenceErase", ([A], at(1))),
        ("SequenceErase", ([],)),
    ],
)
def test_positions_out_of_range(op_type: str, inputs: Any) -> None:
    with pytest.raises(IndexRangeError):
        run(op_type, *inputs)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_join(axis: int) -> None:
    np.testing.assert_array_equal(run("ConcatFromSequence", [A, B], axis=axis), np.concatenate((A, B), axis))
    np.testing.assert_array_equal(
        run("ConcatFromSequence", [A, B], axis=axis, new_axis=True), np.stack((A, B), axis)
    )


@pytest.mark.parametrize(("sequence", "axis"), [([], 0), ([A], 2), ([A, A[:1]], 1)])
def test_what_cannot_be_joined(sequence: Any, axis: int) -> None:
    with pytest.raises(ShapeError):
        run("ConcatFromSequence", sequence, axis=axis)


X = np.arange(15, dtype=np.float32).reshape(5, 3)


@pytest.mark.parametrize(
    ("split", "attributes", "sizes"),
    [
        (None, {}, [(1, 3)] * 5),
        (None, {"keepdims": False}, [(3,)] * 5),
        (None, {"axis": -1}, [(5, 1)] * 3),
        (at(2), {}, [(2, 3), (2, 3), (1, 3)]),
        (np.array([4, 0, 1]), {}, [(4, 3), (0, 3), (1, 3)]),
    ],
)
def test_split(split: Any, attributes: Any, sizes: Any) -> None:
    parts = run("SplitToSequence", X, split, **attributes)
    assert [p.shape for p in parts] == sizes
    assert all(p.flags.c_contiguous for p in parts)
    joined = (
        np.stack(parts)
        if attributes.get("keepdims") is False
        else np.concatenate(parts, attributes.get("axis", 0))
    )
    np.testing.assert_array_equal(joined, X)


def test_split_of_nothing() -> None:
    assert run("SplitToSequence", X[:0], at(2)) == []


@pytest.mark.parametrize("split", [at(0), at(-1), np.array([2, 2]), np.array([6, -1])])
def test_bad_splits(split: np.ndarray) -> None:
    with pytest.raises(ShapeError, match="split = "):
        run("SplitToSequence", X, split)


def test_optionals() -> None:
    assert run("Optional", A) is A
    assert run("Optional", type=Fact(A.dtype, None)) is None
    assert run("OptionalHasElement", A)
    assert not run("OptionalHasElement", None)
    assert run("OptionalGetElement", [A]) == [A]
    with pytest.raises(ShapeError, match="holds nothing"):
        run("OptionalGetElement", None)


@pytest.mark.parametrize("op_type", ["SequenceAt", "SequenceErase", "SequenceInsert", "SequenceLength"])
def test_tensors_are_no_sequences(op_type: str) -> None:
    cls = get("", op_type)
    assert cls is not None
    facts = [Fact.of(A)] * (1 if op_type == "SequenceLength" else 2)
    with pytest.raises(ShapeError, match="expected a sequence"):
        cls().infer(*facts)

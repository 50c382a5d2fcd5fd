"""Operators that move data, on random shapes, against NumPy, with one task and with two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_rt.graph import Fact, Graph, Sym
from numba_rt.model import Model
from numba_rt.ops import _lowering, get
from numba_rt.ops._eager import run_op
from numba_rt.ops._infer import infer

SIZES = st.integers(1, 5) | st.sampled_from([0, 1, 1, 17, 33])
DTYPES = st.sampled_from([np.float32, np.float32, np.int8])


@pytest.fixture(autouse=True)
def share_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lowering, "SERIAL_WORK", 0)


def check(op_type: str, inputs: list[np.ndarray], expected: np.ndarray, **attributes: Any) -> None:
    """Both task counts and symbolic shapes give what NumPy says."""
    cls = get("", op_type)
    assert cls is not None
    op = cls(**attributes)
    for threads in (1, 2):
        (got,) = run_op(op, [x.copy() for x in inputs], 1, threads=threads)
        np.testing.assert_array_equal(got, expected)
    (evaluated,) = [op.evaluate(*inputs)]  # type: ignore[attr-defined]
    np.testing.assert_array_equal(evaluated, expected)
    sizes = {f"d{i}": n for i, n in enumerate(inputs[0].shape)}
    symbolic = Fact(inputs[0].dtype, tuple(Sym(name) for name in sizes))
    (fact,) = infer(op, [symbolic, *(Fact.of(x) for x in inputs[1:])], 1)
    if fact.shape is not None:
        shape = tuple(d.substitute(sizes) if isinstance(d, Sym) else d for d in fact.shape)
        assert shape == expected.shape


@st.composite
def arrays(draw: st.DrawFn, low: int = 0, high: int = 5) -> np.ndarray:
    shape = tuple(draw(st.lists(SIZES, min_size=low, max_size=high)))
    while np.prod(shape) > 20_000:
        shape = shape[:-1]
    return np.arange(np.prod(shape, dtype=int)).astype(draw(DTYPES)).reshape(shape)


@settings(deadline=None, max_examples=60)
@given(arrays(), st.randoms())
def test_transpose(x: np.ndarray, random: Any) -> None:
    perm = list(range(x.ndim))
    random.shuffle(perm)
    check("Transpose", [x], np.transpose(x, perm), perm=tuple(perm))


@settings(deadline=None, max_examples=80)
@given(arrays(1), st.data())
def test_slice(x: np.ndarray, data: st.DataObject) -> None:
    axes = data.draw(st.lists(st.integers(0, x.ndim - 1), unique=True, min_size=1))
    bound = st.integers(-20, 20) | st.sampled_from([2**63 - 1, -(2**63)])
    parts = [(data.draw(bound), data.draw(bound), data.draw(st.integers(-3, 3).filter(bool))) for _ in axes]
    index: list[slice] = [slice(None)] * x.ndim
    for axis, (start, end, step) in zip(axes, parts, strict=True):
        index[axis] = slice(*_clamped(x.shape[axis], start, end, step))
    starts, ends, steps = (np.array(v, np.int64) for v in zip(*parts, strict=True))
    check("Slice", [x, starts, ends, np.array(axes, np.int64), steps], x[tuple(index)])


def _clamped(n: int, start: int, end: int, step: int) -> tuple[int | None, int | None, int]:
    """Bounds for a Python slice, as the standard words it."""
    start, end = (v + n if v < 0 else v for v in (start, end))
    if step > 0:
        return min(max(start, 0), n), min(max(end, 0), n), step
    start, end = min(max(start, 0), n - 1), min(max(end, -1), n - 1)
    return (start if n else 0), (None if end < 0 else end), step


@settings(deadline=None, max_examples=80)
@given(arrays(1), st.sampled_from(["constant", "reflect", "edge", "wrap"]), st.data())
def test_pad(x: np.ndarray, mode: str, data: st.DataObject) -> None:
    amounts = []
    for n in x.shape:
        few = st.integers(0, 4) | st.just(0)
        before, after = data.draw(few), data.draw(few)
        if mode != "constant" and n == 0:
            before = after = 0
        amounts.append((before, after))
    pads = np.array(amounts, np.int64).T.reshape(-1)
    check("Pad", [x, pads], np.pad(x, amounts, mode=mode), mode=mode)  # type: ignore[call-overload]


@settings(deadline=None, max_examples=40)
@given(arrays(1, 4), st.data())
def test_pad_takes_away(x: np.ndarray, data: st.DataObject) -> None:
    amounts, index = [], []
    for n in x.shape:
        before = data.draw(st.integers(0, n))
        after = data.draw(st.integers(0, n - before))
        amounts.append((-before, -after))
        index.append(slice(before, n - after))
    check("Pad", [x, np.array(amounts, np.int64).T.reshape(-1)], x[tuple(index)])


@settings(deadline=None, max_examples=40)
@given(arrays(0, 4), st.data())
def test_expand(x: np.ndarray, data: st.DataObject) -> None:
    target = [data.draw(st.sampled_from([1, n] if n != 1 else [0, 1, 3, 9])) for n in x.shape]
    lead = data.draw(st.lists(st.integers(0, 3), max_size=2))
    cut = data.draw(st.integers(0, len(target))) if not lead else 0
    shape = np.array([*lead, *target[cut:]], np.int64)
    check("Expand", [x, shape], np.broadcast_to(x, np.broadcast_shapes(x.shape, tuple(shape))))


@settings(deadline=None, max_examples=40)
@given(arrays(1, 4), st.data())
def test_tile(x: np.ndarray, data: st.DataObject) -> None:
    repeats = [data.draw(st.integers(0, 3)) for _ in x.shape]
    check("Tile", [x, np.array(repeats, np.int64)], np.tile(x, repeats))


@settings(deadline=None, max_examples=60)
@given(arrays(1, 4), st.data())
def test_gather(x: np.ndarray, data: st.DataObject) -> None:
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    n = x.shape[axis]
    shape = tuple(data.draw(st.lists(st.integers(0, 4), max_size=2))) if n else (0,)
    seed = data.draw(st.integers(0, 99))
    indices = np.random.default_rng(seed).integers(-n, max(n, 1), shape)
    indices = indices.astype(data.draw(st.sampled_from([np.int32, np.int64])))
    check("Gather", [x, indices], np.take(x, indices, axis), axis=axis)


@settings(deadline=None, max_examples=60)
@given(arrays(1, 4).filter(lambda x: x.size > 0), st.data())
def test_scatter_nd(x: np.ndarray, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, x.ndim))
    rows = np.random.default_rng(data.draw(st.integers(0, 99))).permutation(int(np.prod(x.shape[:k])))
    rows = rows[: data.draw(st.integers(0, min(rows.size, 40)))]
    indices = np.stack(np.unravel_index(rows, x.shape[:k]), -1) - np.array(x.shape[:k]) * (rows % 2)[:, None]
    updates = -np.arange(rows.size * int(np.prod(x.shape[k:]))).astype(x.dtype).reshape(-1, *x.shape[k:])
    expected = x.copy()
    expected[tuple(indices.T)] = updates
    check("ScatterND", [x, indices.astype(np.int64), updates], expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_scatter_over_its_own_data(threads: int) -> None:
    """Large enough that tasks meet: duplicates add up in order, in place."""
    rng = np.random.default_rng(0)
    data, updates = rng.integers(0, 9, (50_000, 3)), rng.integers(0, 9, (80_000, 3))
    indices = rng.integers(0, 50_000, (80_000, 1))
    expected = data.copy()
    np.add.at(expected, indices[:, 0], updates)
    cls = get("", "ScatterND")
    assert cls is not None
    (got,) = run_op(cls(reduction="add"), [data, indices, updates], 1, threads=threads, over=0)
    np.testing.assert_array_equal(got, expected)
    assert got.ctypes.data == data.ctypes.data


def infer_shape(op_type: str, *facts: Fact | None, **attributes: Any) -> list[str]:
    cls = get("", op_type)
    assert cls is not None
    made = infer(cls(**attributes), facts, attributes.get("n_outputs", 1))
    return [str(f) for f in made]


def ints(*values: Any) -> Fact:
    if all(isinstance(v, int) for v in values):
        return Fact.of(np.array(values, np.int64))
    known = np.empty(len(values), object)
    known[:] = values
    return Fact(np.dtype(np.int64), (len(values),), known)


def test_symbolic_shapes() -> None:
    n, b = Sym("n"), Sym("b")
    x = Fact(np.dtype(np.float32), (b, n, 12))
    assert infer_shape("Slice", x, ints(0), ints(2**63 - 1), ints(1)) == ["float32[b, n, 12]"]
    assert infer_shape("Slice", x, ints(0), ints(6), ints(2)) == ["float32[b, n, 6]"]
    assert infer_shape("Slice", x, ints(0), ints(n), ints(1)) == ["float32[b, n, 12]"]
    assert infer_shape("Slice", x, ints(-1), ints(-(2**63)), ints(1), ints(-1)) == ["float32[b, n, 12]"]
    assert infer_shape("Slice", x, ints(1), ints(2**31 - 1), ints(1)) == ["float32[b, -min(1,n)+n, 12]"]
    table = Fact(np.dtype(np.float32), (1, 512, 12))
    assert infer_shape("Slice", table, ints(0), ints(n), ints(1)) == ["float32[1, min(512,n), 12]"]
    assert infer_shape("Concat", x, x, axis=1) == ["float32[b, 2*n, 12]"]
    thrice = Fact(np.dtype(np.float32), (b, 3 * n))
    assert infer_shape("Split", thrice, axis=1, num_outputs=3, n_outputs=3) == ["float32[b, n]"] * 3
    parts = ["float32[b, n, 4]", "float32[b, n, 8]"]
    assert infer_shape("Split", x, ints(4, 8), axis=2, n_outputs=2) == parts
    assert infer_shape("Expand", Fact(np.dtype(np.float32), (1, 12)), ints(n, 12)) == ["float32[n, 12]"]
    assert infer_shape("Tile", x, ints(2, 1, 1)) == ["float32[2*b, n, 12]"]
    assert infer_shape("Pad", x, ints(0, 1, 0, 0, 1, 0)) == ["float32[b, n+2, 12]"]
    assert infer_shape("ConstantOfShape", ints(b, n)) == ["float32[b, n]"]
    zero, one = (Fact.of(np.array(v, np.int64)) for v in (0, 1))
    assert infer_shape("Range", zero, Fact(zero.dtype, (), ints(n).value.reshape(())), one) == ["int64[n]"]
    assert infer_shape("Gather", x, ints(3, 4), axis=2) == ["float32[b, n, 2]"]
    assert infer_shape("GatherND", x, Fact(zero.dtype, (b, 7, 1)), batch_dims=1) == ["float32[b, 7, 12]"]


def test_values_through_shape_arithmetic() -> None:
    """Sizes survive the operators that shape arithmetic is made of."""
    n, b = Sym("n"), Sym("b")
    shape = ints(b, n, 12)

    def value(op_type: str, *facts: Fact, **attributes: Any) -> list[Any]:
        cls = get("", op_type)
        assert cls is not None
        (made, *_) = infer(cls(**attributes), facts, attributes.get("n_outputs", 1))
        assert made.value is not None
        return made.value.tolist()

    assert value("Gather", shape, Fact.of(np.array(1))) == n
    assert value("Gather", shape, ints(1, 0)) == [n, b]
    assert value("Slice", shape, ints(0), ints(2)) == [b, n]
    assert value("Concat", shape, ints(4), axis=0) == [b, n, 12, 4]
    assert value("Split", shape, ints(1, 2), n_outputs=2) == [b]
    assert value("Tile", shape, ints(2)) == [b, n, 12, b, n, 12]
    assert value("Transpose", shape) == [b, n, 12]
    assert value("Expand", ints(n), ints(2)) == [n, n]
    assert value("Pad", shape, ints(1, 0)) == [0, b, n, 12]
    assert value("ScatterND", shape, Fact.of(np.array([[1]])), ints(5)) == [b, 5, 12]


def test_scatter_in_a_plan_takes_over_without_a_copy() -> None:
    """Data that nothing else reads is updated where it lies."""
    relu, scatter = (get("", name) for name in ("Relu", "ScatterND"))
    assert relu is not None and scatter is not None
    graph = Graph("cache")
    x = graph.input("x", Fact(np.dtype(np.float32), (4, 3)))
    at = graph.input("at", Fact(np.dtype(np.int64), (2, 1)))
    made = graph.node(relu(), [x], 1, "relu").outputs[0]
    update = graph.input("update", Fact(np.dtype(np.float32), (2, 3)))
    placed = graph.node(scatter(), [made, at, update], 1, "scatter").outputs[0]
    graph.outputs = graph.node(relu(), [placed], 1, "last").outputs
    model = Model(graph, threads=1, optimized=False)
    feeds = {
        "x": np.ones((4, 3), np.float32),
        "at": np.array([[0], [2]]),
        "update": np.full((2, 3), 5, np.float32),
    }
    (got,) = model.run(feeds)
    np.testing.assert_array_equal(got[:, 0], [5, 1, 5, 1])
    assert "copy_bits" not in str(model.plan(**feeds))

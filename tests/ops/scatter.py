"""Cases of numba_rt/ops/scatter.py."""

import numpy as np

from tests.ops.cases import Case, bools, f32, f64, i64, integers
from tests.ops.transpose import complex128


def _distinct(*shape: int, axis: int, size: int) -> np.ndarray:
    """Indices without duplicates along an axis, half of them negative."""
    rng = np.random.default_rng(3)
    along = np.arange(size).reshape([size if i == axis else 1 for i in range(len(shape))])
    whole = tuple(size if i == axis else n for i, n in enumerate(shape))
    order = rng.permuted(np.broadcast_to(along, whole), axis=axis)
    cut = order[tuple(slice(n) for n in shape)]
    return np.where(rng.integers(0, 2, shape) > 0, cut, cut - size)


def _column(*values: int) -> np.ndarray:
    return i64(*values).reshape(-1, 1)


def _half(*shape: int) -> np.ndarray:
    return f32(*shape).astype(np.float16)


def _put_tuples(data: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    out = data.copy()
    out[tuple(np.moveaxis(indices, -1, 0))] = updates
    return out


def _put_along(data: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
    out = data.copy()
    np.put_along_axis(out, indices, updates, 0)
    return out


def _put_last(data: np.ndarray, update: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    out = data.copy()
    for b, k in enumerate(at):
        out[b, ..., k : k + update.shape[-1]] = update[b]
    return out


MANY = integers(6, 3, low=-4, high=4)
"""Indices with duplicates."""
TWICE = _column(1, 1, 3, 1)
BYTES = integers(4, dtype=np.int8)
NUMBERS = integers(4, 3), MANY.astype(np.int32), integers(6, 3)

CASES = [
    Case("ScatterElements", (f32(4, 3), _distinct(2, 3, axis=0, size=4), f32(2, 3, seed=1))),
    Case("ScatterElements", (f32(4, 3), _distinct(3, 2, axis=1, size=3), f32(3, 2, seed=1)), {"axis": 1}),
    Case("ScatterElements", (f32(4, 3), MANY, f32(6, 3, seed=1)), {"reduction": "add"}),
    Case("ScatterElements", (f32(4, 3), MANY, f32(6, 3, seed=1)), {"reduction": "mul"}),
    Case("ScatterElements", (f32(4, 3), MANY, f32(6, 3, seed=1)), {"reduction": "max"}),
    Case("ScatterElements", (f32(4, 3), MANY, f32(6, 3, seed=1)), {"reduction": "min"}),
    Case("ScatterElements", NUMBERS, {"reduction": "add"}),
    Case("ScatterElements", (bools(4, 3), MANY, bools(6, 3, seed=1)), {"reduction": "add"}),
    Case("ScatterElements", (bools(4, 3), MANY, bools(6, 3, seed=1)), {"reduction": "mul"}),
    Case("ScatterElements", (complex128(5), i64(0, -1), complex128(2)), oracle=_put_along),
    Case("ScatterElements", (_half(4, 3), _column(1), _half(1, 1))),
    Case("ScatterElements", (f32(4, 3), integers(0, 3), f32(0, 3))),
    Case("ScatterElements", (np.array(["a", "b"], object), i64(1), np.array(["c"], object))),
    Case("ScatterElements", (f32(4, 3), _column(4), f32(1, 1)), raises="indices contains 4"),
    Case("ScatterElements", (f32(4, 3), integers(1, 2), f32(2, 1)), raises="differ in shape"),
    Case("ScatterElements", (f32(4), i64(1), f64(1)), raises="same dtype"),
    Case("ScatterElements", (f32(4), i64(1), f32(1)), {"reduction": "sub"}, raises="reduction = 'sub'"),
    Case(
        "ScatterElements",
        (complex128(4), i64(1), complex128(1)),
        {"reduction": "add"},
        raises="expected one of",
    ),
    Case("ScatterElements", (f32(0), i64(1), f32(1)), raises="axis 0 has size 0"),
    Case("Scatter", (f32(4, 3), _distinct(2, 3, axis=0, size=4), f32(2, 3, seed=1)), oracle=_put_along),
    Case("ScatterND", (f32(8), _column(4, 3, -1), f32(3, seed=1)), oracle=_put_tuples),
    Case("ScatterND", (f32(4, 5, 6), _column(0, 2), f32(2, 5, 6, seed=1))),
    Case("ScatterND", (f32(4, 5, 6), i64(0, 2, 3, 4).reshape(2, 2), f32(2, 6, seed=1)), oracle=_put_tuples),
    Case("ScatterND", (f32(4, 5), TWICE, f32(4, 5, seed=1)), {"reduction": "add"}),
    Case("ScatterND", (f32(4, 5), TWICE, f32(4, 5, seed=1)), {"reduction": "mul"}),
    Case("ScatterND", (f32(4, 5), TWICE, f32(4, 5, seed=1)), {"reduction": "max"}),
    Case("ScatterND", (integers(4, 5), TWICE, integers(4, 5)), {"reduction": "min"}),
    Case("ScatterND", (BYTES, TWICE, BYTES), {"reduction": "add"}),
    Case("ScatterND", (f32(4, 5), integers(0, 1), f32(0, 5))),
    Case("ScatterND", (f32(4, 5), _column(4), f32(1, 5)), raises="indices contains 4"),
    Case("ScatterND", (f32(4, 5), _column(4), f32(1, 4)), raises="float32[1, 4]: expected shape [1, 5]"),
    Case("ScatterND", (f32(4, 5), integers(1, 3), f32(1)), raises="names 3 axes"),
    Case("TensorScatter", (f32(2, 3, 8, 4), f32(2, 3, 2, 4, seed=1), i64(0, 6))),
    Case("TensorScatter", (f32(2, 8, 4), f32(2, 3, 4, seed=1), i64(7, 2)), {"mode": "circular"}),
    Case("TensorScatter", (f32(2, 8, 4), f32(2, 3, 4, seed=1))),
    Case("TensorScatter", (_half(2, 4, 8), _half(2, 4, 1), i64(0, 1)), {"axis": -1}, oracle=_put_last),
    Case("TensorScatter", (f32(2, 8, 4), f32(2, 3, 4), i64(0, 6)), raises="3 entries do not fit"),
    Case("TensorScatter", (f32(2, 8, 4), f32(2, 9, 4), i64(0, 6)), raises="does not fit past_cache"),
    Case("TensorScatter", (f32(2, 8, 4), f32(2, 3, 4), i64(0)), raises="one for each batch entry"),
    Case("TensorScatter", (f32(2, 8, 4), f32(2, 3, 4)), {"axis": 0}, raises="is the batch axis"),
    Case("TensorScatter", (f32(2, 8), f32(2, 3)), {"mode": "ring", "axis": 1}, raises="mode = 'ring'"),
]

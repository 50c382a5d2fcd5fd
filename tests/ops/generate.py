"""Cases of numba_rt/ops/generate.py."""

import ml_dtypes
import numpy as np

from tests.ops.cases import Case, f32, i64, integers


def scalars(*values: float, dtype: type = np.float32) -> tuple[np.ndarray, ...]:
    return tuple(np.array(v, dtype) for v in values)


def _one_hot(indices: np.ndarray, depth: np.ndarray, values: np.ndarray, axis: int = -1) -> np.ndarray:
    n = int(depth.reshape(-1)[0])
    on = np.zeros((*indices.shape, n), np.bool_)
    for place, index in np.ndenumerate(indices):
        if -n <= index < n:
            on[(*place, int(index))] = True
    return np.where(np.moveaxis(on, -1, axis), values[1], values[0])


BFLOAT16 = ml_dtypes.bfloat16

CASES = [
    Case("Constant", (), {"value": f32(3, 2)}),
    Case("Constant", (), {"value_float": 1.5}),
    Case("Constant", (), {"value_floats": (1.5, 2.5)}),
    Case("Constant", (), {"value_int": 3}),
    Case("Constant", (), {"value_ints": (3, 4, 5)}),
    Case("Constant", (), {"value_string": "a"}, oracle=lambda **_: np.array("a", object)),
    Case("Constant", (), {"value_strings": ("a", "b")}, oracle=lambda **_: np.array(["a", "b"], object)),
    Case("Constant", (), {"sparse_value": f32(2, 2)}, oracle=lambda sparse_value: sparse_value),
    Case("Constant", (), {}, raises="expected exactly one value"),
    Case("ConstantOfShape", (i64(2, 3),)),
    Case("ConstantOfShape", (i64(50, 40),), {"value": np.array([7], np.int64)}),
    Case("ConstantOfShape", (i64(2000),), {"value": np.array([True])}),
    Case("ConstantOfShape", (i64(2000),), {"value": np.array([1.5], np.float16)}),
    Case("ConstantOfShape", (i64(2000),), {"value": np.array([1 + 2j])}),
    Case("ConstantOfShape", (np.array([], np.int64),), {"value": np.array([7], np.int32)}),
    Case("ConstantOfShape", (i64(0, 3),)),
    Case("ConstantOfShape", (i64(2, -1),), raises="negative size"),
    Case("ConstantOfShape", (i64(1 << 40),), raises="larger than memory"),
    Case("ConstantOfShape", (i64(2),), {"value": f32(2)}, raises="expected one element"),
    Case("Range", scalars(0, 10, 3)),
    Case("Range", scalars(10, 4, -2, dtype=np.int64)),
    Case("Range", scalars(0, 5000, 2, dtype=np.int64)),
    Case("Range", scalars(0, 300, 0.1, dtype=np.float32)),
    Case("Range", scalars(0, 3000, 1, dtype=np.int16)),
    Case("Range", scalars(0, -1, 1, dtype=np.int32)),
    Case("Range", scalars(0, 30, 3, dtype=BFLOAT16), oracle=lambda *_: np.arange(0, 30, 3).astype(BFLOAT16)),
    Case("Range", scalars(0, 10, 0), raises="delta = 0"),
    Case("Range", scalars(0, np.inf, 1), raises="finite"),
    Case("Range", scalars(0, 2**60, 1, dtype=np.int64), raises="larger than memory"),
    Case("Range", (i64(0, 1), np.array(3), np.array(1)), raises="expected a scalar"),
    Case("EyeLike", (f32(3, 4),)),
    Case("EyeLike", (f32(4, 3),), {"k": 1, "dtype": 7}),
    Case("EyeLike", (f32(40, 30),), {"k": -2, "dtype": 11}),
    Case("EyeLike", (f32(3, 3),), {"k": 9, "dtype": 9}),
    Case("EyeLike", (f32(3, 3),), {"dtype": 10}),
    Case("EyeLike", (f32(3, 0),)),
    Case("EyeLike", (f32(3),), raises="rank 1"),
    Case("EyeLike", (f32(3, 3),), {"dtype": 8}, raises="not a numeric type"),
    Case("OneHot", (integers(3, 4, low=-5, high=5), np.array(4), f32(2))),
    Case("OneHot", (integers(3, 4, low=0, high=4), i64(4), i64(2, 9)), {"axis": 1}, oracle=_one_hot),
    Case("OneHot", (integers(3, 4, low=0, high=4, dtype=np.int32), np.array(4.0), f32(2)), {"axis": 0}),
    Case(
        "OneHot",
        (np.array([1.0, -1.0, 7.0], np.float32), np.array(5), np.array([False, True])),
        oracle=_one_hot,
    ),
    Case("OneHot", (np.array([2**62, -(2**62)]), np.array(5), f32(2))),
    Case("OneHot", (integers(0), np.array(5), f32(2))),
    Case("OneHot", (np.array(2), np.array(5), f32(2))),
    Case("OneHot", (np.array([1, 0]), np.array(2), np.array(["off", "on"], object)), oracle=_one_hot),
    Case("OneHot", (integers(3), np.array(-1), f32(2)), raises="depth = -1"),
    Case("OneHot", (integers(3), np.array(4), f32(3)), raises="expected [off, on]"),
    Case("OneHot", (integers(3), np.array(4), f32(2)), {"axis": 2}, raises="axis = 2 is out of range"),
    Case("OneHot", (integers(3), np.array(1 << 40), f32(2)), raises="larger than memory"),
]

"""What only a run can find wrong: one error that names node and argument, and the next run works."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import numba_rt
from numba_rt import IndexRangeError, NumbaRtError, ShapeError

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


CASES: list[tuple[str, dict[str, Any], np.ndarray, np.ndarray, type[Exception], list[str]]] = [
    ("Gather", {}, i64(1), i64(2), IndexRangeError, ["indices", "2"]),
    ("Gather", {}, i64(-2), i64(-3), IndexRangeError, ["indices", "-3"]),
    ("Gather", {"axis": 1}, i64(0, 2), i64(0, 3), IndexRangeError, ["indices", "3"]),
    ("GatherElements", {}, i64(0).reshape(1, 1), i64(9).reshape(1, 1), IndexRangeError, ["indices", "9"]),
    ("GatherND", {}, i64(1, 2), i64(1, 3), IndexRangeError, ["indices", "3"]),
    ("Reshape", {}, i64(3, -1), i64(4, -1), ShapeError, ["6 elements", "shape [4, -1]"]),
    ("Reshape", {}, i64(3, 2), i64(-1, -1), ShapeError, ["shape = [-1, -1]", "at most one -1"]),
    ("Expand", {}, i64(2, 2, 3), i64(2, 2), ShapeError, ["shape", "float32[2, 3]"]),
    ("Tile", {}, i64(1, 2), i64(1, -2), ShapeError, ["repeats", "-2"]),
    ("Squeeze", {}, i64(), i64(1), ShapeError, ["axis 1", "size 3"]),
    ("Unsqueeze", {}, i64(0), i64(5), ShapeError, ["axes", "5"]),
    ("ReduceSum", {}, i64(1), i64(2), ShapeError, ["axes", "2"]),
    ("Split", {"axis": 1}, i64(1, 2), i64(1, 1), ShapeError, ["split = [1, 1]", "3"]),
    ("TopK", {}, i64(2), i64(4), ShapeError, ["4", "3"]),
    ("Pad", {}, i64(0, 1, 0, 1), i64(0, 1), ShapeError, ["pads"]),
]


def model(op_type: str, attributes: dict[str, Any], rank: int) -> numba_rt.Model:
    outputs = ["y", "z"] if op_type in ("Split", "TopK") else ["y"]
    node = helper.make_node(op_type, ["x", "i"], outputs, f"my/{op_type}", **attributes)
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"]),
        helper.make_tensor_value_info("i", TensorProto.INT64, [None] * rank),
    ]
    declared = [helper.make_tensor_value_info(outputs[0], TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", inputs, declared)
    return numba_rt.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)]))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}{c[3].tolist()}")
def test_one_error_that_names_the_node(case: Any) -> None:
    op_type, attributes, good, bad, error, parts = case
    loaded = model(op_type, attributes, good.ndim)
    before = loaded.run({"x": X, "i": good})[0]
    for _ in range(2):
        with pytest.raises(error) as raised:
            loaded.run({"x": X, "i": bad})
        assert isinstance(raised.value, NumbaRtError)
        for part in [f"{op_type} 'my/{op_type}'", *parts]:
            assert part in str(raised.value)
        np.testing.assert_array_equal(loaded.run({"x": X, "i": good})[0], before)


def test_shapes_that_do_not_fit_each_other() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"], "my/product")
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [f"{n}0", f"{n}1"]) for n in ("x", "w")]
    declared = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([node], "g", inputs, declared)
    loaded = numba_rt.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)]))
    with pytest.raises(
        ShapeError, match=r"MatMul 'my/product'.*[\s\S]*A = float32\[2, 3\], B = float32\[2, 3\]"
    ):
        loaded.run({"x": X, "w": X})
    np.testing.assert_allclose(loaded.run({"x": X, "w": X.T.copy()})[0], X @ X.T)

"""If, Loop and Scan through whole models: captures, counts, directions, changing sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import numba_rt
from numba_rt.errors import ShapeError

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def info(name: str, shape: Any = (), dtype: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def body(nodes: Any, inputs: Any, outputs: Any, stored: Any = ()) -> onnx.GraphProto:
    ins = [onnx.ValueInfoProto(name=n) for n in inputs]
    outs = [onnx.ValueInfoProto(name=n) for n in outputs]
    return helper.make_graph(
        nodes, "body", ins, outs, [numpy_helper.from_array(np.asarray(a), n) for n, a in stored]
    )


def load(nodes: Any, inputs: Any, outputs: Any, stored: Any = ()) -> numba_rt.Model:
    graph = body(nodes, [], outputs, stored)
    graph.input.extend(inputs)
    return numba_rt.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)]))


def power(condition: str = "go") -> numba_rt.Model:
    """x * w for each round, with every intermediate stacked; stops by the count or by size."""
    rounds = body(
        [
            helper.make_node("Mul", ["v", "w"], ["next"]),
            helper.make_node("ReduceMax", ["next"], ["most"], keepdims=0),
            helper.make_node("Less", ["most", "limit"], ["on"]),
        ],
        ["i", "c", "v"],
        ["on", "next", "next"],
        [("limit", np.float32(1000))],
    )
    node = helper.make_node("Loop", ["m", condition, "x"], ["last", "all"], "loop", body=rounds)
    return load(
        [node], [info("m", (), INT64), info("go", (), BOOL), info("x", ["n"]), info("w")], ["last", "all"]
    )


@pytest.mark.parametrize(
    ("trips", "go", "expected"), [(3, True, 3), (0, True, 0), (-1, True, 0), (5, False, 0), (99, True, 9)]
)
def test_loop_ends_by_count_or_condition(trips: int, go: bool, expected: int) -> None:
    x = np.float32([1, 2])
    feeds = {"m": np.array(trips), "go": np.array(go), "x": x, "w": np.float32(2)}
    last, stacked = power().run(feeds)
    np.testing.assert_array_equal(last, x * 2**expected)
    assert stacked.shape[0] == expected
    if expected:
        np.testing.assert_array_equal(stacked[-1], last)


def test_loop_without_count_or_condition() -> None:
    rounds = body(
        [
            helper.make_node("Add", ["v", "one"], ["next"]),
            helper.make_node("Less", ["next", "limit"], ["on"]),
        ],
        ["i", "c", "v"],
        ["on", "next"],
        [("one", np.float32(1)), ("limit", np.float32(5))],
    )
    loaded = load([helper.make_node("Loop", ["", "", "x"], ["y"], body=rounds)], [info("x")], ["y"])
    assert loaded.run({"x": np.float32(0)})[0] == 5


@pytest.mark.parametrize("length", [1, 3])
def test_carried_values_may_grow(length: int) -> None:
    grow = helper.make_node("Concat", ["v", "v"], ["next"], axis=0)
    rounds = body([grow, helper.make_node("Identity", ["c"], ["on"])], ["i", "c", "v"], ["on", "next"])
    nodes = [
        helper.make_node("Loop", ["m", "", "x"], ["y"], body=rounds),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("Shape", ["z"], ["size"]),
    ]
    loaded = load(nodes, [info("m", (), INT64), info("x", [length])], ["z", "size"])
    z, size = loaded.run({"m": np.array(3), "x": np.arange(length, dtype=np.float32)})
    assert z.tolist() == list(range(length)) * 8
    assert size.tolist() == [8 * length]


def test_carried_values_may_change_rank() -> None:
    nodes = [
        helper.make_node("Unsqueeze", ["v", "zero"], ["next"]),
        helper.make_node("Identity", ["c"], ["on"]),
    ]
    rounds = body(nodes, ["i", "c", "v"], ["on", "next"], [("zero", np.array([0]))])
    loaded = load(
        [helper.make_node("Loop", ["m", "", "x"], ["y"], body=rounds)],
        [info("m", (), INT64), info("x", [2])],
        ["y"],
    )
    assert loaded.run({"m": np.array(3), "x": np.float32([1, 2])})[0].shape == (1, 1, 1, 2)


def test_nested_loops_capture_through_both() -> None:
    inner = body(
        [helper.make_node("Add", ["u", "w"], ["un"]), helper.make_node("Identity", ["ic"], ["io"])],
        ["j", "ic", "u"],
        ["io", "un"],
    )
    outer = body(
        [
            helper.make_node("Loop", ["m", "", "v"], ["vn"], body=inner),
            helper.make_node("Identity", ["c"], ["on"]),
        ],
        ["i", "c", "v"],
        ["on", "vn"],
    )
    loaded = load(
        [helper.make_node("Loop", ["m", "", "x"], ["y"], body=outer)],
        [info("m", (), INT64), info("x"), info("w")],
        ["y"],
    )
    assert loaded.run({"m": np.array(4), "x": np.float32(1), "w": np.float32(3)})[0] == 1 + 16 * 3


def test_stacked_results_of_unlike_shapes() -> None:
    nodes = [
        helper.make_node("Concat", ["v", "v"], ["next"], axis=0),
        helper.make_node("Identity", ["c"], ["on"]),
    ]
    rounds = body(nodes, ["i", "c", "v"], ["on", "next", "next"])
    loaded = load(
        [helper.make_node("Loop", ["m", "", "x"], ["y", "z"], "grow", body=rounds)],
        [info("m", (), INT64), info("x", [2])],
        ["z"],
    )
    with pytest.raises(ShapeError, match=r"Loop 'grow'.*shapes"):
        loaded.run({"m": np.array(2), "x": np.float32([1, 2])})
    assert loaded.run({"m": np.array(1), "x": np.float32([1, 2])})[0].shape == (1, 4)


@pytest.mark.parametrize("in_axis", [0, 1, -1])
@pytest.mark.parametrize("in_direction", [0, 1])
@pytest.mark.parametrize("out_axis", [0, 1, -1])
@pytest.mark.parametrize("out_direction", [0, 1])
def test_scan(in_axis: int, in_direction: int, out_axis: int, out_direction: int) -> None:
    rounds = body([helper.make_node("Add", ["s", "v"], ["sum"])], ["s", "v"], ["sum", "sum"])
    node = helper.make_node(
        "Scan", ["start", "x"], ["last", "all"], body=rounds, num_scan_inputs=1,
        scan_input_axes=[in_axis], scan_input_directions=[in_direction],
        scan_output_axes=[out_axis], scan_output_directions=[out_direction],
    )  # fmt: skip
    loaded = load([node], [info("start", ["k"]), info("x", ["a", "b"])], ["last", "all"])
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    rows = np.moveaxis(x, in_axis, 0)[:: -1 if in_direction else 1]
    start = np.ones(rows.shape[1], np.float32)
    sums = start + np.cumsum(rows, 0)
    last, stacked = loaded.run({"start": start, "x": x})
    np.testing.assert_array_equal(last, sums[-1])
    np.testing.assert_array_equal(stacked, np.moveaxis(sums[:: -1 if out_direction else 1], 0, out_axis))


def scan_of_two() -> numba_rt.Model:
    rounds = body([helper.make_node("Add", ["u", "v"], ["sum"])], ["u", "v"], ["sum"])
    node = helper.make_node("Scan", ["x", "y"], ["z"], "pair", body=rounds, num_scan_inputs=2)
    return load([node], [info("x", ["n", 2]), info("y", ["m", 2])], ["z"])


def test_scan_of_no_rounds() -> None:
    empty = np.zeros((0, 2), np.float32)
    assert scan_of_two().run({"x": empty, "y": empty})[0].shape == (0, 2)


def test_scan_of_unlike_lengths() -> None:
    loaded = scan_of_two()
    with pytest.raises(ShapeError, match=r"Scan 'pair'.*lengths \[3, 2\]"):
        loaded.run({"x": np.zeros((3, 2), np.float32), "y": np.zeros((2, 2), np.float32)})
    assert (
        loaded.run({"x": np.ones((2, 2), np.float32), "y": np.ones((2, 2), np.float32)})[0].tolist()
        == [[2, 2]] * 2
    )


@pytest.mark.parametrize("optimize", [True, False])
def test_if_of_unlike_shapes(optimize: bool) -> None:
    then = body([helper.make_node("Concat", ["x", "x"], ["t"], axis=0)], [], ["t"])
    other = body([helper.make_node("Neg", ["x"], ["t"])], [], ["t"])
    nodes = [
        helper.make_node("If", ["c"], ["h"], then_branch=then, else_branch=other),
        helper.make_node("Mul", ["h", "h"], ["y"]),
    ]
    graph = body(nodes, [], ["y"])
    graph.input.extend([info("x", ["n"]), info("c", (), BOOL)])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)])
    loaded = numba_rt.load(made, optimize=optimize)
    x = np.float32([1, 2, 3])
    assert loaded.run({"x": x, "c": np.array(True)})[0].tolist() == [1, 4, 9] * 2
    assert loaded.run({"x": x, "c": np.array(False)})[0].tolist() == [1, 4, 9]

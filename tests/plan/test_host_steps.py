"""Steps between segments: control flow, sequences, sizes that follow from data."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from numba_rt.errors import NumbaRtError, ShapeError
from numba_rt.model import Model, load

X = np.arange(8, dtype=np.float32).reshape(2, 4)


def value(name: str, dtype: int = TensorProto.FLOAT, shape: Any = ("n", 4)) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def make(nodes: list[Any], inputs: list[Any], outputs: list[Any], **options: Any) -> Model:
    graph = helper.make_graph(nodes, "host", inputs, outputs)
    return load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]), threads=1, **options)


def branching(optimize: bool = True) -> Model:
    """x + x, or x itself, as `flag` says, a float that counts as data; then doubled."""
    then = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["t"])], "then", [], [value("t", shape=None)]
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["e"])], "else", [], [value("e", shape=None)]
    )
    nodes = [
        helper.make_node("Cast", ["flag"], ["is_set"], to=TensorProto.BOOL),
        helper.make_node("If", ["is_set"], ["chosen"], "choice", then_branch=then, else_branch=other),
        helper.make_node("Add", ["chosen", "chosen"], ["doubled"], "double"),
    ]
    outputs = [value("chosen", shape=None), value("doubled", shape=None)]
    return make(nodes, [value("x"), value("flag", shape=())], outputs, optimize=optimize)


@pytest.mark.parametrize("optimize", [True, False])
def test_a_branch_is_chosen_at_run_time(optimize: bool) -> None:
    model = branching(optimize)
    for flag, factor in ((True, 2), (False, 1), (True, 2)):
        x = X.copy()
        chosen, doubled = model.run({"x": x, "flag": np.array(flag, np.float32)})
        np.testing.assert_array_equal(chosen, factor * X)
        np.testing.assert_array_equal(doubled, 2 * factor * X)
        assert not np.shares_memory(chosen, x)
        chosen[...] = -1
        np.testing.assert_array_equal(x, X)


def test_branches_from_several_threads() -> None:
    model = branching()

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(20):
            x = rng.uniform(-1, 1, (int(rng.integers(1, 9)), 4)).astype(np.float32)
            flag = bool(rng.integers(0, 2))
            (doubled,) = model.run({"x": x, "flag": np.array(flag, np.float32)}, ["doubled"])
            np.testing.assert_array_equal(doubled, (4 if flag else 2) * x)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, seed) for seed in range(4)]:
            done.result()


def looping() -> Model:
    """x + 1, `count` times, and what it was before each time."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["again"]),
            helper.make_node("Identity", ["v"], ["before"]),
            helper.make_node("Add", ["v", "one"], ["next"]),
        ],
        "body",
        [value("i", TensorProto.INT64, ()), value("go", TensorProto.BOOL, ()), value("v")],
        [value("again", TensorProto.BOOL, ()), value("next"), value("before")],
    )
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Loop", ["count", "", "x"], ["last", "all"], "loop", body=body),
    ]
    inputs = [value("x"), value("count", TensorProto.INT64, ())]
    return make(nodes, inputs, [value("last"), value("all", shape=None)])


def test_a_loop_runs_as_often_as_it_is_told() -> None:
    model = looping()
    for count in (3, 1, 5, 0):
        x = X.copy()
        last, everything = model.run({"x": x, "count": np.array(count)})
        np.testing.assert_array_equal(last, X + count)
        assert len(everything) == count
        for k in range(count):
            np.testing.assert_array_equal(everything[k], X + k)
        assert not np.shares_memory(last, x)


def test_sequences_share_no_memory_with_inputs() -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "y"], ["both"]),
        helper.make_node("SequenceAt", ["both", "at"], ["one"]),
    ]
    both = helper.make_tensor_sequence_value_info("both", TensorProto.FLOAT, None)
    inputs = [value("x"), value("y"), value("at", TensorProto.INT64, ())]
    model = make(nodes, inputs, [both, value("one", shape=None)])
    x, y = X.copy(), X + 1
    sequence, one = model.run({"x": x, "y": y, "at": np.array(1)})
    np.testing.assert_array_equal(sequence[0], x)
    np.testing.assert_array_equal(one, y)
    arrays = [*sequence, one, x, y]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def test_sizes_that_follow_from_data() -> None:
    """What NonZero finds sizes a segment after it, each time anew."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["twice"]),
        helper.make_node("NonZero", ["twice"], ["where"]),
        helper.make_node("Transpose", ["where"], ["indices"], perm=[1, 0]),
        helper.make_node("GatherND", ["twice", "indices"], ["found"]),
        helper.make_node("Add", ["found", "found"], ["y"]),
    ]
    model = make(nodes, [value("x")], [value("y", shape=("k",))])
    for x in (X, X * 0, X - 3, X[:0], X):
        np.testing.assert_array_equal(model.run({"x": x})[0], 4 * x[np.nonzero(x)])
    assert isinstance(model.plan(X), list)


def test_an_error_in_a_host_step_names_it_and_leaves_the_model_usable() -> None:
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["both"]),
        helper.make_node("SequenceAt", ["both", "at"], ["one"], "pick"),
    ]
    inputs = [value("x"), value("at", TensorProto.INT64, ())]
    model = make(nodes, inputs, [value("one", shape=None)])
    with pytest.raises(NumbaRtError, match="pick"):
        model.run({"x": X, "at": np.array(5)})
    np.testing.assert_array_equal(model.run({"x": X, "at": np.array(-1)})[0], X)


def test_a_host_step_that_breaks_its_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = branching()
    step = next(s for s in model._program.steps if hasattr(s, "node"))
    monkeypatch.setattr(type(step.node.op), "control", lambda *a: [X.astype(np.float64)])
    with pytest.raises(ShapeError, match=r"If 'choice': made float64"):
        model.run({"x": X, "flag": np.array(1, np.float32)})

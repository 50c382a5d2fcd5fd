"""Branches that follow from shapes and small fed values: taken before a run, part of one plan."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from numba_rt.errors import ShapeError
from numba_rt.model import Model, load
from numba_rt.plan import Plan
from numba_rt.program import MOST_VARIANTS, BranchingProgram, Program

X = np.arange(8, dtype=np.float32).reshape(2, 4)
INT64, BOOL = TensorProto.INT64, TensorProto.BOOL


def value(name: str, dtype: int = TensorProto.FLOAT, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def node(*args: Any, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(*args, **attributes)


def graph(name: str, nodes: list[Any], outputs: list[str], inputs: Any = ()) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, list(inputs), [value(o) for o in outputs])


def const(name: str, array: Any) -> onnx.NodeProto:
    return node("Constant", [], [name], value=onnx.numpy_helper.from_array(np.asarray(array)))


def proto(nodes: list[Any], outputs: list[str], inputs: list[Any]) -> onnx.ModelProto:
    made = graph("branches", nodes, outputs, inputs)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def by_rate() -> onnx.ModelProto:
    """A branch by a fed number; inside, branches by the rank and by a size of what was computed."""
    squeeze = graph("thin", [node("Squeeze", ["h", "first"], ["s"])], ["s"])
    keep = graph("wide", [node("Identity", ["h"], ["k"])], ["k"])
    ranked = [
        node("Relu", ["x"], ["h"]),
        node("Shape", ["h"], ["shape"]),
        node("Gather", ["shape", "first"], ["rows"]),
        node("Equal", ["rows", "first_is_one"], ["is_thin"]),
        node("If", ["is_thin"], ["out"], "by_size", then_branch=squeeze, else_branch=keep),
        node("Add", ["out", "out"], ["twice"]),
    ]
    then = graph("then", ranked, ["twice"])
    other = graph("else", [node("Neg", ["x"], ["negative"])], ["negative"])
    nodes = [
        const("first", np.array([0])),
        const("first_is_one", np.array([1])),
        const("sixteen", np.array(16000)),
        node("Equal", ["rate", "sixteen"], ["is_fast"]),
        node("If", ["is_fast"], ["y"], "by_rate", then_branch=then, else_branch=other),
        node("Exp", ["y"], ["z"]),
    ]
    return proto(nodes, ["z"], [value("x", shape=("n", 4)), value("rate", INT64, ())])


def programs(model: Model) -> dict[Any, Program]:
    program = model._program
    assert isinstance(program, BranchingProgram)
    return program.variants


@pytest.mark.parametrize("optimize", [True, False])
def test_each_choice_is_one_plan(optimize: bool) -> None:
    source = by_rate()
    model, reference = load(source, threads=1, optimize=optimize), ReferenceEvaluator(source)
    for _ in range(2):
        for rows in (1, 2, 3):
            for rate in (8000, 16000):
                feeds = {"x": X[:1].repeat(rows, 0), "rate": np.array(rate)}
                (got,) = model.run(feeds)
                np.testing.assert_allclose(got, reference.run(None, feeds)[0], rtol=1e-6)
                assert isinstance(model.plan(**feeds), Plan)
    assert sorted(map(str, programs(model))) == ["(False,)", "(True, False)", "(True, True)"]


def test_a_branch_is_optimised_with_what_surrounds_it() -> None:
    model = load(by_rate(), threads=1)
    plan = model.plan(x=X, rate=np.array(16000))
    assert isinstance(plan, Plan)
    assert len(plan.calls) == 1, "Relu, Add and Exp are one chain"


def test_outputs_are_new_arrays_whatever_the_branch() -> None:
    then = graph("then", [node("Identity", ["x"], ["t"])], ["t"])
    other = graph("else", [const("e", np.ones((2, 4), np.float32))], ["e"])
    source = proto(
        [node("If", ["flag"], ["y"], then_branch=then, else_branch=other)],
        ["y"],
        [value("x", shape=(2, 4)), value("flag", BOOL, (1,))],
    )
    model = load(source, threads=1)
    for flag in (True, False, True, False):
        x = X.copy()
        (y,) = model.run({"x": x, "flag": np.array([flag])})
        np.testing.assert_array_equal(y, X if flag else np.ones((2, 4)))
        y[...] = -1
        np.testing.assert_array_equal(x, X)


def test_a_constant_condition_leaves_no_branching() -> None:
    then = graph("then", [node("Neg", ["x"], ["t"])], ["t"])
    other = graph("else", [node("Identity", ["x"], ["e"])], ["e"])
    nodes = [const("yes", np.array(True)), node("If", ["yes"], ["y"], then_branch=then, else_branch=other)]
    model = load(proto(nodes, ["y"], [value("x", shape=("n", 4))]), threads=1)
    assert [n.op.op_type for n in model.graph.nodes] == ["Neg"]
    np.testing.assert_array_equal(model.run({"x": X})[0], -X)
    assert model.outputs[0].name == "y"


def test_a_branch_in_a_loop_follows_from_shapes_but_not_from_the_turn() -> None:
    """Turns have a number each time another; deciding by it would decide in every turn."""
    thin = graph("thin", [node("Neg", ["v"], ["t"])], ["t"])
    wide = graph("wide", [node("Add", ["v", "v"], ["w"])], ["w"])
    early = graph("early", [node("Abs", ["c"], ["a"])], ["a"])
    late = graph("late", [node("Identity", ["c"], ["b"])], ["b"])
    body = helper.make_graph(
        [
            node("Identity", ["go"], ["again"]),
            node("Size", ["v"], ["size"]),
            node("Equal", ["size", "four"], ["is_thin"]),
            node("If", ["is_thin"], ["c"], then_branch=thin, else_branch=wide),
            node("Equal", ["i", "zero"], ["is_first"]),
            node("If", ["is_first"], ["next"], then_branch=early, else_branch=late),
        ],
        "body",
        [value("i", INT64, ()), value("go", BOOL, ()), value("v", shape=("n", 4))],
        [value("again", BOOL, ()), value("next", shape=("n", 4))],
    )
    nodes = [
        const("four", np.array(4)),
        const("zero", np.array(0)),
        node("Loop", ["count", "", "x"], ["y"], body=body),
    ]
    model = load(proto(nodes, ["y"], [value("x", shape=("n", 4)), value("count", INT64, ())]), threads=1)
    for rows in (1, 2):
        x = X[:rows] - 3
        expected = np.abs(-x) if rows == 1 else np.abs(2 * x)
        for _ in range(2):
            expected = -expected if rows == 1 else 2 * expected
        np.testing.assert_array_equal(model.run({"x": x, "count": np.array(3)})[0], expected)
    step = next(s for s in model._program.steps if hasattr(s, "bodies"))  # type: ignore[union-attr]
    assert isinstance(step.bodies["body"], BranchingProgram)
    assert len(step.bodies["body"].variants) == 2


def test_an_error_in_the_branch_taken_names_its_node() -> None:
    then = graph("then", [node("Reshape", ["x", "five"], ["t"], "into_five")], ["t"])
    other = graph("else", [node("Identity", ["x"], ["e"])], ["e"])
    nodes = [
        const("five", np.array([5])),
        node("If", ["flag"], ["y"], then_branch=then, else_branch=other),
    ]
    model = load(proto(nodes, ["y"], [value("x", shape=("n", 4)), value("flag", BOOL, ())]), threads=1)
    with pytest.raises(ShapeError, match="into_five"):
        model.run({"x": X, "flag": np.array(True)})
    np.testing.assert_array_equal(model.run({"x": X, "flag": np.array(False)})[0], X)


def test_more_choices_than_are_kept_run_the_graph_as_it_is() -> None:
    nodes, last = [], "x"
    for k in range(4):
        then = graph(f"then{k}", [node("Neg", [last], [f"t{k}"])], [f"t{k}"])
        other = graph(f"else{k}", [node("Add", [last, last], [f"e{k}"])], [f"e{k}"])
        nodes += [const(f"k{k}", np.array(k)), node("Gather", ["flags", f"k{k}"], [f"f{k}"])]
        nodes.append(node("If", [f"f{k}"], [f"y{k}"], then_branch=then, else_branch=other))
        last = f"y{k}"
    source = proto(nodes, [last], [value("x", shape=("n", 4)), value("flags", BOOL, (4,))])
    model = load(source, threads=1)
    for number in range(16):
        flags = np.array([bool(number >> k & 1) for k in range(4)])
        expected = X
        for flag in flags:
            expected = -expected if flag else 2 * expected
        np.testing.assert_allclose(model.run({"x": X, "flags": flags})[0], expected)
    assert len(programs(model)) == MOST_VARIANTS


def test_threads_share_the_variants() -> None:
    model = load(by_rate(), threads=2)

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            x = rng.uniform(-1, 1, (int(rng.integers(2, 9)), 4)).astype(np.float32)
            fast = bool(rng.integers(0, 2))
            (z,) = model.run({"x": x, "rate": np.array(16000 if fast else 8000)})
            np.testing.assert_allclose(z, np.exp(2 * np.maximum(x, 0) if fast else -x), rtol=1e-5)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, seed) for seed in range(4)]:
            done.result()
    assert len(programs(model)) == 2

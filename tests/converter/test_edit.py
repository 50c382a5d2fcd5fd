"""Changes to a model before it is written: each does what it says, and says what it did."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import numba_rt
from converter.edit import choose_outputs, hold, set_dimensions, store_halves
from converter.from_onnx import FromOnnx
from converter.read import read
from converter.simplify import simplify
from converter.to_onnx import to_proto
from numba_rt.errors import InputError
from numba_rt.format.definition import Held, ModelDef
from tests.converter.build import array, model, node, tensor

X = array(2, 3)


def definition(made: onnx.ModelProto) -> ModelDef:
    return read(made)


def run(changed: ModelDef, *feeds: Any) -> list[Any]:
    onnx.checker.check_model(to_proto(changed))
    return list(numba_rt.load(changed)(*feeds).values())


def shapes(changed: ModelDef) -> list[Any]:
    return [i.shape for i in numba_rt.load(changed).inputs]


# -- dimensions -----------------------------------------------------------------------------


def symbolic() -> onnx.ModelProto:
    inputs = [tensor("x", ["batch", "width"]), tensor("z", ["batch", None])]
    return model([node("Concat", ["x", "z"], axis=1)], inputs, [tensor("y", ["batch", None])])


def test_a_named_dimension_is_fixed_everywhere() -> None:
    changed = definition(symbolic())
    assert set_dimensions(changed, {"batch": 2}) == ["x: axis 0 is 2", "z: axis 0 is 2"]
    assert shapes(changed) == [(2, "width"), (2, None)]
    assert to_proto(changed).graph.output[0].type.tensor_type.shape.dim[0].dim_value == 2


def test_a_dimension_without_a_name_is_given_by_input_and_axis() -> None:
    changed = definition(symbolic())
    set_dimensions(changed, {"z.1": 4, "width": 3})
    assert shapes(changed) == [("batch", 3), ("batch", 4)]
    assert run(changed, X, np.zeros((2, 4), np.float32))[0].shape == (2, 7)


def test_a_dimension_no_input_has_is_refused() -> None:
    with pytest.raises(InputError, match="'height'"):
        set_dimensions(definition(symbolic()), {"height": 2})


# -- outputs --------------------------------------------------------------------------------


def chain() -> onnx.ModelProto:
    nodes = [node("Neg", ["x"], ["a"]), node("Add", ["a", "w"], ["b"]), node("Add", ["b", "z"], ["y"])]
    weights = numpy_helper.from_array(np.ones((2, 3), np.float32), "w")
    return model(nodes, [tensor("x"), tensor("z")], [tensor("y")], [weights])


def test_outputs_are_chosen_and_the_rest_goes() -> None:
    changed = definition(chain())
    changes = choose_outputs(changed, ["a"])
    assert changes == ["outputs: a; 2 nodes are not needed for them", "input z is not read any more"]
    assert changed.graph is not None
    assert not changed.graph.initializer
    loaded = numba_rt.load(changed)
    assert [o.name for o in loaded.outputs] == ["a"]
    np.testing.assert_array_equal(run(changed, X)[0], -X)


def test_outputs_may_be_in_another_order_and_need_subgraphs() -> None:
    branch = helper.make_graph([node("Neg", ["b"], ["n"])], "then", [], [tensor("n")])
    other = helper.make_graph([node("Identity", ["b"], ["i"])], "else", [], [tensor("i")])
    nodes = [
        node("Abs", ["x"], ["b"]),
        node("If", ["flip"], ["y"], then_branch=branch, else_branch=other),
        node("Sqrt", ["b"], ["z"]),
    ]
    inputs = [tensor("x"), tensor("flip", [], TensorProto.BOOL)]
    changed = definition(model(nodes, inputs, [tensor("z"), tensor("y")]))
    choose_outputs(changed, ["y"])
    assert changed.graph is not None
    assert [n.op_type for n in changed.graph.node] == ["Abs", "If"]
    np.testing.assert_array_equal(run(changed, X, np.array(True))[0], -np.abs(X))


def test_an_output_no_node_makes_is_refused() -> None:
    with pytest.raises(InputError, match="'other'"):
        choose_outputs(definition(chain()), ["other"])


# -- 16-bit weights -------------------------------------------------------------------------


def weighted(opset: int = 25, scale: float = 1.0) -> onnx.ModelProto:
    stored = [array(3, 100, seed=1) * scale, array(100, seed=2)]
    weights = [numpy_helper.from_array(a.astype(np.float32), n) for a, n in zip(stored, "wb", strict=True)]
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["y"])]
    return model(nodes, [tensor("x")], [tensor("y", [2, 100])], weights, opset)


@pytest.mark.parametrize(("name", "dtype"), [("fp16", np.float16), ("bf16", ml_dtypes.bfloat16)])
def test_weights_are_stored_in_half_the_bits(name: str, dtype: Any) -> None:
    changed = definition(weighted())
    assert store_halves(changed, name) == [f"1 tensors are stored in {name}"]
    assert changed.graph is not None
    sizes = {t.name: t.source.read("").size for t in changed.graph.initializer if t.source is not None}
    assert sizes == {f"w/{np.dtype(dtype).name}": 600, "b": 400}  # small ones stay
    rounded = array(3, 100, seed=1).astype(dtype).astype(np.float32)
    expected = X @ rounded + array(100, seed=2)
    np.testing.assert_allclose(run(changed, X)[0], expected, rtol=1e-5, atol=1e-5)


def test_weights_out_of_range_stay() -> None:
    changed = definition(weighted(scale=1e6))
    changes = store_halves(changed, "fp16")
    assert changes[0].startswith("0 tensors")
    assert "too large for fp16" in changes[1]


def test_an_opset_without_the_type_is_refused() -> None:
    with pytest.raises(InputError, match="opset 13"):
        store_halves(definition(weighted(opset=11)), "bf16")


# -- simplification -------------------------------------------------------------------------


def test_shape_arithmetic_identities_and_constants_go() -> None:
    shape = numpy_helper.from_array(np.array([0]), "first")
    stored = [shape, numpy_helper.from_array(np.array([-1]), "minus")]
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "first"], ["n"]),
        node("Concat", ["n", "minus"], ["to"], axis=0),
        node("Identity", ["x"], ["same"]),
        node("Reshape", ["same", "to"], ["r"]),
        node("Identity", ["r"], ["y"]),
    ]
    changed = definition(model(nodes, [tensor("x", [2, 3, 2])], [tensor("y", [2, 6])], stored))
    assert simplify(changed) == ["4 of 6 nodes were simplified away"]
    assert changed.graph is not None
    assert [n.op_type for n in changed.graph.node] == ["Reshape", "Identity"]
    x = array(2, 3, 2)
    np.testing.assert_array_equal(run(changed, x)[0], x.reshape(2, 6))


def test_names_of_functions_are_not_taken_for_those_of_the_model() -> None:
    """A function's inner value is called as a value of the model is."""
    function = helper.make_function(
        "f", "Twice", ["a"], ["b"],
        [node("Constant", [], ["c"], value_floats=[2.0, 2.0, 2.0]), node("Mul", ["a", "c"], ["b"])],
        [helper.make_opsetid("", 25)],
    )  # fmt: skip
    nodes = [
        helper.make_node("Twice", ["x"], ["t"], "call", domain="f"),
        node("Neg", ["t"], ["call/c"]),
        node("Add", ["call/c", "x"], ["y"]),
    ]
    opsets = [helper.make_opsetid("", 25), helper.make_opsetid("f", 1)]
    changed = definition(model(nodes, [tensor("x")], [tensor("y")], functions=[function], opsets=opsets))
    simplify(changed)
    np.testing.assert_allclose(run(changed, X)[0], -X)


def test_large_results_are_not_stored() -> None:
    shape = numpy_helper.from_array(np.array([1000, 1000]), "s")
    nodes = [
        node("ConstantOfShape", ["s"], ["c"]),
        node("Expand", ["x", "s"], ["e"]),
        node("Add", ["c", "e"]),
    ]
    changed = definition(model(nodes, [tensor("x", [1, 1])], [tensor("y", [1000, 1000])], [shape]))
    simplify(changed)
    assert changed.graph is not None
    assert [n.op_type for n in changed.graph.node] == ["ConstantOfShape", "Expand", "Add"]


def test_unknown_operators_are_left_alone() -> None:
    nodes = [
        helper.make_node("Foo", ["x"], ["a"], domain="f"),
        node("Identity", ["a"], ["b"]),
        node("Neg", ["b"]),
    ]
    opsets = [helper.make_opsetid("", 25), helper.make_opsetid("f", 1)]
    changed = definition(model(nodes, opsets=opsets))
    simplify(changed)
    assert changed.graph is not None
    assert [n.op_type for n in changed.graph.node] == ["Foo", "Neg"]
    assert list(changed.graph.node[1].input) == ["a"]


def test_held_tensors_are_read_once() -> None:
    changed = FromOnnx().model(weighted())
    hold(changed)
    assert changed.graph is not None
    assert all(isinstance(t.source, Held) for t in changed.graph.initializer)
    np.testing.assert_array_equal(run(changed, X)[0], run(definition(weighted()), X)[0])

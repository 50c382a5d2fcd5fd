"""Structure of graphs: order, names, cycles, functions, subgraphs, attributes; what is inconsistent."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import numba_rt
from numba_rt import LoadError, UnsupportedOp
from tests.converter.build import array, model, node, relu, tensor

X = np.array([[-1, 0, 1], [2, -2, 3]], np.float32)


def run(made: onnx.ModelProto, **feeds: Any) -> list[Any]:
    return numba_rt.load(made).run(feeds or {"x": X})


def refused(made: onnx.ModelProto, *messages: str, error: type[Exception] = LoadError) -> None:
    with pytest.raises(error) as raised:
        numba_rt.load(made)
    for message in messages:
        assert message in str(raised.value)
    np.testing.assert_array_equal(run(relu())[0], np.maximum(X, 0))


# -- order and names --------------------------------------------------------------------------


def test_nodes_in_any_order() -> None:
    nodes = [node("Neg", ["b"], ["y"]), node("Abs", ["a"], ["b"]), node("Relu", ["x"], ["a"])]
    np.testing.assert_array_equal(run(model(nodes))[0], -np.maximum(X, 0))


def test_long_chain() -> None:
    n = 3000
    nodes = [node("Identity", [f"v{i}"], [f"v{i + 1}"]) for i in range(n)]
    np.testing.assert_array_equal(run(model(nodes[::-1], [tensor("v0")], [f"v{n}"]), v0=X)[0], X)


def test_cycle_names_its_nodes() -> None:
    nodes = [
        node("Add", ["x", "c"], ["a"], "one"),
        node("Neg", ["a"], ["b"], "two"),
        node("Abs", ["b"], ["c"], "three"),
        node("Abs", ["c"], ["y"], "after"),
    ]
    refused(model(nodes), "cycle", "Add 'one' → Neg 'two' → Abs 'three' → Add 'one'")


def test_node_that_reads_itself() -> None:
    refused(model([node("Add", ["x", "y"], ["y"], "own")]), "cycle: Add 'own' → Add 'own'")


def test_cycle_through_a_subgraph() -> None:
    branch = helper.make_graph(
        [node("Abs", ["y"], ["inner"])], "branch", [], [onnx.ValueInfoProto(name="inner")]
    )
    nodes = [node("If", ["c"], ["y"], "if", then_branch=branch, else_branch=branch)]
    refused(model(nodes, [tensor("c", (), TensorProto.BOOL)]), "cycle: If 'if' → If 'if'")


def test_undefined_input() -> None:
    refused(model([node("Add", ["x", "ghost"], name="sum")]), "Add 'sum' reads 'ghost'")


def test_nameless_node_goes_by_its_output() -> None:
    refused(model([node("Add", ["x", "ghost"])]), "Add 'y' reads 'ghost'")


def test_undefined_output() -> None:
    refused(model([node("Abs")], outputs=["y", "ghost"]), "output 'ghost', which no node makes")


def test_tensor_made_twice() -> None:
    nodes = [node("Abs", name="one"), node("Neg", name="two")]
    refused(model(nodes), "'y' is made twice", "Abs 'one'", "Neg 'two'")


def test_output_over_an_input() -> None:
    refused(model([node("Abs", ["x"], ["x"], "over")], outputs=["x"]), "Abs 'over' makes 'x'")


def test_two_inputs_of_one_name() -> None:
    refused(model([node("Abs")], ["x", "x"]), "two inputs 'x'")


def test_outputs_that_are_inputs_constants_or_the_same() -> None:
    stored = numpy_helper.from_array(X * 2, "w")
    made = model([node("Neg", ["x"], ["n"])], ["x"], ["x", "w", "n", "n"], [stored])
    got = run(made)
    for g, e in zip(got, (X, X * 2, -X, -X), strict=True):
        np.testing.assert_array_equal(g, e)
    got[0][:] = 7  # what a run returns belongs to the caller
    np.testing.assert_array_equal(run(made)[1], X * 2)


def test_unused_outputs_may_be_nameless() -> None:
    made = model([node("Split", ["x"], ["", "y"], axis=0, num_outputs=2)])
    np.testing.assert_array_equal(run(made)[0], X[1:])


def test_initializers_that_are_inputs_are_constants() -> None:
    stored = numpy_helper.from_array(X, "w")
    loaded = numba_rt.load(model([node("Add", ["x", "w"])], ["x", "w"], ["y"], [stored]))
    assert [i.name for i in loaded.inputs] == ["x"]


def test_metadata() -> None:
    made = relu()
    helper.set_model_props(made, {"author": "me", "onnx.infer": "kept"})
    made.producer_name = "exporter"
    metadata = numba_rt.load(made).metadata
    assert metadata["author"] == "me"
    assert metadata["onnx.infer"] == "kept"
    assert metadata["numba_rt.producer_name"] == "exporter"


def test_declared_sizes() -> None:
    made = model([node("Relu")], [tensor("x", ("batch", None, 3))], [tensor("y", ("rows", None, 3))])
    loaded = numba_rt.load(made)
    assert loaded.inputs[0].shape is not None
    assert loaded.inputs[0].shape[0] == "batch"
    assert loaded.inputs[0].shape[2] == 3
    assert loaded.run({"x": array(4, 5, 3)})[0].shape == (4, 5, 3)


# -- opsets -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("opsets", "message"),
    [
        ([("", 29)], "needs opset 29 of ai.onnx: opsets up to 28"),
        ([("", 2**40)], "needs opset"),
        ([("", 0)], "opset 0"),
        ([("", -1)], "opset -1"),
        ([("", 20), ("ai.onnx", 21)], "twice: versions 20 and 21"),
        ([], "domain 'ai.onnx', of which the model imports no opset"),
        ([("com.acme", 1)], "domain 'ai.onnx', of which the model imports no opset"),
    ],
)
def test_bad_opsets(opsets: list[tuple[str, int]], message: str) -> None:
    made = relu()
    del made.opset_import[:]
    made.opset_import.extend(onnx.OperatorSetIdProto(domain=d, version=v) for d, v in opsets)
    refused(made, message)


def test_unsupported_operators_are_all_named() -> None:
    inner = helper.make_graph(
        [node("Foo", ["x"], ["inner"], "deep", domain="com.acme")],
        "b",
        [],
        [onnx.ValueInfoProto(name="inner")],
    )
    nodes = [
        node("Foo", ["x"], ["a"], "head/foo", domain="com.acme"),
        node("Relu", ["a"], ["b"]),
        node("Nope", ["b"], ["d"], "scale"),
        node("If", ["c"], ["e"], then_branch=inner, else_branch=inner),
        node("Add", ["d", "e"], ["y"]),
    ]
    opsets = [helper.make_opsetid("", 25), helper.make_opsetid("com.acme", 1)]
    made = model(nodes, ["x", tensor("c", (), TensorProto.BOOL)], opsets=opsets)
    message = (
        "2 operators are not implemented: com.acme.Foo (3 nodes, first 'head/foo'), Nope (1 node, 'scale')"
    )
    refused(made, message, error=UnsupportedOp)


# -- attributes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            node("LeakyRelu", name="n", alpha="x"),
            "LeakyRelu 'n': attribute 'alpha': expected float, found string 'x'",
        ),
        (node("Softmax", name="n", axis=0.5), "Softmax 'n': attribute 'axis': expected int, found float 0.5"),
        (node("Transpose", name="n", perm=3), "attribute 'perm': expected list of int, found int 3"),
        (
            node("ReduceSum", name="n", keepdims=2),
            "attribute 'keepdims': expected bool (0 or 1), found int 2",
        ),
        (node("Relu", name="n", slope=1.0), "Relu 'n': unknown attribute 'slope'"),
        (node("Concat", name="n"), "Concat 'n': attribute 'axis' is missing"),
        (node("Relu", ["x", "x"], name="n"), "Relu 'n' has 2 inputs: expected at most 1"),
        (node("MatMul", ["x"], name="n"), "MatMul 'n': the input 'B' is missing"),
        (node("MatMul", ["", "x"], name="n"), "MatMul 'n': the input 'A' is missing"),
        (node("Constant", [], name="n"), "expected exactly one value, found none"),
        (node("Constant", [], name="n", value_int=1, value_float=1.0), "expected exactly one value"),
    ],
)
def test_bad_nodes(made: onnx.NodeProto, message: str) -> None:
    refused(model([made]), message)


def test_attribute_given_twice() -> None:
    made = node("Softmax", name="n", axis=0)
    made.attribute.append(helper.make_attribute("axis", 1))
    refused(model([made]), "attribute 'axis' is given twice")


def test_attributes_that_do_not_say_their_type() -> None:
    made = node("Transpose", perm=[1, 0])
    made.attribute[0].ClearField("type")
    np.testing.assert_array_equal(run(model([made]))[0], X.T)


def test_too_many_outputs() -> None:
    refused(
        model([node("Relu", ["x"], ["y", "z"], "n")]), "Relu 'n'", "2 outputs", error=numba_rt.NumbaRtError
    )


def sparse(name: str) -> onnx.SparseTensorProto:
    """[0, 5, 0]."""
    values = numpy_helper.from_array(np.array([5], np.float32), name)
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.array([1], np.int64)), [3])


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"value": numpy_helper.from_array(X)}, X),
        ({"value_float": 2.0}, 2),
        ({"value_floats": [1.0, 2.0, 3.0]}, [1, 2, 3]),
        ({"sparse_value": sparse("")}, [0, 5, 0]),
    ],
)
def test_constants(given: dict[str, Any], expected: Any) -> None:
    nodes = [node("Constant", [], ["c"], **given), node("Add", ["x", "c"])]
    np.testing.assert_array_equal(run(model(nodes))[0], X + np.array(expected, np.float32))


def test_sparse_initializer() -> None:
    made = model([node("Add", ["x", "w"])])
    made.graph.sparse_initializer.append(sparse("w"))
    np.testing.assert_array_equal(run(made)[0], X + np.array([0, 5, 0], np.float32))


# -- functions --------------------------------------------------------------------------------

IMPORTS = [helper.make_opsetid("", 25), helper.make_opsetid("local", 1)]


def function(name: str, nodes: Any, attributes: Any = (), inputs: Any = ("a",), outputs: Any = ("b",)) -> Any:
    return helper.make_function("local", name, list(inputs), list(outputs), nodes, IMPORTS, list(attributes))


def call(name: str, inputs: Any = ("x",), outputs: Any = ("y",), **attributes: Any) -> onnx.NodeProto:
    return node(name, inputs, outputs, f"call_{outputs[0]}", domain="local", **attributes)


def test_functions_are_put_in_place() -> None:
    twice = function("Twice", [node("Add", ["a", "a"], ["b"])])
    quad = function("Quad", [call("Twice", ["a"], ["t"]), call("Twice", ["t"], ["b"])])
    made = model(
        [call("Quad", ["x"], ["t"]), call("Twice", ["t"], ["y"])], opsets=IMPORTS, functions=[quad, twice]
    )
    np.testing.assert_array_equal(run(made)[0], X * 8)


def test_function_attributes() -> None:
    leaky = node("LeakyRelu", ["a"], ["b"])
    leaky.attribute.append(
        onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    )
    made = function("F", [leaky], ["slope"])
    given = run(model([call("F", slope=0.5)], opsets=IMPORTS, functions=[made]))[0]
    np.testing.assert_allclose(given, np.where(X < 0, X * 0.5, X))
    absent = run(model([call("F")], opsets=IMPORTS, functions=[made]))[0]
    np.testing.assert_allclose(absent, np.where(X < 0, X * 0.01, X))


def test_function_that_returns_its_input() -> None:
    same = helper.make_function("local", "Same", ["a"], ["a"], [], IMPORTS)
    made = model([call("Same", ["x"], ["y"]), call("Same", ["y"], ["z"])], ["x"], ["y", "z"], opsets=IMPORTS)
    made.functions.append(same)
    for got in run(made):
        np.testing.assert_array_equal(got, X)


def test_local_functions_come_before_operators() -> None:
    relu = helper.make_function("", "Relu", ["a"], ["b"], [node("Neg", ["a"], ["b"])], IMPORTS)
    np.testing.assert_array_equal(run(model([node("Relu")], functions=[relu]))[0], -X)


def test_functions_that_call_each_other() -> None:
    f = function("F", [call("G", ["a"], ["b"])])
    g = function("G", [call("F", ["a"], ["b"])])
    refused(
        model([call("F")], opsets=IMPORTS, functions=[f, g]), "functions call each other in a cycle", "F", "G"
    )


def test_functions_that_grow_without_bound() -> None:
    functions = [function("F0", [node("Neg", ["a"], ["b"])])]
    for i in range(1, 64):
        body = [call(f"F{i - 1}", ["a"], ["t"]), call(f"F{i - 1}", ["t"], ["b"])]
        functions.append(function(f"F{i}", body))
    refused(model([call("F63")], opsets=IMPORTS, functions=functions), "once its functions are expanded")


def test_function_with_too_many_inputs() -> None:
    f = function("F", [node("Neg", ["a"], ["b"])])
    refused(model([call("F", ["x", "x"])], opsets=IMPORTS, functions=[f]), "call_y", "the function takes 1")


# -- subgraphs --------------------------------------------------------------------------------


def branch(nodes: Any, output: str, initializers: Any = ()) -> onnx.GraphProto:
    return helper.make_graph(nodes, "branch", [], [onnx.ValueInfoProto(name=output)], list(initializers))


def choose(then: onnx.GraphProto, other: onnx.GraphProto, *extra: Any) -> onnx.ModelProto:
    nodes = [*extra, node("If", ["c"], ["y"], "if", then_branch=then, else_branch=other)]
    return model(nodes, ["x", tensor("c", (), TensorProto.BOOL)])


@pytest.mark.parametrize("condition", [True, False])
def test_branches_capture_values(condition: bool) -> None:
    stored = numpy_helper.from_array(np.float32([10]), "w")
    then = branch([node("Add", ["h", "w"], ["t"])], "t", [stored])
    inner = choose(branch([node("Neg", ["x"], ["n"])], "n"), branch([node("Abs", ["h"], ["o"])], "o"))
    other = branch([inner.graph.node[0]], "y")
    other.node[0].output[0] = other.output[0].name = "inner_y"
    made = choose(then, other, node("Mul", ["x", "x"], ["h"]))
    got = run(made, x=X, c=np.array(condition))[0]
    np.testing.assert_array_equal(got, X * X + 10 if condition else np.abs(X * X))


def test_branches_of_unlike_dtypes() -> None:
    then = branch([node("Neg", ["x"], ["t"])], "t")
    other = branch([node("Shape", ["x"], ["t"])], "t")
    refused(choose(then, other), "If 'if'", "expected the same dtype", error=numba_rt.NumbaRtError)


def test_undefined_value_in_a_branch() -> None:
    then = branch([node("Neg", ["ghost"], ["t"], "inside")], "t")
    refused(choose(then, then), "Neg 'inside' reads 'ghost'")


def test_a_known_branch_takes_the_place_of_the_node() -> None:
    then = branch([node("Neg", ["x"], ["t"])], "t")
    other = branch([node("MatMul", ["x", "x"], ["t"])], "t")  # would not fit, but is never taken
    stored = numpy_helper.from_array(np.array(True), "c")
    nodes = [node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    loaded = numba_rt.load(model(nodes, ["x"], ["y"], [stored]))
    assert [n.op.op_type for n in loaded.graph.nodes] != ["If"]
    np.testing.assert_array_equal(loaded.run({"x": X})[0], -X)


def test_nesting_is_bounded() -> None:
    functions = [function("F0", [node("Neg", ["a"], ["b"])])]
    functions += [function(f"F{i}", [call(f"F{i - 1}", ["a"], ["b"])]) for i in range(1, 40)]
    refused(model([call("F39")], opsets=IMPORTS, functions=functions), "nested more than 32 deep")

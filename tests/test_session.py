"""InferenceSession beside onnxruntime's: same calls, same descriptions, same results."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import numba_rt
from numba_rt import GraphOptimizationLevel, InferenceSession, InputError, RunOptions, SessionOptions
from numba_rt import execute as execute_module
from numba_rt.ort_value import IOBinding, OrtValue


def proto() -> onnx.ModelProto:
    """y = relu(x @ w + b), k = x + 1 as doubles, with sizes of every kind."""
    w = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(3, 4) - 5, "w")
    b = numpy_helper.from_array(np.ones(4, np.float32), "b")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "mm"),
        helper.make_node("Add", ["h", "b"], ["s"]),
        helper.make_node("Relu", ["s"], ["y"]),
        helper.make_node("Cast", ["x"], ["k"], to=TensorProto.DOUBLE),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", None, 3]),
        helper.make_tensor_value_info("b", TensorProto.FLOAT, [4]),
    ]
    outputs = [
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", None, 4]),
        helper.make_tensor_value_info("k", TensorProto.DOUBLE, ["batch", None, 3]),
    ]
    graph = helper.make_graph(nodes, "dense", inputs, outputs, [w, b], doc_string="about the graph")
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
    made.producer_name, made.domain, made.doc_string, made.model_version = "exporter", "org", "about", 7
    helper.set_model_props(made, {"author": "me"})
    return made


MODEL = proto().SerializeToString()
X = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def ours() -> InferenceSession:
    return InferenceSession(MODEL, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def theirs() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])


def test_results(ours: InferenceSession, theirs: onnxruntime.InferenceSession) -> None:
    for names in (None, [], ["k"], ["k", "y"]):
        got, expected = ours.run(names, {"x": X}), theirs.run(names, {"x": X})
        assert len(got) == len(expected)
        for g, e in zip(got, expected, strict=True):
            assert g.dtype == e.dtype
            np.testing.assert_allclose(g, e, rtol=1e-5)


def test_descriptions(ours: InferenceSession, theirs: onnxruntime.InferenceSession) -> None:
    for method in ("get_inputs", "get_outputs", "get_overridable_initializers"):
        got, expected = getattr(ours, method)(), getattr(theirs, method)()
        assert [str(g) for g in got] == [str(e) for e in expected]
        assert [(g.name, g.type, g.shape) for g in got] == [(e.name, e.type, e.shape) for e in expected]
    about, meta = ours.get_modelmeta(), theirs.get_modelmeta()
    names = ("custom_metadata_map", "description", "domain", "graph_description", "graph_name")
    for name in (*names, "producer_name", "version"):
        assert getattr(about, name) == getattr(meta, name), name


def test_a_model_without_a_version() -> None:
    made = proto()
    made.ClearField("model_version")
    assert InferenceSession(made.SerializeToString()).get_modelmeta().version == 2**63 - 1


FLOATS = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))


@pytest.mark.parametrize(
    ("declared", "shown"),
    [
        (helper.make_tensor_type_proto(TensorProto.BFLOAT16, [1]), "tensor(bfloat16)"),
        (helper.make_tensor_type_proto(TensorProto.STRING, [1]), "tensor(string)"),
        (helper.make_tensor_type_proto(TensorProto.FLOAT8E4M3FN, [1]), "tensor(float8e4m3fn)"),
        (
            helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.INT64, None)),
            "seq(tensor(int64))",
        ),
        (
            helper.make_optional_type_proto(
                helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, None))
            ),
            "optional(seq(tensor(float)))",
        ),
    ],
)
def test_types(declared: onnx.TypeProto, shown: str) -> None:
    node = helper.make_node("Identity", ["a"], ["c"])
    values = [onnx.ValueInfoProto(name=n) for n in ("a", "c")]
    for value in values:
        value.type.CopyFrom(declared)
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    session = InferenceSession(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))
    assert session.get_inputs()[0].type == shown
    assert session.get_outputs()[0].type == shown


@pytest.mark.parametrize(
    ("feed", "parts"),
    [
        ({}, ["'x'", "missing"]),
        ({"x": X, "q": X}, ["'q'", "unknown"]),
        ({"x": X.astype(np.float64)}, ["'x'", "float64", "float32"]),
        ({"x": X[0]}, ["'x'", "rank 3"]),
        ({"x": X[..., :2]}, ["'x'", "size 2 on axis 2", "3"]),
        ({"x": None}, ["'x'", "None"]),
        ([X], ["mapping", "list"]),
    ],
)
def test_bad_feeds(ours: InferenceSession, feed: Any, parts: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        ours.run(None, feed)
    assert isinstance(error.value, InputError)
    for part in parts:
        assert part in str(error.value)
    assert ours.run(["y"], {"x": X})[0].shape == (2, 5, 4)


def test_unknown_output(ours: InferenceSession) -> None:
    with pytest.raises(InputError, match="nope"):
        ours.run(["nope"], {"x": X})


def test_options(tmp_path: Path) -> None:
    options = SessionOptions()
    ort_options = onnxruntime.SessionOptions()
    names = [n for n in dir(ort_options) if not n.startswith("_") and not callable(getattr(ort_options, n))]
    for name in names:
        ours, theirs = getattr(options, name), getattr(ort_options, name)
        assert (ours.value if hasattr(ours, "value") else ours) == (
            theirs.value if hasattr(theirs, "value") else theirs
        ), name
    options.intra_op_num_threads = 1
    options.graph_optimization_level = GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x", "1")
    assert options.get_session_config_entry("session.x") == "1"
    session = InferenceSession(MODEL, options)
    assert session.model.threads == 1
    assert not session.model.optimized
    assert session.get_session_options() is options
    np.testing.assert_allclose(
        session.run(["y"], {"x": X}, RunOptions())[0],
        InferenceSession(MODEL).run(["y"], {"x": X})[0],
        rtol=1e-5,
    )
    with pytest.raises(AttributeError):
        options.no_such_option = 1  # type: ignore[attr-defined]


def test_requests_without_effect_are_told() -> None:
    options = SessionOptions(optimized_model_filepath="x.onnx")
    with pytest.warns(UserWarning, match="not"):
        InferenceSession(MODEL, options)


def test_free_dimensions() -> None:
    options = SessionOptions()
    options.add_free_dimension_override_by_name("batch", 2)
    session = InferenceSession(MODEL, options)
    assert session.get_inputs()[0].shape == [2, None, 3]
    assert session.run(["y"], {"x": X})[0].shape == (2, 5, 4)
    with pytest.raises(InputError):
        session.run(["y"], {"x": X[:1]})


def test_providers() -> None:
    assert numba_rt.get_available_providers() == ["CPUExecutionProvider"]
    assert numba_rt.get_device() == "CPU"
    session = InferenceSession(MODEL, providers=[("CPUExecutionProvider", {"arena_extend_strategy": "x"})])
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.get_provider_options() == {"CPUExecutionProvider": {}}
    session.set_providers(["AzureExecutionProvider", "CPUExecutionProvider"])
    session.disable_fallback()
    session.enable_fallback()
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"):
        session.set_providers(["CUDAExecutionProvider"])


def test_model_path(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(MODEL)
    assert InferenceSession(path)._model_path == str(path)
    assert InferenceSession(str(path))._model_path == str(path)
    assert InferenceSession(MODEL)._model_path is None


class Pickled(InferenceSession):
    """As insightface subclasses the session."""

    def __init__(self, model_path: str, **kwargs: Any) -> None:
        super().__init__(model_path, **kwargs)
        self.model_path = model_path

    def __getstate__(self) -> dict[str, Any]:
        return {"model_path": self.model_path}

    def __setstate__(self, values: dict[str, Any]) -> None:
        self.__init__(values["model_path"])  # type: ignore[misc]


def test_subclasses(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(MODEL)
    session = pickle.loads(pickle.dumps(Pickled(str(path), providers=None)))
    assert isinstance(session, InferenceSession)
    assert session.run(["k"], {"x": X})[0].dtype == np.float64


def test_asynchronous(ours: InferenceSession) -> None:
    done = threading.Event()
    seen: list[Any] = []

    def callback(*args: Any) -> None:
        seen.append(args)
        done.set()

    for feed in ({"x": X}, {}):
        done.clear()
        ours.run_async(["y"], feed, callback, "mine")
        assert done.wait(60)
    (good, data, no_error), (none, _, error) = seen
    assert good[0].shape == (2, 5, 4)
    assert (data, no_error) == ("mine", "")
    assert none == []
    assert "'x'" in error


def test_ort_values(ours: InferenceSession) -> None:
    value = OrtValue.ortvalue_from_numpy(X)
    assert value.data_type() == "tensor(float)"
    assert (value.shape(), value.element_type(), value.device_name()) == ([2, 5, 3], TensorProto.FLOAT, "cpu")
    (y,) = ours.run_with_ort_values(["y"], {"x": value})
    expected = ours.run(["y"], {"x": X})[0]
    np.testing.assert_array_equal(y.numpy(), expected)
    np.testing.assert_array_equal(np.asarray(y), expected)
    np.testing.assert_array_equal(np.from_dlpack(y), expected)
    value.update_inplace(X * 2)
    assert value.numpy()[0, 0, 0] == X[0, 0, 0] * 2
    with pytest.raises(InputError, match="expected float32"):
        value.update_inplace(X[0])
    with pytest.raises(InputError, match="device 'cuda'"):
        OrtValue.ortvalue_from_numpy(X, "cuda", 0)


def test_bindings(ours: InferenceSession) -> None:
    expected = ours.run(None, {"x": X})
    binding = ours.io_binding()
    assert isinstance(binding, IOBinding)
    binding.bind_input("x", "cpu", 0, np.float32, X.shape, X.ctypes.data)
    memory = np.zeros_like(expected[0])
    binding.bind_output("y", "cpu", 0, np.float32, memory.shape, memory.ctypes.data)
    binding.bind_output("k")
    ours.run_with_iobinding(binding)
    np.testing.assert_array_equal(memory, expected[0])
    np.testing.assert_array_equal(binding.copy_outputs_to_cpu()[1], expected[1])
    assert [v.shape() for v in binding.get_outputs()] == [[2, 5, 4], [2, 5, 3]]
    binding.bind_output("y", "cpu", 0, np.float32, (1, 1), memory.ctypes.data)
    with pytest.raises(InputError, match="output 'y' is bound to float32"):
        ours.run_with_iobinding(binding)
    with pytest.raises(InputError, match="'nope'"):
        binding.bind_output("nope")
    binding.clear_binding_inputs()
    with pytest.raises(InputError, match="missing"):
        ours.run_with_iobinding(binding)


def test_bound_outputs_are_computed_in_place(ours: InferenceSession, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ours.run(["y"], {"x": X})[0]
    value = OrtValue.ortvalue_from_shape_and_type(expected.shape, np.float32)
    binding = ours.io_binding()
    binding.bind_cpu_input("x", X)
    binding.bind_ortvalue_output("y", value)
    made: list[Any] = []
    empty = execute_module._empty
    monkeypatch.setattr(execute_module, "_empty", lambda s, d: made.append(s) or empty(s, d))
    ours.run_with_iobinding(binding)
    np.testing.assert_array_equal(value.numpy(), expected)
    assert expected.shape not in made
    assert binding.get_outputs()[0].numpy() is value.numpy()


def test_an_output_bound_to_the_memory_of_an_input(ours: InferenceSession) -> None:
    """A run reads its inputs to the end before such an output takes their place."""
    expected = ours.run(["y"], {"x": X})[0]
    memory = np.zeros_like(expected)
    x = memory.reshape(-1)[: X.size].reshape(X.shape)
    x[...] = X
    binding = ours.io_binding()
    binding.bind_cpu_input("x", x)
    binding.bind_ortvalue_output("y", OrtValue(memory))
    ours.run_with_iobinding(binding)
    np.testing.assert_array_equal(memory, expected)


def test_an_output_bound_to_the_memory_of_an_element_of_a_sequence() -> None:
    info, sequence = helper.make_tensor_value_info, helper.make_tensor_sequence_value_info
    nodes = [
        helper.make_node("SequenceAt", ["s", "first"], ["a"]),
        helper.make_node("Neg", ["a"], ["y"]),
        helper.make_node("SequenceInsert", ["s", "y"], ["longer"]),
        helper.make_node("SequenceAt", ["longer", "second"], ["b"]),
        helper.make_node("Neg", ["b"], ["z"]),
    ]
    stored = [numpy_helper.from_array(np.array(i), name) for i, name in enumerate(("first", "second"))]
    outputs = [info(name, TensorProto.FLOAT, (3,)) for name in "yz"]
    graph = helper.make_graph(nodes, "g", [sequence("s", TensorProto.FLOAT, (3,))], outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    elements = [np.full(3, value, np.float32) for value in (1, 2)]
    binding = (session := InferenceSession(model)).io_binding()
    binding.bind_ortvalue_input("s", OrtValue(elements))
    binding.bind_ortvalue_output("y", OrtValue(elements[1]))
    binding.bind_output("z")
    session.run_with_iobinding(binding)
    assert [x.tolist() for x in binding.copy_outputs_to_cpu()] == [[-1] * 3, [-2] * 3]

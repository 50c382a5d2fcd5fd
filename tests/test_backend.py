"""The onnx package's backend interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from numba_rt import backend
from numba_rt.errors import InputError, LoadError

X = np.float32([[-1, 2]])


def model(op_type: str = "Relu") -> onnx.ModelProto:
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 2]) for n in "xy"]
    graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"], "n")], "g", info[:1], info[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])


@pytest.mark.parametrize("inputs", [[X], (X,), X, {"x": X}])
def test_prepare_and_run(inputs: object) -> None:
    got = backend.prepare(model()).run(inputs)
    assert isinstance(got, tuple)
    np.testing.assert_array_equal(got[0], np.maximum(X, 0))


def test_sources(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    onnx.save(model(), path)
    prepared = backend.prepare(path)
    for source in (str(path), model().SerializeToString(), prepared, prepared.model):
        np.testing.assert_array_equal(backend.run_model(source, [X])[0], np.maximum(X, 0))


def test_run_node() -> None:
    node = helper.make_node("Clip", ["x", "", "high"], ["y"])
    (y,) = backend.run_node(node, [X, None, np.float32(1)])
    np.testing.assert_array_equal(y, np.minimum(X, 1))
    old = helper.make_node("Clip", ["x"], ["y"], max=1.0)
    np.testing.assert_array_equal(backend.run_node(old, [X], opset_version=6)[0], np.minimum(X, 1))


def test_devices() -> None:
    assert backend.supports_device("CPU")
    assert not backend.supports_device("CUDA:1")
    with pytest.raises(LoadError, match="CUDA"):
        backend.prepare(model(), "CUDA")


def test_compatible() -> None:
    assert backend.is_compatible(model())
    assert not backend.is_compatible(model("Nope"))


def test_too_many_inputs() -> None:
    with pytest.raises(InputError, match="2 inputs were fed"):
        backend.prepare(model()).run([X, X])

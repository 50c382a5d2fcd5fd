"""Optimised graphs in files: used where they fit and were made here, never wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import numba_rt
from numba_rt.errors import LoadError
from numba_rt.format import seal
from numba_rt.format.container import open_container
from numba_rt.format.reader import read_ready, split_ready
from numba_rt.format.ready import Prepared, open_prepared
from numba_rt.graph import Graph
from numba_rt.simd.depthwise import row_addresses
from numba_rt.simd.tile import tile_addresses
from tests.format.models import feeds, mixed


def saved(tmp_path: Path, model: onnx.ModelProto | None = None) -> Path:
    numba_rt.load(model or mixed()).save(tmp_path / "m.nrt", prepack=True)
    return tmp_path / "m.nrt"


def opened(path: Path) -> Prepared | str:
    return open_prepared(open_container(path))


def listed(graph: Graph) -> list[str]:
    return [str(n) for n in graph.nodes] + [str(v.fact) for v in graph.values()]


def test_the_graph_is_the_one_that_was_optimised(tmp_path: Path) -> None:
    first = numba_rt.load(mixed())
    path = saved(tmp_path)
    second = numba_rt.load(path)
    assert isinstance(opened(path), Prepared)
    assert listed(second.graph) == listed(first.graph)
    assert (second.inputs, second.outputs) == (first.inputs, first.outputs)
    assert second.metadata == first.metadata
    assert second.report.fired == first.report.fired
    for a, b in zip(first.run(feeds()), second.run(feeds()), strict=True):
        np.testing.assert_array_equal(a, b)


def convolutions() -> onnx.ModelProto:
    """Convolutions of all kinds, a branch on a size, shape arithmetic, a chain of elementwise operators."""
    rng = np.random.default_rng(0)
    shapes = {"a": (32, 3, 3, 3), "b": (32, 32, 3, 3), "c": (32, 1, 3, 3), "d": (16, 32, 1, 1)}
    stored = [
        numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()
    ]
    stored.append(numpy_helper.from_array(np.array([0, 16, -1]), "flat"))
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "a"], ["y1"], **pads),
        helper.make_node("Relu", ["y1"], ["y2"]),
        helper.make_node("Conv", ["y2", "b"], ["y3"], **pads),
        helper.make_node("Conv", ["y3", "c"], ["y4"], group=32, **pads),
        helper.make_node("Conv", ["y4", "d"], ["y5"]),
        helper.make_node("Sigmoid", ["y5"], ["y6"]),
        helper.make_node("Mul", ["y5", "y6"], ["y7"]),
        helper.make_node("Reshape", ["y7", "flat"], ["y"]),
        helper.make_node("Shape", ["y"], ["s"]),
    ]
    info = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "height", "width"]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, None),
        helper.make_tensor_value_info("s", TensorProto.INT64, None),
    ]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def test_packed_weights_and_symbolic_sizes(tmp_path: Path) -> None:
    first, second = numba_rt.load(convolutions()), numba_rt.load(saved(tmp_path, convolutions()))
    assert listed(second.graph) == listed(first.graph)
    for shape in ((1, 3, 16, 16), (2, 3, 9, 12)):
        x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
        for a, b in zip(first(x).values(), second(x).values(), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("make", [mixed, convolutions])
def test_no_address_of_code_is_a_constant(make: Callable[[], onnx.ModelProto]) -> None:
    addresses = np.unique(np.concatenate([tile_addresses().reshape(-1), row_addresses(3, 1).reshape(-1)]))
    addresses = addresses[np.abs(addresses) > 1 << 16]
    assert addresses.size
    for value in numba_rt.load(make()).graph.constants():
        array = value.constant
        assert array is not None
        if array.dtype.kind in "iu" and array.itemsize == 8:
            assert not np.isin(array, addresses).any()


def test_a_prepared_model_can_be_saved_again(tmp_path: Path) -> None:
    path = saved(tmp_path, convolutions())
    numba_rt.load(path).save(tmp_path / "again.nrt", prepack=True)
    assert isinstance(opened(tmp_path / "again.nrt"), Prepared)


@pytest.mark.parametrize("name", ["sources", "toolchain", "vectors", "tile", "winograd", "precision"])
def test_another_key_falls_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, key = saved(tmp_path), seal.key
    expected = numba_rt.load(path).run(feeds())
    fits = json.dumps(json.loads(key()) | {name: "another"})
    monkeypatch.setattr("numba_rt.format.ready.key", lambda precision="fast": fits)
    assert "another processor" in str(opened(path))
    model = numba_rt.load(path)
    assert model.report.fired
    for a, b in zip(expected, model.run(feeds()), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_sources_are_found() -> None:
    for name in seal._SOURCES:
        assert (seal._ROOT / name).exists()


def test_graphs_signed_elsewhere_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path)
    monkeypatch.setattr("numba_rt.format.seal._secrets", lambda: [b"x" * 32])
    assert "kernel cache" in str(opened(path))
    numba_rt.load(path).run(feeds())


def test_a_changed_graph_or_index_is_not_used(tmp_path: Path) -> None:
    path = saved(tmp_path)
    container = open_container(path)
    fits, signature, data = split_ready(container)
    _, tensors = read_ready(container, data)
    assert seal.is_ours(signature, fits, data, tensors)
    assert not seal.is_ours(signature, fits, data[:-1] + b"\1", tensors)
    assert not seal.is_ours(signature, fits + " ", data, tensors)
    words = [t for t in tensors if t.data_type == TensorProto.STRING]
    assert words
    words[0].offset, words[0].data_type = 1 << 20, TensorProto.FLOAT
    assert not seal.is_ours(signature, fits, data, tensors)


def test_a_session_uses_it(tmp_path: Path) -> None:
    first = numba_rt.InferenceSession(convolutions())
    second = numba_rt.InferenceSession(saved(tmp_path, convolutions()))
    assert second.model.report.refused == []
    assert [str(x) for x in second.get_outputs()] == [str(x) for x in first.get_outputs()]
    x = {"x": np.ones((1, 3, 8, 8), np.float32)}
    for a, b in zip(first.run(None, x), second.run(None, x), strict=True):
        np.testing.assert_array_equal(a, b)


def test_strict_precision_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "m.nrt"
    numba_rt.load(convolutions(), precision="strict").save(path, prepack=True)
    assert isinstance(open_prepared(open_container(path), "strict"), Prepared)
    assert isinstance(opened(path), str)
    assert numba_rt.load(path).precision == "fast"


def test_without_optimisation_there_is_nothing_to_pack(tmp_path: Path) -> None:
    model = numba_rt.load(mixed(), optimize=False)
    with pytest.raises(LoadError, match="optimize=False"):
        model.save(tmp_path / "m.nrt", prepack=True)
    assert numba_rt.load(saved(tmp_path), optimize=False).optimized is False

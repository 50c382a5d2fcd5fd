"""ONNX → .nrt → ONNX gives the same model, and both run alike."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import numba_rt
from converter.from_onnx import FromOnnx
from converter.read import read
from converter.to_onnx import export, to_proto
from numba_rt.errors import UnsupportedOp
from numba_rt.format.writer import write_model
from tests.conformance.cases import Case, all_cases
from tests.format.models import encoded, everything
from tests.format.normal import normal

RUN = 67
"""One of so many cases is also run."""


def round_trip(model: onnx.ModelProto) -> onnx.ModelProto:
    return to_proto(read(encoded(model)))


@pytest.mark.slow
def test_every_backend_case() -> None:
    different = []
    for case in all_cases():
        model = case.model()
        if normal(model) != normal(round_trip(model)):
            different.append(case.id)
    assert different == []


@pytest.mark.parametrize("case", [c for c in all_cases() if c.kind == "node"][::RUN], ids=lambda c: c.id)
def test_runs_alike(case: Case) -> None:
    model = case.model()
    try:
        first = numba_rt.load(model)
    except UnsupportedOp as error:
        with pytest.raises(UnsupportedOp) as other:
            numba_rt.load(encoded(model))
        assert str(other.value) == str(error)
        return
    second = numba_rt.load(encoded(model))
    assert [str(x) for x in second.inputs + second.outputs] == [str(x) for x in first.inputs + first.outputs]
    assert second.metadata == first.metadata
    if case.is_random:
        return
    for inputs, _ in case.data_sets(model):
        feeds = dict(zip((i.name for i in first.inputs), inputs, strict=True))
        for a, b in zip(first.run(feeds), second.run(feeds), strict=True):
            same(a, b)


def same(a: object, b: object) -> None:
    if isinstance(a, np.ndarray) and a.dtype.kind != "O":
        assert isinstance(b, np.ndarray)
        assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    else:
        np.testing.assert_equal(a, b)


def test_nothing_is_lost() -> None:
    model = everything()
    again = round_trip(model)
    assert normal(again) == normal(model)
    node = again.graph.node[0]
    values = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    assert str(values["number"]) == "-0.0"
    assert values["raws"] == [b"ok", b"\x80"]
    assert again.HasField("model_version")
    assert again.training_info[0].algorithm.node[0].overload == "b"


def test_operators_that_cannot_run_are_kept_and_refused(tmp_path: Path) -> None:
    node = helper.make_node("Foo", ["x"], ["y"], domain="some.where", alpha=1.0)
    info = [helper.make_tensor_value_info(n, 1, [2]) for n in "xy"]
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("some.where", 1)]
    model = helper.make_model(helper.make_graph([node], "g", info[:1], info[1:]), opset_imports=imports)
    assert normal(round_trip(model)) == normal(model)
    with pytest.raises(UnsupportedOp, match=r"some\.where\.Foo"):
        numba_rt.load(encoded(model))


def test_export_writes_a_model_onnx_reads(tmp_path: Path) -> None:
    model = everything()
    assert export(FromOnnx().model(model), tmp_path / "m.onnx") is None
    assert normal(onnx.load(tmp_path / "m.onnx")) == normal(model)


def test_export_of_a_large_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = np.arange(6000, dtype=np.float32).reshape(2, 3000)
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    info = [helper.make_tensor_value_info(n, 1, [2, 3000]) for n in "xy"]
    model = helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:], [numpy_helper.from_array(weights, "w")])
    )
    monkeypatch.setattr("converter.to_onnx.LARGEST", 1000)
    beside = export(FromOnnx().model(model), tmp_path / "m.onnx")
    assert beside == tmp_path / "m.onnx.data"
    assert (tmp_path / "m.onnx").stat().st_size < 1000
    assert normal(onnx.load(tmp_path / "m.onnx")) == normal(model)
    assert numba_rt.load(tmp_path / "m.onnx")(weights)[0].tolist() == (weights * 2).tolist()


SCRIPT = """
import sys, numpy as np, numba_rt
model = numba_rt.load(sys.argv[1])
model(np.zeros((2, 3), np.float32))
assert "onnx" not in sys.modules, "onnx was imported"
assert "flatbuffers" not in sys.modules, "flatbuffers was imported"
"""


@pytest.mark.parametrize("prepack", [False, True])
def test_loading_needs_no_onnx_package(tmp_path: Path, prepack: bool) -> None:
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.standard_normal((3, 4)).astype(np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"], axis=1)]
    info = [helper.make_tensor_value_info("x", 1, ["n", 3]), helper.make_tensor_value_info("y", 1, None)]
    model = helper.make_model(
        helper.make_graph(nodes, "g", info[:1], info[1:], [weights]),
        opset_imports=[helper.make_opsetid("", 11)],
    )
    numba_rt.load(model).save(tmp_path / "m.nrt", prepack=prepack)
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "m.nrt")], check=True)


def test_saving_again_gives_the_same_file(tmp_path: Path) -> None:
    write_model(tmp_path / "a.nrt", FromOnnx().model(everything()))
    write_model(tmp_path / "b.nrt", read(tmp_path / "a.nrt"))
    assert (tmp_path / "a.nrt").read_bytes() == (tmp_path / "b.nrt").read_bytes()

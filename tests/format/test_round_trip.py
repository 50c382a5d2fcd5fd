"""ONNX → .nrt → ONNX gives the same model, and both run alike."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import numba_rt
from converter.from_onnx import FromOnnx
from converter.read import read
from converter.to_onnx import export, to_proto
from numba_rt.errors import UnsupportedOp
from numba_rt.format.writer import write_model, write_to
from tests.conformance.cases import Case, all_cases
from tests.format.normal import normal

RUN = 67
"""One of so many cases is also run."""


def encoded(model: onnx.ModelProto) -> bytes:
    file = io.BytesIO()
    write_to(file, FromOnnx().model(model))
    return file.getvalue()


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


def everything() -> onnx.ModelProto:
    """A model with something of all that ONNX has."""
    body = helper.make_graph(
        [helper.make_node("Foo", ["outer", ""], ["y"], domain="some.where", overload="b")],
        "body",
        [],
        [onnx.ValueInfoProto(name="y")],
        [helper.make_tensor("half", TensorProto.FLOAT8E4M3FN, [2, 2], [1, 2, 3, 4])],
    )
    nodes = [
        helper.make_node(
            "Strange", ["x", "", "w"], ["y", "", "z"], "n", "said of the node", "some.where",
            floats=[1.5, -0.0], ints=[1, -2], number=-0.0, whole=0, text="", texts=["ü", "\0"],
            raw=b"\xff\xfe",
            raws=[b"ok", b"\x80"], tensor=numpy_helper.from_array(np.array(["a", "ü"], object)), body=body,
        )
    ]  # fmt: skip
    nodes[0].attribute.append(helper.make_attribute("bodies", [body, body]))
    nodes[0].attribute.append(
        helper.make_attribute("tensors", [helper.make_tensor("q", TensorProto.UINT4, [3], [1, 2, 3])])
    )
    nodes[0].attribute.append(helper.make_attribute("type", helper.make_tensor_type_proto(1, ["n", 2, None])))
    nodes[0].metadata_props.add(key="where", value="here")
    nodes[0].device_configurations.add(configuration_id="two", pipeline_stage=1)
    types = [
        helper.make_tensor_value_info("x", TensorProto.BFLOAT16, ["batch", 3, None]),
        helper.make_value_info("s", helper.make_sequence_type_proto(helper.make_tensor_type_proto(8, None))),
        helper.make_value_info("o", helper.make_optional_type_proto(helper.make_tensor_type_proto(22, []))),
        helper.make_value_info("m", helper.make_map_type_proto(7, helper.make_tensor_type_proto(1, [1]))),
        helper.make_value_info("p", helper.make_sparse_tensor_type_proto(1, [2, 2])),
    ]
    types[0].type.denotation, types[0].type.tensor_type.shape.dim[0].denotation = "IMAGE", "BATCH"
    types.append(onnx.ValueInfoProto(name="q", doc_string="opaque"))
    types[-1].type.opaque_type.domain, types[-1].type.opaque_type.name = "some.where", "Thing"
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("sparse", TensorProto.FLOAT, [1], [3]), helper.make_tensor("", 7, [1], [2]), [2, 2]
    )
    graph = helper.make_graph(
        nodes, "g", types, [onnx.ValueInfoProto(name="y")], sparse_initializer=[sparse], doc_string="about",
        initializer=[helper.make_tensor(f"t{c}", c, [3], [0, 1, 0])
                     for c in range(1, 29) if c not in (8, 24)],
        value_info=[helper.make_tensor_value_info("v", 1, [4])],
    )  # fmt: skip
    graph.initializer[0].metadata_props.add(key="a", value="b")
    graph.initializer[0].doc_string = "weights"
    note = graph.quantization_annotation.add(tensor_name="w")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    graph.metadata_props.add(key="g", value="")
    function = helper.make_function(
        "some.where", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 21)], ["alpha"], [helper.make_attribute("beta", 1.0)],
    )  # fmt: skip
    reference = function.node[0].attribute.add(name="alpha", ref_attr_name="alpha")
    reference.type = onnx.AttributeProto.FLOAT
    model = helper.make_model(
        graph, functions=[function], producer_name="p", producer_version="1", domain="d", model_version=0,
        doc_string="all", opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("some.where", 3)],
    )  # fmt: skip
    model.metadata_props.add(key="names", value="{}")
    model.configuration.add(name="two", num_devices=2)
    training = model.training_info.add()
    training.algorithm.CopyFrom(body)
    training.update_binding.add(key="w", value="w2")
    return model


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

"""Small models for the tests of files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from converter.from_onnx import FromOnnx
from numba_rt.format.writer import write_to


def mixed() -> onnx.ModelProto:
    """A model with weights, a branch, strings, metadata and symbolic sizes, that runs in a moment."""
    rng = np.random.default_rng(0)
    float32, boolean = TensorProto.FLOAT, TensorProto.BOOL
    branches = {}
    for name, op in (("then_branch", "Neg"), ("else_branch", "Identity")):
        node = helper.make_node(op, ["h"], [f"{name}_y"], f"{name}/{op}")
        made = helper.make_tensor_value_info(f"{name}_y", float32, ["n", 5])
        branches[name] = helper.make_graph([node], name, [], [made])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"], "product"),
        helper.make_node("Add", ["m", "b"], ["h"], "bias"),
        helper.make_node("If", ["flip"], ["y"], "choice", **branches),
    ]
    inputs = [
        helper.make_tensor_value_info("x", float32, ["n", 7]),
        helper.make_tensor_value_info("flip", boolean, []),
    ]
    stored = [
        numpy_helper.from_array(rng.standard_normal((7, 5)).astype(np.float32), "w"),
        numpy_helper.from_array(rng.standard_normal(5).astype(np.float32), "b"),
        numpy_helper.from_array(np.array(["cat", "dög"], object), "labels"),
    ]
    outputs = [
        helper.make_tensor_value_info("y", float32, ["n", 5]),
        helper.make_tensor_value_info("labels", TensorProto.STRING, [2]),
    ]
    graph = helper.make_graph(nodes, "mixed", inputs, outputs, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="tests")
    model.metadata_props.add(key="purpose", value="tests")
    return model


def feeds() -> dict[str, Any]:
    """Inputs of `mixed`."""
    x = np.random.default_rng(1).standard_normal((3, 7)).astype(np.float32)
    return {"x": x, "flip": np.array(True)}


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


def encoded(model: onnx.ModelProto) -> bytes:
    """A model as the bytes of a .nrt file."""
    file = io.BytesIO()
    write_to(file, FromOnnx().model(model))
    return file.getvalue()

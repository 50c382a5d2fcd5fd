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


def encoded(model: onnx.ModelProto) -> bytes:
    """A model as the bytes of a .nrt file."""
    file = io.BytesIO()
    write_to(file, FromOnnx().model(model))
    return file.getvalue()

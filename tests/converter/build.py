"""Small models for the converter's tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

F = TensorProto.FLOAT


def tensor(name: str, shape: Any = (2, 3), dtype: int = F) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Any,
    inputs: Any = ("x",),
    outputs: Any = ("y",),
    initializers: Any = (),
    opset: int = 25,
    opsets: Any = None,
    functions: Any = (),
) -> onnx.ModelProto:
    """A model; inputs and outputs given by name are float[2, 3]."""
    ins = [tensor(i) if isinstance(i, str) else i for i in inputs]
    outs = [onnx.ValueInfoProto(name=o) if isinstance(o, str) else o for o in outputs]
    graph = helper.make_graph(nodes, "test", ins, outs, list(initializers))
    imports = [helper.make_opsetid("", opset)] if opsets is None else opsets
    return helper.make_model(graph, opset_imports=imports, functions=list(functions))


def node(
    op_type: str, inputs: Any = ("x",), outputs: Any = ("y",), name: str = "", **attributes: Any
) -> onnx.NodeProto:
    return helper.make_node(op_type, list(inputs), list(outputs), name or None, **attributes)


def relu() -> onnx.ModelProto:
    return model([node("Relu", name="act")])


def array(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)

"""What a model declares, without reading its operators: also of models that cannot be run."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import onnx

from converter.source import read
from converter.types import to_fact
from numba_rt.dtypes import from_onnx
from numba_rt.graph import Fact

_PACKED_BITS: dict[int, int] = {
    onnx.TensorProto.UINT4: 4,
    onnx.TensorProto.INT4: 4,
    onnx.TensorProto.FLOAT4E2M1: 4,
    onnx.TensorProto.UINT2: 2,
    onnx.TensorProto.INT2: 2,
}


@dataclass(frozen=True)
class Overview:
    """A model from outside."""

    name: str
    inputs: list[tuple[str, Fact]]
    outputs: list[tuple[str, Fact]]
    operators: Counter[str]
    """Nodes of each operator, those of subgraphs and functions included."""
    parameters: int
    parameter_bytes: int
    opsets: dict[str, int]
    about: dict[str, str]
    metadata: dict[str, str]


def overview(source: str | os.PathLike[str] | bytes | onnx.ModelProto) -> Overview:
    """Describe a model.

    Raises:
        LoadError: the model is missing, damaged or inconsistent.
    """
    model, _ = read(source)
    graphs = list(_graphs(model.graph))
    nodes = [n for g in graphs for n in g.node] + [n for f in model.functions for n in f.node]
    tensors = [t for g in graphs for t in g.initializer]
    tensors += [t.values for g in graphs for t in g.sparse_initializer]
    stored = {t.name for t in model.graph.initializer}
    fed = [v for v in model.graph.input if v.name not in stored]
    about = {
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "domain": model.domain,
        "ir version": str(model.ir_version),
        "description": model.doc_string or model.graph.doc_string,
    }
    return Overview(
        name=model.graph.name,
        inputs=[(v.name, to_fact(v.type, f"input {v.name!r}")) for v in fed],
        outputs=[(v.name, to_fact(v.type, f"output {v.name!r}")) for v in model.graph.output],
        operators=Counter(_name(n) for n in nodes),
        parameters=sum(math.prod(t.dims) for t in tensors),
        parameter_bytes=sum(_nbytes(t) for t in tensors),
        opsets={entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        about={k: v for k, v in about.items() if v},
        metadata={entry.key: entry.value for entry in model.metadata_props},
    )


def _name(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    pending = [graph]
    while pending:
        found = pending.pop()
        yield found
        for node in found.node:
            for attribute in node.attribute:
                pending += [attribute.g] if attribute.HasField("g") else []
                pending += attribute.graphs


def _nbytes(tensor: onnx.TensorProto) -> int:
    count = math.prod(tensor.dims)
    if tensor.data_type in _PACKED_BITS:
        return (count * _PACKED_BITS[tensor.data_type] + 7) // 8
    if tensor.data_type == onnx.TensorProto.STRING:
        return sum(len(text) for text in tensor.string_data)
    dtype = from_onnx(tensor.data_type)
    return count * dtype.itemsize if dtype is not None else 0

"""What a model declares, without reading its operators: also of models that cannot be run."""

from __future__ import annotations

import math
import os
from collections import Counter
from dataclasses import dataclass
from typing import Any

from converter.read import read
from converter.types import to_fact
from numba_rt.dtypes import STRING, from_onnx, stored_bytes
from numba_rt.errors import LoadError
from numba_rt.format.definition import NodeDef, TensorDef, graphs_in
from numba_rt.graph import Fact


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


def overview(source: str | os.PathLike[str] | bytes | Any) -> Overview:
    """Describe a model.

    Raises:
        LoadError: the model is missing, damaged or inconsistent.
    """
    model = read(source)
    if model.graph is None:
        raise LoadError("the model holds no graph")
    graphs = list(graphs_in(model.graph))
    nodes = [n for g in graphs for n in g.node] + [n for f in model.functions for n in f.node]
    tensors = [t for g in graphs for t in g.initializer]
    tensors += [t.values for g in graphs for t in g.sparse_initializer if t.values is not None]
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


def _name(node: NodeDef) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _nbytes(tensor: TensorDef) -> int:
    dtype = from_onnx(tensor.data_type)
    if dtype is None or tensor.source is None:
        return 0
    if dtype == STRING:
        return sum(map(len, tensor.source.strings(f"tensor {tensor.name!r}")))
    return stored_bytes(dtype, math.prod(tensor.dims))

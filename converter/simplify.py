"""Simplify a model's definition: what is known becomes stored tensors, what does nothing goes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from converter.edit import graph_of, prune
from converter.model import attempt
from converter.raw import names_used
from numba_rt.dtypes import NUMPY_TO_ONNX, PACKED_BITS, STRING
from numba_rt.errors import NumbaRtError
from numba_rt.format import definition as d
from numba_rt.graph import Fact, Node
from numba_rt.ops._eager import run_op
from numba_rt.ops._infer import as_dtype, infer, is_symbolic

LARGEST = 1 << 20
"""Bytes by which a result may be larger than what it is computed from."""


def simplify(model: d.ModelDef) -> list[str]:
    """Replace nodes by their results where these are known, and drop Identity and dead nodes.

    Returns:
        What was changed.
    """
    graph = graph_of(model)
    before = len(graph.node)
    known = _known_values(model)
    _store(graph, known)
    _drop_identities(graph)
    prune(graph)
    return [f"{before - len(graph.node)} of {before} nodes were simplified away"]


def _known_values(model: d.ModelDef) -> dict[str, np.ndarray]:
    """Values of the main graph that do not depend on what is fed."""
    made = attempt(model)
    for node in made.graph.nodes:
        results = _results(node)
        for value, result in zip(node.outputs, results or (), strict=False):
            value.fact = Fact.of(result)
            value.producer = None  # a constant for the nodes that follow
    found = ((n, None if v is None else v.constant) for n, v in made.values.items())
    return {name: array for name, array in found if array is not None}


def _results(node: Node) -> list[np.ndarray] | None:
    op, facts = node.op, [None if v is None else v.fact for v in node.inputs]
    if not op.deterministic or op.has("control"):
        return None
    try:
        made = infer(op, facts, len(node.outputs), node.describe())
        values = [f.value for f in made]
        if all(v is not None and not is_symbolic(v, f.dtype) for v, f in zip(values, made, strict=True)):
            return [as_dtype(v, f.dtype) for v, f in zip(values, made, strict=True) if v is not None]
        if not node.inputs or not all(v is None or v.is_constant for v in node.inputs):
            return None
        inputs = [None if v is None else v.constant for v in node.inputs]
        most = LARGEST + sum(x.nbytes for x in inputs if x is not None)
        if any(f.kind != "tensor" or (f.is_static and f.nbytes > most) for f in made):
            return None
        return run_op(op, inputs, len(node.outputs), node.describe())
    except NumbaRtError:
        return None


def _store(graph: d.GraphDef, known: dict[str, np.ndarray]) -> None:
    """Put stored tensors in place of the nodes all of whose results are known."""
    tensors = list(graph.initializer)
    kept = []
    for node in graph.node:
        names = [n for n in node.output if n]
        stored = [_tensor(n, known[n]) for n in names if n in known and _can_store(known[n])]
        if node.op_type != "Constant" and names and len(stored) == len(names):
            tensors += stored
        else:
            kept.append(node)
    graph.node, graph.initializer = kept, tensors


def _can_store(array: Any) -> bool:
    return (
        isinstance(array, np.ndarray) and array.dtype in NUMPY_TO_ONNX and array.dtype.name not in PACKED_BITS
    )


def _tensor(name: str, array: np.ndarray) -> d.TensorDef:
    code = NUMPY_TO_ONNX[array.dtype]
    if array.dtype == STRING:
        texts = [str(x).encode() for x in array.reshape(-1).tolist()]
        return d.TensorDef(name, code, array.shape, source=d.Held(texts))
    data = (
        np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if math.prod(array.shape)
        else np.zeros(0, np.uint8)
    )
    return d.TensorDef(name, code, array.shape, source=d.Held(data))


def _drop_identities(graph: d.GraphDef) -> None:
    """Let readers of an Identity of the main graph read what it reads."""
    outputs = {v.name for v in graph.output}
    inside = {n for node in graph.node for n in set(names_used(node)) - set(node.input)}
    source: dict[str, str] = {}
    kept = []
    for node in graph.node:
        plain = node.op_type == "Identity" and not node.domain and len(node.input) == len(node.output) == 1
        if plain and node.output[0] not in outputs and node.output[0] not in inside:
            source[node.output[0]] = node.input[0]
        else:
            kept.append(node)

    def origin(name: str) -> str:
        while name in source:
            name = source[name]
        return name

    for node in kept:
        node.input = [origin(n) for n in node.input]
    graph.node = kept

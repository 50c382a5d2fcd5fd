"""Changes to a model's definition: sizes fixed, outputs chosen, weights stored in 16 bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from converter.model import attempt
from converter.raw import names_used
from converter.tensors import to_array
from numba_rt.dtypes import NUMPY_TO_ONNX
from numba_rt.errors import InputError, LoadError
from numba_rt.format import definition as d
from numba_rt.graph import Dim, Sym, Value

LEAST = 256
"""Elements of a tensor that is worth storing in 16 bits."""

HALF: Mapping[str, tuple[int, np.dtype[Any], int]] = {
    "fp16": (10, np.dtype(np.float16), 6),
    "bf16": (16, np.dtype(ml_dtypes.bfloat16), 13),
}
"""Name → element type, dtype, the opset whose Cast knows it."""

_FLOAT32 = 1


def graph_of(model: d.ModelDef) -> d.GraphDef:
    """The model's graph."""
    if model.graph is None:
        raise LoadError("the model holds no graph")
    return model.graph


def hold(model: d.ModelDef) -> None:
    """Read all tensors into memory, once for all later uses."""
    for tensor in d.tensors_in(model):
        where = f"tensor {tensor.name!r}"
        if tensor.source is not None and not isinstance(tensor.source, d.Held):
            read = tensor.source.strings if tensor.data_type == 8 else tensor.source.read
            tensor.source = d.Held(read(where))


def set_dimensions(model: d.ModelDef, sizes: Mapping[str, int]) -> list[str]:
    """Give symbolic dimensions their size: by name, or as input.axis where there is none.

    Returns:
        What was changed.

    Raises:
        InputError: no input has such a dimension.
    """
    graph, left, changes = graph_of(model), dict(sizes), []
    for info in graph.input:
        dims = info.type.shape.dim if info.type is not None and info.type.shape is not None else ()
        for axis, dim in enumerate(dims):
            for name in (dim.dim_param, f"{info.name}.{axis}"):
                if name in sizes and dim.kind != d.DimensionKind.VALUE:
                    changes.append(f"{info.name}: axis {axis} is {sizes[name]}")
                    left.pop(name, None)
                    if not dim.dim_param:
                        dim.kind, dim.dim_value = d.DimensionKind.VALUE, sizes[name]
    if left:
        raise InputError(f"no input has the dimension {next(iter(left))!r}")
    for dim in _dimensions(model):
        if dim.dim_param in sizes and dim.kind == d.DimensionKind.NAME:
            dim.kind, dim.dim_value, dim.dim_param = d.DimensionKind.VALUE, sizes[dim.dim_param], ""
    return changes


def _dimensions(model: d.ModelDef) -> Iterator[d.DimensionDef]:
    infos = [v for g in d.graphs_in(graph_of(model)) for v in (*g.input, *g.output, *g.value_info)]
    types = [info.type for info in infos]
    while types:
        declared = types.pop()
        if declared is not None:
            types.append(declared.element)
            yield from declared.shape.dim if declared.shape is not None else ()


def choose_outputs(model: d.ModelDef, names: Sequence[str]) -> list[str]:
    """Let the model make these values and nothing else; what they do not need goes.

    Returns:
        What was changed.

    Raises:
        InputError: no node makes such a value.
    """
    graph = graph_of(model)
    known = {v.name: v for v in (*graph.value_info, *graph.output)}
    made = {n for node in graph.node for n in node.output} | {v.name for v in graph.output}
    if missing := [n for n in names if n not in made]:
        raise InputError(f"no node of the model makes {missing[0]!r}")
    values = attempt(model).values if any(n not in known for n in names) else {}
    graph.output = [known.get(n) or _declared(n, values.get(n)) for n in dict.fromkeys(names)]
    before = len(graph.node), len(graph.initializer), [v.name for v in graph.input]
    prune(graph)
    read = _read(graph)
    graph.input = [v for v in graph.input if v.name in read]
    changes = [f"outputs: {', '.join(names)}; {before[0] - len(graph.node)} nodes are not needed for them"]
    changes += [f"input {n} is not read any more" for n in before[2] if n not in read]
    return changes


def _declared(name: str, value: Value | None) -> d.ValueInfoDef:
    """A declaration of what is known of a value."""
    if value is None or value.fact.kind != "tensor":
        return d.ValueInfoDef(name)
    shape = value.fact.shape
    dims = None if shape is None else d.ShapeDef([_dimension(dim) for dim in shape])
    return d.ValueInfoDef(name, d.TypeDef(d.TypeKind.TENSOR, NUMPY_TO_ONNX[value.fact.dtype], dims))


def _dimension(dim: Dim) -> d.DimensionDef:
    if not isinstance(dim, Sym):
        return d.DimensionDef(d.DimensionKind.VALUE, int(dim))
    named = "#" not in str(dim)
    return d.DimensionDef(d.DimensionKind.NAME, 0, str(dim)) if named else d.DimensionDef()


def prune(graph: d.GraphDef) -> None:
    """Take out nodes and tensors that nobody reads."""
    needed = {v.name for v in graph.output}
    kept: list[d.NodeDef] = []
    makers = {n: node for node in graph.node for n in node.output if n}
    pending = list(needed)
    seen: set[int] = set()
    while pending:
        node = makers.get(pending.pop())
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        pending += names_used(node)
    kept = [n for n in graph.node if id(n) in seen]
    graph.node = kept
    read = _read(graph)
    graph.initializer = [t for t in graph.initializer if t.name in read]
    graph.sparse_initializer = [
        s for s in graph.sparse_initializer if s.values is not None and s.values.name in read
    ]
    present = read | {n for node in kept for n in node.output}
    graph.value_info = [v for v in graph.value_info if v.name in present]


def _read(graph: d.GraphDef) -> set[str]:
    return {n for node in graph.node for n in names_used(node)} | {v.name for v in graph.output}


def store_halves(model: d.ModelDef, name: str) -> list[str]:
    """Store float32 weights in 16 bits, each followed by a Cast back.

    Returns:
        What was changed, and what was not.

    Raises:
        InputError: the model's opset cannot cast from the type.
    """
    code, dtype, least = HALF[name]
    versions = {o.domain or "ai.onnx": o.version for o in model.opset_import}
    if versions.get("ai.onnx", 0) < least:
        raise InputError(f"weights in {name} need opset {least}: the model has {versions.get('ai.onnx', 0)}")
    count, kept = 0, []
    for graph in d.graphs_in(graph_of(model)):
        given = {v.name for v in graph.input}
        casts = []
        for tensor in graph.initializer:
            if tensor.data_type != _FLOAT32 or tensor.name in given or np.prod(tensor.dims) < LEAST:
                continue
            cast = _narrow(tensor, code, dtype)
            if cast is None:
                kept.append(f"{tensor.name} stays float32: some of its values are too large for {name}")
            else:
                casts.append(cast)
        graph.node = [*casts, *graph.node]
        count += len(casts)
    return [f"{count} tensors are stored in {name}", *kept]


def _narrow(tensor: d.TensorDef, code: int, dtype: np.dtype[Any]) -> d.NodeDef | None:
    """Narrow a tensor in place; the Cast that makes what it was, None if that is not possible."""
    array, full = to_array(tensor), tensor.name
    with np.errstate(over="ignore"):
        narrow = array.astype(dtype)
    if (np.isfinite(array) & ~np.isfinite(narrow.astype(np.float32))).any():
        return None
    tensor.name, tensor.data_type = f"{full}/{dtype.name}", code
    tensor.source = d.Held(narrow.reshape(-1).view(np.uint8))
    to = d.AttributeDef("to", d.AttributeType.INT, i=_FLOAT32)
    return d.NodeDef("Cast", [tensor.name], [full], [to], f"{full}/float32")

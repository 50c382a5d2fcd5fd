"""ModelDef → Graph: opsets, functions and metadata of the model, then its graph."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from converter.functions import check_functions, function_key
from converter.graph import Converter
from converter.raw import check_names
from converter.read import read
from converter.scope import Scope
from numba_rt.errors import LoadError, UnsupportedOp
from numba_rt.format.definition import ModelDef, OperatorSet
from numba_rt.graph import Graph, Value

NEWEST_OPSET = 28
"""The opset whose meaning the operators have; newer models are refused."""

ABOUT = "numba_rt."
"""Prefix of the metadata entries that are fields of the model and not its own metadata."""


def convert(source: str | os.PathLike[str] | bytes | Any) -> Graph:
    """Read a model.

    Args:
        source: path of an .onnx, .nrt or .rten file, its bytes, an onnx.ModelProto, or a ModelDef. External
            data is read only from the directory of the file.

    Raises:
        LoadError: the model is missing, damaged, unsafe or inconsistent.
        UnsupportedOp: it uses operators that are not implemented; all of them are named.
    """
    return to_graph(read(source))


def to_graph(model: ModelDef) -> Graph:
    """The graph of a model's definition."""
    made = attempt(model)
    if made.unsupported:
        raise UnsupportedOp(_unsupported_message(made.unsupported))
    return made.graph


@dataclass
class Attempt:
    """A graph as far as it can be made."""

    graph: Graph
    values: dict[str, Value | None]
    """What each name of the main graph means."""
    unsupported: dict[str, list[str]]
    """Operators that are not implemented, and their nodes."""


def attempt(model: ModelDef) -> Attempt:
    """The graph as far as it can be made.

    Raises:
        LoadError: the model is inconsistent.
    """
    if model.graph is None:
        raise LoadError("the model holds no graph")
    check_names(
        [model.graph.name, *(s for f in model.functions for s in (f.name, f.domain, f.overload))], "the model"
    )
    opsets = read_opsets(model.opset_import, "the model")
    functions = {function_key(f): f for f in model.functions}
    for function in model.functions:
        read_opsets(function.opset_import, f"function {function.domain}.{function.name}")
    check_functions(model.graph, functions)
    converter = Converter(functions, read_opsets)
    graph = Graph(model.graph.name)
    scope = Scope(graph, opsets)
    converter.fill(scope, model.graph)
    graph.metadata = _metadata(model, opsets)
    return Attempt(graph, scope.values, converter.unsupported)


def read_opsets(imports: Iterable[OperatorSet], where: str) -> dict[str, int]:
    """Domain → version; the default domain is ""."""
    opsets: dict[str, int] = {}
    for entry in imports:
        check_names([entry.domain], where)
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        shown = domain or "ai.onnx"
        if opsets.get(domain, entry.version) != entry.version:
            versions = f"{opsets[domain]} and {entry.version}"
            raise LoadError(f"{where} imports domain {shown!r} twice: versions {versions}")
        if entry.version < 1:
            raise LoadError(f"{where} imports opset {entry.version} of domain {shown!r}: expected at least 1")
        if domain == "" and entry.version > NEWEST_OPSET:
            raise LoadError(
                f"{where} needs opset {entry.version} of ai.onnx: opsets up to {NEWEST_OPSET} are supported"
            )
        opsets[domain] = entry.version
    return opsets


def _metadata(model: ModelDef, opsets: dict[str, int]) -> dict[str, str]:
    assert model.graph is not None
    given = {v.name for v in model.graph.input}
    overridable = [(t.name, t.data_type, list(t.dims)) for t in model.graph.initializer if t.name in given]
    about = {
        "producer_name": model.producer_name,
        "producer_version": model.producer_version,
        "domain": model.domain,
        "model_version": str(model.model_version) if model.has_model_version else "",
        "ir_version": str(model.ir_version),
        "description": model.doc_string,
        "graph_description": model.graph.doc_string,
        "opset_import": json.dumps(opsets) if opsets else "",
        # Inputs with a stored value; they are constants here.
        "overridable": json.dumps(overridable) if overridable else "",
    }
    told = [(entry.key, entry.value) for entry in model.metadata_props]
    told += [(ABOUT + k, v) for k, v in about.items() if v]
    check_names((text for entry in told for text in entry), "the metadata")
    return dict(told)


def _unsupported_message(unsupported: dict[str, list[str]]) -> str:
    count = len(unsupported)
    parts = [
        f"{op} ({len(nodes)} nodes, first {nodes[0]!r})" if len(nodes) > 1 else f"{op} (1 node, {nodes[0]!r})"
        for op, nodes in unsupported.items()
    ]
    verb = "operator is" if count == 1 else "operators are"
    return f"{count} {verb} not implemented: {', '.join(parts)}"

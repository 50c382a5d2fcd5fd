"""Makes a model file small: numbers for names, and nothing that does not run."""

from __future__ import annotations

from pathlib import Path

import onnx


def strip(path: Path) -> None:
    """Leaves out what says where in the source a node comes from, and shapes of values between."""
    model = onnx.load(path)
    graphs = [model.graph, *model.functions]
    for item in [model, *graphs, *(n for g in graphs for n in g.node), *model.graph.initializer]:
        item.ClearField("metadata_props")
        item.ClearField("doc_string")
    for graph in graphs:
        del graph.value_info[:]
    shorten(model.graph)
    onnx.save(model, path)


def shorten(graph: onnx.GraphProto) -> None:
    """Numbers instead of names, except those of inputs and outputs."""
    names = {v.name: v.name for v in (*graph.input, *graph.output)} | {"": ""}
    for node in graph.node:
        node.name = ""
        for field in (node.input, node.output):
            field[:] = [names.setdefault(n, f"v{len(names)}") for n in field]
    for tensor in graph.initializer:
        tensor.name = names.setdefault(tensor.name, f"v{len(names)}")

"""Queries, keys and values of one attention as one product, whatever moves them before they meet."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import FLOAT32
from numba_rt.graph import Graph, Node, Value
from numba_rt.optimize.report import Report
from numba_rt.optimize.rule import Builder

VIEWS = frozenset(("Reshape", "Transpose"))
READERS = frozenset(("FusedRotary", "RotaryEmbedding", "Concat", "Slice"))
"""What reads rows that are apart, so that a part of a product is read where it lies."""
BETWEEN = VIEWS | READERS | {"Expand", "Unsqueeze", "Squeeze", "Identity"}
"""What may stand between a projection and its attention."""


def share_projections(graph: Graph, report: Report) -> None:
    """FusedAttention(x @ a, x @ b, x @ c)  →  FusedAttention(*Split(x @ [a b c]))"""
    groups: dict[tuple[int, frozenset[Node]], list[Node]] = {}
    for node in graph.nodes:
        if _is_projection(node):
            attentions = _read_by(node.outputs[0], graph)
            if attentions:
                groups.setdefault((id(node.inputs[0]), attentions), []).append(node)
    for products in groups.values():
        if len(products) > 1:
            _join(graph, products)
            report.fire("share_projections", products[0].describe())


def _is_projection(node: Node) -> bool:
    """Whether a node multiplies by a constant matrix, and does nothing else."""
    attributes = node.op.attributes()
    if node.op.op_type != "FusedMatMul" or attributes["activation"] or attributes["packed"]:
        return False
    if attributes["lo"] > -np.inf or attributes["hi"] < np.inf:
        return False
    if any(attributes[name] for name in ("a_heads", "b_heads", "c_heads")):
        return False
    w, bias, residual = (*node.inputs[1:], None, None, None)[:3]
    if w is None or not w.is_constant or w.fact.rank != 2 or w.fact.dtype != FLOAT32 or residual is not None:
        return False
    return bias is None or bias.is_constant


def _read_by(value: Value, graph: Graph) -> frozenset[Node]:
    """The attentions that read a value; none if something reads it that would need a copy of a part."""
    found: set[Node] = set()
    for node in value.uses:
        kind = node.op.op_type
        if kind == "FusedAttention":
            found.add(node)
        elif kind in VIEWS:
            behind = _read_by(node.outputs[0], graph)
            if not behind:
                return frozenset()
            found |= behind
        elif kind in READERS:
            found |= _behind(node)
        else:
            return frozenset()
    return frozenset() if graph.is_output(value) else frozenset(found)


def _behind(node: Node) -> set[Node]:
    """The attentions that read what is made of the outputs of a node."""
    found: set[Node] = set()
    for value in node.outputs:
        for reader in value.uses:
            if reader.op.op_type == "FusedAttention":
                found.add(reader)
            elif reader.op.op_type in BETWEEN:
                found |= _behind(reader)
    return found


def _join(graph: Graph, products: list[Node]) -> None:
    """One product in place of several of the same value."""
    first = products[0]
    op = Builder(graph, first, first.name)
    sources: list[Value] = []
    for p in products:
        assert p.inputs[1] is not None
        sources.append(p.inputs[1])
    how = tuple((p.op.attributes()["transB"], p.op.attributes()["alpha"]) for p in products)
    weights = graph.derived(sources, how, lambda: np.concatenate([_weights(p) for p in products], 1))
    widths = [int((p.outputs[0].fact.shape or (0,))[-1]) for p in products]
    biases = [p.inputs[2] if len(p.inputs) > 2 else None for p in products]
    bias = None
    if any(b is not None for b in biases):
        none = [np.zeros(w, np.float32) for w in widths]
        bias = np.concatenate([z if b is None else b.constant for b, z in zip(biases, none, strict=True)])
    made = op.FusedMatMul(first.inputs[0], weights, bias)
    parts = op.Split(made, np.array(widths, np.int64), axis=-1, outputs=len(widths), n_outputs=len(widths))
    for product, part in zip(products, parts, strict=True):
        graph.replace(product.outputs[0], part)
    graph.remove(products)


def _weights(product: Node) -> np.ndarray:
    attributes, stored = product.op.attributes(), product.inputs[1]
    assert stored is not None and stored.constant is not None
    weights = stored.constant.T if attributes["transB"] else stored.constant
    alpha = np.float32(attributes["alpha"])
    return weights if alpha == 1 else weights * alpha

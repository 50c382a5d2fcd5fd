"""RawNode: a node as the model file has it, in the light form that upgrades rewrite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from numba_rt.errors import LoadError
from numba_rt.format.definition import AttributeType, GraphDef, NodeDef


@dataclass
class RawNode:
    """An operator by name, with tensor names and decoded attributes; "" is an absent input or output."""

    op_type: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    domain: str = ""
    overload: str = ""

    def input(self, position: int) -> str:
        """Name of an input, "" if it is absent."""
        return self.inputs[position] if position < len(self.inputs) else ""

    def changed(self, **fields: Any) -> RawNode:
        """A copy with other fields."""
        return replace(self, **fields)

    @property
    def full_type(self) -> str:
        """The operator with its domain, unless that is ONNX's own."""
        return f"{self.domain}.{self.op_type}" if self.domain else self.op_type

    @property
    def where(self) -> str:
        """`Softmax 'encoder/softmax'`, for messages."""
        return f"{self.op_type} {self.name!r}" if self.name else self.op_type


def check_names(names: Iterable[object], where: str) -> None:
    """Refuse names that are not text: protobuf hands over invalid UTF-8 as bytes."""
    for name in names:
        if not isinstance(name, str):
            raise LoadError(f"{where} has a name that is not valid UTF-8: {name!r}")


def names_used(node: NodeDef) -> Iterator[str]:
    """Names of the values a node reads from its scope, through its subgraphs too."""
    yield from (n for n in node.input if n)
    for attribute in node.attribute:
        if attribute.type == AttributeType.GRAPH and attribute.g is not None:
            yield from captured_names(attribute.g)


def captured_names(graph: GraphDef) -> set[str]:
    """Names a subgraph reads from the graphs around it."""
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own |= {t.values.name for t in graph.sparse_initializer if t.values is not None}
    own |= {n for node in graph.node for n in node.output}
    read = {n for node in graph.node for n in names_used(node)} | {v.name for v in graph.output}
    return read - own

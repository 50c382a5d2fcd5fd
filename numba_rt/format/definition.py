"""A model as its file has it: one class for each table of the schema, and where tensors' bytes come from.

The classes mirror ONNX's own messages, fields and their names included, so that nothing of a model is
lost between an ONNX file and a .nrt file. Absent text is "", absent lists are empty, absent messages None.
They have neither == nor repr: to make these takes longer than all else of importing this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Protocol

import numpy as np

Integers = Sequence[int] | np.ndarray
Floats = Sequence[float] | np.ndarray


class AttributeType(IntEnum):
    """Which field of an attribute has its value."""

    UNDEFINED = 0
    FLOAT = 1
    INT = 2
    STRING = 3
    TENSOR = 4
    GRAPH = 5
    FLOATS = 6
    INTS = 7
    STRINGS = 8
    TENSORS = 9
    GRAPHS = 10
    SPARSE_TENSOR = 11
    SPARSE_TENSORS = 12
    TYPE_PROTO = 13
    TYPE_PROTOS = 14


class TypeKind(IntEnum):
    """What a type describes."""

    NONE = 0
    TENSOR = 1
    SEQUENCE = 2
    MAP = 3
    OPTIONAL = 4
    SPARSE_TENSOR = 5
    OPAQUE = 6


class DimensionKind(IntEnum):
    """What is said of a dimension."""

    NOTHING = 0
    VALUE = 1
    NAME = 2


class Source(Protocol):
    """Where the elements of a tensor are."""

    def read(self, where: str) -> np.ndarray:
        """The bytes, little-endian, elements of fewer than 8 bits packed: uint8[n], perhaps read-only."""
        ...

    def strings(self, where: str) -> list[bytes]:
        """The elements of a tensor of strings."""
        ...


@dataclass(slots=True, eq=False, repr=False)
class Held:
    """Elements in memory."""

    data: np.ndarray | list[bytes]

    def read(self, where: str) -> np.ndarray:
        """The bytes as they are."""
        assert isinstance(self.data, np.ndarray)
        return self.data.reshape(-1).view(np.uint8)

    def strings(self, where: str) -> list[bytes]:
        """The elements."""
        assert isinstance(self.data, list)
        return self.data


@dataclass(slots=True, eq=False, repr=False)
class Entry:
    """A key and its value."""

    key: str = ""
    value: str = ""


@dataclass(slots=True, eq=False, repr=False)
class OperatorSet:
    """A domain and the version of its operators."""

    domain: str = ""
    version: int = 0


@dataclass(slots=True, eq=False, repr=False)
class DimensionDef:
    """A size, a name, or nothing."""

    kind: int = 0
    dim_value: int = 0
    dim_param: str = ""
    denotation: str = ""


@dataclass(slots=True, eq=False, repr=False)
class ShapeDef:
    """Dimensions; a type without a shape is of unknown rank."""

    dim: Sequence[DimensionDef] = ()


@dataclass(slots=True, eq=False, repr=False)
class TypeDef:
    """A tensor's element type and shape, or what a sequence, map or optional holds."""

    kind: int = 0
    elem_type: int = 0
    """Of a map: the type of its keys."""
    shape: ShapeDef | None = None
    element: TypeDef | None = None
    domain: str = ""
    name: str = ""
    denotation: str = ""


@dataclass(slots=True, eq=False, repr=False)
class ValueInfoDef:
    """Name and type of a value."""

    name: str = ""
    type: TypeDef | None = None
    doc_string: str = ""
    metadata_props: Sequence[Entry] = ()


@dataclass(slots=True, eq=False, repr=False)
class TensorDef:
    """A stored tensor."""

    name: str = ""
    data_type: int = 0
    dims: Sequence[int] = ()
    offset: int = 0
    """In the tensor section of a file; `source` is what is read."""
    length: int = 0
    doc_string: str = ""
    metadata_props: Sequence[Entry] = ()
    source: Source | None = None


@dataclass(slots=True, eq=False, repr=False)
class SparseTensorDef:
    """Values that are not zero, and where they are."""

    values: TensorDef | None = None
    indices: TensorDef | None = None
    dims: Sequence[int] = ()


@dataclass(slots=True, eq=False, repr=False)
class AttributeDef:
    """An attribute: the field `type` names has the value."""

    name: str = ""
    type: int = 0
    f: float = 0.0
    i: int = 0
    s: str = ""
    t: TensorDef | None = None
    g: GraphDef | None = None
    sparse_tensor: SparseTensorDef | None = None
    tp: TypeDef | None = None
    floats: Floats = ()
    ints: Integers = ()
    strings: Sequence[str] = ()
    tensors: Sequence[TensorDef] = ()
    graphs: Sequence[GraphDef] = ()
    sparse_tensors: Sequence[SparseTensorDef] = ()
    type_protos: Sequence[TypeDef] = ()
    blob: TensorDef | None = None
    """Byte strings in place of `s` or `strings`, where some are not text."""
    ref_attr_name: str = ""
    doc_string: str = ""


@dataclass(slots=True, eq=False, repr=False)
class NodeDef:
    """An operator by name, with the names of the values it reads and makes."""

    op_type: str = ""
    input: Sequence[str] = ()
    output: Sequence[str] = ()
    attribute: Sequence[AttributeDef] = ()
    name: str = ""
    domain: str = ""
    overload: str = ""
    doc_string: str = ""
    metadata_props: Sequence[Entry] = ()
    device_configurations: Integers = ()
    """ONNX messages as bytes, each after its length."""


@dataclass(slots=True, eq=False, repr=False)
class AnnotationDef:
    """How a tensor is quantised."""

    tensor_name: str = ""
    quant_parameter_tensor_names: Sequence[Entry] = ()


@dataclass(slots=True, eq=False, repr=False)
class GraphDef:
    """Nodes, stored tensors, inputs and outputs."""

    name: str = ""
    node: Sequence[NodeDef] = ()
    input: Sequence[ValueInfoDef] = ()
    output: Sequence[ValueInfoDef] = ()
    initializer: Sequence[TensorDef] = ()
    sparse_initializer: Sequence[SparseTensorDef] = ()
    value_info: Sequence[ValueInfoDef] = ()
    doc_string: str = ""
    quantization_annotation: Sequence[AnnotationDef] = ()
    metadata_props: Sequence[Entry] = ()


@dataclass(slots=True, eq=False, repr=False)
class FunctionDef:
    """An operator defined by other operators."""

    name: str = ""
    domain: str = ""
    overload: str = ""
    input: Sequence[str] = ()
    output: Sequence[str] = ()
    attribute: Sequence[str] = ()
    attribute_proto: Sequence[AttributeDef] = ()
    node: Sequence[NodeDef] = ()
    opset_import: Sequence[OperatorSet] = ()
    value_info: Sequence[ValueInfoDef] = ()
    doc_string: str = ""
    metadata_props: Sequence[Entry] = ()


@dataclass(slots=True, eq=False, repr=False)
class TrainingInfoDef:
    """How a model is trained."""

    initialization: GraphDef | None = None
    algorithm: GraphDef | None = None
    initialization_binding: Sequence[Entry] = ()
    update_binding: Sequence[Entry] = ()


@dataclass(slots=True, eq=False, repr=False)
class ModelDef:
    """A graph with the versions its operators have, functions, and what is told about it."""

    ir_version: int = 0
    opset_import: Sequence[OperatorSet] = ()
    graph: GraphDef | None = None
    functions: Sequence[FunctionDef] = ()
    producer_name: str = ""
    producer_version: str = ""
    domain: str = ""
    has_model_version: bool = False
    model_version: int = 0
    doc_string: str = ""
    metadata_props: Sequence[Entry] = ()
    training_info: Sequence[TrainingInfoDef] = ()
    configuration: Integers = ()
    """ONNX messages as bytes, each after its length."""


def tensors_in(part: Any) -> Iterator[TensorDef]:
    """All tensors of a model, graph, node or whatever else is made of the classes above."""
    if isinstance(part, TensorDef):
        yield part
    elif isinstance(part, list | tuple):
        if part and not isinstance(part[0], str | int | float):
            for item in part:
                yield from tensors_in(item)
    elif part is not None and not isinstance(part, str | int | float | np.ndarray | bytes):
        for field in fields(part):
            yield from tensors_in(getattr(part, field.name))


def graphs_in(graph: GraphDef) -> Iterator[GraphDef]:
    """The graph and those of its nodes, inside out."""
    pending = [graph]
    while pending:
        found = pending.pop()
        yield found
        for node in found.node:
            for attribute in node.attribute:
                pending += [attribute.g] if attribute.g is not None else []
                pending += attribute.graphs

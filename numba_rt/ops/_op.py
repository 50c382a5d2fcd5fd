"""The operator base class and the registry.

An operator is one class: annotated names are its ONNX attributes, plain class names are
capabilities the optimiser and planner read, parameters of `infer` are its ONNX inputs, and
exactly one of `lower` (kernel calls), `run` (on the host) and `control` (on the host, with the
programs of its subgraphs) says how it is computed.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, ClassVar, TypeVar, dataclass_transform, get_type_hints

import numpy as np

from numba_rt.graph import Fact
from numba_rt.graph.graph import Graph
from numba_rt.ops._parts import Part
from numba_rt.ops._registry import REGISTRY

ONNX = ""
OWN = "numba_rt"
"""Domain of the operators that only the optimiser makes."""


@dataclasses.dataclass(init=False, eq=False, repr=False)
class Op:
    """What a node computes: its attributes, and how shapes and results follow from inputs."""

    op_type: ClassVar[str] = ""
    domain: ClassVar[str] = ONNX
    since: ClassVar[int] = 1
    """Opset whose meaning the class has; older models are rewritten when they are read."""

    inplace: ClassVar[tuple[int, ...]] = ()
    """Inputs whose buffer output 0 may take over (same shape, element i depends on element i)."""
    view: ClassVar[bool] = False
    """Output 0 is the bytes of input 0 under another shape. With a method `write`, which makes kernel
    calls, these bytes are changed first.
    """
    commutative: ClassVar[bool] = False
    deterministic: ClassVar[bool] = True
    needs_value: ClassVar[tuple[int, ...]] = ()
    """Inputs whose values, not only shapes, `infer` must know when shapes are bound."""
    data_dependent: ClassVar[bool] = False
    """The output's shape depends on what is in the inputs: runs on the host between segments."""
    any_rank: ClassVar[bool] = False
    """`infer` also takes facts whose shape is not known at all."""
    half: ClassVar[bool] = True
    """16-bit floats are converted to float32 around the operator; False if it moves them as they are."""
    reads_all: ClassVar[bool] = True
    """False if as much of input 0 is read as is made: what a profile counts as bytes."""

    def __init__(self, *values: Any, **attributes: Any) -> None:
        """Generic, as are the next two: generating them for each of the classes takes a tenth of a second."""
        fields = _fields(type(self))
        attributes |= dict(zip(fields, values, strict=False))
        for name, value in attributes.items():
            if name not in fields:
                raise TypeError(f"{self.op_type} has no attribute {name!r}")
            object.__setattr__(self, name, value)
        for name, field in fields.items():
            if name not in attributes and field.default is dataclasses.MISSING:
                raise TypeError(f"{self.op_type} needs the attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot assign to {name!r} of {self.op_type}")

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete {name!r} of {self.op_type}")

    def infer(self, *facts: Any) -> Fact | tuple[Fact, ...]:
        """Facts of the outputs from facts of the inputs; None for an absent optional input."""
        raise NotImplementedError

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        """dtypes of the outputs when shapes are not known: by default that of the first input."""
        first = next(f for f in facts if f is not None)
        return (first.dtype,) * getattr(self, "n_outputs", 1)

    def flops(self, *operands: Any) -> int:
        """Floating-point operations of the plain algorithm, for profiles; 0 where memory is what takes time.

        Args:
            operands: as `lower` gets them: Views of the inputs, None for an absent one, and of the outputs.
        """
        return 0

    @property
    def algorithm(self) -> str:
        """How it is computed, for profiles, where the kernels' names do not tell."""
        return ""

    def input_parts(self, inputs: Sequence[Fact | None], output: Fact) -> Sequence[Part | None]:
        """Which part of output 0 each input is, for an operator that only puts them together."""
        return ()

    def output_parts(self, inputs: Sequence[Fact | None], outputs: Sequence[Fact]) -> Sequence[Part | None]:
        """Which part of input 0 each output is, for an operator that only takes it apart."""
        return ()

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        """Whether an input of this shape may lie in rows of `run` elements that are apart (`View.pitch`)."""
        return False

    def writes_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        """Whether an output of this shape may."""
        return False

    @classmethod
    def parameters(cls) -> list[inspect.Parameter]:
        """The ONNX inputs: names, whether optional, whether variadic."""
        return list(inspect.signature(cls.infer).parameters.values())[1:]

    @classmethod
    def is_left_to_standard(cls, facts: Sequence[Any], n_outputs: int) -> bool:
        """Whether the standard's definition by other operators computes a node with such inputs."""
        return False

    @classmethod
    def input_name(cls, position: int) -> str:
        """Name the ONNX standard gives to an input."""
        names = cls.parameters()
        if position < len(names) and names[position].kind is not inspect.Parameter.VAR_POSITIONAL:
            return names[position].name
        return f"{names[-1].name}[{position - len(names) + 1}]" if names else f"input {position}"

    @classmethod
    def has(cls, method: str) -> bool:
        """Whether the class defines an optional method: evaluate, lower, run, grad."""
        return hasattr(cls, method)

    def attributes(self) -> dict[str, Any]:
        """Attribute names and values."""
        return {name: getattr(self, name) for name in _fields(type(self))}

    def key(self) -> object | None:
        """Equal for operators that compute the same; None if that cannot be said."""
        if not self.deterministic:
            return None
        parts: list[object] = [type(self)]
        for value in self.attributes().values():
            if isinstance(value, np.ndarray):
                value = (value.dtype, value.shape, value.tobytes())
            elif isinstance(value, Graph):
                return None
            parts.append((type(value), value))
        return tuple(parts)

    def __str__(self) -> str:
        fields = _fields(type(self)).values()
        shown = [f"{f.name}={_short(getattr(self, f.name))}" for f in fields if not _is_default(self, f)]
        return self.op_type + (f"<{', '.join(shown)}>" if shown else "")


def _is_default(op: Op, field: dataclasses.Field[Any]) -> bool:
    value = getattr(op, field.name)
    return not isinstance(value, np.ndarray) and value == field.default


def _short(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, Graph):
        return f"graph({len(value.nodes)} nodes)"
    return repr(value)


T = TypeVar("T", bound=type[Op])


@dataclass_transform(eq_default=False)
def op(op_type: str, since: int = 1, domain: str = ONNX) -> Callable[[T], T]:
    """Register a class as the operator `domain::op_type`; the only registration there is."""

    def register(cls: T) -> T:
        cls.op_type, cls.domain, cls.since = op_type, domain, since
        own = inspect.get_annotations(cls)
        if not all(str(kind).startswith("ClassVar") for kind in own.values()):
            dataclasses.dataclass(init=False, eq=False, repr=False)(cls)
        computed = sum((cls.has("lower"), cls.has("run"), cls.has("control"), cls.view))
        if computed > 1 or (computed == 0 and not cls.has("evaluate")):
            raise TypeError(f"{cls.__name__} must have exactly one of lower, run, control, view = True")
        if not cls.__doc__:
            raise TypeError(f"{cls.__name__} has no docstring")
        REGISTRY.add(cls)
        return cls

    return register


def get(domain: str, op_type: str) -> type[Op] | None:
    """The class of an operator, None if it is not implemented."""
    return REGISTRY.get(("" if domain == "ai.onnx" else domain, op_type))


_attribute_types: dict[type[Op], dict[str, Any]] = {}


def attribute_types(cls: type[Op]) -> dict[str, Any]:
    """Attribute name → annotated type."""
    if cls not in _attribute_types:
        annotated: dict[str, Any] = {name: field.type for name, field in _fields(cls).items()}
        try:
            _attribute_types[cls] = {name: _meaning(kind) for name, kind in annotated.items()}
        except NameError:  # not a type that ONNX's attributes have
            hints = get_type_hints(cls)
            _attribute_types[cls] = {name: hints[name] for name in annotated}
    return _attribute_types[cls]


@cache
def _meaning(kind: Any) -> Any:
    """What an annotation means: the same text in all files, so that it is compiled once."""
    return eval(kind, {"np": np, "Graph": Graph, "Fact": Fact}) if isinstance(kind, str) else kind


_fields_of: dict[type[Op], dict[str, dataclasses.Field[Any]]] = {}


def _fields(cls: type[Op]) -> dict[str, dataclasses.Field[Any]]:
    if cls not in _fields_of:
        _fields_of[cls] = {f.name: f for f in dataclasses.fields(cls)}
    return _fields_of[cls]

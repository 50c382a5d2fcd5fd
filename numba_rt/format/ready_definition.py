"""An optimised graph as a file has it: the classes of the schema's second half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from numba_rt.format.definition import Entry, TensorDef


@dataclass(slots=True)
class Factor:
    """A name, or an operation on two sizes that stays as it is."""

    name: str = ""
    operation: str = ""
    left: Size | None = None
    right: Size | None = None


@dataclass(slots=True)
class Term:
    """A product."""

    coefficient: int = 0
    factors: Sequence[Factor] = ()


@dataclass(slots=True)
class Size:
    """A number, or a sum of terms if there are any."""

    number: int = 0
    terms: Sequence[Term] = ()


@dataclass(slots=True)
class ReadyFact:
    """What is known of a value; sizes are given by number."""

    kind: str = ""
    data_type: int = 0
    has_shape: bool = False
    shape: Sequence[int] = ()


@dataclass(slots=True)
class Setting:
    """A field of an operator's class: `kind` says what it is made of."""

    name: str = ""
    kind: int = 0
    integer: int = 0
    number: float = 0.0
    text: str = ""
    integers: Sequence[int] = ()
    numbers: Sequence[float] = ()
    texts: Sequence[str] = ()
    items: Sequence[Setting] = ()
    tensor: TensorDef | None = None
    graph: ReadyGraph | None = None


@dataclass(slots=True)
class ReadyNode:
    """An operator; inputs are numbers of values, -1 where one is absent."""

    name: str = ""
    op_type: str = ""
    domain: str = ""
    settings: Sequence[Setting] = ()
    inputs: Sequence[int] = ()
    outputs: Sequence[str] = ()
    facts: Sequence[int] = ()


@dataclass(slots=True)
class ReadyGraph:
    """Values are numbered: inputs, then constants, then what the nodes make."""

    name: str = ""
    inputs: Sequence[str] = ()
    facts: Sequence[int] = ()
    constants: Sequence[TensorDef] = ()
    nodes: Sequence[ReadyNode] = ()
    outputs: Sequence[int] = ()


@dataclass(slots=True)
class ReadyDef:
    """An optimised graph with the sizes and facts it refers to by number."""

    sizes: Sequence[Size] = ()
    facts: Sequence[ReadyFact] = ()
    graph: ReadyGraph | None = None
    declared: Sequence[int] = ()
    """Facts of the outputs as the model declares them."""
    metadata: Sequence[Entry] = ()
    report: Sequence[Entry] = ()
    """Rewrites that were made: rule and node."""

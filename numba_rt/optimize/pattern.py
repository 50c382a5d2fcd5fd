"""Patterns: a small expression is built by calling a rule's `pattern` function, then matched
against the graph. Commutativity comes from the operators, so no pattern is written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import Any

from numba_rt.graph import Node, Value
from numba_rt.ops._op import Op
from numba_rt.ops._registry import REGISTRY


class Pattern:
    """A part of an expression; arithmetic on patterns gives the pattern of that arithmetic."""

    def __add__(self, other: Pattern | float) -> Pattern:
        return OpPattern(("Add",), (self, _pattern(other)))

    def __radd__(self, other: float) -> Pattern:
        return OpPattern(("Add",), (_pattern(other), self))

    def __sub__(self, other: Pattern | float) -> Pattern:
        return OpPattern(("Sub",), (self, _pattern(other)))

    def __rsub__(self, other: float) -> Pattern:
        return OpPattern(("Sub",), (_pattern(other), self))

    def __mul__(self, other: Pattern | float) -> Pattern:
        return OpPattern(("Mul",), (self, _pattern(other)))

    def __rmul__(self, other: float) -> Pattern:
        return OpPattern(("Mul",), (_pattern(other), self))

    def __truediv__(self, other: Pattern | float) -> Pattern:
        return OpPattern(("Div",), (self, _pattern(other)))

    def __rtruediv__(self, other: float) -> Pattern:
        return OpPattern(("Div",), (_pattern(other), self))


@dataclass(eq=False)
class Variable(Pattern):
    """Any value; the same value wherever the name occurs."""

    name: str


@dataclass(eq=False)
class Anything(Pattern):
    """A value, or an absent input, that the rule reads off the node."""


@dataclass(eq=False)
class Scalar(Pattern):
    """A constant of one element with this value, to float32 precision."""

    value: float

    def matches(self, value: Value) -> bool:
        array = value.constant
        if array is None or array.size != 1 or array.dtype.kind not in "fiu":
            return False
        found = float(array.reshape(()))
        return found == self.value or abs(found - self.value) <= 1e-30 + 1e-4 * abs(self.value)


@dataclass(frozen=True)
class Family:
    """Names of the operators of a class, those that graphs have: the others may not be imported."""

    base: type[Op]

    def __contains__(self, op_type: object) -> bool:
        return any(issubclass(cls, self.base) for cls in REGISTRY.imported(str(op_type)))


@dataclass(eq=False)
class OpPattern(Pattern):
    """A node of an operator. Inputs beyond the pattern's must be absent, unless `rest` is set."""

    types: Container[str]
    inputs: tuple[Pattern | None, ...]
    name: str = ""
    rest: bool = False

    def needed(self) -> Iterator[Container[str]]:
        """For each node of the expression, the operators of which it may be one."""
        yield self.types
        for part in self.inputs:
            if isinstance(part, OpPattern):
                yield from part.needed()


def _pattern(x: Pattern | float) -> Pattern:
    return x if isinstance(x, Pattern) else Scalar(float(x))


_Input = Pattern | float | EllipsisType | None


class PatternBuilder:
    """`op.MatMul(a, b)` makes a pattern; `op.OneOf("Relu|Clip", x, name="act")` one of several.
    A last input `...` stands for any further inputs, present or not.
    """

    def __getattr__(self, op_type: str) -> Callable[..., Pattern]:
        def build(*inputs: _Input, name: str = "") -> Pattern:
            return self.OneOf(op_type, *inputs, name=name)

        return build

    def Any(self) -> Pattern:
        """A value or an absent input, not bound to a name."""
        return Anything()

    def OneOf(self, op_types: str | Family, *inputs: _Input, name: str = "") -> Pattern:
        """A node of one of the operators named, separated by |, or of a family."""
        rest = bool(inputs) and inputs[-1] is ...
        given = inputs[:-1] if rest else inputs
        parts = tuple(None if x is None else _pattern(x) for x in given if x is not ...)
        types = op_types if isinstance(op_types, Family) else frozenset(op_types.split("|"))
        return OpPattern(types, parts, name, rest)


@dataclass(eq=False)
class Match:
    """What a pattern's names stand for: `m.x` is a Value, or a Node for a name given to an operator."""

    root: Node
    bound: dict[str, Any]
    nodes: list[Node]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.bound[name]
        except KeyError:
            raise AttributeError(name) from None


_State = tuple[dict[str, Any], tuple[Node, ...]]


def match(pattern: OpPattern, node: Node) -> Iterator[Match]:
    """Every way the pattern fits with `node` as its root."""
    for bound, nodes in _match_node(pattern, node, ({}, ())):
        yield Match(node, bound, list(nodes))


def _match_node(pattern: OpPattern, node: Node, state: _State) -> Iterator[_State]:
    if node.op.op_type not in pattern.types:
        return
    bound, nodes = state
    if pattern.name:
        if bound.get(pattern.name, node) is not node:
            return
        bound = {**bound, pattern.name: node}
    state = (bound, (*nodes, node))
    for inputs in _orders(pattern, node):
        yield from _match_inputs(pattern.inputs, inputs, state)


def _orders(pattern: OpPattern, node: Node) -> Iterator[list[Value | None]]:
    inputs = node.inputs
    while inputs and inputs[-1] is None:
        inputs = inputs[:-1]
    if len(inputs) > len(pattern.inputs):
        if not pattern.rest:
            return
        inputs = inputs[: len(pattern.inputs)]
    inputs = inputs + [None] * (len(pattern.inputs) - len(inputs))
    orders = [inputs]
    if len(inputs) == 2 and node.op.commutative and inputs[0] is not inputs[1]:
        orders.append(inputs[::-1])
    for order in orders:
        if all(map(_may_match, pattern.inputs, order)):
            yield order


def _may_match(pattern: Pattern | None, value: Value | None) -> bool:
    """False where what makes a value is not the pattern's; much quicker than to match it."""
    producer = None if value is None else value.producer
    if isinstance(pattern, OpPattern):
        return producer is not None and producer.op.op_type in pattern.types
    return not isinstance(pattern, Scalar) or producer is None


def _match_inputs(
    patterns: tuple[Pattern | None, ...], inputs: list[Value | None], state: _State
) -> Iterator[_State]:
    if not patterns:
        yield state
        return
    for after in _match_value(patterns[0], inputs[0], state):
        yield from _match_inputs(patterns[1:], inputs[1:], after)


def _match_value(pattern: Pattern | None, value: Value | None, state: _State) -> Iterator[_State]:
    if isinstance(pattern, Anything):
        yield state
        return
    if pattern is None or value is None:
        if pattern is None and value is None:
            yield state
        return
    if isinstance(pattern, Variable):
        known = state[0].get(pattern.name)
        if known is None:
            yield {**state[0], pattern.name: value}, state[1]
        elif known is value:
            yield state
    elif isinstance(pattern, Scalar):
        if pattern.matches(value):
            yield state
    elif isinstance(pattern, OpPattern):
        node = value.producer
        if node is not None and value is node.outputs[0]:
            yield from _match_node(pattern, node, state)

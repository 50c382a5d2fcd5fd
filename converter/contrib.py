"""Operators of other domains, rewritten to the standard's when they are read.

One rule per operator: its positional parameters are the operator's inputs (names of values, "" for an
absent one), the keyword-only ones its attributes, and what it returns are the names of the outputs.
The optimiser then sees what it sees in every other model.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any, get_type_hints

import numpy as np

from converter.attributes import checked
from converter.raw import RawNode
from converter.scope import Scope
from numba_rt.dtypes import INT64
from numba_rt.errors import LoadError, UnsupportedOp

MICROSOFT = "com.microsoft"
Rule = Callable[..., Any]
RULES: dict[tuple[str, str], Rule] = {}


class Body:
    """Collects the nodes that take a node's place; calling it adds one and returns its output's name."""

    def __init__(self, node: RawNode, scope: Scope) -> None:
        self.node, self.scope = node, scope
        self.nodes: list[RawNode] = []

    def __call__(self, op_type: str, *inputs: str, n: int = 0, domain: str = "", **attributes: Any) -> Any:
        """Add a node: the name of its output, or with `n` a list of names; None is no attribute."""
        wish = f"{self.node.outputs[0] or self.node.name}/{op_type}"
        outputs = [self.scope.fresh(wish) for _ in range(n or 1)]
        given = {k: v for k, v in attributes.items() if v is not None}
        self.nodes.append(
            RawNode(op_type, list(inputs), outputs, given, f"{self.node.name}/{op_type}", domain)
        )
        return outputs if n else outputs[0]

    def constant(self, value: Any, dtype: Any = INT64) -> str:
        """Name of a stored array."""
        return self.scope.constant(np.asarray(value, dtype), f"{self.node.outputs[0]}/constant")

    def like(self, value: float, name: str) -> str:
        """A number of the dtype of a value."""
        return self.constant(value, self.dtype(name))

    def dtype(self, name: str) -> np.dtype[Any]:
        """dtype of an input."""
        fact = self.scope.fact(name)
        return np.dtype(np.float32) if fact is None else fact.dtype

    def rank(self, name: str) -> int:
        """Number of axes of an input."""
        rank = self.scope.rank(name)
        if rank is None:
            raise UnsupportedOp(f"{self.node.where}: the number of axes of {name!r} is not known")
        return rank

    def array(self, name: str) -> np.ndarray | None:
        """The input, if it is a constant."""
        value = self.scope.find(name) if name else None
        return None if value is None else value.constant

    def wants(self, output: int) -> bool:
        """Whether an output has a name."""
        return output < len(self.node.outputs) and bool(self.node.outputs[output])

    def sum(self, *names: str) -> str:
        """The sum of those that are not absent."""
        total, *rest = (n for n in names if n)
        for name in rest:
            total = self("Add", total, name)
        return total

    def first(self, like: str) -> tuple[int, ...]:
        """Order of axes that puts channels, which are last, behind the batch."""
        rank = self.rank(like)
        return (0, rank - 1, *range(1, rank - 1))

    def last(self, like: str) -> tuple[int, ...]:
        """Order of axes that puts channels last."""
        return (0, *range(2, self.rank(like)), 1)

    def channels_first(self, name: str, like: str, turn: object) -> str:
        """A value of the rank of `like` with its channels behind the batch, if it is to be turned."""
        return self.turned(name, self.first(like)) if turn else name

    def channels_last(self, name: str, like: str, turn: object) -> str:
        """The inverse of `channels_first`."""
        return self.turned(name, self.last(like)) if turn else name

    def turned(self, name: str, perm: tuple[int, ...] | None) -> str:
        """A Transpose, unless there is nothing to do."""
        return name if perm is None or perm == tuple(range(len(perm))) else self("Transpose", name, perm=perm)


def replaces(*op_types: str, domains: tuple[str, ...] = (MICROSOFT,)) -> Callable[[Rule], Rule]:
    """Register a rule."""

    def register(rule: Rule) -> Rule:
        RULES.update({(domain, op_type): rule for domain in domains for op_type in op_types})
        return rule

    return register


def standard_nodes(node: RawNode, scope: Scope) -> list[RawNode] | None:
    """Nodes of the standard in place of a node of another domain; None if no rule is for it."""
    rule = RULES.get((node.domain, node.op_type))
    if rule is None:
        return None
    body = Body(node, scope)
    made = rule(body, *_inputs(rule, node), **_attributes(rule, node))
    results = list(made) if isinstance(made, (list, tuple)) else [made]
    for position, name in enumerate(node.outputs):
        if not name:
            continue
        result = results[position] if position < len(results) else None
        if result is None:
            raise UnsupportedOp(f"{node.where}: output {position} ({name!r}) is not implemented")
        if not _renamed(body.nodes, result, name):
            body.nodes.append(RawNode("Identity", [result], [name], name=f"{node.name}/Identity"))
    return body.nodes


def _renamed(nodes: list[RawNode], old: str, new: str) -> bool:
    """Let a node's output have another name; False if no node makes it."""
    found = False
    for node in nodes:
        found = found or old in node.outputs
        node.inputs = [new if n == old else n for n in node.inputs]
        node.outputs = [new if n == old else n for n in node.outputs]
    return found


@cache
def _signature(rule: Rule) -> tuple[list[inspect.Parameter], dict[str, Any], bool]:
    """The inputs, the attributes with their types, and whether others are passed on."""
    parameters = list(inspect.signature(rule).parameters.values())[1:]
    hints = get_type_hints(rule)
    inputs = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    attributes = {p.name: hints[p.name] for p in parameters if p.kind is p.KEYWORD_ONLY}
    return inputs, attributes, any(p.kind is p.VAR_KEYWORD for p in parameters)


def _inputs(rule: Rule, node: RawNode) -> list[str]:
    expected = _signature(rule)[0]
    if expected and expected[-1].kind is inspect.Parameter.VAR_POSITIONAL:
        expected = expected[:-1]
    elif len(node.inputs) > len(expected):
        raise LoadError(f"{node.where} has {len(node.inputs)} inputs: expected at most {len(expected)}")
    for position, parameter in enumerate(expected):
        if parameter.default is parameter.empty and not node.input(position):
            raise LoadError(f"{node.where}: the input {parameter.name!r} is missing")
    return node.inputs


def _attributes(rule: Rule, node: RawNode) -> dict[str, Any]:
    _, expected, others = _signature(rule)
    out = {}
    for name, value in node.attributes.items():
        if name in expected:
            out[name] = checked(value, expected[name], f"{node.where}: attribute {name!r}")
        elif others:
            out[name] = value
        else:
            raise LoadError(
                f"{node.where}: unknown attribute {name!r}; {node.op_type} has {sorted(expected)}"
            )
    for name in expected:
        if name not in out and inspect.signature(rule).parameters[name].default is inspect.Parameter.empty:
            raise LoadError(f"{node.where}: attribute {name!r} is missing")
    return out

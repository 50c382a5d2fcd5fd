"""Branches of `If` in the graph itself: a pass where the condition is known, and copies of a graph in
which given branches are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from numba_rt.graph import Fact, Graph, Node, Value
from numba_rt.ops._infer import infer, infer_node, is_symbolic
from numba_rt.ops.control_flow import If
from numba_rt.optimize.report import Report
from numba_rt.optimize.rule import replace_value

Choice = bool | None
"""The branch to take: then, else, or neither: the condition is only known when the model runs."""


def truth(fact: Fact | None) -> Choice:
    """The value of a condition, if it is known."""
    value = None if fact is None else fact.value
    if fact is None or value is None or value.size != 1 or is_symbolic(value, fact.dtype):
        return None
    return bool(value.reshape(()))


def taken(op: If, choice: bool) -> Graph:
    """The graph of one branch."""
    return op.then_branch if choice else op.else_branch


def take_known_branches(graph: Graph, report: Report) -> None:
    """Put the nodes of a branch in place of an `If` whose condition is known."""
    for node in list(graph.nodes):
        infer_node(node)
        condition = node.inputs[0] if isinstance(node.op, If) else None
        choice = None if condition is None else truth(condition.fact)
        if choice is None:
            continue
        branch = taken(node.op, choice)  # type: ignore[arg-type]
        made = _Copier(graph, before=node)
        made.bind(branch.inputs, node.inputs[1:])
        made.nodes(branch.nodes)
        for old, new in zip(node.outputs, branch.outputs, strict=True):
            replace_value(graph, old, made.value(new))
        graph.remove([node])
        report.fire("take_known_branches", node.describe())


def decide(graph: Graph, inputs: Sequence[Fact], needed: frozenset[int]) -> tuple[Choice, ...]:
    """Which branches are taken when the inputs are these, in the order in which `specialised` meets
    them; `needed` are the nodes from which conditions follow.
    """
    facts: dict[int, Fact] = {}
    choices: list[Choice] = []
    _decide(graph, inputs, needed, facts, choices)
    return tuple(choices)


def _decide(
    graph: Graph,
    inputs: Sequence[Fact],
    needed: frozenset[int],
    facts: dict[int, Fact],
    choices: list[Choice],
) -> None:
    facts.update((id(v), f) for v, f in zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        if id(node) not in needed:
            continue
        known = [None if v is None else facts.get(id(v), v.fact) for v in node.inputs]
        choice = truth(known[0]) if isinstance(node.op, If) else None
        if isinstance(node.op, If):
            choices.append(choice)
        if choice is None:
            made = infer(node.op, known, len(node.outputs), node.describe())
        else:
            branch = taken(node.op, choice)  # type: ignore[arg-type]
            captured = [f for f in known[1:] if f is not None]
            _decide(branch, captured, needed, facts, choices)
            made = tuple(facts.get(id(v), v.fact) for v in branch.outputs)
        facts.update((id(v), f) for v, f in zip(node.outputs, made, strict=False))


def specialised(graph: Graph, choices: Iterable[Choice]) -> Graph:
    """A copy of a graph in which these branches are taken; arrays are shared, nothing else is."""
    return _copy(graph, iter(choices).__next__)


def copied(graph: Graph) -> Graph:
    """A copy of a graph, which shares its arrays."""
    return _copy(graph, lambda: None)


def _copy(graph: Graph, choose: Callable[[], Choice]) -> Graph:
    made = Graph(graph.name)
    made.metadata = dict(graph.metadata)
    copier = _Copier(made, choose)
    for value in graph.inputs:
        fact = value.fact
        copier.bind([value], [made.input(value.name, fact)])
    copier.nodes(graph.nodes)
    made.outputs = [copier.value(v) for v in graph.outputs]
    return made


class _Copier:
    """Writes copies of nodes into a graph."""

    def __init__(
        self, graph: Graph, choose: Callable[[], Choice] = lambda: None, before: Node | None = None
    ) -> None:
        self.graph = graph
        self.choose = choose
        self.before = before
        self._new: dict[int, Value | None] = {}

    def bind(self, formal: Sequence[Value], actual: Sequence[Value | None]) -> None:
        """Let copies read `actual` where `formal` is read."""
        self._new.update((id(v), a) for v, a in zip(formal, actual, strict=True))

    def value(self, value: Value) -> Value:
        """What stands for a value in the copy."""
        if id(value) not in self._new:
            assert value.fact.value is not None
            made = self.graph.constant(np.asarray(value.fact.value), value.name)
            made.fact = value.fact
            self._new[id(value)] = made
        found = self._new[id(value)]
        assert found is not None
        return found

    def nodes(self, nodes: Iterable[Node]) -> None:
        """Copy nodes in order, those of the taken branches in place of the branching."""
        for node in nodes:
            inputs = [None if v is None else self.value(v) for v in node.inputs]
            choice = self.choose() if isinstance(node.op, If) else None
            if isinstance(node.op, If) and choice is not None:
                branch = taken(node.op, choice)
                self.bind(branch.inputs, inputs[1:])
                self.nodes(branch.nodes)
                self.bind(node.outputs, [self.value(v) for v in branch.outputs])
                continue
            attributes = node.op.attributes()
            bodies = {k: copied(v) for k, v in attributes.items() if isinstance(v, Graph)}
            op = type(node.op)(**(attributes | bodies)) if bodies else node.op
            made = self.graph.node(op, inputs, [v.name for v in node.outputs], node.name, self.before)
            for old, new in zip(node.outputs, made.outputs, strict=True):
                new.fact = old.fact
            self.bind(node.outputs, made.outputs)

"""Rules: `pattern` finds, `check` may refuse with a reason, `replace` builds what comes instead.

The engine, not the rule, verifies that nothing else reads the values in between, edits the graph,
and compares the facts of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from numba_rt.errors import NumbaRtError
from numba_rt.graph import Fact, Graph, Node, Value
from numba_rt.ops._infer import infer_node
from numba_rt.ops._op import Op
from numba_rt.ops._registry import REGISTRY
from numba_rt.optimize.pattern import Match, OpPattern, PatternBuilder, Variable, match
from numba_rt.optimize.report import Report


class Builder:
    """Writes nodes into a graph: `op.Add(x, y)`, `op.Softmax(x, axis=-1)`; arrays become constants."""

    def __init__(self, graph: Graph, before: Node | None = None, name: str = "") -> None:
        self.graph = graph
        self.before = before
        self.name = name
        self.made: list[Node] = []

    def __getattr__(self, op_type: str) -> Callable[..., Any]:
        cls = operator(op_type)

        def build(
            *inputs: Value | np.ndarray | np.generic | None, outputs: int = 1, **attributes: Any
        ) -> Any:
            return self.add(cls(**attributes), *inputs, outputs=outputs)

        return build

    def add(self, op: Op, *inputs: Value | np.ndarray | np.generic | None, outputs: int = 1) -> Any:
        """A node of a given operator; its output, or a tuple of them."""
        values = [
            x if isinstance(x, Value) or x is None else self.graph.constant(np.asarray(x)) for x in inputs
        ]
        node = self.graph.node(op, values, outputs, self.name, self.before)
        self.made.append(node)
        infer_node(node)
        return node.outputs[0] if outputs == 1 else tuple(node.outputs)

    def constant(self, array: np.ndarray, name: str = "const") -> Value:
        """A constant."""
        return self.graph.constant(array, name)


def operator(op_type: str) -> type[Op]:
    """The operator class of this name; ONNX's own before other domains'."""
    for domain in ("", "numba_rt"):
        if (domain, op_type) in REGISTRY:
            return REGISTRY[domain, op_type]
    raise AttributeError(f"no operator {op_type}")


class Rule:
    """One rewrite. Subclasses define the three functions; parameter names of `pattern` after the
    first are the match variables. `check` returns None to go ahead, a reason to refuse, or "" where
    the pattern says too little for the refusal to be worth reporting.
    """

    shared: ClassVar[bool] = False
    """Whether values between may be read elsewhere too: their nodes then stay for those readers."""
    all_outputs: ClassVar[bool] = False
    """Whether `replace` gives a tuple of all outputs of the root, not only the first."""
    patterns: ClassVar[tuple[OpPattern, ...]] = ()
    pattern: ClassVar[Callable[..., Any]]
    check: ClassVar[Callable[[Match], str | None]]
    replace: ClassVar[Callable[[Builder, Match], Any]]

    def __init_subclass__(cls) -> None:
        for name in ("pattern", "check", "replace"):
            function = cls.__dict__.get(name)
            if function is not None and not isinstance(function, staticmethod):
                setattr(cls, name, staticmethod(function))
        if "pattern" in cls.__dict__:
            code = cls.pattern.__code__
            names = code.co_varnames[1 : code.co_argcount]
            made = cls.pattern(PatternBuilder(), *(Variable(n) for n in names))
            cls.patterns = made if isinstance(made, tuple) else (made,)


class RuleSet:
    """Rules applied together, node by node, until none fires."""

    def __init__(self, *rules: type[Rule]) -> None:
        self.rules = rules

    def __call__(self, graph: Graph, report: Report) -> None:
        while self._sweep(graph, report):
            pass

    def _sweep(self, graph: Graph, report: Report) -> bool:
        fired = False
        gone: set[Node] = set()
        present = {node.op.op_type for node in graph.nodes}
        possible = [rule for rule in self.rules if _is_possible(rule, present)]
        by_root = {t: [r for r in possible if any(t in p.types for p in r.patterns)] for t in present}
        for node in list(graph.nodes):
            if node in gone:
                continue
            for rule in by_root[node.op.op_type]:
                removed = apply(rule, graph, node, report)
                if removed is not None:
                    gone.update(removed)
                    fired = True
                    break
        return fired


def _is_possible(rule: type[Rule], present: set[str]) -> bool:
    """Whether a graph of such operators may have what one of the rule's patterns needs."""
    return any(all(any(t in types for t in present) for types in p.needed()) for p in rule.patterns)


def apply(rule: type[Rule], graph: Graph, node: Node, report: Report) -> set[Node] | None:
    """Apply a rule with `node` as root, if it fits; the nodes that went."""
    for pattern in rule.patterns:
        if node.op.op_type not in pattern.types:
            continue
        for found in match(pattern, node):
            reason = _refusal(rule, graph, found)
            if reason == "":
                continue
            if reason is not None:
                report.refuse(rule.__name__, node.describe(), reason)
                continue
            removed = _rewrite(rule, graph, found, report)
            if removed is not None:
                return removed
    return None


def _refusal(rule: type[Rule], graph: Graph, found: Match) -> str | None:
    inside = set(found.nodes)
    for node in [found.root] if rule.shared else found.nodes:
        if node is found.root and rule.all_outputs:
            continue
        for value in node.outputs if node is not found.root else node.outputs[1:]:
            if graph.is_output(value):
                return f"{value.name!r} is an output of the graph"
            if any(reader not in inside for reader in value.uses):
                return f"{value.name!r} is also read elsewhere"
    check = getattr(rule, "check", None)
    return check(found) if check is not None else None


def _rewrite(rule: type[Rule], graph: Graph, found: Match, report: Report) -> set[Node] | None:
    root = found.root
    builder = Builder(graph, root, root.name)
    try:
        made = rule.replace(builder, found)
    except NumbaRtError as error:
        graph.remove(builder.made)
        report.refuse(rule.__name__, root.describe(), f"the replacement is not valid: {error}")
        return None
    pairs = list(zip(root.outputs, made, strict=True)) if rule.all_outputs else [(root.outputs[0], made)]
    reason = next(filter(None, (_unfit(graph, old, new) for old, new in pairs)), None)
    if reason is not None:
        graph.remove(builder.made)
        report.refuse(rule.__name__, root.describe(), reason)
        return None
    for old, new in pairs:
        replace_value(graph, old, new)
    report.fire(rule.__name__, root.describe())
    return graph.remove_unread(found.nodes)


def _unfit(graph: Graph, old: Value, new: Value) -> str | None:
    """Why a value cannot stand where another was."""
    if not compatible(old.fact, new.fact):
        return f"the result would be {new.fact}, not {old.fact}"
    if graph.is_output(old) and (new.producer is None or graph.is_output(new)):
        return f"the output {old.name!r} would lose its name"
    return None


def compatible(old: Fact, new: Fact) -> bool:
    """Whether a value of `new` may stand where one of `old` was expected."""
    if old.dtype != new.dtype or old.kind != new.kind:
        return False
    if old.shape is None or new.shape is None:
        return True
    known = zip(old.shape, new.shape, strict=False)
    return len(old.shape) == len(new.shape) and all(
        a == b or not (isinstance(a, int) and isinstance(b, int)) for a, b in known
    )


def replace_value(graph: Graph, old: Value, new: Value) -> None:
    """Read `new` wherever `old` was read; a graph output keeps its name."""
    if graph.is_output(old) and new.producer is not None and not graph.is_output(new):
        old.name, new.name = new.name, old.name
    graph.replace(old, new)


def scalar(value: Value | None) -> float | None:
    """The number a constant of one element holds."""
    array = None if value is None else value.constant
    if array is None or array.size != 1 or array.dtype.kind not in "fiub":
        return None
    return float(array.reshape(()))


def scale_of(node: Node, x: Value) -> float | str:
    """The number by which a Mul or Div multiplies x, or why it is not one that can be moved."""
    other = next((v for v in node.inputs if v is not x), x)
    number = scalar(other)
    if number is None:
        return "the factor is not a constant number"
    if node.op.op_type == "Div" and node.inputs[1] is x:
        return "x is the divisor"
    if x.fact.shape is None or x.fact.shape != node.outputs[0].fact.shape:
        return "the factor changes the shape"
    return number if node.op.op_type == "Mul" else 1 / number

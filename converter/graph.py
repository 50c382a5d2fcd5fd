"""GraphDef → Graph: nodes in order, each upgraded, expanded or built, with its facts inferred."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from converter import (  # noqa: F401 - they register their rules
    classical,
    contrib_attention,
    contrib_float,
    contrib_quantized,
)
from converter.attributes import make_op, read_attributes
from converter.bodies import body_facts, loosened
from converter.contrib import standard_nodes
from converter.functions import MOST_NODES, Key, function_key
from converter.order import node_name, sorted_nodes
from converter.raw import RawNode, captured_names, check_names, names_used
from converter.scope import Scope
from converter.tensors import sparse_to_array, to_arrays
from converter.types import UNKNOWN, to_fact
from converter.upgrades import upgrade
from numba_rt.errors import LoadError, NumbaRtError
from numba_rt.format.definition import FunctionDef, GraphDef, NodeDef, OperatorSet, ValueInfoDef
from numba_rt.graph import Fact, Graph, Sym, Value
from numba_rt.ops import Op, get
from numba_rt.ops._infer import infer_node
from numba_rt.ops._op import OWN

DEEPEST = 32
"""Nesting of subgraphs and functions."""


class Converter:
    """Converts the graphs of one model; collects the operators that are not implemented."""

    def __init__(
        self,
        functions: Mapping[Key, FunctionDef],
        read_opsets: Callable[[Iterable[OperatorSet], str], dict[str, int]],
    ) -> None:
        self.functions = functions
        self.read_opsets = read_opsets
        self.unsupported: dict[str, list[str]] = {}
        self._nodes = 0

    # -- graphs -----------------------------------------------------------------------------

    def fill(self, scope: Scope, proto: GraphDef, formals: Sequence[Fact] | None = None) -> None:
        """Convert a graph into `scope.graph`; `formals` are the facts of a subgraph's inputs."""
        where = f"graph {proto.name!r}" if proto.name else "the graph"
        if scope.depth > DEEPEST:
            raise LoadError(f"{where} is nested {scope.depth} deep: at most {DEEPEST} levels are supported")
        check_names([v.name for v in (*proto.input, *proto.output)], where)
        check_names([t.name for t in proto.initializer], where)
        check_names([s.values.name for s in proto.sparse_initializer if s.values is not None], where)
        self._add_constants(scope, proto)
        self._add_inputs(scope, proto, formals, where)
        given = {n for n, v in scope.values.items() if v is not None}
        nodes = sorted_nodes(proto.node, given, where)
        scope.reserved.update(n for node in nodes for n in node.output)
        scope.read = {n for node in nodes for n in names_used(node)} | {v.name for v in proto.output}
        if scope.outer is not None:
            scope.reserved |= captured_names(proto)
        for node in nodes:
            self.add(self._raw(node, scope), scope)
        self._add_outputs(scope, proto, where)

    def _add_constants(self, scope: Scope, proto: GraphDef) -> None:
        arrays = to_arrays(proto.initializer)
        for tensor, array in zip(proto.initializer, arrays, strict=True):
            self._add_constant(scope, tensor.name, array)
        for sparse in proto.sparse_initializer:
            name = "" if sparse.values is None else sparse.values.name
            array = sparse_to_array(sparse, f"sparse initializer {name!r}")
            self._add_constant(scope, name, array)

    def _add_constant(self, scope: Scope, name: str, array: Any) -> None:
        if name in scope.values:
            raise LoadError(f"initializer {name!r} is given twice")
        if not name:
            raise LoadError("an initializer has no name")
        scope.values[name] = scope.graph.constant(array, scope.prefix + name)

    def _add_inputs(self, scope: Scope, proto: GraphDef, formals: Sequence[Fact] | None, where: str) -> None:
        names = [v.name for v in proto.input]
        if twice := next((n for i, n in enumerate(names) if n in names[:i]), None):
            raise LoadError(f"{where} has two inputs {twice!r}")
        if "" in names:
            raise LoadError(f"{where} has an input without a name")
        if formals is not None and len(formals) != len(names):
            raise LoadError(f"{where} takes {len(names)} inputs: its node passes {len(formals)}")
        for i, declared in enumerate(proto.input):
            if formals is not None:
                scope.values[declared.name] = scope.graph.input(declared.name, formals[i])
            elif declared.name not in scope.values:
                fact = to_fact(declared.type, f"input {declared.name!r}")
                scope.values[declared.name] = scope.graph.input(declared.name, fact)

    def _add_outputs(self, scope: Scope, proto: GraphDef, where: str) -> None:
        graph = scope.graph
        for declared in proto.output:
            value = scope.find(declared.name)
            if value is None:
                raise LoadError(f"{where} has the output {declared.name!r}, which no node makes")
            if scope.outer is None and not scope.prefix:
                value = self._output(graph, value, declared)
            graph.outputs.append(value)

    def _output(self, graph: Graph, value: Value, declared: ValueInfoDef) -> Value:
        """The value that leaves the model under the declared name, with the declared sizes' names."""
        if value.name != declared.name:
            if value.producer is None or graph.is_output(value):
                value = self._identity(graph, value)
            value.name = declared.name
        if value.producer is not None and declared.type is not None:
            told = to_fact(declared.type, f"output {declared.name!r}")
            value.fact = _merged(value.fact, told)
        return value

    def _identity(self, graph: Graph, value: Value) -> Value:
        cls = get("" if value.fact.kind == "tensor" else OWN, "Identity")
        assert cls is not None
        node = graph.node(cls(), [value])
        node.outputs[0].fact = value.fact.without_value()
        return node.outputs[0]

    # -- nodes ------------------------------------------------------------------------------

    def _raw(self, node: NodeDef, scope: Scope) -> RawNode:
        name = scope.prefix + node_name(node)
        return RawNode(
            node.op_type,
            list(node.input),
            list(node.output),
            read_attributes(node.attribute, scope.attributes, f"{node.op_type} {name!r}"),
            name,
            "" if node.domain == "ai.onnx" else node.domain,
            node.overload,
        )

    def add(self, node: RawNode, scope: Scope) -> None:
        """Convert one node as the model has it."""
        if self.unsupported:
            # What follows an unknown operator is looked at only to name all unknown ones.
            try:
                self._add(node, scope)
            except NumbaRtError:
                self._skip(node, scope)
        else:
            self._add(node, scope)

    def _add(self, node: RawNode, scope: Scope) -> None:
        if function := self.functions.get(function_key(node)):
            self._inline(node, function, node.attributes, scope)
            return
        version = scope.opsets.get(node.domain)
        if version is None:
            domain = node.domain or "ai.onnx"
            raise LoadError(f"{node.where} is of domain {domain!r}, of which the model imports no opset")
        for current in standard_nodes(node, scope) or upgrade(node, version, scope):
            self._emit(current, scope)

    def _emit(self, node: RawNode, scope: Scope) -> None:
        """Convert a node that has the current meaning."""
        self._nodes += 1
        if self._nodes > MOST_NODES:
            raise LoadError(f"the model expands to more than {MOST_NODES} nodes")
        if node.op_type == "Constant" and node.domain == "":
            scope.values[node.outputs[0]] = scope.graph.constant(
                node.attributes["value"], scope.prefix + node.outputs[0]
            )
            return
        inputs = [scope.get(n, node.where) for n in node.inputs]
        cls = get(node.domain, node.op_type)
        if node.op_type == "Identity" and any(v is not None and v.fact.kind != "tensor" for v in inputs):
            cls = get(OWN, "Identity")
        if node.op_type == "If" and node.domain == "" and (branch := _known_branch(node, inputs)) is not None:
            self._take(node, branch, scope)
            return
        facts = [None if v is None else v.fact for v in inputs]
        if cls is not None and not cls.is_left_to_standard(facts, len(node.outputs)):
            self._build(cls, node, inputs, scope)
            return
        if self._define(node, inputs, scope):
            return
        shown, name = scope.standard or (node.full_type, node.name)
        names = self.unsupported.setdefault(shown, [])
        if scope.standard is None or name not in names[-1:]:
            names.append(name)
        self._skip(node, scope)

    def _define(self, node: RawNode, inputs: list[Value | None], scope: Scope) -> bool:
        """Put the operators by which the standard defines a node in its place; False if it does not."""
        from converter import standard  # imports the onnx package, which few models need

        function = standard.schema_function(node, [None if v is None else v.fact for v in inputs])
        if function is not None:
            named = scope.standard or (node.full_type, node.name)
            opsets = {"": standard.newest_opset()}
            self._inline(node, function, standard.with_defaults(node), scope, named, opsets)
        return function is not None

    def _skip(self, node: RawNode, scope: Scope) -> None:
        """Let the outputs of a node that cannot be converted be values of which nothing is known."""
        for name in node.outputs:
            if scope.values.get(name) is None:
                scope.values[name] = Value(name, UNKNOWN)
        for value in node.attributes.values():
            if isinstance(value, GraphDef):
                formals = [UNKNOWN] * len(value.input)
                self._body(value, scope, formals)

    def _build(self, cls: type[Op], node: RawNode, inputs: list[Value | None], scope: Scope) -> None:
        while inputs and inputs[-1] is None:
            inputs.pop()
        _check_arity(cls, node, inputs)
        attributes, captures = self._convert_bodies(node, inputs, scope)
        outputs = list(node.outputs)
        while outputs and not outputs[-1]:
            outputs.pop()
        filled = {"n_outputs": len(outputs), "n_captures": len(captures)}
        op = make_op(cls, attributes, filled, node.where)
        names = [scope.prefix + n if n else f"{node.name}/unused" for n in outputs]
        made = scope.graph.node(op, [*inputs, *captures], names, node.name)
        infer_node(made)
        for name, value in zip(outputs, made.outputs, strict=True):
            if name:
                scope.values[name] = value

    # -- subgraphs and functions ------------------------------------------------------------

    def _convert_bodies(
        self, node: RawNode, inputs: list[Value | None], scope: Scope
    ) -> tuple[dict[str, Any], list[Value | None]]:
        """The attributes with subgraphs converted, and the outer values that all of them take."""
        protos = {k: v for k, v in node.attributes.items() if isinstance(v, GraphDef)}
        if not protos:
            return node.attributes, []
        formals = body_facts(node, [None if v is None else v.fact for v in inputs])
        bodies = {k: self._body(p, scope, formals) for k, p in protos.items()}
        if node.op_type == "Loop":
            for key, body in bodies.items():
                loose = loosened(formals, [v.fact for v in body.graph.outputs])
                if loose is not None:
                    bodies[key] = self._body(protos[key], scope, loose)
        names = list(dict.fromkeys(n for body in bodies.values() for n in body.captures))
        captured = [scope.get(n, node.where) for n in names]
        for body in bodies.values():
            own = [v for v in body.graph.inputs if not any(v is c for c in body.captures.values())]
            for name, value in zip(names, captured, strict=True):
                if name not in body.captures:
                    assert value is not None
                    body.capture(name, value.fact)
            body.graph.inputs = own + [body.captures[n] for n in names]
        return node.attributes | {k: body.graph for k, body in bodies.items()}, captured

    def _take(self, node: RawNode, branch: GraphDef, scope: Scope) -> None:
        """Put the nodes of a branch in place of an If that is known to take it."""
        inner = Scope(
            scope.graph,
            scope.opsets,
            outer=scope,
            prefix=scope.prefix,
            attributes=scope.attributes,
            depth=scope.depth + 1,
            standard=scope.standard,
        )
        taken = len(scope.graph.outputs)
        self.fill(inner, branch)
        made = scope.graph.outputs[taken:]
        del scope.graph.outputs[taken:]
        if len(made) < len(node.outputs):
            raise LoadError(f"{node.where} has {len(node.outputs)} outputs: its branch makes {len(made)}")
        scope.values.update(zip(node.outputs, made, strict=False))

    def _body(self, proto: GraphDef, scope: Scope, formals: Sequence[Fact]) -> Scope:
        inner = Scope(
            Graph(proto.name),
            scope.opsets,
            outer=scope,
            prefix=scope.prefix,
            attributes=scope.attributes,
            depth=scope.depth + 1,
            standard=scope.standard,
        )
        self.fill(inner, proto, formals)
        return inner

    def _inline(
        self,
        node: RawNode,
        function: FunctionDef,
        given: Mapping[str, Any],
        scope: Scope,
        standard: tuple[str, str] | None = None,
        opsets: Mapping[str, int] | None = None,
    ) -> None:
        """Put a function's nodes in place of a node that calls it."""
        if scope.depth >= DEEPEST:
            raise LoadError(f"{node.where}: functions and subgraphs are nested more than {DEEPEST} deep")
        if len(node.inputs) > len(function.input) or len(node.outputs) > len(function.output):
            raise LoadError(
                f"{node.where} has {len(node.inputs)} inputs and {len(node.outputs)} outputs: "
                f"the function takes {len(function.input)} and makes {len(function.output)}"
            )
        defaults = read_attributes(function.attribute_proto, {}, node.where)
        imported = self.read_opsets(function.opset_import, f"function {function.name!r}")
        opsets = {**(opsets or {}), **imported}
        inner = Scope(
            scope.graph,
            opsets or scope.opsets,
            prefix=f"{node.name}/",
            attributes=defaults | dict(given),
            depth=scope.depth + 1,
            standard=standard,
        )
        for i, name in enumerate(function.input):
            inner.values[name] = scope.get(node.input(i), node.where)
        nodes = sorted_nodes(function.node, set(function.input), f"function {function.name!r}")
        inner.reserved.update(n for body_node in nodes for n in body_node.output)
        inner.read = {n for body_node in nodes for n in names_used(body_node)} | set(function.output)
        for body_node in nodes:
            self.add(self._raw(body_node, inner), inner)
        for formal, name in zip(function.output, node.outputs, strict=False):
            if name:
                value = inner.get(formal, f"the output {formal!r} of function {function.name!r}")
                scope.values[name] = value


def _known_branch(node: RawNode, inputs: Sequence[Value | None]) -> GraphDef | None:
    """The branch an If takes, if its condition is known."""
    cond = inputs[0].fact.value if inputs and inputs[0] is not None else None
    if cond is None or cond.dtype != np.bool_ or cond.size != 1:
        return None
    branch = node.attributes.get("then_branch" if cond.reshape(()) else "else_branch")
    return branch if isinstance(branch, GraphDef) and not branch.input else None


@cache
def _arity(cls: type[Op]) -> tuple[int | None, tuple[tuple[int, str], ...]]:
    """Most inputs an operator takes (None: any number), and positions and names of the required ones."""
    parameters = cls.parameters()
    named = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    required = tuple((i, p.name) for i, p in enumerate(named) if p.default is p.empty)
    return None if len(named) < len(parameters) else len(named), required


def _check_arity(cls: type[Op], node: RawNode, inputs: Sequence[Value | None]) -> None:
    most, required = _arity(cls)  # type: ignore[arg-type]
    if most is not None and len(inputs) > most:
        raise LoadError(f"{node.where} has {len(inputs)} inputs: expected at most {most}")
    for position, name in required:
        if position >= len(inputs) or inputs[position] is None:
            raise LoadError(f"{node.where}: the input {name!r} is missing")


def _merged(inferred: Fact, declared: Fact) -> Fact:
    """The inferred fact, with the model's own names for sizes that are not known."""
    if inferred.kind != declared.kind or inferred.kind != "tensor" or declared.shape is None:
        return inferred
    if inferred.shape is None:
        return Fact(inferred.dtype, declared.shape)
    if len(inferred.shape) != len(declared.shape):
        return inferred
    pairs = zip(inferred.shape, declared.shape, strict=True)
    shape = tuple(a if not isinstance(a, Sym) or _unnamed(b) else b for a, b in pairs)
    return Fact(inferred.dtype, shape, inferred.value)


def _unnamed(dim: Any) -> bool:
    return isinstance(dim, Sym) and "#" in str(dim)

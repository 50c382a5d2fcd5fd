"""The graph of a model: values, nodes, and the few edits optimisation needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from numba_rt.graph.fact import Fact

if TYPE_CHECKING:
    from numba_rt.ops._op import Op


class Value:
    """One tensor of a graph: a graph input, a constant, or an output of a node."""

    __slots__ = ("fact", "name", "producer", "uses")

    def __init__(self, name: str, fact: Fact, producer: Node | None = None) -> None:
        self.name = name
        self.fact = fact
        self.producer = producer
        self.uses: list[Node] = []
        """Nodes that read the value, once per input position that does."""

    @property
    def is_constant(self) -> bool:
        """Whether the value is stored in the model."""
        return self.producer is None and self.fact.value is not None

    @property
    def constant(self) -> np.ndarray | None:
        """The stored array, None for values that are computed or fed."""
        return self.fact.value if self.is_constant else None

    def __repr__(self) -> str:
        return f"%{self.name}: {self.fact}"


class Node:
    """An operator with the values it reads and makes. Absent optional inputs are None."""

    __slots__ = ("inferred", "inputs", "name", "op", "outputs")

    def __init__(self, op: Op, inputs: Sequence[Value | None], outputs: list[Value], name: str) -> None:
        self.op = op
        self.inputs: list[Value | None] = list(inputs)
        self.outputs = outputs
        self.name = name
        self.inferred: tuple[Op, list[Fact | None], tuple[Fact, ...]] | None = None
        """Operator and facts of inputs of which the outputs' facts were inferred last."""

    def describe(self) -> str:
        """`Softmax 'encoder/softmax'`, for messages."""
        return f"{self.op.op_type} {self.name!r}" if self.name else self.op.op_type

    def __repr__(self) -> str:
        ins = ", ".join("-" if v is None else "%" + v.name for v in self.inputs)
        return f"{', '.join('%' + v.name for v in self.outputs)} = {self.op}({ins})"


class Graph:
    """Inputs, outputs and nodes in topological order.

    Subgraphs of control flow are graphs of their own whose captured values are ordinary inputs,
    passed explicitly by the node that owns them; nothing is resolved by name across graphs.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.outputs: list[Value] = []
        self.nodes: list[Node] = []
        self.metadata: dict[str, str] = {}
        self.strict = False
        """Whether only algorithms whose rounding is that of plain sums may be chosen."""
        self._derived: dict[object, tuple[Sequence[Value], Value]] = {}
        self._names: dict[str, int] = {}
        """Names that are taken, and the number with which to look for the next one like it."""

    # -- building ---------------------------------------------------------------------------

    def fresh_name(self, wish: str) -> str:
        """`wish`, made unique within the graph."""
        if wish not in self._names:
            self._names[wish] = 1
            return wish
        n = self._names[wish]
        while (name := f"{wish}.{n}") in self._names:
            n += 1
        self._names[wish] = n + 1
        self._names[name] = 1
        return name

    def input(self, name: str, fact: Fact) -> Value:
        """Add an input."""
        value = Value(self.fresh_name(name), fact.without_value())
        self.inputs.append(value)
        return value

    def constant(self, array: np.ndarray, name: str = "const") -> Value:
        """A value stored in the model."""
        return Value(self.fresh_name(name), Fact.of(np.asarray(array)))

    def derived(self, sources: Sequence[Value], how: object, make: Callable[[], np.ndarray]) -> Value:
        """The constant that `make` makes of constants in the way `how`: once, while others read them too."""
        key = (how, *[id(v) for v in sources])
        _, made = self._derived.get(key, (None, None))
        if made is None:
            made = self.constant(make(), sources[0].name)
            if all(len(v.uses) > 1 for v in sources):
                self._derived[key] = sources, made
        return made

    def forget_derived(self) -> None:
        """Let go of what was kept for other readers."""
        self._derived.clear()

    def node(
        self,
        op: Op,
        inputs: Sequence[Value | None],
        outputs: Sequence[str] | int = 1,
        name: str = "",
        before: Node | None = None,
    ) -> Node:
        """Append a node (or put it before another); `outputs` are names, or how many to make."""
        names = outputs if not isinstance(outputs, int) else [op.op_type.lower()] * outputs
        made = [Value(self.fresh_name(n), Fact(np.dtype(np.float32), None)) for n in names]
        node = Node(op, inputs, made, name)
        for value in made:
            value.producer = node
        for source in node.inputs:
            if source is not None:
                source.uses.append(node)
        if before is None:
            self.nodes.append(node)
        else:
            self.nodes.insert(self.nodes.index(before), node)
        return node

    # -- reading ----------------------------------------------------------------------------

    def values(self) -> Iterator[Value]:
        """Every value once: inputs, then what nodes read (constants) and make, in order."""
        seen: set[int] = set()
        for value in self._all_values():
            if id(value) not in seen:
                seen.add(id(value))
                yield value

    def _all_values(self) -> Iterator[Value]:
        yield from self.inputs
        for node in self.nodes:
            yield from (v for v in node.inputs if v is not None)
            yield from node.outputs
        yield from self.outputs

    def constants(self) -> list[Value]:
        """The values stored in the model."""
        return [v for v in self.values() if v.is_constant]

    def is_output(self, value: Value) -> bool:
        """Whether the value leaves the graph."""
        return any(v is value for v in self.outputs)

    # -- editing ----------------------------------------------------------------------------

    def replace(self, old: Value, new: Value) -> None:
        """Let every reader of `old` (and the graph's outputs) read `new` instead."""
        if old is new:
            return
        for node in dict.fromkeys(old.uses):
            node.inferred = None
            for position, value in enumerate(node.inputs):
                if value is old:
                    node.inputs[position] = new
                    new.uses.append(node)
        old.uses.clear()
        self.outputs = [new if v is old else v for v in self.outputs]

    def set_input(self, node: Node, position: int, new: Value | None) -> None:
        """Let one input of a node read another value."""
        old = node.inputs[position]
        if old is not None:
            old.uses.remove(node)
        if new is not None:
            new.uses.append(node)
        node.inputs[position] = new
        node.inferred = None

    def remove(self, nodes: Iterable[Node]) -> None:
        """Take nodes out; their outputs must have no readers left outside `nodes`."""
        gone = set(nodes)
        for node in gone:
            _stop_reading(node)
        if gone:
            self.nodes = [n for n in self.nodes if n not in gone]

    def remove_unread(self, nodes: Iterable[Node]) -> set[Node]:
        """Take out those of the nodes that nobody reads, and what only they read; the nodes that went."""
        rest, gone = list(nodes), set[Node]()
        for node in rest:  # grows meanwhile
            if node in gone or any(v.uses or self.is_output(v) for v in node.outputs):
                continue
            rest += [v.producer for v in node.inputs if v is not None and v.producer is not None]
            _stop_reading(node)
            gone.add(node)
        if gone:
            self.nodes = [n for n in self.nodes if n not in gone]
        return gone

    def remove_dead(self) -> int:
        """Take out nodes nobody reads; returns how many."""
        kept: list[Node] = []
        outputs = {id(v) for v in self.outputs}
        removed = 0
        for node in reversed(self.nodes):
            if any(v.uses or id(v) in outputs for v in node.outputs):
                kept.append(node)
            else:
                _stop_reading(node)
                removed += 1
        self.nodes = kept[::-1]
        return removed

    def sort(self) -> None:
        """Restore topological order after edits, keeping the present order where it is one."""
        done: set[int] = set()
        order: list[Node] = []
        for root in self.nodes:
            stack: list[tuple[Node, bool]] = [(root, False)]
            while stack:
                node, ready = stack.pop()
                if id(node) in done:
                    continue
                if ready:
                    done.add(id(node))
                    order.append(node)
                    continue
                stack.append((node, True))
                for value in reversed(node.inputs):
                    if value is not None and value.producer is not None and id(value.producer) not in done:
                        stack.append((value.producer, False))
        self.nodes = order


def _stop_reading(node: Node) -> None:
    """A node that went reads nothing, and does not keep large constants alive until it is collected."""
    for value in node.inputs:
        if value is not None:
            value.uses.remove(node)
    node.inferred = None
    node.inputs = [None if v is not None and v.is_constant else v for v in node.inputs]

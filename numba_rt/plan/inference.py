"""Facts of all values of a segment; what is alike is looked at once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Node, Value
from numba_rt.graph.fact import SMALL
from numba_rt.ops._infer import infer, is_symbolic
from numba_rt.ops._op import Op

MOST_REMEMBERED = 1024
"""Results of `infer` that are kept."""

_Key = tuple[Hashable, ...]


class Inference:
    """Facts of the values of some nodes for given inputs.

    Equal facts are one object, and results are kept by operator and facts: of equal layers one is
    inferred, and of a set of inputs only what differs from earlier ones.
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._facts: dict[_Key, Fact] = {}
        self._made: dict[_Key, tuple[Fact, ...]] = {}
        classes: dict[object, int] = {}
        self._nodes = [
            (n, classes.setdefault(_class_of(n.op), len(classes)), *self._constants(n)) for n in nodes
        ]

    def facts(self, inputs: Sequence[Value], given: Sequence[Fact]) -> dict[int, Fact]:
        """Facts of every value, by id."""
        if len(self._made) > MOST_REMEMBERED:
            self._made.clear()
            self._facts.clear()
        facts = {id(v): self._one(f) for v, f in zip(inputs, given, strict=True)}
        for node, number, exact, by_shape in self._nodes:
            computed = [None if v is None else facts.get(id(v)) for v in node.inputs]
            is_open = any(f is not None and f.value is None for f in computed)
            constants = by_shape if is_open else exact
            key = (number, *[a or b for a, b in zip(computed, constants, strict=True)])
            out = self._made.get(key)
            if out is None:
                out = self._made[key] = tuple([self._one(f) for f in self._infer(node, computed)])
            for value, fact in zip(node.outputs, out, strict=False):
                facts[id(value)] = fact
        return facts

    def _infer(self, node: Node, computed: Sequence[Fact | None]) -> list[Fact]:
        ins = [
            v.fact if v is not None and v.is_constant else f
            for v, f in zip(node.inputs, computed, strict=True)
        ]
        out = list(infer(node.op, ins, len(node.outputs), node.describe()))[: len(node.outputs)]
        for value, fact in zip(node.outputs, out, strict=True):
            unknown = "shape" if not fact.is_static else ""
            if fact.value is not None and is_symbolic(fact.value, fact.dtype):
                unknown = "value"
            if unknown:
                where = f"{node.describe()}: the {unknown} of {value.name!r}"
                raise ShapeError(f"{where} does not follow from the inputs")
        source = ins[0] if node.op.view else None
        if source is not None and source.value is not None and out[0].value is None:
            out[0] = out[0].with_value(source.value.reshape(out[0].sizes))
        return out

    def _one(self, fact: Fact) -> Fact:
        """The object that stands for all facts that are equal to this one."""
        value = fact.value
        key: _Key = (fact.dtype, fact.shape, fact.kind)
        if value is not None:
            if value.dtype == object or value.size > SMALL:
                return fact
            key += (value.dtype, value.tobytes())
        return self._facts.setdefault(key, fact)

    def _constants(self, node: Node) -> tuple[list[Fact | None], list[Fact | None]]:
        """What stands for the constants among the inputs: the first if all values are known, so that
        results follow from them, the second if only those count that decide shapes.
        """
        exact: list[Fact | None] = [self._one(v.fact) if v and v.is_constant else None for v in node.inputs]
        by_shape = [
            f if f is None or i in node.op.needs_value else self._one(f.without_value())
            for i, f in enumerate(exact)
        ]
        return exact, by_shape


def _class_of(op: Op) -> object:
    """Equal for operators that infer the same."""
    if any(isinstance(x, np.ndarray) and x.size > SMALL for x in op.attributes().values()):
        return id(op)
    key = op.key()
    return id(op) if key is None else key

"""Scope: which value a name means while a graph, a subgraph or a function body is converted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converter.types import UNKNOWN
from numba_rt.errors import LoadError
from numba_rt.graph import Fact, Graph, Value


@dataclass(eq=False)
class Scope:
    """Names of one GraphProto or FunctionProto.

    A subgraph has a graph of its own: what it reads from `outer` becomes an input of that graph and
    is noted in `captures`. A function body shares its caller's graph and sees only its arguments; a
    branch known to be taken shares the graph around it and sees all of it.
    """

    graph: Graph
    opsets: Mapping[str, int]
    outer: Scope | None = None
    prefix: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Attributes the function was called with."""
    depth: int = 0
    standard: tuple[str, str] | None = None
    """Operator and name of the node in whose standard definition the scope lies."""
    reserved: set[str] = field(default_factory=set)
    """Names that nodes still to come make or read."""
    read: set[str] = field(default_factory=set)
    """Names that any node, or the scope's outputs, read."""
    values: dict[str, Value | None] = field(default_factory=dict)
    captures: dict[str, Value] = field(default_factory=dict)
    """Names read from outside → the graph's input that carries them."""

    def find(self, name: str) -> Value | None:
        """The value of a name, None if it is absent or empty."""
        if name in self.values:
            return self.values[name]
        if self.outer is None:
            return None
        found = self.outer.find(name)
        if found is None or self.graph is self.outer.graph:
            return found
        if found.is_constant:
            assert found.constant is not None
            value = self.graph.constant(found.constant, found.name)
        else:
            value = self.capture(name, found.fact)
        self.values[name] = value
        return value

    def capture(self, name: str, fact: Fact) -> Value:
        """Let the graph take a value from outside as a further input."""
        value = self.graph.input(name, fact)
        self.captures[name] = value
        return value

    def get(self, name: str, where: str) -> Value | None:
        """The value of an input name; None only for absent optional inputs."""
        if not name:
            return None
        value = self.find(name)
        if value is None and name not in self.values:
            raise LoadError(f"{where} reads {name!r}, which no node, input or initializer provides")
        return value

    def fact(self, name: str) -> Fact | None:
        """What is known about a name; None if it is absent."""
        value = self.find(name) if name else None
        return None if value is None else value.fact

    def rank(self, name: str) -> int | None:
        """Number of axes, if it is known."""
        fact = self.fact(name) or UNKNOWN
        return None if fact.shape is None else len(fact.shape)

    def constant(self, array: np.ndarray, wish: str) -> str:
        """A new name for a stored array."""
        name = self.fresh(wish)
        self.values[name] = self.graph.constant(array, self.prefix + name)
        return name

    def fresh(self, wish: str) -> str:
        """A name nothing has."""
        name, n = wish, 1
        while name in self.values or name in self.reserved:
            name, n = f"{wish}.{n}", n + 1
        self.reserved.add(name)
        return name

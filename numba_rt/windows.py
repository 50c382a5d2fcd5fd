"""Windows: the caches of a model as memory with room to grow, of which a run sees a part.

A cache is kept in a *buffer*, one row for each token; a run sees a *window* of it, past and new rows, and
writes the new ones at the window's end, so nothing is copied. Where the model takes a mask, a window may
begin before the first row: its length is then rounded up to a multiple of BLOCK, what lies before is masked,
as batched generation masks padding on the left, and all steps of a block share one plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from numba_rt.errors import InputError
from numba_rt.graph import Fact, Graph, Sym
from numba_rt.optimize.branches import take_known_branches
from numba_rt.optimize.caches import Cache, Rows, drop_copies, find_caches, length_with, order_of, use_window
from numba_rt.optimize.infer import infer_facts
from numba_rt.optimize.report import Report

BLOCK = 64
"""Rows by which windows grow; also the masked rows before the first one."""
FIRST_ROWS = 256
"""Rows a buffer begins with."""

TOKENS, MASK, POSITIONS, BRANCH = "input_ids", "attention_mask", "position_ids", "use_cache_branch"


@dataclass(frozen=True, eq=False)
class Window:
    """How a model reads and writes one of its caches."""

    name: str
    """Of the graph's input that takes the window."""
    cache: Cache
    past: Fact
    """The model's input in its place."""
    rows: Rows
    """How many a run appends."""

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The cache's axes in the order in which they lie in memory: rows first."""
        assert self.past.shape is not None
        return order_of(self.past.shape, self.cache.axis)

    @cached_property
    def ones(self) -> int:
        """Axes of size 1 before that of the rows."""
        return self.order.index(self.cache.axis)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The shape of a row."""
        assert self.past.shape is not None
        return tuple(int(self.past.shape[i]) for i in self.order[self.ones + 1 :])

    def shape(self, length: int) -> tuple[int, ...]:
        """The shape of the cache when it has this many rows."""
        assert self.past.shape is not None
        return tuple(length if i == self.cache.axis else int(d) for i, d in enumerate(self.past.shape))

    def length(self, shape: tuple[int, ...]) -> int:
        """Rows of a cache of this shape; 0 if it is not one."""
        rows = shape[self.cache.axis] if len(shape) > self.cache.axis else 0
        return rows if shape == self.shape(rows) else 0

    def appended(self, feeds: Mapping[str, np.ndarray]) -> int:
        """How many rows a run on these feeds appends."""
        if isinstance(self.rows, int):
            return self.rows
        value, axis = self.rows
        return feeds[value.name].shape[axis]


class Buffer:
    """The rows of one cache, with BLOCK rows of zeros before them and room after them."""

    def __init__(self, window: Window, room: int = FIRST_ROWS) -> None:
        self.of = window
        self.copied = 0
        """Bytes moved so far because the buffer had to grow."""
        self.rows = np.zeros((BLOCK + room, *window.sizes), window.past.dtype)

    def window(self, length: int, stop: int, size: int) -> np.ndarray:
        """The `size` rows before row `stop`, of which `length` have been written."""
        if BLOCK + stop > len(self.rows):
            grown = np.zeros((BLOCK + 2 * max(stop, len(self.rows)), *self.rows.shape[1:]), self.rows.dtype)
            grown[: BLOCK + length] = self.rows[: BLOCK + length]
            self.copied += self.rows[: BLOCK + length].nbytes
            self.rows = grown
        part = self.rows[BLOCK + stop - size : BLOCK + stop]
        return part.reshape((1,) * self.of.ones + part.shape)

    def put(self, past: np.ndarray) -> None:
        """Make all rows of a cache, as the model has it, the first rows of this buffer."""
        moved = past.transpose(self.of.order)
        self.rows[BLOCK : BLOCK + past.shape[self.of.cache.axis]] = moved.reshape(moved.shape[self.of.ones :])

    def view(self, length: int) -> np.ndarray:
        """The first rows as a cache of the model; not contiguous."""
        part = self.rows[BLOCK : BLOCK + length]
        order = self.of.order
        return part.reshape((1,) * self.of.ones + part.shape).transpose(
            [order.index(i) for i in range(len(order))]
        )

    def array(self, length: int, into: np.ndarray | None = None) -> np.ndarray:
        """The first rows as a cache of the model, copied into the memory given if that fits."""
        view = self.view(length)
        if into is None or into.shape != view.shape or into.dtype != view.dtype:
            return np.array(view, order="C")
        into[...] = view
        return into


def fix_batch(graph: Graph, batch: int) -> None:
    """Give the symbolic sizes that stand first their number, wherever they stand."""
    shapes = [v.fact.shape for v in graph.inputs if v.fact.shape is not None and len(v.fact.shape) > 1]
    names = [shape[0] for shape in shapes if isinstance(shape[0], Sym)]
    tokens = next((v.fact.shape for v in graph.inputs if v.name == TOKENS), None)
    if tokens and not isinstance(tokens[0], Sym) and tokens[0] != batch:
        raise InputError(f"batch = {batch}: the model takes batches of {tokens[0]}")
    for value in graph.inputs:
        fact = value.fact
        if fact.shape is not None:
            shape = tuple(batch if d in names else d for d in fact.shape)
            value.fact = Fact(fact.dtype, shape, None, fact.kind)


def take_cache_branch(graph: Graph) -> None:
    """Let a merged decoder be its branch that reads caches; empty ones too."""
    switch = next((v for v in graph.inputs if v.name == BRANCH), None)
    if switch is None:
        return
    graph.inputs = [v for v in graph.inputs if v is not switch]
    shape = [1 if isinstance(d, Sym) else int(d) for d in switch.fact.shape or ()]
    graph.replace(switch, graph.constant(np.ones(shape, np.bool_), BRANCH))
    infer_facts(graph)
    take_known_branches(graph, Report())


def use_windows(graph: Graph) -> dict[str, Window]:
    """Let a graph read and write windows in place of its caches; these, by the name of the model's input.

    Facts must have been inferred.
    """
    inputs = {v.name: v.fact for v in graph.inputs}
    windows: dict[str, Window] = {}
    drop_copies(graph)
    expected = _new_tokens(graph)
    for cache, node in find_caches(graph):
        found = use_window(graph, cache, node, expected)
        if found is not None:
            windows[cache.past] = Window(found[0].name, cache, inputs[cache.past], found[1])
            expected = found[1]
    mask = next((v for v in graph.inputs if v.name == MASK), None)
    if windows and mask is not None and is_table(mask.fact):
        assert mask.fact.shape is not None
        length = length_with(next(iter(windows.values())).rows)
        mask.fact = Fact(mask.fact.dtype, (mask.fact.shape[0], length))
    return windows


def _new_tokens(graph: Graph) -> Rows | None:
    """How many tokens a run is fed."""
    for value in graph.inputs:
        if value.name in (TOKENS, "inputs_embeds", "decoder_input_ids") and value.fact.shape is not None:
            count = value.fact.shape[1] if len(value.fact.shape) > 1 else None
            return (value, 1) if isinstance(count, Sym) else count
    return None


def may_be_padded(inputs: Mapping[str, Fact]) -> bool:
    """Whether windows may be longer than what they hold: the model can mask the rest."""
    return all(name in inputs and is_table(inputs[name]) for name in (MASK, POSITIONS))


def rounded(rows: int) -> int:
    """The length of a padded window that ends with this many rows."""
    return (rows + BLOCK - 1) // BLOCK * BLOCK


def is_table(fact: Fact) -> bool:
    """Whether it is one number for each sequence and token."""
    return fact.shape is not None and len(fact.shape) == 2

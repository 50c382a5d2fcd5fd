"""Decoder: a model that generates, with its key and value caches.

A model exported with `past` inputs and `present` outputs returns each cache one row longer than it
took it. Here a cache is a buffer with room to grow; a run sees a *window* of it and writes its new
rows at the window's end, so nothing is copied. The window's length is rounded up to a multiple of
BLOCK rows, and what lies before the first row is masked, as batched generation masks padding on the
left: all steps of a block share one plan.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from numba_rt.collection import paused
from numba_rt.errors import InputError, NumbaRtError
from numba_rt.graph import Fact, Graph, Sym, Value
from numba_rt.model import Model
from numba_rt.optimize.branches import take_known_branches
from numba_rt.optimize.caches import WINDOW, Cache, find_caches, order_of, use_window
from numba_rt.optimize.infer import infer_facts
from numba_rt.optimize.report import Report

BLOCK = 64
"""Rows by which windows grow; also the masked rows before the first one."""
FIRST_ROWS = 256
"""Rows a buffer begins with."""

TOKENS, MASK, POSITIONS, BRANCH = "input_ids", "attention_mask", "position_ids", "use_cache_branch"


class Decoder:
    """Steps through a sequence, keeping the caches of a model between the steps.

    Caches are found by structure (an output that is an input with rows appended) and by name
    (past_key_values.0.key and present.0.key, past_0 and present_0). One decoder holds one batch of
    sequences and is used by one thread at a time.

    Args:
        source: path of a model file, its bytes, an onnx.ModelProto or a ModelDef.
        batch: sequences that are decoded together.
        threads: as for `load`.
    """

    def __init__(
        self, source: str | os.PathLike[str] | bytes | Any, *, batch: int = 1, threads: int | None = None
    ) -> None:
        from converter import convert  # the converter stands above every other layer

        with paused():
            graph = convert(source)
            self.batch = batch
            _fix_batch(graph, batch)
            _use_cache_branch(graph)
            infer_facts(graph)
            inputs, outputs = list(graph.inputs), list(graph.outputs)
            self.caches: dict[str, _Buffer] = {}
            """Caches that rows are appended to, by the name of the model's input."""
            for cache, node in find_caches(graph):
                declared = next(v.fact for v in inputs if v.name == cache.past)
                window = use_window(graph, cache, node)
                if window is not None:
                    self.caches[cache.past] = _Buffer(window, cache, declared)
            self._set_carried(graph, inputs, outputs)
            mask = next((v for v in graph.inputs if v.name == MASK), None)
            if self.caches and mask is not None and _is_table(mask.fact):
                mask.fact = Fact(mask.fact.dtype, (batch, WINDOW))
            self.model = Model(graph, threads=threads)
        self._names = {v.name: v.fact for v in graph.inputs}
        if TOKENS not in self._names:
            raise InputError(f"the model has no input {TOKENS!r} to decode: it takes {list(self._names)}")
        tables = {name for name, fact in self._names.items() if _is_table(fact)}
        self._own = tables & {MASK, POSITIONS}
        self.is_padded = bool(self.caches) and not self.carried and {MASK, POSITIONS} <= tables
        """Whether windows may be longer than what they hold: the model can mask the rest."""
        tokens = self._names[TOKENS].shape
        self._takes_one = tokens is not None and tokens[-1:] == (1,)
        self.reset()

    def _set_carried(self, graph: Graph, inputs: list[Value], outputs: list[Value]) -> None:
        """Caches found by name only: outputs that are handed back as inputs in the next step."""
        made = {_plain(v.name): v.name for v in graph.outputs}
        self.carried: dict[str, str] = {
            v.name: made[_plain(v.name)] for v in graph.inputs if v in inputs and _plain(v.name) in made
        }
        kept = {*self.carried.values(), *(b.cache.present for b in self.caches.values())}
        self._results = [v.name for v in outputs if v.name not in kept]
        if not kept:
            raise InputError("the model has no caches: no output is an input with rows appended to it")
        if not self._results:
            raise InputError("the model returns nothing but caches")

    # -- a sequence -------------------------------------------------------------------------

    def reset(self) -> None:
        """Begin new sequences; buffers keep their memory."""
        self.length = 0
        """Rows in the caches."""
        self._seen = np.zeros((self.batch, BLOCK + FIRST_ROWS), np.int64)
        self._carry = {name: _nothing(self._names[name], self.batch) for name in self.carried}

    def truncate(self, length: int) -> None:
        """Forget all rows from `length` on."""
        if not 0 <= length <= self.length:
            raise InputError(f"truncate to {length}: expected 0 to {self.length}")
        if self.carried and length:
            for name, array in self._carry.items():
                if array.shape[-2] == self.length:
                    self._carry[name] = np.ascontiguousarray(array[..., :length, :])
        elif length == 0:
            self.reset()
        self.length = length

    def step(
        self,
        input_ids: Any,
        *,
        attention_mask: Any = None,
        position_ids: Any = None,
        feeds: Mapping[str, Any] | None = None,
    ) -> np.ndarray:
        """Run the next tokens; the model's first result that is not a cache, usually the logits.

        Args:
            input_ids: (batch, tokens), or a list of tokens.
            attention_mask: (batch, tokens): 0 for tokens that are padding; all are seen by default.
            position_ids: by default the number of tokens seen before each.
            feeds: further inputs of the model by name.
        """
        tokens = np.atleast_2d(np.asarray(input_ids, self._names[TOKENS].dtype))
        if tokens.ndim != 2 or tokens.shape[0] != self.batch or tokens.shape[1] == 0:
            raise InputError(f"{TOKENS} has shape {tokens.shape}: expected ({self.batch}, tokens)")
        seen = (
            np.ones(tokens.shape, np.int64)
            if attention_mask is None
            else np.asarray(attention_mask, np.int64)
        )
        if seen.shape != tokens.shape:
            raise InputError(
                f"{MASK} has shape {seen.shape}: expected {tokens.shape}, that of the new tokens"
            )
        if self._takes_one and tokens.shape[1] > 1:
            return self._step_singly(tokens, seen, position_ids, feeds)
        return self._step(tokens, seen, position_ids, feeds or {})

    def _step_singly(self, tokens: np.ndarray, seen: np.ndarray, positions: Any, feeds: Any) -> np.ndarray:
        """Tokens one by one, for models that take one."""
        made = []
        for i in range(tokens.shape[1]):
            own = None if positions is None else np.atleast_2d(positions)[:, i : i + 1]
            made.append(self._step(tokens[:, i : i + 1], seen[:, i : i + 1], own, feeds or {}))
        return np.concatenate(made, 1)

    def _step(
        self, tokens: np.ndarray, seen: np.ndarray, positions: Any, feeds: Mapping[str, Any]
    ) -> np.ndarray:
        count = tokens.shape[1]
        stop = size = self.length + count
        self._note(seen, stop)
        if self.is_padded and (self.length or count == 1):
            size = (stop + BLOCK - 1) // BLOCK * BLOCK
        wanted = [*self._results, *self.carried.values()]
        full = {TOKENS: np.ascontiguousarray(tokens), **self._carry}
        if POSITIONS in self._own or positions is not None:
            full[POSITIONS] = self._positions(positions, count)
        if BRANCH in self._names:
            full[BRANCH] = np.full(_sizes(self._names[BRANCH], 1), self.length > 0)
        try:
            results = self.model.run({**full, **self._windows(stop, size), **feeds}, wanted)
        except NumbaRtError:
            if size == stop:
                raise
            # Tables of the model may end before the padding does.
            results = self.model.run({**full, **self._windows(stop, stop), **feeds}, wanted)
        for name, made in zip(self.carried, results[len(self._results) :], strict=True):
            if made.size or not self._carry[name].size:  # one that does not grow may come back empty
                self._carry[name] = made
        self.length = stop
        return results[0]

    def _windows(self, stop: int, size: int) -> dict[str, np.ndarray]:
        """The last `size` rows of all caches, and which of them are seen."""
        made = {b.name: b.window(self.length, stop, size) for b in self.caches.values()}
        if MASK in self._own:
            mask = self._seen[:, BLOCK + stop - size : BLOCK + stop]
            made[MASK] = np.ascontiguousarray(mask, self._names[MASK].dtype)
        return made

    def _note(self, seen: np.ndarray, stop: int) -> None:
        """Remember which of the new tokens are seen."""
        if BLOCK + stop > self._seen.shape[1]:
            self._seen = np.concatenate([self._seen, np.zeros_like(self._seen)], 1)
            return self._note(seen, stop)
        self._seen[:, BLOCK + self.length : BLOCK + stop] = seen

    def _positions(self, given: Any, count: int) -> np.ndarray:
        dtype = self._names[POSITIONS].dtype
        if given is not None:
            return np.ascontiguousarray(given, dtype)
        if count == 1:
            before = self._seen[:, : BLOCK + self.length].sum(1, keepdims=True)
            return before.astype(dtype)
        numbers = self._seen[:, : BLOCK + self.length + count].cumsum(1)[:, -count:] - 1
        return np.ascontiguousarray(np.maximum(numbers, 0), dtype)

    @property
    def nbytes(self) -> int:
        """Memory of the caches."""
        buffers = sum(b.rows.nbytes for b in self.caches.values())
        return buffers + sum(x.nbytes for x in self._carry.values())

    @property
    def copied(self) -> int:
        """Bytes moved so far because buffers had to grow."""
        return sum(b.copied for b in self.caches.values())


class _Buffer:
    """The rows of one cache, with BLOCK rows of zeros before them and room after them."""

    def __init__(self, window: Value, cache: Cache, declared: Fact) -> None:
        assert declared.shape is not None
        self.cache = cache
        self.name = window.name
        self.copied = 0
        order = order_of(declared.shape, cache.axis)
        self._ones = order.index(cache.axis)
        sizes = [int(declared.shape[i]) for i in order[self._ones + 1 :]]
        self.rows = np.zeros((BLOCK + FIRST_ROWS, *sizes), declared.dtype)

    def window(self, length: int, stop: int, size: int) -> np.ndarray:
        """The `size` rows before row `stop`, of which `length` have been written."""
        if BLOCK + stop > len(self.rows):
            grown = np.zeros((BLOCK + 2 * max(stop, len(self.rows)), *self.rows.shape[1:]), self.rows.dtype)
            grown[: BLOCK + length] = self.rows[: BLOCK + length]
            self.copied += self.rows[: BLOCK + length].nbytes
            self.rows = grown
        part = self.rows[BLOCK + stop - size : BLOCK + stop]
        return part.reshape((1,) * self._ones + part.shape)


def _fix_batch(graph: Graph, batch: int) -> None:
    """Give the symbolic sizes that stand first their number, wherever they stand."""
    shapes = [v.fact.shape for v in graph.inputs if v.fact.shape is not None and len(v.fact.shape) > 1]
    names = [shape[0] for shape in shapes if isinstance(shape[0], Sym)]
    tokens = next((v.fact.shape for v in graph.inputs if v.name == TOKENS), None)
    if tokens and not isinstance(tokens[0], Sym) and tokens[0] != batch:
        raise InputError(f"batch = {batch}: the model takes batches of {tokens[0]}")
    for value in graph.inputs:
        fact = value.fact
        if fact.shape is not None:
            value.fact = Fact(
                fact.dtype, tuple(batch if d in names else d for d in fact.shape), None, fact.kind
            )


def _use_cache_branch(graph: Graph) -> None:
    """Take the branch that reads caches, for empty ones too. Not where caches of an encoder's output are
    made by the other branch.
    """
    switch = next((v for v in graph.inputs if v.name == BRANCH), None)
    if switch is None or any("encoder" in v.name for v in graph.inputs):
        return
    graph.inputs = [v for v in graph.inputs if v is not switch]
    graph.replace(switch, graph.constant(np.ones(_sizes(switch.fact, 1), np.bool_), BRANCH))
    infer_facts(graph)
    take_known_branches(graph, Report())


def _is_table(fact: Fact) -> bool:
    """Whether it is one number for each sequence and token."""
    return fact.shape is not None and len(fact.shape) == 2


def _plain(name: str) -> str:
    """A cache's name without what tells its input from its output."""
    return re.sub(r"(past|present)(_key_values)?", "cache", name)


def _sizes(fact: Fact, batch: int) -> tuple[int, ...]:
    """The sizes of an empty cache: what is not known is 0, but for the batch."""
    shape = fact.shape or ()
    return tuple(int(d) if not isinstance(d, Sym) else batch if i == 0 else 0 for i, d in enumerate(shape))


def _nothing(fact: Fact, batch: int) -> np.ndarray:
    return np.zeros(_sizes(fact, batch), fact.dtype)

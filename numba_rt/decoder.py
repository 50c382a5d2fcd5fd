"""Decoder: a model that generates, with its key and value caches.

A model exported with `past` inputs and `present` outputs returns each cache one row longer than it
took it. Here runs see windows of buffers instead, and append to them (`windows.py`).
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
from numba_rt.optimize import optimize
from numba_rt.optimize.branches import copied
from numba_rt.optimize.infer import infer_facts
from numba_rt.windows import (
    BLOCK,
    BRANCH,
    FIRST_ROWS,
    MASK,
    POSITIONS,
    TOKENS,
    Buffer,
    fix_batch,
    is_table,
    may_be_padded,
    rounded,
    take_cache_branch,
    use_windows,
)


class Decoder:
    """Steps through a sequence, keeping the caches of a model between the steps.

    Caches are found by structure (an output that is an input with rows appended) and by name
    (past_key_values.0.key and present.0.key, past_0 and present_0). One decoder holds one batch of
    sequences and is used by one thread at a time.

    Args:
        source: path of a model file, its bytes, an onnx.ModelProto, a ModelDef, or a Model, with which the
            decoder then shares weights.
        batch: sequences that are decoded together.
        threads: as for `load`; those of a Model by default.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | bytes | Model | Any,
        *,
        batch: int = 1,
        threads: int | None = None,
    ) -> None:
        with paused():
            graph, options = _graph_of(source, threads)
            self.batch = batch
            fix_batch(graph, batch)
            # Caches of an encoder's output are made by the other branch.
            if not any("encoder" in v.name for v in graph.inputs):
                take_cache_branch(graph)
            infer_facts(graph)
            if not isinstance(source, Model):
                optimize(graph)  # rules know the order of axes in models, not that in windows
            inputs, outputs = list(graph.inputs), list(graph.outputs)
            windows = use_windows(graph)
            self.caches = {name: Buffer(window) for name, window in windows.items()}
            """Caches that rows are appended to, by the name of the model's input."""
            self._set_carried(graph, inputs, outputs)
            self.model = Model(graph, **options)
        self._names = {v.name: v.fact for v in graph.inputs}
        if TOKENS not in self._names:
            raise InputError(f"the model has no input {TOKENS!r} to decode: it takes {list(self._names)}")
        self._own = {n for n in (MASK, POSITIONS) if n in self._names and is_table(self._names[n])}
        self.is_padded = bool(self.caches) and not self.carried and may_be_padded(self._names)
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
        kept = {*self.carried.values(), *(b.of.cache.present for b in self.caches.values())}
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
            size = rounded(stop)
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
        made = {b.of.name: b.window(self.length, stop, size) for b in self.caches.values()}
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


def _graph_of(source: Any, threads: int | None) -> tuple[Graph, dict[str, Any]]:
    """A graph of its own for a decoder, and how to make a Model of it."""
    if isinstance(source, Model):
        own = {"optimized": source.optimized, "precision": source.precision}
        return copied(source.graph), {"threads": threads or source.threads, **own}
    from converter import convert  # the converter stands above every other layer

    return convert(source), {"threads": threads}


def _plain(name: str) -> str:
    """A cache's name without what tells its input from its output."""
    return re.sub(r"(past|present)(_key_values)?", "cache", name)


def _sizes(fact: Fact, batch: int) -> tuple[int, ...]:
    """The sizes of an empty cache: what is not known is 0, but for the batch."""
    shape = fact.shape or ()
    return tuple(int(d) if not isinstance(d, Sym) else batch if i == 0 else 0 for i, d in enumerate(shape))


def _nothing(fact: Fact, batch: int) -> np.ndarray:
    return np.zeros(_sizes(fact, batch), fact.dtype)

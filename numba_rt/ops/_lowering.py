"""Lowering: an operator's `lower` turns operands into kernel calls on canonical views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from math import prod
from typing import Any, ParamSpec

import numpy as np

from numba_rt.graph import Value
from numba_rt.jit import Entry, Kernel
from numba_rt.ops._parts import row_strides

SERIAL_WORK = 32_768
"""Calls with less work than this many simple element operations are not shared between threads."""
MOST_REMEMBERED = 1024


_P = ParamSpec("_P")


def remembered(make: Callable[_P, np.ndarray]) -> Callable[_P, np.ndarray]:
    """Numbers for a kernel, made once for the same arguments: layers that are alike share them."""
    return lru_cache(MOST_REMEMBERED)(make)  # type: ignore[return-value]


class Scratch:
    """Working memory that lives during one operator's calls."""

    __slots__ = ("nbytes",)

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


class Guard:
    """Two int64 a kernel sets when data is invalid: [1, offending value]; checked after a run."""

    __slots__ = ("message",)

    def __init__(self, message: Callable[[int], Exception]) -> None:
        self.message = message


@dataclass(slots=True, eq=False)
class View:
    """An array argument that exists once memory is assigned: shape and dtype of a part of a value's,
    a scratch's or a constant's memory. C-contiguous unless it has a pitch, which only operators meet
    that can deal with it (`Op.reads_rows`, `Op.writes_rows`), and kernels never. Not changed once made.
    """

    source: Value | Scratch | Guard | np.ndarray
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int = 0
    """Bytes from the start of the source."""
    run: int = 0
    pitch: int = 0
    """Rows of `run` elements are `pitch` elements apart, if that is not 0."""

    @property
    def strides(self) -> list[int]:
        """Elements between neighbours along each axis."""
        return row_strides(self.shape, self.run, self.pitch)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return prod(self.shape) * self.dtype.itemsize

    @property
    def constant(self) -> np.ndarray | None:
        """The array, if it is known when shapes are bound."""
        return self.source if isinstance(self.source, np.ndarray) else None

    @property
    def symbolic_shape(self) -> tuple[Any, ...]:
        """Shape as known when the model was loaded: says which sizes may change between runs."""
        if isinstance(self.source, Value) and self.source.fact.shape is not None:
            known = self.source.fact.shape
            return known if len(known) == len(self.shape) else self.shape
        return self.shape


@dataclass(slots=True, eq=False)
class Call:
    """One kernel call of a plan."""

    kernel: Kernel
    args: list[Any]
    node: Any = None
    own: list[Any] = field(default_factory=list)
    """Where views lie that are not of values: scratches, guards and constants."""
    entry: Entry | None = None
    """Machine code for its arguments, once it is known."""

    @property
    def tasks(self) -> int:
        """Into how many parts its work is cut."""
        return int(self.args[-1])


class Lowering:
    """Collects the kernel calls of operators; `threads` is the most tasks a call may have."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.calls: list[Call] = []
        self._consts: dict[int, View] = {}
        self.node: Any = None
        self.taken: int | None = None
        """Input of the present node whose memory its output 0 has taken over."""
        self.in_place: frozenset[int] = frozenset()
        """Inputs of the present node that lie in its output 0 already (`Op.input_parts`), or outputs
        that lie in its input 0 (`Op.output_parts`): there is nothing to copy for them."""

    # -- views ------------------------------------------------------------------------------

    def view(self, x: View, shape: Sequence[int], dtype: Any = None, offset: int = 0) -> View:
        """The same bytes under another shape (and dtype), `offset` bytes further on."""
        if x.pitch:
            raise ValueError(f"rows of {x.run} elements, {x.pitch} apart, are not one C-contiguous array")
        made = x.dtype if dtype is None else np.dtype(dtype)
        shape = tuple(shape)
        nbytes = prod(shape) * made.itemsize
        if nbytes + offset > x.nbytes:
            raise ValueError(f"a view of {nbytes} bytes at {offset} does not fit into {x.nbytes}")
        return View(x.source, shape, made, x.offset + offset)

    def span(self, x: View) -> View:
        """(n,) from the first to the last element: `x.strides` says where in it the elements are."""
        if not x.pitch:
            return self.flat(x)
        return replace(x, shape=(x.size + (x.size // x.run - 1) * (x.pitch - x.run),), run=0, pitch=0)

    def rows_apart(self, x: View, shape: Sequence[int], dtype: Any = None) -> View:
        """The same elements under another shape (and dtype), whether or not its rows are apart."""
        return replace(x, shape=tuple(shape), dtype=np.dtype(dtype or x.dtype))

    def flat(self, x: View) -> View:
        """(size,)"""
        if len(x.shape) == 1 and not x.pitch:
            return x
        return self.view(x, (prod(x.shape),))

    def rows(self, x: View, axis: int, end: int | None = None) -> View:
        """(outer, n, inner): axes [axis, end) become n; by default one axis."""
        end = axis + 1 if end is None else end
        return self.view(x, (prod(x.shape[:axis]), prod(x.shape[axis:end]), prod(x.shape[end:])))

    def matrices(self, x: View) -> View:
        """(batch, m, n)"""
        return self.view(x, (prod(x.shape[:-2]), *x.shape[-2:]))

    def bits(self, x: View) -> View:
        """(size,) as unsigned integers of the item size; 16-byte items are pairs of 8 bytes."""
        size = x.dtype.itemsize
        if size == 16:
            return self.view(x, (x.size * 2,), np.uint64)
        return self.view(x, (x.size,), f"u{size}")

    def scratch(self, shape: Sequence[int], dtype: Any = np.float32) -> View:
        """Working memory for the calls of this operator."""
        dtype = np.dtype(dtype)
        return View(Scratch(prod(shape) * dtype.itemsize), tuple(shape), dtype)

    def const(self, array: np.ndarray) -> View:
        """An array made now or one that is always the same, kept by the plan."""
        found = self._consts.get(id(array))
        if found is not None:
            return found
        kept = np.ascontiguousarray(array)
        if not kept.flags.writeable:
            kept = kept.copy()
        view = View(kept, kept.shape, kept.dtype)
        if kept is array:
            self._consts[id(array)] = view
        return view

    def guard(self, message: Callable[[int], Exception]) -> View:
        """int64[2] for a kernel to report invalid data: status[0] = 1, status[1] = the bad value."""
        return View(Guard(message), (2,), np.dtype(np.int64))

    # -- calls ------------------------------------------------------------------------------

    def tasks(self, work: float) -> int:
        """How many threads to use for `work` simple element operations."""
        return 1 if work < SERIAL_WORK else self.threads

    def call(self, kernel: Kernel, *args: Any) -> None:
        """Call a kernel; its last argument is the number of tasks."""
        own = []
        for arg in args:
            if type(arg) is View:
                if arg.pitch:
                    raise ValueError(f"{kernel.name} is given rows that are apart")
                if type(arg.source) is not Value:
                    own.append(arg.source)
        self.calls.append(Call(kernel, list(args), self.node, own))

"""What is known about a value before it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from numba_rt.dtypes import dtype_name
from numba_rt.graph.dim import Dim, Sym

SMALL = 1024
"""Values of at most this many elements are followed through shape arithmetic."""


@dataclass(frozen=True, slots=True, eq=False)
class Fact:
    """dtype, shape and, where it is known, the value itself.

    `shape` is None when not even the rank is known. `value` is an array of `dtype`; while shapes
    are symbolic it may be an object array whose elements are ints and Sym expressions.
    `kind` is "tensor", "sequence", "optional", "optional sequence", "int64 map", "string map", or one of
    these with " sequence"; dtype and shape are those of the tensors inside.
    """

    dtype: np.dtype[Any]
    shape: tuple[Dim, ...] | None
    value: np.ndarray | None = None
    kind: str = "tensor"

    @staticmethod
    def of(value: np.ndarray) -> Fact:
        """The fact of a known array."""
        return Fact(value.dtype, value.shape, value)

    @property
    def rank(self) -> int:
        """Number of axes; only for facts whose shape is known."""
        if self.shape is None:
            raise ValueError("the rank is not known")
        return len(self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape as plain numbers; only for static shapes."""
        return tuple([int(d) for d in self.shape or ()])

    @property
    def size(self) -> Dim:
        """Number of elements."""
        total: Dim = 1
        for dim in self.shape or ():
            total = total * dim
        return total

    @property
    def is_static(self) -> bool:
        """Whether every dimension is a plain number."""
        return self.shape is not None and not any(isinstance(d, Sym) for d in self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the value; only for static shapes."""
        return int(self.size) * self.dtype.itemsize

    def with_value(self, value: np.ndarray) -> Fact:
        """The same dtype and shape with a known value."""
        return Fact(self.dtype, self.shape, value, self.kind)

    def without_value(self) -> Fact:
        """dtype and shape alone."""
        return Fact(self.dtype, self.shape, None, self.kind)

    def __str__(self) -> str:
        dims = "?" if self.shape is None else ", ".join(map(str, self.shape))
        text = f"{dtype_name(self.dtype)}[{dims}]"
        return text if self.kind == "tensor" else f"{self.kind}({text})"

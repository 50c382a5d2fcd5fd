"""Elementwise operators: the base class, chains of them, and the kernels generated for both.

An elementwise operator states a scalar expression. One operator, or a chain of several, becomes
one generated kernel: `y[i] = f(x0[i], x1[i], ...)` over a broadcast described at run time, so a
new shape never compiles anything.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numba_rt.graph import Fact
from numba_rt.ops._checks import broadcast_shape
from numba_rt.ops._eager import run_op
from numba_rt.ops._generate import lower_steps
from numba_rt.ops._lowering import Lowering
from numba_rt.ops._op import OWN, Op, op
from numba_rt.ops._parts import rows_fit


class Elementwise(Op):
    """An operator whose output element depends on one element of each input.

    `expr` is the scalar expression: `{0}`, `{1}` are the inputs, `{name}` a numeric attribute
    (passed at run time), `{T}` the dtype of the first input, as in `{T}(0.5) * {0}`. Functions of
    `np` and of the kernel modules `km` (math), `ka` (arithmetic), `ke` (extreme) and `kc` (convert)
    may be called. All literals must be wrapped in `{T}(...)`: a bare one would make Numba compute in
    float64. 16-bit floats are float32 here: converted where they are read and written.
    """

    expr: ClassVar[str] = ""
    rounds: ClassVar[bool] = False
    """Within a chain, a 16-bit result is rounded to that format at once, not only where it is stored."""
    cost: ClassVar[int] = 1
    """Work per element relative to an addition; decides when threads pay."""

    def expression(self, *dtypes: Any) -> str:
        """The scalar expression for inputs of these dtypes (None for an absent one)."""
        return self.expr

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        """dtype of the output."""
        return dtypes[0]

    def scalars(self, *dtypes: Any) -> dict[str, Any]:
        """Attributes the expression reads, as values of the first input's dtype."""
        names = {
            f for _, f, _, _ in string.Formatter().parse(self.expression(*dtypes)) if f and f.isidentifier()
        }
        return {n: dtypes[0].type(getattr(self, n)) for n in sorted(names - {"T"})}

    def check(self, *facts: Fact) -> None:
        """Refuse inputs the operator does not take; by default none."""

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (self.result_dtype(*(None if f is None else f.dtype for f in facts)),)

    def infer(self, *inputs: Any) -> Fact:
        self.check(*inputs)
        return Fact(self.out_dtypes(*inputs)[0], broadcast_shape(*(f for f in inputs if f is not None)))

    def reads_rows(self, position: int, shape: Sequence[int], run: int) -> bool:
        return run > 1 and rows_fit(shape, run)

    writes_rows = reads_rows

    def lower(self, low: Lowering, *operands: Any) -> None:
        *xs, y = operands
        given = [x for x in xs if x is not None]
        place = iter(range(len(given)))
        args = tuple(ABSENT if x is None else next(place) for x in xs)
        lower_steps(low, (Step(self, args),), given, y)


ABSENT = -1
"""Argument of a step: an optional input that is not given."""


@dataclass(frozen=True)
class Step:
    """One operator of a chain; `args` count the chain's inputs first, then earlier steps."""

    op: Elementwise
    args: tuple[int, ...]


def quiet(function: Callable[..., Any], *arrays: Any) -> Any:
    """A NumPy function without its warnings: infinities and NaN are results like others."""
    with np.errstate(all="ignore"):
        return function(*arrays)


def exact(*arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """Whole floats next to symbolic sizes as Python integers, which sizes can be computed with."""
    if not any(x.dtype == object for x in arrays):
        return arrays
    return tuple(_whole(x) if x.dtype.kind == "f" else x for x in arrays)


def _whole(x: np.ndarray) -> np.ndarray:
    if not np.array_equal(x, np.trunc(x)):
        raise TypeError("a size is combined with a fraction")
    return x.astype(np.int64).astype(object)


@op("FusedElementwise", domain=OWN)
class FusedElementwise(Elementwise):
    """A chain of elementwise operators computed in one pass."""

    steps: tuple[Step, ...] = ()

    inplace = tuple(range(8))

    def infer(self, *inputs: Fact) -> Fact:
        facts = list(inputs)
        for step in self.steps:
            facts.append(step.op.infer(*(None if i == ABSENT else facts[i] for i in step.args)))
        return facts[-1]

    def evaluate(self, *inputs: np.ndarray) -> np.ndarray:
        arrays = list(inputs)
        for step in self.steps:
            operands = [None if i == ABSENT else arrays[i] for i in step.args]
            if step.op.has("evaluate"):
                arrays.append(step.op.evaluate(*operands))  # type: ignore[attr-defined]
            else:
                arrays.append(run_op(step.op, operands, 1)[0])
        return arrays[-1]

    def result_dtype(self, *dtypes: Any) -> np.dtype[Any]:
        known = list(dtypes)
        for step in self.steps:
            known.append(step.op.result_dtype(*(None if i == ABSENT else known[i] for i in step.args)))
        return known[-1]

    def key(self) -> object:
        return (type(self), tuple((s.op.key(), s.args) for s in self.steps))

    @property
    def algorithm(self) -> str:
        return "elementwise: " + ", ".join(step.op.op_type for step in self.steps)

    def lower(self, low: Lowering, *operands: Any) -> None:
        *xs, y = operands
        lower_steps(low, self.steps, xs, y)

    def __str__(self) -> str:
        return "FusedElementwise<" + ", ".join(str(s.op) for s in self.steps) + ">"

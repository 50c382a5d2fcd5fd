"""Elementwise operators: the base class, chains of them, and the kernels generated for both.

An elementwise operator states a scalar expression. One operator, or a chain of several, becomes
one generated kernel: `y[i] = f(x0[i], x1[i], ...)` over a broadcast described at run time, so a
new shape never compiles anything.
"""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numba_rt import jit
from numba_rt.dtypes import BOOL, FLOAT32
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.ops._checks import broadcast_shape
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import OWN, Op, op

OUTER = 4
"""Broadcast axes a generated kernel iterates over outside its inner loop."""


class Elementwise(Op):
    """An operator whose output element depends on one element of each input.

    `expr` is the scalar expression: `{0}`, `{1}` are the inputs, `{name}` a numeric attribute
    (passed at run time), `{T}` the dtype of the first input, as in `{T}(0.5) * {0}`. Functions of
    `numba_rt.kernels.math` and `math` may be called. All literals must be wrapped in `{T}(...)`:
    a bare one would make Numba compute in float64.
    """

    expr: ClassVar[str] = ""
    cost: ClassVar[int] = 1
    """Work per element relative to an addition; decides when threads pay."""

    def expression(self, *dtypes: np.dtype[Any]) -> str:
        """The scalar expression for inputs of these dtypes."""
        return self.expr

    def result_dtype(self, *dtypes: np.dtype[Any]) -> np.dtype[Any]:
        """dtype of the output."""
        return dtypes[0]

    def scalars(self, *dtypes: np.dtype[Any]) -> dict[str, Any]:
        """Attributes the expression reads, as values of the first input's dtype."""
        names = {f for _, f, _, _ in string.Formatter().parse(self.expression(*dtypes)) if f and f.isidentifier()}
        return {n: dtypes[0].type(getattr(self, n)) for n in sorted(names - {"T"})}

    def check(self, *facts: Fact) -> None:
        """Refuse inputs the operator does not take; by default none."""

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (self.result_dtype(*(f.dtype for f in facts if f is not None)),)

    def infer(self, *inputs: Fact) -> Fact:
        self.check(*inputs)
        return Fact(self.result_dtype(*(f.dtype for f in inputs)), broadcast_shape(*inputs))

    def lower(self, low: Lowering, *operands: View) -> None:
        *xs, y = operands
        lower_steps(low, (Step(self, tuple(range(len(xs)))),), xs, y)


@dataclass(frozen=True)
class Step:
    """One operator of a chain; `args` count the chain's inputs first, then earlier steps."""

    op: Elementwise
    args: tuple[int, ...]


@op("FusedElementwise", domain=OWN)
class FusedElementwise(Elementwise):
    """A chain of elementwise operators computed in one pass."""

    steps: tuple[Step, ...] = ()

    def infer(self, *inputs: Fact) -> Fact:
        facts = list(inputs)
        for step in self.steps:
            facts.append(step.op.infer(*(facts[i] for i in step.args)))
        return facts[-1]

    def result_dtype(self, *dtypes: np.dtype[Any]) -> np.dtype[Any]:
        known = list(dtypes)
        for step in self.steps:
            known.append(step.op.result_dtype(*(known[i] for i in step.args)))
        return known[-1]

    def key(self) -> object:
        return (type(self), tuple((s.op.key(), s.args) for s in self.steps))

    def lower(self, low: Lowering, *operands: View) -> None:
        *xs, y = operands
        lower_steps(low, self.steps, xs, y)

    def __str__(self) -> str:
        return "FusedElementwise<" + ", ".join(str(s.op) for s in self.steps) + ">"


def lower_steps(low: Lowering, steps: tuple[Step, ...], xs: list[View], y: View) -> None:
    """Call the generated kernel of a chain."""
    if y.size == 0:
        return
    xs, axes = collapse(xs, y)
    source, scalars = generate(steps, [x.dtype for x in xs], y.dtype, [a[-1] for a in axes[1:]])
    kernel = kernel_of(source)
    work = y.size * max(1, sum(s.op.cost for s in steps))
    tasks = low.tasks(work)
    outer = int(np.prod(axes[0][:-1], dtype=np.int64))
    splits = max(1, min(-(-tasks // outer), axes[0][-1]))
    geometry = np.array([*axes[0], splits, *(s for a in axes[1:] for s in a[:-1])], np.int64)
    low.call(kernel, *(low.flat(x) for x in xs), *scalars, low.const(geometry), low.flat(y), tasks)


def collapse(xs: list[View], y: View) -> tuple[list[View], list[list[int]]]:
    """Merge axes that all operands walk alike: [sizes, strides of x0, strides of x1, ...], each of
    OUTER + 1 numbers. Which axes an input repeats over is read off the shapes known at load, so
    that a size that happens to be 1 does not choose another kernel."""
    rank = y.rank
    repeated = [_repeated_axes(x, y) for x in xs]
    sizes: list[int] = []
    pattern: list[tuple[bool, ...]] = []
    for axis in range(rank):
        if y.symbolic_shape[axis] == 1 and not isinstance(y.symbolic_shape[axis], Sym) and y.shape[axis] == 1:
            continue
        flags = tuple(r[axis] for r in repeated)
        if pattern and pattern[-1] == flags:
            sizes[-1] *= y.shape[axis]
        else:
            pattern.append(flags)
            sizes.append(y.shape[axis])
    if not sizes:
        sizes, pattern = [1], [(False,) * len(xs)]
    if len(sizes) > OUTER + 1:
        raise ShapeError(f"broadcast of {[x.shape for x in xs]} alternates between more than {OUTER + 1} axes")
    table = [[1] * (OUTER + 1 - len(sizes)) + sizes]
    for k in range(len(xs)):
        strides, step = [], 1
        for size, flags in zip(reversed(sizes), reversed(pattern), strict=True):
            strides.append(0 if flags[k] else step)
            step *= 1 if flags[k] else size
        table.append([0] * (OUTER + 1 - len(sizes)) + strides[::-1])
    return xs, table


def _repeated_axes(x: View, y: View) -> list[bool]:
    """For each axis of y, whether x has one element there that is used for all of it."""
    lead = y.rank - x.rank
    out = [True] * lead
    for i in range(x.rank):
        known, full = x.symbolic_shape[i], y.symbolic_shape[lead + i]
        if x.shape[i] != y.shape[lead + i]:
            out.append(True)
        elif x.shape[i] == 1:
            out.append(not isinstance(known, Sym) and isinstance(full, Sym))
        else:
            out.append(False)
    return out


def generate(
    steps: tuple[Step, ...], dtypes: list[np.dtype[Any]], result: np.dtype[Any], inner: list[int]
) -> tuple[str, list[Any]]:
    """Source of the kernel of a chain, and the run-time scalars it takes.

    Only operators' own expressions and dtype names go into the text, never names of a model.
    """
    types = list(dtypes)
    names = [f"v{i}" for i in range(len(dtypes))]
    body, scalars, params = [], [], []
    for step in steps:
        inputs = [types[i] for i in step.args]
        known = {"T": type_name(inputs[0])}
        for name, value in step.op.scalars(*inputs).items():
            known[name] = f"p{len(scalars)}"
            scalars.append(value)
            params.append(known[name])
        made = step.op.result_dtype(*inputs)
        text = step.op.expression(*inputs).format(*(names[i] for i in step.args), **known)
        names.append(f"v{len(names)}")
        types.append(made)
        body.append(f"{names[-1]} = {type_name(made)}({text})")
    xs = [f"x{i}" for i in range(len(dtypes))]
    strides = OUTER + 2
    lines = [
        f"def NAME({', '.join([*xs, *params, 'g', 'y', 'tasks'])}):",
        "    d0, d1, d2, d3, n, splits = g[0], g[1], g[2], g[3], g[4], g[5]",
        "    total = d0 * d1 * d2 * d3 * splits",
        "    for t in prange(tasks):",
        "        for r in range(t * total // tasks, (t + 1) * total // tasks):",
        "            row, part = r // splits, r % splits",
        "            i3, rest = row % d3, row // d3",
        "            i2, rest = rest % d2, rest // d2",
        "            i1, i0 = rest % d1, rest // d1",
    ]
    for k in range(len(xs)):
        at = strides + OUTER * k
        terms = " + ".join(f"i{j} * g[{at + j}]" for j in range(OUTER))
        lines.append(f"            o{k} = {terms}")
        if inner[k] == 0:
            lines.append(f"            v{k} = x{k}[u(o{k})]")
    lines.append("            oy = row * n")
    lines.append("            for i in range(part * n // splits, (part + 1) * n // splits):")
    lines += [f"                v{k} = x{k}[u(o{k} + i)]" for k in range(len(xs)) if inner[k]]
    lines += [f"                {line}" for line in body]
    lines.append(f"                y[u(oy + i)] = {names[-1]}")
    return "\n".join(lines) + "\n", scalars


def type_name(dtype: np.dtype[Any]) -> str:
    """Name of a dtype in generated source."""
    return "bool_" if dtype == BOOL else dtype.name


_HEADER = '''"""Generated by numba_rt: {title}."""

import math

from numpy import (
    bool_, complex64, complex128, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64
)

from numba_rt.jit import kernel, prange, u
from numba_rt.kernels import math as km


@kernel
'''

_kernels: dict[str, jit.Kernel] = {}


def kernel_of(source: str) -> jit.Kernel:
    """The kernel a generated source defines; made once per process."""
    if source not in _kernels:
        name = "elementwise_" + hashlib.sha256(source.encode()).hexdigest()[:12]
        text = _HEADER.format(title="an elementwise kernel") + source.replace("NAME", name, 1)
        _kernels[source] = getattr(jit.load_generated(name, text), name)
    return _kernels[source]


def is_float32(*facts: Fact) -> bool:
    """Whether all values are float32."""
    return all(f.dtype == FLOAT32 for f in facts)

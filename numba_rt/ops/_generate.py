"""Kernels of elementwise chains: `y[i] = f(x0[i], x1[i], ...)` over a broadcast described at run time,
so that a new shape never compiles anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from numba_rt import jit
from numba_rt.dtypes import BFLOAT16, BOOL, FLOAT16, FLOAT32, HALVES
from numba_rt.graph import Sym
from numba_rt.ops._lowering import Lowering, View

if TYPE_CHECKING:
    from numba_rt.ops.elementwise import Step

_WIDEN = {FLOAT16: "kc.float16_to_float32", BFLOAT16: "kc.bfloat16_to_float32"}
_NARROW = {FLOAT16: "kc.float32_to_float16", BFLOAT16: "kc.float32_to_bfloat16"}


def lower_steps(low: Lowering, steps: tuple[Step, ...], xs: Sequence[View], y: View) -> None:
    """Call the generated kernel of a chain."""
    if y.size == 0:
        return
    geometry, inner = broadcast_geometry(xs, y)
    key = (tuple((s.op.key(), s.args) for s in steps), tuple(x.dtype for x in xs), inner)
    if key not in _chains:
        _chains[key] = generate(steps, [x.dtype for x in xs], inner)
    kernel, scalars = _chains[key]
    spans = [low.span(x) for x in (*xs, y)]
    flat = [low.view(x, x.shape, stored(x.dtype)) for x in spans]
    tasks = low.tasks(y.size * max(1, sum(s.op.cost for s in steps)))
    low.call(kernel, *flat[:-1], *scalars, low.const(geometry), flat[-1], tasks)


def broadcast_geometry(xs: Sequence[View], y: View) -> tuple[np.ndarray, tuple[bool, ...]]:
    """The numbers a kernel walks a broadcast by, and which inputs advance in its inner loop.

    Axes that all inputs walk alike are merged. The numbers: elements, how many axes lie outside rows,
    rows, elements of a row; how far the output and each input move per row; then, from the innermost
    outer axis on, its size and how far the output and each input move along it.
    """
    sizes, moves, strides = merged_axes(xs, y)
    if len(sizes) == 1:
        sizes, strides = [1, *sizes], [[0] * (1 + len(xs)), *strides]
    numbers = [y.size, len(sizes) - 2, sizes[-2], sizes[-1], *strides[-2]]
    for size, stride in zip(sizes[-3::-1], strides[-3::-1], strict=True):
        numbers += [size, *stride]
    return np.array(numbers, np.int64), tuple(bool(s) for s in moves[-1])


def merged_axes(xs: Sequence[View], y: View) -> tuple[list[int], list[tuple[bool, ...]], list[list[int]]]:
    """Sizes of the axes left after merging, outermost first; which inputs move along each; and how
    far the output and the inputs do.
    """
    moving = [_moving_axes(x, y) for x in xs]
    steps = [y.strides, *([0] * (y.rank - x.rank) + x.strides for x in xs)]
    sizes: list[int] = []
    moves: list[tuple[bool, ...]] = []
    strides: list[list[int]] = []
    known = y.symbolic_shape
    for axis in range(y.rank):
        if y.shape[axis] == 1 and not isinstance(known[axis], Sym):
            continue
        size, move = y.shape[axis], tuple(m[axis] for m in moving)
        stride = [s[axis] if moved else 0 for s, moved in zip(steps, (True, *move), strict=True)]
        if moves and moves[-1] == move and strides[-1] == [s * size for s in stride]:
            sizes[-1] *= size
            strides[-1] = stride
        else:
            sizes.append(size)
            moves.append(move)
            strides.append(stride)
    if not sizes:
        return [1], [(True,) * len(xs)], [[1] * (1 + len(xs))]
    return sizes, moves, strides


def _moving_axes(x: View, y: View) -> list[bool]:
    """For each axis of y, whether x has as many elements there, not one used for all of it. Read
    off the shapes known at load, so that a size that happens to be 1 chooses no other kernel.
    """
    if x.size == 1 and not any(isinstance(d, Sym) for d in x.symbolic_shape):
        return [not isinstance(d, Sym) and d == 1 for d in y.symbolic_shape]
    lead = y.rank - x.rank
    out = [False] * lead
    for i in range(x.rank):
        if x.shape[i] != y.shape[lead + i]:
            out.append(False)
        elif x.shape[i] == 1:
            out.append(
                isinstance(x.symbolic_shape[i], Sym) or not isinstance(y.symbolic_shape[lead + i], Sym)
            )
        else:
            out.append(True)
    return out


_USER_DTYPE = 256
"""NumPy numbers the dtypes of other packages from here on."""


def stored(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """dtype of the memory a kernel sees: formats it has no numbers for are unsigned integers."""
    return dtype if dtype.num < _USER_DTYPE and dtype != FLOAT16 else np.dtype(f"u{dtype.itemsize}")


def computed(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """dtype a kernel computes in: float32 for 16-bit floats."""
    return FLOAT32 if dtype in HALVES else stored(dtype)


def type_name(dtype: np.dtype[Any]) -> str:
    """Name of a dtype in generated source."""
    return "bool_" if dtype == BOOL else dtype.name


def generate(
    steps: tuple[Step, ...], dtypes: Sequence[np.dtype[Any]], inner: Sequence[bool]
) -> tuple[jit.Kernel, list[Any]]:
    """The kernel of a chain, and the run-time scalars it takes.

    Only operators' own expressions and dtype names go into its text, nothing of a model.
    """
    types = list(dtypes)
    loads = [f"x{k}[u(o{k} + j)]" if inner[k] else f"x{k}[u(o{k})]" for k in range(len(dtypes))]
    loads = [f"{_WIDEN[d]}({load})" if d in _WIDEN else load for d, load in zip(dtypes, loads, strict=True)]
    body: list[str] = []
    scalars: list[Any] = []
    for step in steps:
        inputs = [None if i < 0 else types[i] for i in step.args]
        native = [None if d is None else computed(d) for d in inputs]
        assert native[0] is not None
        known = {"T": type_name(native[0])}
        for name, value in step.op.scalars(*native).items():
            known[name] = f"p{len(scalars)}"
            scalars.append(value)
        made = step.op.result_dtype(*inputs)
        text = step.op.expression(*native).format(*(f"v{i}" for i in step.args), **known)
        text = f"{type_name(computed(made))}({text})"
        if made in HALVES and step.op.rounds and step is not steps[-1]:
            text = f"{_WIDEN[made]}({_NARROW[made]}({text}))"
        body.append(f"v{len(types)} = {text}")
        types.append(made)
    result = f"v{len(types) - 1}"
    if types[-1] in HALVES:
        wide = len(steps) == 1 and types[0] == np.float64 and steps[0].op.rounds
        result = (
            "kc.float64_to_float16(v0)"
            if wide and types[-1] == FLOAT16
            else f"{_NARROW[types[-1]]}({result})"
        )
    return kernel_of(_source(loads, inner, body, len(scalars), result)), scalars


def _source(loads: list[str], inner: Sequence[bool], body: list[str], n_scalars: int, result: str) -> str:
    """Text of a kernel. A task's share begins and ends anywhere in a row, so that one long row
    and many short ones are shared equally well.
    """
    xs = range(len(loads))
    params = [*(f"x{k}" for k in xs), *(f"p{k}" for k in range(n_scalars)), "g", "y", "tasks"]
    lines = [
        f"def NAME({', '.join(params)}):",
        "    total, axes, rows, n, sy = g[0], g[1], g[2], g[3], g[4]",
        *(f"    s{k} = g[{5 + k}]" for k in xs),
        "    for t in prange(tasks):",
        "        at = t * total // tasks",
        "        end = (t + 1) * total // tasks",
        "        while at < end:",
        "            plane = at // n",
        "            i = at - plane * n",
        "            row = plane % rows",
        "            plane //= rows",
        "            oy = row * sy",
        *(f"            o{k} = row * s{k}" for k in xs),
        "            for axis in range(axes):",
        f"                h = {5 + len(loads)} + axis * {2 + len(loads)}",
        "                size = g[u(h)]",
        "                place = plane % size",
        "                plane //= size",
        "                oy += place * g[u(h + 1)]",
        *(f"                o{k} += place * g[u(h + {2 + k})]" for k in xs),
        "            while row < rows and at < end:",
        "                stop = min(n, i + end - at)",
        *(f"                v{k} = {loads[k]}" for k in xs if not inner[k]),
        "                for j in range(i, stop):",
        *(f"                    v{k} = {loads[k]}" for k in xs if inner[k]),
        *(f"                    {line}" for line in body),
        f"                    y[u(oy + j)] = {result}",
        "                at += stop - i",
        "                i = 0",
        "                row += 1",
        "                oy += sy",
        *(f"                o{k} += s{k}" for k in xs),
    ]
    return "\n".join(lines) + "\n"


_HEADER = '''"""Generated by numba_rt: the kernel of an elementwise chain."""

import numpy as np
from numpy import (
    bool_, complex64, complex128, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64
)

from numba_rt.jit import kernel, prange, u
'''

_MODULES = {
    "ka.": "arithmetic as ka",
    "kc.": "convert as kc",
    "ke.": "extreme as ke",
    "km.": "math as km",
    "kq.": "quantize as kq",
}
"""What expressions may call, imported only where used: a cached kernel depends on all it imports."""

_chains: dict[object, tuple[jit.Kernel, list[Any]]] = {}
_kernels: dict[str, jit.Kernel] = {}


def kernel_of(source: str) -> jit.Kernel:
    """The kernel a generated source defines; made once per process."""
    if source not in _kernels:
        name = "elementwise_" + hashlib.sha256(source.encode()).hexdigest()[:12]
        imports = [
            f"from numba_rt.kernels import {m}\n" for prefix, m in _MODULES.items() if prefix in source
        ]
        text = _HEADER + "".join(imports) + "\n\n@kernel\n" + source.replace("NAME", name, 1)
        _kernels[source] = getattr(jit.load_generated(name, text), name)
    return _kernels[source]

"""Rows packed, added and scaled, as LLVM vector code: what kernels do around the register tile."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from numba_rt.jit import DISABLED, intrinsic
from numba_rt.llvm import types
from numba_rt.simd.isa import ISA

__all__ = ["add_row", "pack_keys", "pack_values", "scale_row"]


def _code(name: str) -> Callable[..., Any]:
    """What emits the call of a function."""
    from numba_rt.simd.emit_rows import RowEmitter, call_function

    return functools.partial(call_function, RowEmitter, name)


def _pack_keys(k, at, step, n, d, packed, to):
    for j in range(-(-n // ISA.nr) * ISA.nr):
        panel, column = divmod(j, ISA.nr)
        target = packed[to + panel * ISA.nr * d + column :]
        target[: d * ISA.nr : ISA.nr] = k[at + j * step : at + j * step + d] if j < n else 0


def _pack_keys_intrinsic(context, k, at, step, n, d, packed, to):
    """Packs n rows of d numbers, `step` apart, as columns: panels of nr rows of k, transposed; zeros
    past the last row.
    """
    i = types.intp
    return types.void(k, i, i, i, i, packed, i), _code("pack_keys")


def _pack_values(v, at, step, n, d, packed, to):
    for i, j in itertools.product(range(0, d, ISA.nr), range(n)):
        target = packed[to + i * n + j * ISA.nr :][: ISA.nr]
        target[:] = 0
        target[: d - i] = v[at + j * step + i : at + j * step + min(d, i + ISA.nr)]


def _pack_values_intrinsic(context, v, at, step, n, d, packed, to):
    """Packs n rows of d numbers, `step` apart: panels of nr columns, zeros past the last column."""
    i = types.intp
    return types.void(v, i, i, i, i, packed, i), _code("pack_values")


def _add_row(y, y_at, x, x_at, step, n):
    y[y_at : y_at + n] += x[x_at : x_at + n] if step == 1 else x[x_at]


def _add_row_intrinsic(context, y, y_at, x, x_at, step, n):
    """y += x over n numbers; with step 0, x is one number. May write y up to the next whole vector."""
    i = types.intp
    return types.void(y, i, x, i, i, i), _code("add_row")


def _scale_row(y, at, n, factor):
    y[at : at + n] *= factor


def _scale_row_intrinsic(context, y, at, n, factor):
    """Multiplies n numbers."""
    i = types.intp
    return types.void(y, i, i, types.float32), _code("scale_row")


add_row = _add_row if DISABLED else intrinsic(_add_row_intrinsic)
pack_keys = _pack_keys if DISABLED else intrinsic(_pack_keys_intrinsic)
pack_values = _pack_values if DISABLED else intrinsic(_pack_values_intrinsic)
scale_row = _scale_row if DISABLED else intrinsic(_scale_row_intrinsic)

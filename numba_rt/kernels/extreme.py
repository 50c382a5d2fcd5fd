"""The larger and the smaller of two numbers, NaN if one is: a form that vectorises."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.jit import DISABLED, intrinsic
from numba_rt.llvm import cgutils, ir, types

__all__ = ["maximum", "minimum"]


def _emit(name: str) -> Any:
    """Code of llvm.maximum or llvm.minimum, or of a comparison of integers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.return_type
        if isinstance(kind, types.Float):
            suffix = f".f{kind.bitwidth}"
            double = ir.FunctionType(args[0].type, [args[0].type] * 2)
            function = cgutils.get_or_insert_function(builder.module, double, f"llvm.{name}{suffix}")
            return builder.call(function, args)
        sign = ">" if name == "maximum" else "<"
        compare = builder.icmp_signed if kind.signed else builder.icmp_unsigned
        return builder.select(compare(sign, *args), *args)

    return generate


def _maximum(context: Any, a: Any, b: Any) -> Any:
    """max(a, b) of two numbers of one type.

    Where b is an array element that is overwritten, the other order would become a masked store.
    """
    return (a(a, b), _emit("maximum")) if a == b and isinstance(a, (types.Float, types.Integer)) else None


def _minimum(context: Any, a: Any, b: Any) -> Any:
    """min(a, b) of two numbers of one type."""
    return (a(a, b), _emit("minimum")) if a == b and isinstance(a, (types.Float, types.Integer)) else None


maximum = np.maximum if DISABLED else intrinsic(_maximum)
minimum = np.minimum if DISABLED else intrinsic(_minimum)

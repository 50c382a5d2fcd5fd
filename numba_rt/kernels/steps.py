"""The steps of a plan, one after another, without Python between them."""

from __future__ import annotations

from typing import Any

from numba_rt.jit import intrinsic, kernel, u
from numba_rt.llvm import ir, types


@intrinsic
def _call(context, function, frame):
    """Calls machine code with a frame, both given by address; not 0 if it failed."""
    return types.int32(types.int64, types.int64), _emit


def _emit(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    word = ir.IntType(64).as_pointer()
    kind = ir.FunctionType(ir.IntType(32), [word])
    function = builder.inttoptr(args[0], kind.as_pointer())
    return builder.call(function, [builder.inttoptr(args[1], word)])


@kernel
def run_steps(steps, failed):
    """Calls function steps[2 i] with the frame steps[2 i + 1], for each i.

    The first that fails is the last; failed[0] becomes its number, counted from 1.
    """
    for i in range(steps.size // 2):
        if _call(steps[u(2 * i)], steps[u(2 * i + 1)]) != 0:
            failed[0] = i + 1
            return

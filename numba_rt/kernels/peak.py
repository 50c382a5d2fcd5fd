"""What the processor can do at most: multiply-adds on registers, and reading memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from numba_rt.jit import DISABLED, intrinsic, kernel, prange, u
from numba_rt.llvm import ir, types
from numba_rt.simd.isa import ISA

CHAINS = 10
"""Independent accumulators: enough to hide the latency of multiply-add."""
ROOM = 1024
"""Numbers of each task, far enough from those of the next."""
FLOPS_PER_STEP = 2 * CHAINS * ISA.lanes


def _steps_of(values, start, steps):
    """The same without the compiler, for one chain."""
    for _ in range(steps):
        values[start + ISA.lanes] += values[start] * values[start]


def _steps_intrinsic(context, values, start, steps):
    """`steps` multiply-adds in each of CHAINS registers, begun and ended in values[start:]."""
    return types.void(values, types.intp, types.intp), _emit


def _emit(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    from numba_rt.simd.emit import I64, Vectors, loop

    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    vectors, lanes = Vectors(builder.module, ISA), ISA.lanes
    registers = [builder.gep(data, [builder.add(args[1], I64(n * lanes))]) for n in range(CHAINS + 1)]
    x, *chains = [vectors.load(builder, pointer) for pointer in registers]
    chains = loop(
        builder, I64(0), args[2], 1, chains, lambda b, _, acc: [vectors.multiply_add(b, y, x, x) for y in acc]
    )
    for value, pointer in zip(chains, registers[1:], strict=True):
        vectors.store(builder, value, pointer)
    return context.get_dummy_value()


_steps = _steps_of if DISABLED else intrinsic(_steps_intrinsic)


@kernel
def multiply_adds(values, steps, tasks):
    """FLOPS_PER_STEP * steps operations in each task, on its ROOM of values."""
    for t in prange(tasks):
        _steps(values, t * ROOM, steps)


@kernel.reduction
def read_all(x, sums, tasks):
    """sums[t] is the sum of a part of x."""
    for t in prange(tasks):
        total = np.float32(0)
        for i in range(t * x.size // tasks, (t + 1) * x.size // tasks):
            total += x[u(i)]
        sums[u(t)] = total

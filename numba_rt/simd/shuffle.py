"""Square tiles transposed in vector registers."""

from __future__ import annotations

from typing import Any

from numba_rt.jit import DISABLED, intrinsic
from numba_rt.llvm import ir, types
from numba_rt.simd.isa import ISA

VECTOR_BYTES = 4 * ISA.lanes
WIDEST = 16
"""Most rows of a tile: as many registers, and stages that grow with the logarithm."""


def tile_rows(itemsize: int) -> int:
    """Rows and columns of the tile for items of this many bytes."""
    return min(WIDEST, VECTOR_BYTES // itemsize)


def _transpose_tile(x, x_at, x_step, y, y_at, y_step):
    """The tile in NumPy, for runs without a compiler."""
    n = tile_rows(x.itemsize)
    for i in range(n):
        for j in range(n):
            y[int(y_at + i * y_step + j)] = x[int(x_at + j * x_step + i)]


def _transpose_tile_intrinsic(context, x, x_at, x_step, y, y_at, y_step):
    """y[y_at + i·y_step + j] = x[x_at + j·x_step + i] for i, j below the tile's size."""
    i = types.intp
    return types.void(x, i, i, y, i, i), _emit


def _emit(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    from numba_rt.simd.emit import swap_blocks

    bits = signature.args[0].dtype.bitwidth
    n = tile_rows(bits // 8)
    vector = ir.VectorType(ir.IntType(bits), n)
    x = context.make_array(signature.args[0])(context, builder, args[0]).data
    y = context.make_array(signature.args[3])(context, builder, args[3]).data

    def row(base: ir.Value, at: ir.Value, step: ir.Value, k: int) -> ir.Value:
        index = builder.add(at, builder.mul(step, ir.IntType(64)(k)))
        return builder.bitcast(builder.gep(base, [index]), vector.as_pointer())

    rows = [builder.load(row(x, args[1], args[2], k), align=bits // 8) for k in range(n)]
    distance = n // 2
    while distance:
        rows = swap_blocks(builder, rows, distance)
        distance //= 2
    for k in range(n):
        builder.store(rows[k], row(y, args[4], args[5], k), align=bits // 8)
    return context.get_dummy_value()


transpose_tile = _transpose_tile if DISABLED else intrinsic(_transpose_tile_intrinsic)

"""Calls of the register tile, and where its functions are."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from numba_rt.simd.emit import F32, I64, TILE_TYPE, TileEmitter
from numba_rt.simd.isa import ISA


def emit_addresses(
    kind: type[TileEmitter], context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]
) -> ir.Value:
    """Writes where the tiles of a kind are, by height."""
    addresses = context.make_array(signature.args[0])(context, builder, args[0]).data
    emitter = kind(builder.module, ISA)
    for height in range(1, ISA.mr + 1):
        address = builder.ptrtoint(emitter.tile(height), I64)
        builder.store(address, builder.gep(addresses, [I64(height)]))
    return context.get_dummy_value()


def call_tile(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    """Calls a tile by its address."""

    def address(n: int) -> ir.Value:
        array = context.make_array(signature.args[n])(context, builder, args[n])
        pointer = builder.gep(array.data, [args[n + 1]])
        return pointer if n == 3 else builder.bitcast(pointer, F32.as_pointer())

    def address_or_null(n: int) -> ir.Value:
        missing = builder.icmp_signed("<", args[n + 1], I64(0))
        return builder.select(missing, ir.Constant(F32.as_pointer(), None), address(n))

    lda, steps, sizes, ldc, cols = args[2], args[5:9], args[11:13], args[15], args[16]
    accumulate, *limits, height, _ = args[21:]
    bias, c = address_or_null(17), address(13)
    d = builder.select(builder.icmp_signed("!=", accumulate, I64(0)), c, address_or_null(19))
    tiles = context.make_array(signature.args[26])(context, builder, args[26]).data
    function = builder.inttoptr(builder.load(builder.gep(tiles, [height])), TILE_TYPE.as_pointer())
    builder.call(
        function, [address(0), lda, address(3), *steps, address(9), *sizes, c, ldc, cols, bias, d, *limits]
    )
    return context.get_dummy_value()

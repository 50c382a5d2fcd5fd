"""The register tile of products of 16-bit integers, as LLVM vector code.

One call computes up to `ISA.mr` rows of C = A @ B in 32 bits; sums wrap around. Numbers lie in words of
32 bits, two that follow one another in a sum to a word, so that one instruction multiplies and adds both.

A is read in place. Row r of tap t is `k` contiguous words that start at word
`a_at + r * lda + starts[starts_at + r * row_step] + taps[t]`. A matrix is one tap at 0; a convolution has a
tap for each row of its kernel, and a table of the windows' starts. B is packed: `nr` words per (tap, k),
those past the last column zero; tap t of panel p starts at word `b_at + p * panel_size + t * tap_size`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from numba_rt.jit import DISABLED, intrinsic, kernel
from numba_rt.simd.emit import FLOATS, I64, TileEmitter, Values, loop
from numba_rt.simd.isa import ISA

__all__ = ["IntegerEmitter", "integer_addresses", "integer_tile"]

I16, I32 = ir.IntType(16), ir.IntType(32)
WORDS = I32.as_pointer()
INTS = I64.as_pointer()
INTEGER_TYPE = ir.FunctionType(
    ir.VoidType(), [WORDS, I64, INTS, I64, INTS, I64, I64, WORDS, I64, I64, FLOATS, I64, I64, I64]
)
"""a, lda, starts, row_step, taps, n_taps, k, b, tap_size, panel_size, c, ldc, cols, accumulate."""


class IntegerEmitter(TileEmitter):
    """Emits the tiles of an instruction set."""

    def tile(self, height: int) -> ir.Function:
        """The tile of `height` rows."""
        return self.function(f"numba_rt_integers_{height}", INTEGER_TYPE, self._emit_integers, height)

    def pairs(self, b: ir.IRBuilder, word: ir.Value) -> ir.Value:
        """A word in every lane, as pairs of numbers in 32 bits."""
        lanes = self.isa.lanes
        kind = ir.VectorType(I32, lanes)
        one = b.insert_element(ir.Constant(kind, ir.Undefined), word, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
        return self.widened(b, b.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros))

    def widened(self, b: ir.IRBuilder, words: ir.Value) -> ir.Value:
        """Words as pairs of numbers in 32 bits."""
        lanes = self.isa.lanes
        return b.sext(b.bitcast(words, ir.VectorType(I16, 2 * lanes)), ir.VectorType(I32, 2 * lanes))

    def multiply_add_pairs(self, b: ir.IRBuilder, x: ir.Value, y: ir.Value, total: ir.Value) -> ir.Value:
        """total + both products of each lane: what LLVM knows as one instruction, or two."""
        products = b.mul(x, y)
        nothing = ir.Constant(products.type, ir.Undefined)
        lanes = ir.VectorType(I32, self.isa.lanes)
        first, second = (
            b.shuffle_vector(
                products, nothing, ir.Constant(lanes, [2 * i + odd for i in range(self.isa.lanes)])
            )
            for odd in (0, 1)
        )
        return b.add(total, b.add(first, second))

    def _emit_integers(self, function: ir.Function, b: ir.IRBuilder, height: int) -> None:
        a, lda, starts, row_step, taps, n_taps, k, weights, tap_size, panel_size, *out = function.args
        nv, lanes, nr = self.isa.nv, self.isa.lanes, self.isa.nr
        cols, kind = out[2], ir.VectorType(I32, lanes)
        rows = [
            b.gep(a, [b.add(b.mul(lda, I64(r)), b.load(b.gep(starts, [b.mul(row_step, I64(r))])))])
            for r in range(height)
        ]

        def panel_of(b: ir.IRBuilder, at: ir.Value, carried: Values) -> Values:
            (panel,) = carried

            def tap(b: ir.IRBuilder, t: ir.Value, acc: Values) -> Values:
                here, start = b.load(b.gep(taps, [t])), b.gep(panel, [b.mul(t, tap_size)])
                sources = [b.gep(row, [here]) for row in rows]

                def step(b: ir.IRBuilder, i: ir.Value, acc: Values) -> Values:
                    first = b.gep(start, [b.mul(i, I64(nr))])
                    places = [b.bitcast(b.gep(first, [I64(v * lanes)]), kind.as_pointer()) for v in range(nv)]
                    columns = [self.widened(b, b.load(place, align=4)) for place in places]
                    made = []
                    for r in range(height):
                        x = self.pairs(b, b.load(b.gep(sources[r], [i]), align=4))
                        for v in range(nv):
                            made.append(self.multiply_add_pairs(b, x, columns[v], acc[r * nv + v]))
                    return made

                return loop(b, I64(0), k, 1, acc, step)

            nothing = [ir.Constant(kind, None)] * (height * nv)
            self._store(b, loop(b, I64(0), n_taps, 1, nothing, tap), at, *out)
            return [b.gep(panel, [panel_size])]

        loop(b, I64(0), cols, nr, [weights], panel_of)
        b.ret_void()

    def _store(self, b: ir.IRBuilder, acc: Values, at: ir.Value, *out: ir.Value) -> None:
        """Writes the columns from `at` on, or adds to them: at most as many as the accumulators have."""
        c, ldc, cols, accumulate = out
        nv, lanes = self.isa.nv, self.isa.lanes
        left, adds = b.sub(cols, at), b.icmp_signed("!=", accumulate, I64(0))
        columns = [b.add(at, I64(v * lanes)) for v in range(nv)]
        places = [b.gep(c, [b.add(b.mul(ldc, I64(n // nv)), columns[n % nv])]) for n in range(len(acc))]
        whole = b.icmp_signed(">=", left, I64(self.isa.nr))

        def added(x: ir.Value, known: ir.Value) -> ir.Value:
            return b.bitcast(b.add(x, b.bitcast(known, x.type)), self.vector)

        with b.if_else(b.and_(whole, b.not_(adds)), likely=True) as (simple, other):
            with simple:
                for x, place in zip(acc, places, strict=True):
                    self.store(b, b.bitcast(x, self.vector), place)
            with other:
                masks = [self.first_lanes(b, b.sub(left, I64(v * lanes))) for v in range(nv)]
                nothing = ir.Constant(masks[0].type, None)
                for n, (x, place) in enumerate(zip(acc, places, strict=True)):
                    mask = masks[n % nv]
                    known = self.masked_load(b, place, b.select(adds, mask, nothing))
                    self.masked_store(b, added(x, known), place, mask)


@functools.cache
def integer_addresses() -> np.ndarray:
    """Addresses of the tiles by height, the argument `tiles` of `integer_tile`; valid in this process."""
    addresses = np.zeros(ISA.mr + 1, np.int64)
    if not DISABLED:
        _write_addresses.dispatcher(addresses)
    return addresses


@kernel
def _write_addresses(addresses):
    _store_addresses(addresses)


@intrinsic
def _store_addresses(context, addresses):
    return types.void(addresses), _emit_addresses


def _emit_addresses(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    addresses = context.make_array(signature.args[0])(context, builder, args[0]).data
    emitter = IntegerEmitter(builder.module, ISA)
    for height in range(1, ISA.mr + 1):
        address = builder.ptrtoint(emitter.tile(height), I64)
        builder.store(address, builder.gep(addresses, [I64(height)]))
    return context.get_dummy_value()


def _tile(a, a_at, lda, starts, starts_at, row_step, taps, taps_at, n_taps, k, b, b_at, tap_size, panel_size,
          c, c_at, ldc, cols, accumulate, height, tiles):  # fmt: skip
    """The tile in NumPy, for runs without a compiler."""
    nr = ISA.nr
    panels = -(-cols // nr)
    total = np.zeros((height, panels, nr), np.int32)
    for t, r, p in np.ndindex(n_taps, height, panels):
        row = a_at + r * lda + starts[starts_at + r * row_step] + taps[taps_at + t]
        place = b_at + p * panel_size + t * tap_size
        pairs = a[row : row + k].view(np.int16).reshape(k, 1, 2).astype(np.int32)
        columns = b[place : place + k * nr].view(np.int16).reshape(k, nr, 2).astype(np.int32)
        total[r, p] += (pairs * columns).sum((0, 2), dtype=np.int32)
    rows = c_at + np.arange(height)[:, None] * ldc + np.arange(cols)
    made = total.reshape(height, -1)[:, :cols]
    c[rows] = c[rows] + made if accumulate else made


def _tile_intrinsic(context, a, a_at, lda, starts, starts_at, row_step, taps, taps_at, n_taps, k, b, b_at,
                    tap_size, panel_size, c, c_at, ldc, cols, accumulate, height, tiles):  # fmt: skip
    """Rows [0, height) and columns [0, cols) of C from element `c_at` on, written, or added to with
    `accumulate`; see the module's docstring.
    """
    i = types.intp
    signature = types.void(a, i, i, starts, i, i, taps, i, i, i, b, i, i, i, c, i, i, i, i, i, tiles)
    return signature, _call_tile


def _call_tile(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    def address(n: int, kind: ir.Type) -> ir.Value:
        array = context.make_array(signature.args[n])(context, builder, args[n])
        return builder.bitcast(builder.gep(array.data, [args[n + 1]]), kind)

    tiles = context.make_array(signature.args[20])(context, builder, args[20]).data
    function = builder.inttoptr(builder.load(builder.gep(tiles, [args[19]])), INTEGER_TYPE.as_pointer())
    builder.call(
        function,
        [address(0, WORDS), args[2], address(3, INTS), args[5], address(6, INTS), *args[8:10],
         address(10, WORDS), *args[12:14], address(14, FLOATS), *args[16:19]],
    )  # fmt: skip
    return context.get_dummy_value()


integer_tile = _tile if DISABLED else intrinsic(_tile_intrinsic)

"""Code of the register tile of integers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from numba_rt.simd.emit import FLOATS, I64, TileEmitter, Values, loop

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


def call_tile(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    """Calls a tile by its address."""

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

"""Code of what `rows.py` offers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from numba_rt.simd.emit import F32, FLOATS, I64, TileEmitter, Values, loop, swap_blocks
from numba_rt.simd.isa import ISA


def call_function(
    kind: type[TileEmitter],
    name: str,
    context: Any,
    builder: ir.IRBuilder,
    signature: Any,
    args: list[ir.Value],
) -> ir.Value:
    """Calls a function of an emitter: arrays become pointers to where the next argument says."""
    values: Values = []
    skip = False
    for own, value in zip(signature.args, args, strict=True):
        if skip:
            values[-1] = builder.gep(values[-1], [value])
        elif isinstance(own, types.Array):
            values.append(context.make_array(own)(context, builder, value).data)
        else:
            values.append(value)
        skip = isinstance(own, types.Array)
    builder.call(getattr(kind(builder.module, ISA), name)(), values)
    return context.get_dummy_value()


class RowEmitter(TileEmitter):
    """Emits the functions that the intrinsics call."""

    def pack_keys(self) -> ir.Function:
        """rows, step, n, d, packed"""
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, I64, I64, I64, FLOATS])
        return self.function("numba_rt_pack_keys", kind, self._emit_pack_keys)

    def pack_values(self) -> ir.Function:
        """rows, step, n, d, packed"""
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, I64, I64, I64, FLOATS])
        return self.function("numba_rt_pack_values", kind, self._emit_pack_values)

    def add_row(self) -> ir.Function:
        """y, x, step, n"""
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, FLOATS, I64, I64])
        return self.function("numba_rt_add_row", kind, self._emit_add_row)

    def scale_row(self) -> ir.Function:
        """y, n, factor"""
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, I64, F32])
        return self.function("numba_rt_scale_row", kind, self._emit_scale_row)

    def _emit_scale_row(self, function: ir.Function, b: ir.IRBuilder) -> None:
        y, n, factor = function.args
        scale, whole = self.splat(b, factor), b.and_(n, I64(-self.isa.lanes))

        def multiply(b: ir.IRBuilder, j: ir.Value, _: Values) -> Values:
            at = b.gep(y, [j])
            self.store(b, b.fmul(self.load(b, at), scale), at)
            return []

        loop(b, I64(0), whole, self.isa.lanes, [], multiply)
        with b.if_then(b.icmp_signed("<", whole, n)):
            tail, mask = b.gep(y, [whole]), self.first_lanes(b, b.sub(n, whole))
            self.masked_store(b, b.fmul(self.masked_load(b, tail, mask), scale), tail, mask)
        b.ret_void()

    def _emit_pack_keys(self, function: ir.Function, b: ir.IRBuilder) -> None:
        rows, step, n, d, packed = function.args
        lanes, nr = self.isa.lanes, self.isa.nr
        whole = b.and_(d, I64(-lanes))
        full = b.select(b.icmp_signed("==", whole, d), b.and_(n, I64(-lanes)), I64(0))
        panel_size = b.mul(d, I64(nr))

        def block(b: ir.IRBuilder, j: ir.Value, i: ir.Value, count: ir.Value | None) -> Values:
            """Columns of the panel from row j and number i on; `count` of them where they are not all."""
            sources = [b.gep(rows, [b.add(b.mul(b.add(j, I64(r)), step), i)]) for r in range(lanes)]
            if count is None:
                vectors = [self.load(b, source) for source in sources]
            else:
                mask, nothing = (
                    self.first_lanes(b, count),
                    ir.Constant(ir.VectorType(ir.IntType(1), lanes), None),
                )
                inside = [b.icmp_signed("<", b.add(j, I64(r)), n) for r in range(lanes)]
                masks = [b.select(given, mask, nothing) for given in inside]
                vectors = [self.masked_load(b, x, m) for x, m in zip(sources, masks, strict=True)]
            distance = lanes // 2
            while distance:
                vectors = swap_blocks(b, vectors, distance)
                distance //= 2
            first = b.add(b.mul(b.sdiv(j, I64(nr)), panel_size), b.and_(j, I64(nr - 1)))
            for r, vector in enumerate(vectors):
                at = b.gep(packed, [b.add(first, b.mul(b.add(i, I64(r)), I64(nr)))])
                if count is None:
                    self.store(b, vector, at)
                else:
                    with b.if_then(b.icmp_signed("<", I64(r), count)):
                        self.store(b, vector, at)
            return []

        def plain(b: ir.IRBuilder, j: ir.Value, _: Values) -> Values:
            return loop(b, I64(0), d, lanes, [], lambda b, i, _: block(b, j, i, None))

        def ragged(b: ir.IRBuilder, j: ir.Value, _: Values) -> Values:
            return loop(b, I64(0), d, lanes, [], lambda b, i, _: block(b, j, i, b.sub(d, i)))

        stop = b.mul(b.sdiv(b.add(n, I64(nr - 1)), I64(nr)), I64(nr))
        loop(b, I64(0), full, lanes, [], plain)
        loop(b, full, stop, lanes, [], ragged)
        b.ret_void()

    def _emit_pack_values(self, function: ir.Function, b: ir.IRBuilder) -> None:
        rows, step, n, d, packed = function.args
        lanes, nr = self.isa.lanes, self.isa.nr
        whole = b.mul(b.sdiv(d, I64(nr)), I64(nr))

        def panel(b: ir.IRBuilder, i: ir.Value, masks: list[ir.Value] | None) -> Values:
            target, source = b.gep(packed, [b.mul(i, n)]), b.gep(rows, [i])

            def row(b: ir.IRBuilder, j: ir.Value, _: Values) -> Values:
                for v in range(self.isa.nv):
                    at = b.gep(source, [b.add(b.mul(j, step), I64(v * lanes))])
                    x = self.load(b, at) if masks is None else self.masked_load(b, at, masks[v])
                    self.store(b, x, b.gep(target, [b.add(b.mul(j, I64(nr)), I64(v * lanes))]))
                return []

            return loop(b, I64(0), n, 1, [], row)

        loop(b, I64(0), whole, nr, [], lambda b, i, _: panel(b, i, None))
        with b.if_then(b.icmp_signed("<", whole, d)):
            masks = [self.first_lanes(b, b.sub(d, b.add(whole, I64(v * lanes)))) for v in range(self.isa.nv)]
            panel(b, whole, masks)
        b.ret_void()

    def _emit_add_row(self, function: ir.Function, b: ir.IRBuilder) -> None:
        y, x, step, n = function.args
        lanes = self.isa.lanes
        whole = b.and_(n, I64(-lanes))

        def add(b: ir.IRBuilder, j: ir.Value, value: ir.Value) -> Values:
            at = b.gep(y, [j])
            self.store(b, b.fadd(self.load(b, at), value), at)
            return []

        with b.if_else(b.icmp_signed("==", step, I64(0))) as (same, each):
            with same:
                value = self.splat(b, b.load(x))
                loop(b, I64(0), n, lanes, [], lambda b, j, _: add(b, j, value))
            with each:
                loop(b, I64(0), whole, lanes, [], lambda b, j, _: add(b, j, self.load(b, b.gep(x, [j]))))
                with b.if_then(b.icmp_signed("<", whole, n)):
                    mask = self.first_lanes(b, b.sub(n, whole))
                    add(b, whole, self.masked_load(b, b.gep(x, [whole]), mask))
        b.ret_void()

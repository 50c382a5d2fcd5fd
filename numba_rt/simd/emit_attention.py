"""Code of what `attention.py` offers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir

from numba_rt.simd.emit import F32, FLOATS, I64, TileEmitter, Values, loop
from numba_rt.simd.isa import ISA

UNROLL = 4
"""Vectors, or rows, per turn of the loops: as many chains of maxima and of sums."""
WIDTH = 8
"""Vectors of a row that are summed up together."""
I32 = ir.IntType(32)

_ROUND = 12582912.0
"""1.5 * 2**23: adding it leaves the nearest integer in the low bits."""
_ROUND_BITS = int(np.float32(_ROUND).view(np.int32))
_LEAST = -88.1
"""Its exponential, and every smaller one, comes out as 0."""
_POLYNOMIAL = (0.00138145604, 0.0083687352, 0.041668389, 0.166665211, 0.49999994)


def call_exponentials(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    """Calls `exponentials`."""
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    at, ld, rows, cols, *state = args[1:]
    function = AttentionEmitter(builder.module, ISA).exponentials()
    builder.call(
        function, [builder.gep(data, [at]), ld, rows, cols, *(builder.gep(data, [s]) for s in state)]
    )
    return context.get_dummy_value()


def _add(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.fadd(x, y)


class AttentionEmitter(TileEmitter):
    """Emits the functions that the intrinsics call."""

    def exponentials(self) -> ir.Function:
        """scores, ld, rows, cols, tops, totals, factors"""
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, I64, I64, I64, FLOATS, FLOATS, FLOATS])
        return self.function("numba_rt_exponentials", kind, self._emit_rows)

    def dots(self) -> ir.Function:
        """x, rows, step, n, d, scale, y"""
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, FLOATS, I64, I64, I64, F32, FLOATS])
        return self.function("numba_rt_dots", kind, self._emit_dots)

    def weighted_sum(self) -> ir.Function:
        """weights, rows, step, n, d, y"""
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, FLOATS, I64, I64, I64, FLOATS])
        return self.function("numba_rt_weighted_sum", kind, self._emit_weighted_sum)

    def _emit_dots(self, function: ir.Function, b: ir.IRBuilder) -> None:
        x, rows, step, n, d, scale, y = function.args
        lanes = self.isa.lanes
        whole = b.and_(d, I64(-lanes))
        mask = self.first_lanes(b, b.sub(d, whole))

        def several(count: int) -> Any:
            def body(b: ir.IRBuilder, j: ir.Value, _: Values) -> Values:
                starts = [b.gep(rows, [b.mul(b.add(j, I64(i)), step)]) for i in range(count)]

                def vector(b: ir.IRBuilder, i: ir.Value, acc: Values) -> Values:
                    own = self.load(b, b.gep(x, [i]))
                    loaded = [self.load(b, b.gep(start, [i])) for start in starts]
                    return [self.multiply_add(b, row, own, a) for row, a in zip(loaded, acc, strict=True)]

                acc = loop(b, I64(0), whole, lanes, [self._constant(0.0)] * count, vector)
                own = self.masked_load(b, b.gep(x, [whole]), mask)
                loaded = [self.masked_load(b, b.gep(start, [whole]), mask) for start in starts]
                for i, (row, a) in enumerate(zip(loaded, acc, strict=True)):
                    total = self._across(b, [self.multiply_add(b, row, own, a)], _add)
                    b.store(b.fmul(total, scale), b.gep(y, [b.add(j, I64(i))]))
                return []

            return body

        middle = b.and_(n, I64(-UNROLL))
        loop(b, I64(0), middle, UNROLL, [], several(UNROLL))
        loop(b, middle, n, 1, [], several(1))
        b.ret_void()

    def _emit_weighted_sum(self, function: ir.Function, b: ir.IRBuilder) -> None:
        weights, rows, step, n, d, y = function.args
        lanes = self.isa.lanes
        whole, wide = b.and_(d, I64(-lanes)), b.mul(b.sdiv(d, I64(lanes * WIDTH)), I64(lanes * WIDTH))

        def columns(width: int, mask: ir.Value | None = None) -> Any:
            def load(b: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
                return self.load(b, pointer) if mask is None else self.masked_load(b, pointer, mask)

            def body(b: ir.IRBuilder, i: ir.Value, _: Values) -> Values:
                at = [b.add(i, I64(w * lanes)) for w in range(width)]

                def row(b: ir.IRBuilder, j: ir.Value, acc: Values) -> Values:
                    weight = self.splat(b, b.load(b.gep(weights, [j])))
                    start = b.gep(rows, [b.mul(j, step)])
                    return [
                        self.multiply_add(b, load(b, b.gep(start, [o])), weight, a)
                        for o, a in zip(at, acc, strict=True)
                    ]

                acc = loop(b, I64(0), n, 1, [load(b, b.gep(y, [o])) for o in at], row)
                for o, a in zip(at, acc, strict=True):
                    if mask is None:
                        self.store(b, a, b.gep(y, [o]))
                    else:
                        self.masked_store(b, a, b.gep(y, [o]), mask)
                return []

            return body

        loop(b, I64(0), wide, lanes * WIDTH, [], columns(WIDTH))
        loop(b, wide, whole, lanes, [], columns(1))
        loop(b, whole, d, lanes, [], columns(1, self.first_lanes(b, b.sub(d, whole))))
        b.ret_void()

    def _constant(self, value: float) -> ir.Value:
        return ir.Constant(self.vector, [value] * self.isa.lanes)

    def _emit_rows(self, function: ir.Function, b: ir.IRBuilder) -> None:
        scores, ld, rows, cols, tops, totals, factors = function.args
        lanes = self.isa.lanes
        whole = b.and_(cols, I64(-lanes))
        stop = b.and_(b.add(cols, I64(lanes - 1)), I64(-lanes))
        inside = self.first_lanes(b, b.sub(cols, whole))

        def row(b: ir.IRBuilder, r: ir.Value, _: Values) -> Values:
            start = b.gep(scores, [b.mul(r, ld)])
            with b.if_then(b.icmp_signed("<", whole, cols)):
                tail = b.gep(start, [whole])
                self.store(b, b.select(inside, self.load(b, tail), self._constant(-math.inf)), tail)
            top, total, factor = (b.gep(x, [r]) for x in (tops, totals, factors))
            before = b.load(top)
            largest = self._largest(b, start, stop, before)
            b.store(largest, top)
            nothing = b.fcmp_ordered("==", largest, F32(-math.inf))
            base = self.splat(b, b.select(nothing, F32(0), largest))
            sums = self._write(b, start, stop, base)
            scale = b.extract_element(self._exp(b, b.fsub(self.splat(b, before), base)), I32(0))
            b.store(scale, factor)
            b.store(b.fadd(b.fmul(b.load(total), scale), sums), total)
            return []

        loop(b, I64(0), rows, 1, [], row)
        b.ret_void()

    def _by_vectors(self, b: ir.IRBuilder, start: ir.Value, stop: ir.Value, acc: Values, step: Any) -> Values:
        """acc[i] = step(pointer, acc[i]) over a row, with UNROLL accumulators."""
        lanes = self.isa.lanes
        many = lanes * UNROLL

        def several(b: ir.IRBuilder, j: ir.Value, acc: Values) -> Values:
            return [step(b, b.gep(start, [b.add(j, I64(i * lanes))]), x) for i, x in enumerate(acc)]

        def one(b: ir.IRBuilder, j: ir.Value, acc: Values) -> Values:
            return [step(b, b.gep(start, [j]), acc[0]), *acc[1:]]

        middle = b.mul(b.sdiv(stop, I64(many)), I64(many))
        acc = loop(b, I64(0), middle, many, acc, several)
        return loop(b, middle, stop, lanes, acc, one)

    def _largest(self, b: ir.IRBuilder, start: ir.Value, stop: ir.Value, before: ir.Value) -> ir.Value:
        def larger(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
            return b.select(b.fcmp_ordered(">", x, y), x, y)

        def step(b: ir.IRBuilder, pointer: ir.Value, acc: ir.Value) -> ir.Value:
            return larger(b, self.load(b, pointer), acc)

        acc = self._by_vectors(b, start, stop, [self.splat(b, before)] * UNROLL, step)
        return self._across(b, acc, larger)

    def _write(self, b: ir.IRBuilder, start: ir.Value, stop: ir.Value, base: ir.Value) -> ir.Value:
        def step(b: ir.IRBuilder, pointer: ir.Value, acc: ir.Value) -> ir.Value:
            e = self._exp(b, b.fsub(self.load(b, pointer), base))
            self.store(b, e, pointer)
            return b.fadd(acc, e)

        acc = self._by_vectors(b, start, stop, [self._constant(0.0)] * UNROLL, step)
        return self._across(b, acc, _add)

    def _across(self, b: ir.IRBuilder, acc: Values, combine: Any) -> ir.Value:
        """One number from several vectors."""
        while len(acc) > 1:
            acc = [combine(b, acc[i], acc[i + len(acc) // 2]) for i in range(len(acc) // 2)]
        x, half = acc[0], self.isa.lanes // 2
        undefined = ir.Constant(self.vector, ir.Undefined)
        while half:
            lanes = [(lane + half) % self.isa.lanes for lane in range(self.isa.lanes)]
            moved = b.shuffle_vector(x, undefined, ir.Constant(ir.VectorType(I32, self.isa.lanes), lanes))
            x, half = combine(b, x, moved), half // 2
        return b.extract_element(x, I32(0))

    def _exp(self, b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        """e**x for x <= 0, as `numba_rt.kernels.math.exp_neg`; 0 from -87.7 down."""
        integers = ir.VectorType(I32, self.isa.lanes)
        c = self._constant
        x = b.select(b.fcmp_ordered("<", x, c(_LEAST)), c(_LEAST), x)
        shifted = self.multiply_add(b, x, c(1.44269504), c(_ROUND))
        k = b.fsub(c(_ROUND), shifted)
        r = self.multiply_add(b, k, c(0.693359375), x)
        r = self.multiply_add(b, k, c(-2.12194440e-4), r)
        p = c(_POLYNOMIAL[0])
        for factor in _POLYNOMIAL[1:]:
            p = self.multiply_add(b, p, r, c(factor))
        p = self.multiply_add(b, self.multiply_add(b, p, r, c(1.0)), r, c(1.0))
        n = b.sub(b.bitcast(shifted, integers), ir.Constant(integers, [_ROUND_BITS - 127] * self.isa.lanes))
        power = b.bitcast(b.shl(n, ir.Constant(integers, [23] * self.isa.lanes)), self.vector)
        return b.fmul(p, power)

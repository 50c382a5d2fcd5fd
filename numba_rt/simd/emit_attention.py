"""Code of what `attention.py` offers."""

from __future__ import annotations

import math
from collections.abc import Callable
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

Combine = Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]

_ROUND = 12582912.0
"""1.5 * 2**23: adding it leaves the nearest integer in the low bits."""
_ROUND_BITS = int(np.float32(_ROUND).view(np.int32))
_LEAST = -88.1
"""Its exponential, and every smaller one, comes out as 0."""
_POLYNOMIAL = (0.0013264726, 0.009671513, 0.055507336, 0.24022242, 0.693147, 1.0)
"""2**r for abs(r) <= 0.5, highest power first."""


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
                    total = self._across(b, self.multiply_add(b, row, own, a), _add)
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

        kept = b.alloca(self.vector, rows)

        def start_of(b: ir.IRBuilder, r: ir.Value) -> ir.Value:
            return b.gep(scores, [b.mul(r, ld)])

        def largest(b: ir.IRBuilder, r: ir.Value, _: Values) -> Values:
            start = start_of(b, r)
            with b.if_then(b.icmp_signed("<", whole, cols)):
                tail = b.gep(start, [whole])
                self.store(b, b.select(inside, self.load(b, tail), self._constant(-math.inf)), tail)
            b.store(self._largest(b, start, stop, b.load(b.gep(tops, [r]))), b.gep(kept, [r]))
            return []

        def rescale(b: ir.IRBuilder, r: ir.Value, _: Values) -> Values:
            place, top = b.gep(kept, [r]), b.gep(tops, [r])
            before, most = b.load(top), self._across(b, b.load(place), _larger)
            b.store(most, top)
            nothing = b.fcmp_ordered("==", most, F32(-math.inf))
            base = self.splat(b, b.select(nothing, F32(0), most))
            b.store(base, place)
            scale = b.extract_element(self._exp(b, b.fsub(self.splat(b, before), base)), I32(0))
            b.store(scale, b.gep(factors, [r]))
            return []

        def write(b: ir.IRBuilder, r: ir.Value, _: Values) -> Values:
            place = b.gep(kept, [r])
            b.store(self._write(b, start_of(b, r), stop, b.load(place)), place)
            return []

        def add_up(b: ir.IRBuilder, r: ir.Value, _: Values) -> Values:
            total, scale = b.gep(totals, [r]), b.load(b.gep(factors, [r]))
            sums = self._across(b, b.load(b.gep(kept, [r])), _add)
            b.store(b.fadd(b.fmul(b.load(total), scale), sums), total)
            return []

        # What is computed of single numbers takes long to come; of several rows it comes at once.
        for turn in (largest, rescale, write, add_up):
            loop(b, I64(0), rows, 1, [], turn)
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
        """The largest numbers of a row, by lane."""

        def step(b: ir.IRBuilder, pointer: ir.Value, acc: ir.Value) -> ir.Value:
            return _larger(b, self.load(b, pointer), acc)

        acc = self._by_vectors(b, start, stop, [self.splat(b, before)] * UNROLL, step)
        return _combined(b, acc, _larger)

    def _write(self, b: ir.IRBuilder, start: ir.Value, stop: ir.Value, base: ir.Value) -> ir.Value:
        """Replaces a row by its exponentials; their sums, by lane."""

        def step(b: ir.IRBuilder, pointer: ir.Value, acc: ir.Value) -> ir.Value:
            e = self._exp(b, b.fsub(self.load(b, pointer), base))
            self.store(b, e, pointer)
            return b.fadd(acc, e)

        acc = self._by_vectors(b, start, stop, [self._constant(0.0)] * UNROLL, step)
        return _combined(b, acc, _add)

    def _across(self, b: ir.IRBuilder, x: ir.Value, combine: Combine) -> ir.Value:
        """One number from a vector."""
        half, undefined = self.isa.lanes // 2, ir.Constant(self.vector, ir.Undefined)
        while half:
            lanes = [(lane + half) % self.isa.lanes for lane in range(self.isa.lanes)]
            moved = b.shuffle_vector(x, undefined, ir.Constant(ir.VectorType(I32, self.isa.lanes), lanes))
            x, half = combine(b, x, moved), half // 2
        return b.extract_element(x, I32(0))

    def _exp(self, b: ir.IRBuilder, x: ir.Value) -> ir.Value:
        """e**x for x <= 0, and 0 from -87.7 down; off by 3 units in the last place at -10, 11 at -87."""
        integers = ir.VectorType(I32, self.isa.lanes)
        c = self._constant
        x = b.select(b.fcmp_ordered("<", x, c(_LEAST)), c(_LEAST), x)
        shifted = self.multiply_add(b, x, c(1.44269504), c(_ROUND))
        r = self.multiply_add(b, x, c(1.44269504), b.fsub(c(_ROUND), shifted))
        p = c(_POLYNOMIAL[0])
        for factor in _POLYNOMIAL[1:]:
            p = self.multiply_add(b, p, r, c(factor))
        n = b.sub(b.bitcast(shifted, integers), ir.Constant(integers, [_ROUND_BITS - 127] * self.isa.lanes))
        power = b.bitcast(b.shl(n, ir.Constant(integers, [23] * self.isa.lanes)), self.vector)
        return b.fmul(p, power)


def _larger(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return b.select(b.fcmp_ordered(">", x, y), x, y)


def _combined(b: ir.IRBuilder, acc: Values, combine: Combine) -> ir.Value:
    """One vector from several."""
    while len(acc) > 1:
        acc = [combine(b, acc[i], acc[i + len(acc) // 2]) for i in range(len(acc) // 2)]
    return acc[0]

"""Code of the register tile of depthwise convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from numba_rt.simd.depthwise import WIDTHS
from numba_rt.simd.emit import F32, FLOATS, I64, TileEmitter, Values, loop, unless_null
from numba_rt.simd.isa import ISA, Isa

Read = Callable[[ir.IRBuilder, ir.Value], ir.Value]


ROW_TYPE = ir.FunctionType(
    ir.VoidType(), [FLOATS, *[I64] * 9, FLOATS, I64, FLOATS, I64, I64, FLOATS, FLOATS, I64, F32, F32]
)
"""x, row_step, col_step, first, last, left, right, kernel, stride, dilation, w, w_step, y, y_step,
channels, bias or null, residual or null, d_step, lo, hi."""


class RowEmitter(TileEmitter):
    """Emits the tiles of a family."""

    def __init__(self, module: ir.Module, isa: Isa, kernel: int, stride: int) -> None:
        super().__init__(module, isa)
        self.kernel, self.stride = kernel, stride

    def row(self, width: int) -> ir.Function:
        """The tile of `width` outputs."""
        name = f"numba_rt_row_{self.kernel}_{self.stride}_{width}"
        return self.function(name, ROW_TYPE, self._emit_row, width)

    def _emit_row(self, function: ir.Function, b: ir.IRBuilder, width: int) -> None:
        channels = function.args[14]
        pointers, count = self._columns(b, width, *function.args[:10])
        whole = b.and_(channels, I64(-self.isa.lanes))

        def vector(b: ir.IRBuilder, at: ir.Value, _: Values) -> Values:
            self._emit_vector(b, width, at, pointers, count, None, *function.args)
            return []

        loop(b, I64(0), whole, self.isa.lanes, [], vector)
        rest = b.sub(channels, whole)
        with b.if_then(b.icmp_signed(">", rest, I64(0))):
            mask = self.first_lanes(b, rest)
            self._emit_vector(b, width, whole, pointers, count, mask, *function.args)
        b.ret_void()

    def _columns(self, b: ir.IRBuilder, width: int, *geometry: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The addresses of the inputs, row by row of the filter, on the stack, and how many a row has."""
        x, row_step, col_step, first, last, left, right, kernel, stride, dilation = geometry
        zeros, apart = self.zeros(), b.mul(dilation, col_step)
        if self.kernel:
            columns = [I64(j) for j in range((width - 1) * self.stride + self.kernel)]
            taps, count = I64(1), I64(len(columns))
        else:
            columns = [b.mul(stride, I64(n)) for n in range(width)]
            taps, count = kernel, b.mul(kernel, I64(width))
        starts = [b.mul(col_step, j) for j in columns]
        pointers = b.alloca(FLOATS, b.mul(b.sub(last, first), count))

        def row(b: ir.IRBuilder, k: ir.Value, _: Values) -> Values:
            line, target = b.gep(x, [b.mul(k, row_step)]), b.gep(pointers, [b.mul(b.sub(k, first), count)])

            def tap(b: ir.IRBuilder, i: ir.Value, _: Values) -> Values:
                moved, own = b.mul(i, dilation), b.gep(line, [b.mul(i, apart)])
                for n, (j, start) in enumerate(zip(columns, starts, strict=True)):
                    at = b.add(j, moved)
                    inside = b.and_(b.icmp_signed(">=", at, left), b.icmp_signed("<", at, right))
                    place = b.gep(target, [b.add(b.mul(i, I64(width)), I64(n))])
                    b.store(b.select(inside, b.gep(own, [start]), zeros), place)
                return []

            loop(b, I64(0), taps, 1, [], tap)
            return []

        loop(b, first, last, 1, [], row)
        return pointers, count

    def _emit_vector(
        self, b: ir.IRBuilder, width: int, at: ir.Value, pointers: ir.Value, count: ir.Value, mask: Any,
        *args: ir.Value,
    ) -> None:  # fmt: skip
        """The outputs for the vector of channels from `at` on."""
        first, last, kernel, w, w_step = args[3], args[4], args[7], args[10], args[11]
        y, y_step, _, bias, residual, d_step, lo, hi = args[12:]

        def read(b: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
            return self.load(b, pointer) if mask is None else self.masked_load(b, pointer, mask)

        def row(b: ir.IRBuilder, k: ir.Value, acc: Values) -> Values:
            own = b.gep(w, [b.add(b.mul(b.mul(k, kernel), w_step), at)])
            source = b.gep(pointers, [b.mul(b.sub(k, first), count)])
            multiply = self._slide if self.kernel else self._multiply
            return multiply(b, read, width, own, source, acc, at, *args)

        zero = ir.Constant(self.vector, None)
        (start,) = unless_null(b, bias, [zero], lambda b: [read(b, b.gep(bias, [at]))])
        acc = loop(b, first, last, 1, [start] * width, row)

        def add_residual(b: ir.IRBuilder) -> Values:
            places = [b.add(at, b.mul(d_step, I64(n))) for n in range(width)]
            return [b.fadd(x, read(b, b.gep(residual, [n]))) for x, n in zip(acc, places, strict=True)]

        least, most = self.splat(b, lo), self.splat(b, hi)
        for n, x in enumerate(unless_null(b, residual, acc, add_residual)):
            target, value = b.gep(y, [b.add(at, b.mul(y_step, I64(n)))]), self.clamp(b, x, least, most)
            if mask is None:
                self.store(b, value, target)
            else:
                self.masked_store(b, value, target, mask)

    def _slide(
        self, b: ir.IRBuilder, read: Read, width: int, w: ir.Value, source: ir.Value, acc: Values,
        at: ir.Value, *args: ir.Value,
    ) -> Values:  # fmt: skip
        """A row of the filter: each input is loaded once."""
        acc, w_step = list(acc), args[11]
        weights = [read(b, b.gep(w, [b.mul(w_step, I64(j))])) for j in range(self.kernel)]
        for j in range((width - 1) * self.stride + self.kernel):
            value = read(b, b.gep(b.load(b.gep(source, [I64(j)])), [at]))
            for n in range(width):
                if 0 <= j - n * self.stride < self.kernel:
                    acc[n] = self.multiply_add(b, value, weights[j - n * self.stride], acc[n])
        return acc

    def _multiply(
        self, b: ir.IRBuilder, read: Read, width: int, w: ir.Value, source: ir.Value, acc: Values,
        at: ir.Value, *args: ir.Value,
    ) -> Values:  # fmt: skip
        """A row of the filter, an input for every output and tap."""
        kernel, w_step = args[7], args[11]

        def tap(b: ir.IRBuilder, j: ir.Value, acc: Values) -> Values:
            weights, own = read(b, b.gep(w, [b.mul(w_step, j)])), b.gep(source, [b.mul(j, I64(width))])
            values = [read(b, b.gep(b.load(b.gep(own, [I64(n)])), [at])) for n in range(width)]
            return [self.multiply_add(b, x, weights, a) for x, a in zip(values, acc, strict=True)]

        return loop(b, I64(0), kernel, 1, acc, tap)


def emit_addresses(
    width: int, stride: int, context: Any, builder: ir.IRBuilder, signature: Any, args: Values
) -> ir.Value:
    """Writes where the tiles of a family are."""
    addresses = context.make_array(signature.args[0])(context, builder, args[0]).data
    emitter = RowEmitter(builder.module, ISA, width, stride)
    for count in WIDTHS:
        builder.store(builder.ptrtoint(emitter.row(count), I64), builder.gep(addresses, [I64(count)]))
    return context.get_dummy_value()


def call_row(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
    """Calls a tile by its address."""

    def address(n: int) -> ir.Value:
        array = context.make_array(signature.args[n])(context, builder, args[n])
        return builder.gep(array.data, [args[n + 1]])

    def address_or_null(n: int) -> ir.Value:
        missing = builder.icmp_signed("<", args[n + 1], I64(0))
        return builder.select(missing, ir.Constant(FLOATS, None), address(n))

    tiles = context.make_array(signature.args[26])(context, builder, args[26]).data
    function = builder.inttoptr(builder.load(builder.gep(tiles, [args[25]])), ROW_TYPE.as_pointer())
    passed = [address(0), *args[2:11], address(11), args[13], address(14), args[16], args[17]]
    builder.call(function, [*passed, address_or_null(18), address_or_null(20), *args[22:25]])
    return context.get_dummy_value()

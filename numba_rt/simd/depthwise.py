"""The register tile of depthwise convolutions, as LLVM vector code.

One call computes `width` neighbouring outputs of a row, for a run of channels. Each input is loaded
once for the row of the filter that it meets, and multiplied with up to `kernel` weights, which are in
registers, as the outputs are. Columns outside of the image are read from a row of zeros; rows outside
of it are left out. There is a family of such tiles for each width of a filter and stride in `FAMILIES`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from numba_rt.jit import DISABLED, intrinsic, kernel
from numba_rt.simd.emit import F32, FLOATS, I64, MAX_CHANNELS, TileEmitter, Values, loop, unless_null
from numba_rt.simd.isa import ISA, Isa

__all__ = ["ANY", "FAMILIES", "MAX_CHANNELS", "WIDTHS", "row_addresses", "row_tile"]

FAMILIES = ((3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (7, 2))
"""Widths of filters, and strides, without dilation."""
ANY = (0, 0)
"""The family for any filter, stride and dilation."""
WIDTHS = (1, 2, 4, 6, 7, 8)
"""Outputs of a tile."""

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


@functools.cache
def row_addresses(kernel: int, stride: int) -> np.ndarray:
    """Addresses of the tiles of a family by width, the argument `tiles` of `row_tile`."""
    addresses = np.zeros(max(WIDTHS) + 1, np.int64)
    if not DISABLED:
        _WRITERS[kernel, stride].dispatcher(addresses)
    return addresses


@intrinsic
def _store_addresses(context, addresses, kernel, stride):
    """Emits the tiles of a family, which are part of the kernel that calls this."""
    if not isinstance(kernel, types.IntegerLiteral) or not isinstance(stride, types.IntegerLiteral):
        return None
    emit = functools.partial(_emit_addresses, kernel.literal_value, stride.literal_value)
    return types.void(addresses, kernel, stride), emit


@kernel
def _write_any(addresses):
    _store_addresses(addresses, 0, 0)


@kernel
def _write_3_1(addresses):
    _store_addresses(addresses, 3, 1)


@kernel
def _write_3_2(addresses):
    _store_addresses(addresses, 3, 2)


@kernel
def _write_5_1(addresses):
    _store_addresses(addresses, 5, 1)


@kernel
def _write_5_2(addresses):
    _store_addresses(addresses, 5, 2)


@kernel
def _write_7_1(addresses):
    _store_addresses(addresses, 7, 1)


@kernel
def _write_7_2(addresses):
    _store_addresses(addresses, 7, 2)


_WRITERS = {
    ANY: _write_any,
    (3, 1): _write_3_1,
    (3, 2): _write_3_2,
    (5, 1): _write_5_1,
    (5, 2): _write_5_2,
    (7, 1): _write_7_1,
    (7, 2): _write_7_2,
}


def _emit_addresses(
    width: int, stride: int, context: Any, builder: ir.IRBuilder, signature: Any, args: Values
) -> ir.Value:
    addresses = context.make_array(signature.args[0])(context, builder, args[0]).data
    emitter = RowEmitter(builder.module, ISA, width, stride)
    for count in WIDTHS:
        builder.store(builder.ptrtoint(emitter.row(count), I64), builder.gep(addresses, [I64(count)]))
    return context.get_dummy_value()


def _row_tile(x, x_at, row_step, col_step, first, last, left, right, kernel, stride, dilation, w, w_at,
              w_step, y, y_at, y_step, channels, bias, bias_at, d, d_at, d_step, lo, hi, width,
              tiles):  # fmt: skip
    """The tile in NumPy, for runs without a compiler."""
    own = np.arange(channels)
    for n in range(int(width)):
        total = np.zeros(channels, np.float32) if bias_at < 0 else bias[bias_at + own]
        for k in range(int(first), int(last)):
            for j in range(int(kernel)):
                column = n * stride + j * dilation
                if left <= column < right:
                    weights = w[w_at + (k * kernel + j) * w_step + own]
                    total = total + x[x_at + k * row_step + column * col_step + own] * weights
        if d_at >= 0:
            total = total + d[d_at + n * d_step + own]
        total = np.where(total < lo, lo, total)
        y[y_at + n * y_step + own] = np.where(total > hi, hi, total)


def _row_intrinsic(context, x, x_at, row_step, col_step, first, last, left, right, kernel, stride, dilation,
                   w, w_at, w_step, y, y_at, y_step, channels, bias, bias_at, d, d_at, d_step, lo, hi, width,
                   tiles):  # fmt: skip
    """Outputs [0, width) from element `y_at` on, `y_step` apart, of at most `MAX_CHANNELS` channels.

    Row k of the window and column j of the image start at `x_at + k * row_step + j * col_step`; rows
    [first, last) and columns [left, right) are in the image. Weights are (rows, kernel, w_step). `bias_at`
    and `d_at` are -1 where there is none.
    """
    i, f = types.intp, types.float32
    signature = types.void(x, *[i] * 10, w, i, i, y, i, i, i, bias, i, d, i, i, f, f, i, tiles)
    return signature, _call_row


def _call_row(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
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


row_tile = _row_tile if DISABLED else intrinsic(_row_intrinsic)

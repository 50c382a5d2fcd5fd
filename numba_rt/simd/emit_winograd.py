"""Code of the transforms of Winograd's convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from numba_rt.simd.emit import F32, FLOATS, I64, Values, loop, unless_null
from numba_rt.simd.isa import ISA
from numba_rt.simd.winograd import TRANSFORMS, Transform

_FUSE = ("contract",)


class _Channels:
    """Arithmetic on `lanes` neighbouring channels."""

    def __init__(self, lanes: int) -> None:
        self.kind = F32 if lanes == 1 else ir.VectorType(F32, lanes)
        self.lanes = lanes

    def constant(self, value: float) -> ir.Value:
        """The value in all lanes."""
        value = float(np.float32(value))
        return ir.Constant(self.kind, value if self.lanes == 1 else [value] * self.lanes)

    def splat(self, b: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
        """The scalar in all lanes."""
        if self.lanes == 1:
            return scalar
        undefined, index = ir.Constant(self.kind, ir.Undefined), ir.VectorType(ir.IntType(32), self.lanes)
        one = b.insert_element(undefined, scalar, ir.IntType(32)(0))
        return b.shuffle_vector(one, undefined, ir.Constant(index, [0] * self.lanes))

    def load(self, b: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
        """Channels from any address."""
        return b.load(b.bitcast(pointer, self.kind.as_pointer()), align=4)

    def store(self, b: ir.IRBuilder, value: ir.Value, pointer: ir.Value) -> None:
        """Channels to any address."""
        b.store(value, b.bitcast(pointer, self.kind.as_pointer()), align=4)

    def combine(self, b: ir.IRBuilder, factors: np.ndarray, values: Values) -> ir.Value:
        """The sum of values times factors, of which at least one is not 0."""
        terms = sorted(
            ((f, x) for f, x in zip(factors, values, strict=True) if f != 0), key=lambda term: term[0] != 1
        )
        (factor, total), *rest = terms
        if factor != 1:
            total = b.fmul(total, self.constant(factor), flags=_FUSE)
        for factor, x in rest:
            if factor == 1:
                total = b.fadd(total, x, flags=_FUSE)
            elif factor == -1:
                total = b.fsub(total, x, flags=_FUSE)
            else:
                total = b.fadd(b.fmul(x, self.constant(factor), flags=_FUSE), total, flags=_FUSE)
        return total

    def to_points(self, b: ir.IRBuilder, matrix: np.ndarray, values: Values) -> Values:
        """matrix @ values, where rows of opposite points share their even and odd powers."""
        out = [self.combine(b, matrix[0], values)]
        for k in range(1, len(matrix) - 1, 2):
            even = self.combine(b, (matrix[k] + matrix[k + 1]) / 2, values)
            odd = self.combine(b, (matrix[k] - matrix[k + 1]) / 2, values)
            out += [b.fadd(even, odd, flags=_FUSE), b.fsub(even, odd, flags=_FUSE)]
        return [*out, self.combine(b, matrix[-1], values)]

    def from_points(self, b: ir.IRBuilder, matrix: np.ndarray, values: Values) -> Values:
        """matrix @ values, through sums and differences of the values of opposite points."""
        matrix, values = matrix.copy(), list(values)
        for k in range(1, len(values) - 1, 2):
            x, y = values[k], values[k + 1]
            values[k : k + 2] = [b.fadd(x, y, flags=_FUSE), b.fsub(x, y, flags=_FUSE)]
            p, q = matrix[:, k].copy(), matrix[:, k + 1].copy()
            matrix[:, k], matrix[:, k + 1] = (p + q) / 2, (p - q) / 2
        return [self.combine(b, row, values) for row in matrix]


def _for_channels(
    b: ir.IRBuilder, count: ir.Value, body: Callable[[ir.IRBuilder, ir.Value, _Channels], None]
) -> None:
    """Calls `body` for vectors of channels, then for single ones."""
    whole = b.and_(count, I64(-ISA.lanes))
    for start, stop, kind in ((I64(0), whole, _Channels(ISA.lanes)), (whole, count, _Channels(1))):

        def turn(b: ir.IRBuilder, at: ir.Value, _: Values, kind: _Channels = kind) -> Values:
            body(b, at, kind)
            return []

        loop(b, start, stop, kind.lanes, [], turn)


def _table(
    b: ir.IRBuilder, width: int, base: ir.Value, steps: Values, limits: Values, other: ir.Value
) -> ir.Value:
    """Addresses of width x width pixels, on the stack; `other` where a pixel is not within limits."""
    pointers = b.alloca(FLOATS, I64(width * width))
    top, bottom, left, right = limits

    def within(n: int, first: ir.Value, end: ir.Value) -> ir.Value:
        return b.and_(b.icmp_signed(">=", I64(n), first), b.icmp_signed("<", I64(n), end))

    columns = [within(j, left, right) for j in range(width)]
    for i in range(width):
        row = within(i, top, bottom)
        for j in range(width):
            pixel = b.gep(base, [b.add(b.mul(steps[0], I64(i)), b.mul(steps[1], I64(j)))])
            pixel = b.select(b.and_(row, columns[j]), pixel, other)
            b.store(pixel, b.gep(pointers, [I64(i * width + j)]))
    return pointers


_INPUT = ir.FunctionType(ir.VoidType(), [FLOATS, *[I64] * 6, FLOATS, FLOATS, I64, I64])
"""x, row_step, col_step, top, bottom, left, right, zeros, v, v_step, channels."""


_OUTPUT = ir.FunctionType(
    ir.VoidType(), [FLOATS, I64, FLOATS, *[I64] * 4, FLOATS, FLOATS, FLOATS, I64, F32, F32]
)
"""m, m_step, y, row_step, col_step, rows, cols, dump, bias or null, residual or null, channels, lo, hi."""


def _emit_input(function: ir.Function, b: ir.IRBuilder, transform: Transform) -> None:
    x, *steps_limits, zeros, v, v_step, channels = function.args
    n, matrix = transform.patch, transform.b
    pointers = _table(b, n, x, steps_limits[:2], steps_limits[2:], zeros)

    def body(b: ir.IRBuilder, at: ir.Value, c: _Channels) -> None:
        columns = []
        for j in range(n):
            pixels = [b.load(b.gep(pointers, [I64(i * n + j)])) for i in range(n)]
            columns.append(c.to_points(b, matrix, [c.load(b, b.gep(pixel, [at])) for pixel in pixels]))
        target = b.gep(v, [at])
        for i in range(n):
            for value in c.to_points(b, matrix, [column[i] for column in columns]):
                c.store(b, value, target)
                target = b.gep(target, [v_step])

    _for_channels(b, channels, body)
    b.ret_void()


def _emit_output(function: ir.Function, b: ir.IRBuilder, transform: Transform) -> None:
    m, m_step, y, row_step, col_step, rows, cols, dump, bias, residual, channels, lo, hi = function.args
    n, size, matrix = transform.patch, transform.size, transform.a
    steps, limits = [row_step, col_step], [I64(0), rows, I64(0), cols]
    targets = _table(b, size, y, steps, limits, dump)
    added = _table(b, size, residual, steps, limits, dump)

    def body(b: ir.IRBuilder, at: ir.Value, c: _Channels) -> None:
        def pixels(table: ir.Value) -> Values:
            return [b.gep(b.load(b.gep(table, [I64(k)])), [at]) for k in range(size * size)]

        source, columns = b.gep(m, [at]), []
        for j in range(n):
            values = [b.gep(source, [b.mul(m_step, I64(i * n + j))]) for i in range(n)]
            columns.append(c.from_points(b, matrix, [c.load(b, value) for value in values]))
        tile: Values = []
        for i in range(size):
            tile += c.from_points(b, matrix, [column[i] for column in columns])

        def add_bias(b: ir.IRBuilder) -> Values:
            value = c.load(b, b.gep(bias, [at]))
            return [b.fadd(x, value) for x in tile]

        tile = unless_null(b, bias, tile, add_bias)
        own = tile
        tile = unless_null(
            b,
            residual,
            own,
            lambda b: [b.fadd(x, c.load(b, p)) for x, p in zip(own, pixels(added), strict=True)],
        )
        least, most = c.splat(b, lo), c.splat(b, hi)
        for x, pixel in zip(tile, pixels(targets), strict=True):
            x = b.select(b.fcmp_ordered("<", x, least), least, x)
            c.store(b, b.select(b.fcmp_ordered(">", x, most), most, x), pixel)

    _for_channels(b, channels, body)
    b.ret_void()


def _call_by_size(
    builder: ir.IRBuilder, size: ir.Value, kind: ir.FunctionType, emit: Callable[..., None], args: Values
) -> None:
    """Calls the function of the tile's size; the functions belong to the module that calls them."""
    for transform in TRANSFORMS.values():
        name = f"numba_rt{emit.__name__}_{transform.size}"
        function = builder.module.globals.get(name)
        if function is None:
            function = ir.Function(builder.module, kind, name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            function.attributes.add("nounwind")
            emit(function, ir.IRBuilder(function.append_basic_block("entry")), transform)
        with builder.if_then(builder.icmp_signed("==", size, I64(transform.size))):
            builder.call(function, args)


def _addresses(
    context: Any, builder: ir.IRBuilder, signature: Any, args: Values
) -> Callable[[int], ir.Value]:
    """Gives the address of the element that arguments n and n + 1, an array and an index, stand for."""

    def address(n: int) -> ir.Value:
        array = context.make_array(signature.args[n])(context, builder, args[n])
        return builder.gep(array.data, [args[n + 1]])

    return address


def call_input(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
    """Calls the transform of a patch."""
    address = _addresses(context, builder, signature, args)
    passed = [address(0), *args[2:8], address(8), address(10), *args[12:14]]
    _call_by_size(builder, args[14], _INPUT, _emit_input, passed)
    return context.get_dummy_value()


def call_output(context: Any, builder: ir.IRBuilder, signature: Any, args: Values) -> ir.Value:
    """Calls the transform of a tile."""
    address = _addresses(context, builder, signature, args)

    def address_or_null(n: int) -> ir.Value:
        missing = builder.icmp_signed("<", args[n + 1], I64(0))
        return builder.select(missing, ir.Constant(FLOATS, None), address(n))

    passed = [
        address(0),
        args[2],
        address(3),
        *args[5:9],
        address(9),
        address_or_null(11),
        address_or_null(13),
    ]
    _call_by_size(builder, args[18], _OUTPUT, _emit_output, [*passed, *args[15:18]])
    return context.get_dummy_value()

"""The register tile of matrix products and convolutions, as LLVM vector code.

One call computes up to `ISA.mr` rows by `ISA.nr` columns of

    C = clamp(alpha * (A @ B) + bias + D, lo, hi)

A is read in place. Row r of tap t is `k` contiguous floats that start at element
`a_at + r * lda + table[table_at + t * tap_step + r * row_step]`; a negative table entry stands
for a row of zeros. A matrix is one tap with a table of a single 0 and both steps 0; a
convolution has a tap per kernel position and a table of pixel offsets. B is packed:
`nr` floats per (tap, k), and tap t starts at `b_at + t * tap_size`.

Each height is one function of the module; `tile` switches between them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types

from numba_rt.jit import DISABLED, intrinsic
from numba_rt.simd.isa import ISA, Isa

__all__ = ["MAX_K", "tile"]

MAX_K = 1024
"""Longest `k` of one call: the length of the row of zeros."""

UNROLL = 4

F32 = ir.FloatType()
I64 = ir.IntType(64)
FLOATS = F32.as_pointer()
INTS = I64.as_pointer()
TILE_TYPE = ir.FunctionType(
    ir.VoidType(), [FLOATS, INTS] + [I64] * 5 + [FLOATS, I64, FLOATS, I64, I64, FLOATS, FLOATS] + [F32] * 3
)
FINISH_TYPE = ir.FunctionType(ir.VoidType(), [FLOATS, I64, FLOATS, I64, I64, FLOATS, FLOATS] + [F32] * 3)


class Emitter:
    """Emits the functions of the register tiles of one instruction set into a module."""

    def __init__(self, module: ir.Module, isa: Isa) -> None:
        self.module = module
        self.isa = isa
        self.vector = ir.VectorType(F32, isa.lanes)

    def function(self, name: str, kind: ir.FunctionType, emit: Any, *args: Any) -> ir.Function:
        """The function `name` of the module; emitted on first use."""
        known = self.module.globals.get(name)
        if known is not None:
            return known
        function = ir.Function(self.module, kind, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        emit(function, ir.IRBuilder(function.append_basic_block("entry")), *args)
        return function

    def zeros(self) -> ir.Value:
        """A row of zeros."""
        kind = ir.ArrayType(F32, MAX_K)
        known = self.module.globals.get("numba_rt_zeros")
        if known is None:
            known = ir.GlobalVariable(self.module, kind, "numba_rt_zeros")
            known.linkage, known.global_constant = "internal", True
            known.initializer, known.align = ir.Constant(kind, None), 64
        return known.gep([I64(0), I64(0)])

    def load(self, b: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
        """A vector from any address."""
        return b.load(b.bitcast(pointer, self.vector.as_pointer()), align=4)

    def store(self, b: ir.IRBuilder, value: ir.Value, pointer: ir.Value) -> None:
        """A vector to any address."""
        b.store(value, b.bitcast(pointer, self.vector.as_pointer()), align=4)

    def splat(self, b: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
        """A vector of one value."""
        one = b.insert_element(ir.Constant(self.vector, ir.Undefined), scalar, ir.IntType(32)(0))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), self.isa.lanes), [0] * self.isa.lanes)
        return b.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), lanes)

    def multiply_add(self, b: ir.IRBuilder, x: ir.Value, y: ir.Value, z: ir.Value) -> ir.Value:
        """x * y + z."""
        if not self.isa.fused:
            return b.fadd(b.fmul(x, y), z)
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{self.isa.lanes}f32"
        return b.call(cgutils.get_or_insert_function(self.module, kind, name), [x, y, z])

    def clamp(self, b: ir.IRBuilder, x: ir.Value, lo: ir.Value, hi: ir.Value) -> ir.Value:
        """x limited to [lo, hi]; NaN stays NaN."""
        x = b.select(b.fcmp_ordered("<", x, lo), lo, x)
        return b.select(b.fcmp_ordered(">", x, hi), hi, x)

    # -- the tile ----------------------------------------------------------------------------

    def tile(self, height: int) -> ir.Function:
        """The tile of `height` rows."""
        return self.function(f"numba_rt_tile_{height}", TILE_TYPE, self._emit_tile, height)

    def _emit_tile(self, function: ir.Function, b: ir.IRBuilder, height: int) -> None:
        a, table, row_step, tap_step, lda, taps, k, panel, tap_size, *out = function.args
        rows, nv = range(height), self.isa.nv
        sets = _accumulator_sets(height * nv)
        zero = ir.Constant(self.vector, None)
        offsets = [b.mul(row_step, I64(r)) for r in rows]
        starts = [b.gep(a, [b.mul(lda, I64(r))]) for r in rows]
        zeros = self.zeros()

        def tap(b: ir.IRBuilder, t: ir.Value, acc: list[ir.Value]) -> list[ir.Value]:
            entries = b.gep(table, [b.mul(t, tap_step)])
            pointers = []
            for r in rows:
                offset = b.load(b.gep(entries, [offsets[r]]))
                outside = b.icmp_signed("<", offset, I64(0))
                pointers.append(b.select(outside, zeros, b.gep(starts[r], [offset])))
            weights = b.gep(panel, [b.mul(t, tap_size)])

            def step(b: ir.IRBuilder, i: ir.Value, acc: list[ir.Value], part: int) -> list[ir.Value]:
                at = b.gep(weights, [b.mul(i, I64(self.isa.nr))])
                columns = [self.load(b, b.gep(at, [I64(v * self.isa.lanes)])) for v in range(nv)]
                acc = list(acc)
                for r in rows:
                    x = self.splat(b, b.load(b.gep(pointers[r], [i])))
                    for v in range(nv):
                        n = (part * height + r) * nv + v
                        acc[n] = self.multiply_add(b, x, columns[v], acc[n])
                return acc

            def steps(b: ir.IRBuilder, i: ir.Value, acc: list[ir.Value]) -> list[ir.Value]:
                for s in range(UNROLL):
                    acc = step(b, b.add(i, I64(s)), acc, s % sets)
                return acc

            whole = b.and_(k, I64(-UNROLL))
            acc = _loop(b, I64(0), whole, UNROLL, acc, steps)
            return _loop(b, whole, k, 1, acc, lambda b, i, acc: step(b, i, acc, 0))

        acc = _loop(b, I64(0), taps, 1, [zero] * (height * nv * sets), tap)
        size = height * nv
        while len(acc) > size:
            acc = [b.fadd(acc[i], acc[i + len(acc) // 2]) for i in range(len(acc) // 2)]
        self._emit_output(b, acc, height, *out)

    def _emit_output(self, b: ir.IRBuilder, acc: list[ir.Value], height: int, *out: ir.Value) -> None:
        c, ldc, cols, bias, d, *limits = out
        nv, lanes = self.isa.nv, self.isa.lanes
        whole = b.icmp_signed("==", cols, I64(self.isa.nr))
        with b.if_else(whole, likely=True) as (full, ragged):
            with full:
                alpha, lo, hi = (self.splat(b, x) for x in limits)
                acc_out = [b.fmul(x, alpha) for x in acc]

                def add_bias(b: ir.IRBuilder) -> list[ir.Value]:
                    vectors = [self.load(b, b.gep(bias, [I64(v * lanes)])) for v in range(nv)]
                    return [b.fadd(x, vectors[n % nv]) for n, x in enumerate(acc_out)]

                def add_d(b: ir.IRBuilder) -> list[ir.Value]:
                    return [
                        b.fadd(x, self.load(b, self._element(b, d, ldc, n // nv, n % nv * lanes)))
                        for n, x in enumerate(acc_out)
                    ]

                acc_out = _unless_null(b, bias, acc_out, add_bias)
                acc_out = _unless_null(b, d, acc_out, add_d)
                for n, x in enumerate(acc_out):
                    self.store(b, self.clamp(b, x, lo, hi), self._element(b, c, ldc, n // nv, n % nv * lanes))
            with ragged:
                with b.goto_entry_block():
                    buffer = b.alloca(F32, height * self.isa.nr)
                    buffer.align = 64
                for n, x in enumerate(acc):
                    self.store(b, x, b.gep(buffer, [I64(n * lanes)]))
                finish = self.function("numba_rt_tile_finish", FINISH_TYPE, self._emit_finish)
                b.call(finish, [buffer, I64(height), c, ldc, cols, bias, d, *limits])
        b.ret_void()

    def _element(self, b: ir.IRBuilder, base: ir.Value, ld: ir.Value, row: int, column: int) -> ir.Value:
        return b.gep(base, [b.add(b.mul(ld, I64(row)), I64(column))])

    def _emit_finish(self, function: ir.Function, b: ir.IRBuilder) -> None:
        """Writes the first `cols` columns of a tile that lies in a buffer."""
        buffer, height, c, ldc, cols, bias, d, alpha, lo, hi = function.args

        def row(b: ir.IRBuilder, r: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
            source = b.gep(buffer, [b.mul(r, I64(self.isa.nr))])
            target = b.mul(r, ldc)

            def element(b: ir.IRBuilder, j: ir.Value, _: list[ir.Value]) -> list[ir.Value]:
                at = b.add(target, j)
                x = b.fmul(b.load(b.gep(source, [j])), alpha)
                (x,) = _unless_null(b, bias, [x], lambda b: [b.fadd(x, b.load(b.gep(bias, [j])))])
                (x,) = _unless_null(b, d, [x], lambda b: [b.fadd(x, b.load(b.gep(d, [at])))])
                b.store(self.clamp(b, x, lo, hi), b.gep(c, [at]))
                return []

            return _loop(b, I64(0), cols, 1, [], element)

        _loop(b, I64(0), height, 1, [], row)
        b.ret_void()


def _accumulator_sets(size: int) -> int:
    """How many copies of the accumulators hide the latency of multiply-add in a low tile."""
    return 4 if size <= 2 else 2 if size <= 6 else 1


def _loop(
    b: ir.IRBuilder, start: ir.Value, stop: ir.Value, step: int, values: list[ir.Value], body: Any
) -> list[ir.Value]:
    """`for i in range(start, stop, step): values = body(i, values)`."""
    before = b.block
    head = b.append_basic_block("head")
    inside = b.append_basic_block("inside")
    after = b.append_basic_block("after")
    b.branch(head)
    b.position_at_end(head)
    i = b.phi(I64)
    carried = [b.phi(value.type) for value in values]
    b.cbranch(b.icmp_signed("<", i, stop), inside, after)
    b.position_at_end(inside)
    results = body(b, i, carried)
    following = b.add(i, I64(step), flags=("nsw", "nuw"))
    end = b.block
    b.branch(head)
    i.add_incoming(start, before)
    i.add_incoming(following, end)
    for phi, value, result in zip(carried, values, results, strict=True):
        phi.add_incoming(value, before)
        phi.add_incoming(result, end)
    b.position_at_end(after)
    return carried


def _unless_null(b: ir.IRBuilder, pointer: ir.Value, values: list[ir.Value], change: Any) -> list[ir.Value]:
    """The changed values where `pointer` is given, else the values."""
    given = b.icmp_unsigned("!=", pointer, ir.Constant(pointer.type, None))
    before = b.block
    with b.if_then(given):
        changed = change(b)
        end = b.block
    phis = [b.phi(value.type) for value in values]
    for phi, value, new in zip(phis, values, changed, strict=True):
        phi.add_incoming(value, before)
        phi.add_incoming(new, end)
    return phis


def _tile(a, a_at, lda, table, table_at, row_step, tap_step, taps, k, b, b_at, tap_size,
          c, c_at, ldc, cols, bias, bias_at, d, d_at, accumulate, alpha, lo, hi, height):  # fmt: skip
    """The tile in NumPy, for runs without a compiler."""
    a, b, c, nr = a.reshape(-1), b.reshape(-1), c.reshape(-1), ISA.nr
    total = np.zeros((height, nr), np.float32)
    for t in range(taps):
        panel = b[b_at + t * tap_size :][: k * nr].reshape(k, nr)
        for r in range(height):
            entry = table[table_at + t * tap_step + r * row_step]
            if entry >= 0:
                total[r] += a[a_at + r * lda + entry :][:k] @ panel
    total = total[:, :cols] * alpha
    rows = np.arange(height)[:, None] * ldc + np.arange(cols)
    if bias_at >= 0:
        total = total + bias[bias_at : bias_at + cols]
    if accumulate:
        total = total + c[c_at + rows]
    elif d_at >= 0:
        total = total + d[d_at + rows]
    total = np.where(total < lo, lo, total)
    c[c_at + rows] = np.where(total > hi, hi, total)


def _tile_intrinsic(context, a, a_at, lda, table, table_at, row_step, tap_step, taps, k,
                    b, b_at, tap_size, c, c_at, ldc, cols, bias, bias_at, d, d_at, accumulate,
                    alpha, lo, hi, height):  # fmt: skip
    """Rows [0, height) and columns [0, cols) of C at element `c_at`; see the module's docstring.

    `bias_at` and `d_at` are -1 where there is none; with `accumulate`, D is C itself.
    """
    i, f = types.intp, types.float32
    signature = types.void(a, i, i, table, i, i, i, i, i, b, i, i, c, i, i, i, bias, i, d, i, i, f, f, f, i)
    return signature, _call_tile


def _call_tile(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
    def address(n: int) -> ir.Value:
        array = context.make_array(signature.args[n])(context, builder, args[n])
        return builder.gep(array.data, [args[n + 1 if n != 3 else 4]])

    def address_or_null(n: int) -> ir.Value:
        missing = builder.icmp_signed("<", args[n + 1], I64(0))
        return builder.select(missing, ir.Constant(FLOATS, None), address(n))

    lda, (row_step, tap_step, taps, k), tap_size = args[2], args[5:9], args[11]
    (ldc, cols), (accumulate, alpha, lo, hi, height) = args[14:16], args[20:]
    a, table, b, c, bias = address(0), address(3), address(9), address(12), address_or_null(16)
    add_c = builder.icmp_signed("!=", accumulate, I64(0))
    d = builder.select(add_c, c, address_or_null(18))
    emitter = Emitter(builder.module, ISA)
    done = builder.append_basic_block("tile.done")
    switch = builder.switch(height, done)
    for h in range(1, ISA.mr + 1):
        with builder.goto_block(builder.append_basic_block(f"tile.{h}")):
            source = a, table, row_step, tap_step, lda, taps, k, b, tap_size
            builder.call(emitter.tile(h), [*source, c, ldc, cols, bias, d, alpha, lo, hi])
            builder.branch(done)
            switch.add_case(I64(h), builder.block)
    builder.position_at_end(done)
    return context.get_dummy_value()


tile = _tile if DISABLED else intrinsic(_tile_intrinsic)

"""LLVM code of the register tile: one function per height, for any instruction set of the table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from llvmlite.ir.values import ArgumentAttributes
from numba.core import cgutils

from numba_rt.simd.isa import MAX_CHANNELS, Isa

__all__ = [
    "F32",
    "FLOATS",
    "I64",
    "TILE_TYPE",
    "TileEmitter",
    "Vectors",
    "loop",
    "swap_blocks",
    "unless_null",
]

UNROLL = 4
"""Steps of k per turn of the inner loop."""

F32 = ir.FloatType()
I64 = ir.IntType(64)
FLOATS = F32.as_pointer()
INTS = I64.as_pointer()

_OUTPUT = [FLOATS, I64, I64, FLOATS, FLOATS, F32, F32, F32]
"""c, ldc, cols, bias or null, d or null, alpha, lo, hi."""
TILE_TYPE = ir.FunctionType(
    ir.VoidType(), [FLOATS, I64, INTS, I64, I64, I64, I64, FLOATS, I64, I64, *_OUTPUT]
)
"""a, lda, table, row_step, tap_step, taps, k, b, tap_size, panel_size, then the output."""
NARROW_TYPE = ir.FunctionType(ir.VoidType(), [FLOATS.as_pointer(), I64, I64, FLOATS, I64, *_OUTPUT])
"""addresses of rows, taps, k, b, tap_size, then the output."""
FINISH_TYPE = ir.FunctionType(ir.VoidType(), [FLOATS, I64, *_OUTPUT])

Values = list[ir.Value]


class Vectors:
    """Vector operations of one instruction set, emitted into a module."""

    def __init__(self, module: ir.Module, isa: Isa) -> None:
        self.module = module
        self.isa = isa
        self.vector = ir.VectorType(F32, isa.lanes)

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

    def first_lanes(self, b: ir.IRBuilder, count: ir.Value) -> ir.Value:
        """The mask of the lanes below `count`."""
        kind = ir.VectorType(ir.IntType(32), self.isa.lanes)
        limit = b.bitcast(self.splat(b, b.bitcast(b.trunc(count, ir.IntType(32)), F32)), kind)
        return b.icmp_signed("<", ir.Constant(kind, list(range(self.isa.lanes))), limit)

    def masked_load(self, b: ir.IRBuilder, pointer: ir.Value, mask: ir.Value) -> ir.Value:
        """The lanes of `mask` from any address, zeros elsewhere."""
        kind = ir.FunctionType(self.vector, [pointer.type, mask.type, self.vector])
        name = f"llvm.masked.load.v{self.isa.lanes}f32.p0"
        function = cgutils.get_or_insert_function(self.module, kind, name)
        call = b.call(function, [pointer, mask, ir.Constant(self.vector, None)])
        call.arg_attributes[0] = _float_aligned()
        return call

    def masked_store(self, b: ir.IRBuilder, value: ir.Value, pointer: ir.Value, mask: ir.Value) -> None:
        """The lanes of `mask` to any address."""
        kind = ir.FunctionType(ir.VoidType(), [self.vector, pointer.type, mask.type])
        name = f"llvm.masked.store.v{self.isa.lanes}f32.p0"
        function = cgutils.get_or_insert_function(self.module, kind, name)
        call = b.call(function, [value, pointer, mask])
        call.arg_attributes[1] = _float_aligned()

    def store_first(
        self, b: ir.IRBuilder, values: Values, places: Values, count: ir.Value, mask: ir.Value
    ) -> None:
        """The first `count` lanes of vectors, fewer than all, to any addresses; `mask` says the same."""
        if self.isa.lanes == 16:
            for value, place in zip(values, places, strict=True):
                self.masked_store(b, value, place, mask)
            return
        # Masked stores of 8 lanes take many cycles on some processors.
        size = self.isa.lanes // 2
        while size:
            halves = [
                ir.Constant(ir.VectorType(ir.IntType(32), size), list(range(first, first + size)))
                for first in (0, size)
            ]
            low, high = ([b.shuffle_vector(x, x, half) for x in values] for half in halves)
            given = b.icmp_unsigned("!=", b.and_(count, I64(size)), I64(0))
            with b.if_then(given):
                for value, place in zip(low, places, strict=True):
                    b.store(value, b.bitcast(place, value.type.as_pointer()), align=4)
            values = [b.select(given, x, y) for x, y in zip(high, low, strict=True)]
            places = [b.select(given, b.gep(place, [I64(size)]), place) for place in places]
            size //= 2


class TileEmitter(Vectors):
    """Emits the tiles of an instruction set; see `numba_rt.simd.tile` for what they compute."""

    def function(
        self, name: str, kind: ir.FunctionType, emit: Callable[..., None], *args: Any
    ) -> ir.Function:
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
        kind = ir.ArrayType(F32, MAX_CHANNELS)
        known = self.module.globals.get("numba_rt_zeros")
        if known is None:
            known = ir.GlobalVariable(self.module, kind, "numba_rt_zeros")
            known.linkage, known.global_constant = "internal", True
            known.initializer, known.align = ir.Constant(kind, None), 64
        return known.gep([I64(0), I64(0)])

    def tile(self, height: int) -> ir.Function:
        """The tile of `height` rows."""
        return self.function(f"numba_rt_tile_{height}", TILE_TYPE, self._emit_tile, height)

    def _emit_tile(self, function: ir.Function, b: ir.IRBuilder, height: int) -> None:
        *rows, k, weights, tap_size, panel_size, c, ldc, cols, bias, d, alpha, lo, hi = function.args
        taps, limits = rows[-1], (alpha, lo, hi)
        pointers = self._row_pointers(b, height, *rows)

        def panel_of(b: ir.IRBuilder, at: ir.Value, carried: Values) -> Values:
            (panel,) = carried
            sums = self._emit_sums(b, height, self.isa.nv, pointers, taps, k, panel, tap_size)
            self._emit_output(b, sums, height, at, c, ldc, cols, bias, d, *limits)
            return [b.gep(panel, [panel_size])]

        rest = b.and_(cols, I64(self.isa.nr - 1))
        narrow = b.and_(b.icmp_signed(">", rest, I64(0)), b.icmp_signed("<=", rest, I64(self.isa.lanes)))
        at = b.select(narrow, b.sub(cols, rest), cols)
        (panel,) = loop(b, I64(0), at, self.isa.nr, [weights], panel_of)
        with b.if_then(narrow):
            left = b.gep(c, [at]), ldc, rest, *(_moved(b, pointer, at) for pointer in (bias, d))
            narrow_tile = self.function(f"numba_rt_tile_{height}_1", NARROW_TYPE, self._emit_narrow, height)
            b.call(narrow_tile, [pointers, taps, k, panel, tap_size, *left, *limits])
        b.ret_void()

    def _emit_narrow(self, function: ir.Function, b: ir.IRBuilder, height: int) -> None:
        """The last panel, of which the first vector is used."""
        *sources, c, ldc, cols, bias, d, alpha, lo, hi = function.args
        sums = self._emit_sums(b, height, 1, *sources)
        whole = b.icmp_signed("==", cols, I64(self.isa.lanes))
        with b.if_else(whole) as (full, ragged):
            with full:
                self._emit_whole(b, sums, height, I64(0), c, ldc, bias, d, alpha, lo, hi)
            with ragged:
                self._emit_part(b, sums, c, ldc, cols, bias, d, alpha, lo, hi)
        b.ret_void()

    def _emit_part(self, b: ir.IRBuilder, acc: Values, *out: ir.Value) -> None:
        """Writes the first `cols` columns of one accumulator a row."""
        c, ldc, cols, bias, d, *limits = out
        mask = self.first_lanes(b, cols)
        alpha, lo, hi = (self.splat(b, x) for x in limits)
        places = [b.gep(c, [b.mul(ldc, I64(r))]) for r in range(len(acc))]

        def add_d(b: ir.IRBuilder) -> Values:
            return [
                b.fadd(x, self.masked_load(b, b.gep(d, [b.mul(ldc, I64(r))]), mask))
                for r, x in enumerate(acc)
            ]

        nothing = ir.Constant(self.vector, [-0.0] * self.isa.lanes)
        (added,) = unless_null(b, bias, [nothing], lambda b: [self.masked_load(b, bias, mask)])
        acc = [self.multiply_add(b, x, alpha, added) for x in acc]
        acc = unless_null(b, d, acc, add_d)
        self.store_first(b, [self.clamp(b, x, lo, hi) for x in acc], places, cols, mask)

    def _emit_sums(self, b: ir.IRBuilder, height: int, nv: int, *sources: ir.Value) -> Values:
        """The products of rows and the first `nv` vectors of a panel, added up."""
        pointers, taps, k, panel, tap_size = sources
        # By the height alone: a column's sum must not depend on how full its panel is.
        sets = _accumulator_sets(height * self.isa.nv)

        def tap(b: ir.IRBuilder, t: ir.Value, acc: Values) -> Values:
            rows = [b.load(b.gep(pointers, [b.add(b.mul(t, I64(height)), I64(r))])) for r in range(height)]
            start = b.gep(panel, [b.mul(t, tap_size)])

            def step(b: ir.IRBuilder, i: ir.Value, acc: Values, part: int) -> Values:
                first = b.gep(start, [b.mul(i, I64(self.isa.nr))])
                columns = [self.load(b, b.gep(first, [I64(v * self.isa.lanes)])) for v in range(nv)]
                acc = list(acc)
                for r in range(height):
                    x = self.splat(b, b.load(b.gep(rows[r], [i])))
                    for v in range(nv):
                        n = (part * height + r) * nv + v
                        acc[n] = self.multiply_add(b, x, columns[v], acc[n])
                return acc

            def steps(b: ir.IRBuilder, i: ir.Value, acc: Values) -> Values:
                for s in range(UNROLL):
                    acc = step(b, b.add(i, I64(s)), acc, s % sets)
                return acc

            whole = b.and_(k, I64(-UNROLL))
            acc = loop(b, I64(0), whole, UNROLL, acc, steps)
            return loop(b, whole, k, 1, acc, lambda b, i, acc: step(b, i, acc, 0))

        acc = loop(b, I64(0), taps, 1, [ir.Constant(self.vector, None)] * (height * nv * sets), tap)
        while len(acc) > height * nv:
            acc = [b.fadd(acc[i], acc[i + len(acc) // 2]) for i in range(len(acc) // 2)]
        return acc

    def _row_pointers(self, b: ir.IRBuilder, height: int, *rows: ir.Value) -> ir.Value:
        """The addresses of all rows by tap, on the stack: they serve every panel."""
        a, lda, table, row_step, tap_step, taps = rows
        pointers = b.alloca(FLOATS, b.mul(taps, I64(height)))
        starts = [b.gep(a, [b.mul(lda, I64(r))]) for r in range(height)]
        zeros = self.zeros()

        def tap(b: ir.IRBuilder, t: ir.Value, _: Values) -> Values:
            entries, targets = b.gep(table, [b.mul(t, tap_step)]), b.gep(pointers, [b.mul(t, I64(height))])
            for r, start in enumerate(starts):
                offset = b.load(b.gep(entries, [b.mul(row_step, I64(r))]))
                outside = b.icmp_signed("<", offset, I64(0))
                b.store(b.select(outside, zeros, b.gep(start, [offset])), b.gep(targets, [I64(r)]))
            return []

        loop(b, I64(0), taps, 1, [], tap)
        return pointers

    def _emit_output(self, b: ir.IRBuilder, acc: Values, height: int, at: ir.Value, *out: ir.Value) -> None:
        """Writes the columns from `at` on, at most as many as the accumulators have."""
        c, ldc, cols, bias, d, *limits = out
        nv, left = len(acc) // height, b.sub(cols, at)
        whole = b.icmp_signed(">=", left, I64(nv * self.isa.lanes))
        with b.if_else(whole, likely=True) as (full, ragged):
            with full:
                self._emit_whole(b, acc, height, at, c, ldc, bias, d, *limits)
            with ragged:
                with b.goto_entry_block():
                    buffer = b.alloca(F32, len(acc) * self.isa.lanes)
                    buffer.align = 64
                for n, x in enumerate(acc):
                    self.store(b, x, b.gep(buffer, [I64(n * self.isa.lanes)]))
                here = _moved(b, bias, at), _moved(b, d, at)
                finish = self.function(f"numba_rt_tile_finish_{nv}", FINISH_TYPE, self._emit_finish, nv)
                b.call(finish, [buffer, I64(height), b.gep(c, [at]), ldc, left, *here, *limits])

    def _emit_whole(self, b: ir.IRBuilder, acc: Values, height: int, at: ir.Value, *out: ir.Value) -> None:
        """Writes the columns of all accumulators, from `at` on."""
        c, ldc, bias, d, *limits = out
        nv, lanes = len(acc) // height, self.isa.lanes
        alpha, lo, hi = (self.splat(b, x) for x in limits)
        columns = [b.add(at, I64(v * lanes)) for v in range(nv)]
        where = [b.add(b.mul(ldc, I64(n // nv)), columns[n % nv]) for n in range(len(acc))]

        def load_bias(b: ir.IRBuilder) -> Values:
            return [self.load(b, b.gep(bias, [column])) for column in columns]

        def add_d(b: ir.IRBuilder) -> Values:
            return [b.fadd(x, self.load(b, b.gep(d, [where[n]]))) for n, x in enumerate(acc)]

        nothing = ir.Constant(self.vector, [-0.0] * lanes)  # what changes no number, and no sign of zero
        added = unless_null(b, bias, [nothing] * nv, load_bias)
        acc = [self.multiply_add(b, x, alpha, added[n % nv]) for n, x in enumerate(acc)]
        acc = unless_null(b, d, acc, add_d)
        for n, x in enumerate(acc):
            self.store(b, self.clamp(b, x, lo, hi), b.gep(c, [where[n]]))

    def _emit_finish(self, function: ir.Function, b: ir.IRBuilder, nv: int) -> None:
        """Writes the first `cols` columns of rows of `nv` vectors that lie in a buffer."""
        buffer, height, c, ldc, cols, bias, d, *limits = function.args
        lanes = self.isa.lanes
        alpha, lo, hi = (self.splat(b, x) for x in limits)
        masks = [self.first_lanes(b, b.sub(cols, I64(v * lanes))) for v in range(nv)]
        nothing = ir.Constant(masks[0].type, None)
        with_d = [b.select(_given(b, d), mask, nothing) for mask in masks]
        # Loads of no lanes are slow where there is no memory.
        d, added = b.select(_given(b, d), d, c), []
        for v, mask in enumerate(masks):
            known = b.select(_given(b, bias), mask, nothing)
            start = b.gep(b.select(_given(b, bias), bias, c), [I64(v * lanes)])
            added.append(self.masked_load(b, start, known))

        def row(b: ir.IRBuilder, r: ir.Value, _: Values) -> Values:
            for v, mask in enumerate(masks):
                n = b.add(b.mul(r, I64(nv * lanes)), I64(v * lanes))
                at = b.add(b.mul(r, ldc), I64(v * lanes))
                x = self.multiply_add(b, self.load(b, b.gep(buffer, [n])), alpha, added[v])
                x = b.fadd(x, self.masked_load(b, b.gep(d, [at]), with_d[v]))
                x = self.clamp(b, x, lo, hi)
                if v < nv - 1:
                    self.store(b, x, b.gep(c, [at]))
                else:
                    self.store_first(b, [x], [b.gep(c, [at])], b.sub(cols, I64(v * lanes)), mask)
            return []

        loop(b, I64(0), height, 1, [], row)
        b.ret_void()


def _float_aligned() -> ArgumentAttributes:
    attributes = ArgumentAttributes()
    attributes.align = 4
    return attributes


def _accumulator_sets(size: int) -> int:
    """How many copies of the accumulators hide the latency of multiply-add in a low tile."""
    return 4 if size <= 2 else 2 if size <= 6 else 1


def loop(
    b: ir.IRBuilder, start: ir.Value, stop: ir.Value, step: int, values: Values, body: Callable[..., Values]
) -> Values:
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


def _moved(b: ir.IRBuilder, pointer: ir.Value, by: ir.Value) -> ir.Value:
    """The pointer moved by elements, or null where it is null."""
    return b.select(_given(b, pointer), b.gep(pointer, [by]), pointer)


def _given(b: ir.IRBuilder, pointer: ir.Value) -> ir.Value:
    return b.icmp_unsigned("!=", pointer, ir.Constant(pointer.type, None))


def unless_null(b: ir.IRBuilder, pointer: ir.Value, values: Values, change: Callable[..., Values]) -> Values:
    """The changed values where `pointer` is given, else the values."""
    before = b.block
    with b.if_then(_given(b, pointer)):
        changed = change(b)
        end = b.block
    phis = [b.phi(value.type) for value in values]
    for phi, value, new in zip(phis, values, changed, strict=True):
        phi.add_incoming(value, before)
        phi.add_incoming(new, end)
    return phis


def swap_blocks(builder: ir.IRBuilder, rows: list[ir.Value], d: int) -> list[ir.Value]:
    """Exchange the off-diagonal d × d blocks of every 2d × 2d block."""
    n = len(rows)
    index = ir.VectorType(ir.IntType(32), n)
    upper = ir.Constant(index, [lane + n - d if lane & d else lane for lane in range(n)])
    lower = ir.Constant(index, [lane + n if lane & d else lane + d for lane in range(n)])
    out = list(rows)
    for k in range(n):
        if not k & d:
            out[k] = builder.shuffle_vector(rows[k], rows[k | d], upper)
            out[k | d] = builder.shuffle_vector(rows[k], rows[k | d], lower)
    return out

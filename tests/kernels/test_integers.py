"""Products of integers: exact at every edge of a tile, however shared, for every instruction set."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from llvmlite import ir

from numba_rt.kernels.gemm import NO_ROWS
from numba_rt.kernels.matmul_integer import (
    CACHED,
    LONGEST,
    centre_images,
    centre_pixels,
    centre_rows,
    depthwise_integers,
    multiply_integers,
    pack_columns_of_integers,
    pack_integers,
    packed_words,
)
from numba_rt.simd import isa
from numba_rt.simd.emit_integer import IntegerEmitter
from numba_rt.simd.integer import integer_addresses
from numba_rt.simd.isa import ISA

rng = np.random.default_rng(9)
MR, NR = ISA.mr, ISA.nr
TARGETS = [
    (isa.AVX512, "x86_64-unknown-linux-gnu", "skylake-avx512", "vpmaddwd"),
    (isa.AVX512, "x86_64-unknown-linux-gnu", "znver4", "vpdpwssd"),
    (isa.AVX2, "x86_64-unknown-linux-gnu", "haswell", "vpmaddwd"),
    (isa.PORTABLE, "x86_64-unknown-linux-gnu", "x86-64", "pmaddwd"),
    (isa.NEON, "aarch64-unknown-linux-gnu", "neoverse-n1", "smull"),
]


def numbers(*shape: int, low: int = -255, high: int = 256) -> np.ndarray:
    return rng.integers(low, high, shape).astype(np.int16)


def exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a.astype(np.int64) @ b.astype(np.int64)).astype(np.int32)


def sizes(m: int, n: int, words: int, **more: Any) -> np.ndarray:
    batch, strides = more.get("batch", (1, 1)), more.get("strides", (0,) * 6)
    return np.array([*batch, m, n, words, 1, words, more.get("ldc", n), 0, *strides], np.int64)


def multiply(a: np.ndarray, packed: np.ndarray, g: np.ndarray, c: np.ndarray, tasks: int = 1) -> np.ndarray:
    words = np.ascontiguousarray(a).reshape(-1).view(np.int32)
    flat = c.reshape(-1)
    multiply_integers(words, packed.reshape(-1), NO_ROWS, NO_ROWS, integer_addresses(), g, flat, tasks)
    return c


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_every_tile_edge(tasks: int) -> None:
    rows = sorted({1, 2, MR - 1, MR, MR + 1, 2 * MR + 1, 33})
    columns = [1, 3, NR // 2, NR // 2 + 1, NR - 1, NR, NR + 1, 2 * NR + 5, 7 * NR + 2]
    for m, n, words in itertools.product(rows, columns, (0, 1, 2, 3, 17)):
        a, b = numbers(m, 2 * words), numbers(2 * words, n)
        c = np.full((m, n + 3), 77, np.int32)
        multiply(a, pack_integers(b), sizes(m, n, words, ldc=n + 3), c, tasks)
        np.testing.assert_array_equal(c[:, :n], exact(a, b))
        assert (c[:, n:] == 77).all()


@pytest.mark.parametrize("tasks", [1, 2])
def test_more_columns_than_stay_in_the_cache(tasks: int) -> None:
    words = CACHED // (2 * NR)
    a, b = numbers(20, 2 * words), numbers(2 * words, 5 * NR + 1)
    c = multiply(
        a, pack_integers(b), sizes(20, 5 * NR + 1, words), np.empty((20, 5 * NR + 1), np.int32), tasks
    )
    np.testing.assert_array_equal(c, exact(a, b))


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize(("words", "taps"), [(LONGEST + 1, 1), (LONGEST // 2, 5), (2 * LONGEST + 5, 2)])
def test_long_sums(words: int, taps: int, tasks: int) -> None:
    m, n = 2 * MR + 1, NR + 3
    a, b = numbers(m + taps, 2 * words), numbers(2 * words * taps, n)
    c = np.full((m, n + 1), 77, np.int32)
    g = np.array([1, 1, m, n, words, taps, 0, n + 1, 1, *(0,) * 6], np.int64)
    starts, places = np.arange(m) * words, np.arange(taps)[::-1] * words
    flat = a.reshape(-1).view(np.int32), pack_integers(b)
    multiply_integers(*flat, starts, places.copy(), integer_addresses(), g, c.reshape(-1), tasks)
    rows = np.concatenate([a[t : t + m] for t in range(taps)[::-1]], 1)
    np.testing.assert_array_equal(c[:, :n], exact(rows, b))
    assert (c[:, n] == 77).all()


def test_sums_do_not_saturate_and_wrap_around() -> None:
    for value, words in ((255, 9), (-255, 9), (32767, 3)):
        a, b = np.full((7, 2 * words), value, np.int16), np.full((2 * words, 19), value, np.int16)
        c = multiply(a, pack_integers(b), sizes(7, 19, words), np.empty((7, 19), np.int32))
        np.testing.assert_array_equal(c, exact(a, b))


@pytest.mark.parametrize("tasks", [1, 2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_operands_are_prepared_for_a_batch(dtype: Any, tasks: int) -> None:
    info = np.iinfo(dtype)
    for k, zeros in ((5, "one"), (6, "rows"), (1, "all")):
        a, b = (rng.integers(info.min, info.max + 1, s).astype(dtype) for s in ((3, 4, k), (3, k, 21)))
        shapes = {"one": ((1,), (1,)), "rows": ((4, 1), (21,)), "all": ((3, 4, 1), (3, 1, 21))}[zeros]
        za, zb = (rng.integers(info.min, info.max + 1, s).astype(dtype) for s in shapes)
        words = (k + 1) // 2
        rows = np.full(12 * words * 2, 99, np.int16)
        centre_rows(a.reshape(-1), za.reshape(-1), np.array([12, k, za.size]), rows, tasks)
        size = packed_words(words, 21)
        packed = np.full(3 * size * 2, 99, np.int16)
        steps = (21 * (zb.size > 21), int(zb.size > 1))
        g = np.array([3, 1, k, 21, k * 21, 0, 21, 1, *steps])
        pack_columns_of_integers(b.reshape(-1), zb.reshape(-1), g, packed, tasks)
        wide = [x.astype(np.int16) - z.astype(np.int16) for x, z in ((a, za), (b, zb))]
        even = np.pad(wide[1], ((0, 0), (0, k % 2), (0, 0)))
        np.testing.assert_array_equal(packed.view(np.int32), pack_integers(even).reshape(-1))
        g = sizes(4, 21, words, batch=(1, 3), strides=(0, 4 * words, 0, size, 0, 84))
        c = multiply(rows, packed.view(np.int32), g, np.empty((3, 4, 21), np.int32), tasks)
        np.testing.assert_array_equal(c, exact(*wide))


@pytest.mark.parametrize("tasks", [1, 3])
def test_images_get_channels_last_and_zeros_around(tasks: int) -> None:
    x = rng.integers(0, 256, (2, 6, 1, 4, 5)).astype(np.uint8)
    for top, left in ((1, 2), (-1, -2), (0, 0)):
        y = np.full((2, 1, 6, 9, 2, 4), 99, np.int16)
        g = np.array([2, 2, 3, *x.shape[2:], 1, 6, 9, 0, top, left])
        centre_images(x.reshape(-1), np.array([7], np.uint8), g, y.reshape(-1), tasks)
        full = np.zeros((2, 2, 4, 20, 20), np.int16)
        full[:, :, :3, 5 + top : 9 + top, 5 + left : 10 + left] = (
            x.reshape(2, 2, 3, 4, 5).astype(np.int16) - 7
        )
        expected = full[..., 5:11, 5:14].transpose(0, 3, 4, 1, 2)
        np.testing.assert_array_equal(y[:, 0], expected)
        y[:] = 99
        turned = np.ascontiguousarray(x.transpose(0, 2, 3, 4, 1))
        centre_pixels(turned.reshape(-1), np.array([7], np.uint8), g, y.reshape(-1), tasks)
        np.testing.assert_array_equal(y[:, 0], expected)
    y = np.full((2, 6, 9, 6), 99, np.int16)
    g = np.array([2, 1, 6, *x.shape[2:], 1, 6, 9, 0, 1, 2])
    centre_pixels(turned.reshape(-1), np.array([7], np.uint8), g, y.reshape(-1), tasks)
    full = np.pad(turned[:, 0].astype(np.int16) - 7, ((0, 0), (1, 1), (2, 2), (0, 0)))
    np.testing.assert_array_equal(y, full)


@pytest.mark.parametrize("tasks", [1, 2, 3])
def test_channels_by_themselves(tasks: int) -> None:
    a = numbers(2, 1, 9, 11, 6)
    windows = (((3, 3), (1, 1), (1, 1)), ((2, 5), (2, 1), (3, 2)), ((1, 4), (1, 3), (1, 1)))
    for kernel, strides, dilations in windows:
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        n1, n2 = (9 - extents[0]) // strides[0] + 1, (11 - extents[1]) // strides[1] + 1
        w = numbers(*kernel, 5)
        c = np.full((2, n1, n2, 5), 77, np.int32)
        g = np.array([2, 5, 1, 9, 11, 1, n1, n2, 1, *strides, 1, *kernel, 1, *dilations])
        depthwise_integers(a.reshape(-1), w.reshape(-1), g, c.reshape(-1), tasks)
        expected = np.zeros_like(c)
        for y, x in np.ndindex(kernel):
            place = np.s_[:, 0, y * dilations[0] :: strides[0], x * dilations[1] :: strides[1], :5]
            expected += a[place][:, :n1, :n2].astype(np.int32) * w[y, x]
        np.testing.assert_array_equal(c, expected)


@pytest.mark.parametrize(
    ("target", "triple", "cpu", "instruction"), TARGETS, ids=lambda x: getattr(x, "name", x)
)
def test_two_products_are_one_instruction(target: Any, triple: str, cpu: str, instruction: str) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = ir.Module()
    IntegerEmitter(module, target).tile(target.mr).linkage = "external"
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=2)
    parsed = llvm.parse_assembly(str(module))
    parsed.verify()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=3))
    passes.getModulePassManager().run(parsed, passes)
    text = machine.emit_assembly(parsed)
    assert text.count(instruction) >= target.mr * target.nv
    assert "mulld" not in text


def test_without_a_compiler() -> None:
    code = "from tests.kernels.test_integers import test_sums_do_not_saturate_and_wrap_around as t; t()"
    subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, check=True, timeout=120
    )

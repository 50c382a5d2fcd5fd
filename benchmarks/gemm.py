"""Speed of float32 matrix products against the limits of the machine, measured in the same run.

    python benchmarks/gemm.py [MxNxK ...] [--threads 1 2] [--rounds 60]

For every shape: GFLOP/s, per cent of what fused multiply-adds on registers reach, and NumPy's
GFLOP/s with its own threads. For a product of one row, which is bound by reading the weights:
GB/s and per cent of the bandwidth of reading a large array.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types

from numba_rt.jit import intrinsic, kernel, prange, u
from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, epilogue, gemm, product
from numba_rt.kernels.packing import pack_b
from numba_rt.simd.emit import I64, Vectors, loop
from numba_rt.simd.isa import ISA
from numba_rt.simd.tile import tile_addresses

SHAPES = ["384x768x768", "1536x1536x1536", "128x3072x768", "128x768x3072", "1x3072x768"]
CHAINS = 10
"""Independent accumulators: enough to hide the latency of multiply-add."""


@intrinsic
def _multiply_adds(context, values, start, steps):
    """`steps` multiply-adds in each of CHAINS registers, begun and ended in values[start:]."""
    return types.void(values, types.intp, types.intp), _emit_multiply_adds


def _emit_multiply_adds(
    context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]
) -> ir.Value:
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    vectors, lanes = Vectors(builder.module, ISA), ISA.lanes
    registers = [builder.gep(data, [builder.add(args[1], I64(n * lanes))]) for n in range(CHAINS + 1)]
    x, *chains = [vectors.load(builder, pointer) for pointer in registers]
    chains = loop(
        builder, I64(0), args[2], 1, chains, lambda b, _, acc: [vectors.multiply_add(b, y, x, x) for y in acc]
    )
    for value, pointer in zip(chains, registers[1:], strict=True):
        vectors.store(builder, value, pointer)
    return context.get_dummy_value()


@kernel
def _arithmetic(values, steps, tasks):
    for t in prange(tasks):
        _multiply_adds(values, t * 1024, steps)


@kernel.reduction
def _reading(x, sums, tasks):
    for t in prange(tasks):
        total = np.float32(0)
        for i in range(t * x.size // tasks, (t + 1) * x.size // tasks):
            total += x[u(i)]
        sums[u(t)] = total


def best_seconds(run: Callable[[], None], rounds: int) -> float:
    """Shortest time of a call, over many short rounds."""
    run()
    begin = time.perf_counter()
    run()
    calls = max(1, int(0.003 / (time.perf_counter() - begin)))
    best = float("inf")
    for _ in range(rounds):
        begin = time.perf_counter()
        for _ in range(calls):
            run()
        best = min(best, (time.perf_counter() - begin) / calls)
    return best


def peak_flops(threads: int, rounds: int) -> float:
    """Floating-point operations per second of multiply-adds that touch registers only."""
    values, steps = np.full(1024 * threads, 0.5, np.float32), 200_000
    build = _arithmetic.build(threads > 1)
    seconds = best_seconds(lambda: build(values, steps, threads), rounds)
    return 2 * CHAINS * ISA.lanes * steps * threads / seconds


def read_bandwidth(threads: int, rounds: int) -> float:
    """Bytes per second of summing an array much larger than the caches."""
    x, sums = np.ones(64 << 20, np.float32), np.zeros(threads, np.float32)
    build = _reading.build(threads > 1)
    return x.nbytes / best_seconds(lambda: build(x, sums, threads), rounds)


def measure(m: int, n: int, k: int, threads: int, rounds: int) -> tuple[float, float]:
    """Seconds of our product and of NumPy's. One row takes turns over many weights, as a model does."""
    rng = np.random.default_rng(0)
    copies = max(1, int(2e8) // (4 * n * k)) if m == 1 else 1
    a = rng.standard_normal((m, k), np.float32)
    weights = [rng.standard_normal((k, n), np.float32) for _ in range(copies)]
    packed = [pack_b(w).reshape(-1) for w in weights]
    c, g, f, tiles = np.empty((m, n), np.float32), product(m, n, k), epilogue(), tile_addresses()
    build, flat_a, flat_c = gemm.build(threads > 1), a.reshape(-1), c.reshape(-1)

    def ours() -> None:
        for b in packed:
            build(flat_a, b, NO_VECTOR, NO_VECTOR, NO_ROWS, tiles, g, f, flat_c, threads)

    def numpy() -> None:
        for w in weights:
            np.matmul(a, w, out=c)

    return best_seconds(ours, rounds) / copies, best_seconds(numpy, rounds) / copies


def main() -> None:
    """Prints a line per shape and number of threads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shapes", nargs="*", default=SHAPES, help="MxNxK")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f}, {ISA.name}, tile {ISA.mr}x{ISA.nr}")
    for threads in options.threads:
        peak, bandwidth = peak_flops(threads, options.rounds), read_bandwidth(threads, options.rounds)
        print(f"{threads} threads: peak {peak / 1e9:.1f} GFLOP/s, reading {bandwidth / 1e9:.1f} GB/s")
        for shape in options.shapes:
            m, n, k = (int(size) for size in shape.split("x"))
            ours, numpy = measure(m, n, k, threads, options.rounds)
            flops = 2 * m * n * k
            text = f"  {shape:>16} {flops / ours / 1e9:7.1f} GFLOP/s {100 * flops / ours / peak:5.1f} %"
            if m == 1:
                rate = 4 * n * k / ours
                text += f" {rate / 1e9:6.1f} GB/s {100 * rate / bandwidth:5.1f} %"
            print(f"{text}   NumPy {flops / numpy / 1e9:7.1f}", flush=True)


if __name__ == "__main__":
    main()

"""Speed of float32 matrix products against the limits of the machine, measured in the same run.

    python benchmarks/gemm.py [MxNxK ...] [--threads 1 2] [--rounds 60]

For every shape: GFLOP/s, per cent of what fused multiply-adds on registers reach, and NumPy's
GFLOP/s with its own threads. For a product of one row, which is bound by reading the weights:
GB/s and per cent of the bandwidth of reading a large array.
"""

from __future__ import annotations

import argparse
import os

import numpy as np

from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, epilogue, gemm, product
from numba_rt.kernels.packing import pack_b
from numba_rt.profile.machine import best_seconds, peak_flops, read_bandwidth
from numba_rt.simd.isa import ISA
from numba_rt.simd.tile import tile_addresses

SHAPES = ["384x768x768", "1536x1536x1536", "128x3072x768", "128x768x3072", "1x3072x768"]


def measure(m: int, n: int, k: int, threads: int, rounds: int) -> tuple[float, float]:
    """Seconds of our product and of NumPy's. One row takes turns over many weights, as a model does."""
    rng = np.random.default_rng(0)
    copies = max(1, int(2e8) // (4 * n * k)) if m == 1 else 1
    a = rng.standard_normal((m, k), np.float32)
    weights = [rng.standard_normal((k, n), np.float32) for _ in range(copies)]
    packed = [pack_b(w).reshape(-1) for w in weights]
    c, g, f, tiles = np.empty((m, n), np.float32), product(m, n, k), epilogue(), tile_addresses()
    multiply, flat_a, flat_c = gemm, a.reshape(-1), c.reshape(-1)

    def ours() -> None:
        for b in packed:
            multiply(flat_a, b, NO_VECTOR, NO_VECTOR, NO_ROWS, tiles, g, f, flat_c, threads)

    def numpy() -> None:
        for w in weights:
            np.matmul(a, w, out=c)

    return best_seconds(ours, rounds, threads) / copies, best_seconds(numpy, rounds, threads) / copies


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
        peak, bandwidth = peak_flops(threads), read_bandwidth(threads)
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

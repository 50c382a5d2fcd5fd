"""Speed and error of 3x3 convolutions: direct, and Winograd's with tiles of 2x2 and of 4x4 outputs.

    python benchmarks/conv.py [HxWxCxOC ...] [--threads 1 2] [--seconds 1]

For every shape of shapes/conv.txt: GFLOP/s of the direct convolution, then for each algorithm how many
times faster it is; `*` marks the one a model would use. Weights take turns, so that they
come from memory as they do in a model. Errors are against float64, relative to the largest output.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from numba_rt.kernels.conv import Window, convolution
from numba_rt.kernels.gemm import NO_ROWS, NO_VECTOR, epilogue, gemm
from numba_rt.kernels.packing import pack_conv
from numba_rt.kernels.winograd import best_size, pack_winograd, winograd, winograd_plan
from numba_rt.simd.isa import ISA
from numba_rt.simd.tile import tile_addresses

SHAPES = Path(__file__).parent / "shapes" / "conv.txt"
WEIGHTS = 96 << 20
"""Bytes of weights that take turns."""
LEAST_ROUNDS = 5
ALGORITHMS = (0, 2, 4)
"""Sizes of Winograd's tiles; 0 is the direct convolution."""

Run = Callable[[np.ndarray], None]


def runner(window: Window, oc: int, size: int, threads: int, x: np.ndarray, y: np.ndarray) -> Run:
    """Gives y from packed weights."""
    ends, f, tiles = (y.reshape(-1), threads), epilogue(), tile_addresses()
    if size:
        plan = winograd_plan(window, oc, size, threads)
        scratch, kernel = np.zeros(plan.scratch, np.float32), winograd
        return lambda w: kernel(x, w, NO_VECTOR, NO_VECTOR, NO_ROWS, tiles, plan.g, f, scratch, *ends)
    direct, multiply = convolution(window, oc), gemm
    return lambda w: multiply(x, w, NO_VECTOR, NO_VECTOR, direct.table, tiles, direct.g, f, *ends)


def exact(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The convolution in float64."""
    x = np.pad(x.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    h, width = x.shape[0] - 2, x.shape[1] - 2
    taps = w.astype(np.float64).transpose(2, 3, 1, 0)
    y = np.zeros((h, width, len(w)))
    for i, j in np.ndindex(3, 3):
        y += x[i : i + h, j : j + width] @ taps[i, j]
    return y


def measure(shape: tuple[int, int, int, int], threads: list[int], seconds: float) -> None:
    """Prints a line per number of threads."""
    h, width, c, oc = shape
    rng = np.random.default_rng(0)
    window = Window(1, (h, width), c, (3, 3), pads=(1, 1, 1, 1))
    x, w = rng.standard_normal((h, width, c), np.float32), rng.standard_normal((oc, c, 3, 3), np.float32)
    y, expected, errors = np.empty((h, width, oc), np.float32), exact(x, w), []
    packed = [(pack_winograd(w, size) if size else pack_conv(w)).reshape(-1) for size in ALGORITHMS]
    for size, weights in zip(ALGORITHMS, packed, strict=True):
        runner(window, oc, size, 1, x.reshape(-1), y)(weights)
        errors.append(np.abs(y - expected).max() / np.abs(expected).max())
    for count in threads:
        best = [float("inf")] * len(ALGORITHMS)
        runs = [runner(window, oc, size, count, x.reshape(-1), y) for size in ALGORITHMS]
        copies = [[w.copy() for _ in range(WEIGHTS // w.nbytes + 1)] for w in packed]
        end, turn = time.perf_counter() + seconds, 0
        while turn < LEAST_ROUNDS or time.perf_counter() < end:
            turn += 1
            for n, run in enumerate(runs):
                weights = copies[n][turn % len(copies[n])]
                begin = time.perf_counter()
                run(weights)
                best[n] = min(best[n], time.perf_counter() - begin)
        chosen = best_size((h, width), c, oc)
        rate = 2 * 9 * h * width * c * oc / best[0] / 1e9
        marks = ["*" if size == chosen else " " for size in ALGORITHMS]
        ratios = [f"{best[0] / best[n]:5.2f}{marks[n]} {errors[n]:7.1e}" for n in range(1, len(ALGORITHMS))]
        text = f"{h}x{width}x{c}x{oc}"
        print(f"{text:>16} {count} {rate:7.1f}{marks[0]} {errors[0]:7.1e}   {'   '.join(ratios)}", flush=True)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    listed = [line for line in SHAPES.read_text().split("\n") if line and line[0] != "#"]
    parser.add_argument("shapes", nargs="*", default=listed, help="HxWxCxOC")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=1.0, help="time for each line")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.2f}, {ISA.name}, tile {ISA.mr}x{ISA.nr}")
    print("           shape threads GFLOP/s error   2x2: ratio, error   4x4: ratio, error")
    for shape in options.shapes:
        h, width, c, oc = (int(size) for size in shape.split("x"))
        measure((h, width, c, oc), options.threads, options.seconds)


if __name__ == "__main__":
    main()

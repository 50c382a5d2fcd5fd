"""The limits of this machine, measured: arithmetic on registers and reading of memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import numpy as np

from numba_rt import jit, threads
from numba_rt.kernels.peak import FLOPS_PER_STEP, ROOM, multiply_adds, read_all

STEPS = 400_000
"""Of a call: long enough for all threads to take part."""
ROUNDS = 100
LONG = 0.001
"""Seconds of a round for calls that are short."""


@cache
def peak_flops(count: int) -> float:
    """float32 operations per second that so many threads reach; 0 where kernels are not compiled."""
    if jit.DISABLED:
        return 0.0
    values = np.full(ROOM * count, 0.5, np.float32)
    seconds = best_seconds(lambda: multiply_adds(values, STEPS, count), ROUNDS, count)
    return FLOPS_PER_STEP * STEPS * count / seconds


def read_bandwidth(count: int, nbytes: int = 256 << 20, rounds: int = ROUNDS) -> float:
    """Bytes per second of summing an array much larger than the caches."""
    x, sums = np.ones(nbytes // 4, np.float32), np.zeros(count, np.float32)
    return x.nbytes / best_seconds(lambda: read_all(x, sums, count), rounds, count)


def best_seconds(run: Callable[[], None], rounds: int, count: int) -> float:
    """Shortest time of a call on so many threads, over rounds that are long enough for the clock."""
    with threads.team(count):
        run()
        begin = time.perf_counter()
        run()
        calls = max(1, int(LONG / (time.perf_counter() - begin + 1e-9)))
        best = float("inf")
        for _ in range(rounds):
            begin = time.perf_counter()
            for _ in range(calls):
                run()
            best = min(best, (time.perf_counter() - begin) / calls)
    return best

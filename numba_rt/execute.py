"""Run a plan: put inputs and outputs into the calls, then call."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from numba_rt import threads
from numba_rt.instance import POISON, Instance, part
from numba_rt.plan.memory import ALIGNMENT

_SMALL_OUTPUT = 1 << 15


def execute(
    instance: Instance, inputs: Sequence[np.ndarray], into: Sequence[np.ndarray | None] | None = None
) -> list[np.ndarray]:
    """Run the calls on these inputs (C-contiguous, of the shapes and dtypes the plan is for).

    Results go into the arrays of `into` that fit, and into new ones.
    """
    if into is None:
        outputs = [_empty(shape, dtype) for shape, dtype in instance.plan.outputs]
    else:
        outputs = [_given(x, *s) for x, s in zip(into, instance.plan.outputs, strict=True)]
    if instance.is_poisoned:
        for output in outputs:
            part(output, (output.nbytes,), np.dtype(np.uint8), 0).fill(POISON)
    try:
        instance.connect(inputs, outputs)
        if instance.plan.threads > 1:
            with threads.region_lock, threads.team(instance.plan.threads):
                for step, args in instance.steps:
                    step(*args)
        else:
            for step, args in instance.steps:
                step(*args)
        if instance.clean and instance.status.tobytes() != instance.clean:
            raise _invalid(instance)
    except BaseException:
        instance.status.fill(0)
        raise
    finally:
        instance.disconnect()
    return outputs


def _invalid(instance: Instance) -> Exception:
    """The error of the first guard that was set."""
    index = int(np.flatnonzero(instance.status[:, 0])[0])
    guard, node = instance.plan.guards[index]
    error = guard.message(int(instance.status[index, 1]))
    return type(error)(f"{node.describe()}: {error}")


def _given(array: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """The array, if results can be written into it, or another one."""
    if array is not None and array.shape == shape and array.dtype == dtype and array.flags.carray:
        return array
    return _empty(shape, dtype)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    nbytes = prod(shape) * dtype.itemsize
    if nbytes < _SMALL_OUTPUT:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, aligned_empty(nbytes))


def aligned_empty(nbytes: int) -> np.ndarray:
    """Uninitialised bytes whose address is a multiple of the alignment."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + nbytes]

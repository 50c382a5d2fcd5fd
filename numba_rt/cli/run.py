"""`numba-rt run`: run a model, show what comes out and how long it takes."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np

from numba_rt import jit
from numba_rt.cli.feeds import make_feeds
from numba_rt.dtypes import dtype_name
from numba_rt.errors import InputError
from numba_rt.model import load
from numba_rt.printable import printable

SHOWN = 6
"""Elements of an output that is not large or not a number."""


def command(args: argparse.Namespace) -> int:
    """Load, run once, time some runs."""
    start = time.perf_counter()
    model = load(args.model, threads=args.threads)
    seconds = time.perf_counter() - start
    feeds, random = make_feeds(model, args)
    print(f"loaded in {_time(seconds)}, {model.threads} threads")
    for info in model.inputs:
        source = "  random" if info.name in random else ""
        print(f"input   {printable(info.name)}: {_shape(feeds[info.name])}{source}")
    start = time.perf_counter()
    results = model.run(feeds)
    first = time.perf_counter() - start
    for info, result in zip(model.outputs, results, strict=True):
        print(f"output  {printable(info.name)}: {_shape(result)}  {summary(result)}")
    made = jit.stats()
    print(f"kernels {made.loaded} from the cache, {made.compiled} compiled in {_time(made.compile_seconds)}")
    times = []
    for _ in range(args.repeat):
        start = time.perf_counter()
        model.run(feeds)
        times.append(time.perf_counter() - start)
    print(f"first   {_time(first)}")
    if times:
        print(f"then    {_time(statistics.median(times))} median of {len(times)}, {_time(min(times))} least")
    if args.output:
        _save(args.output, [o.name for o in model.outputs], results)
    return 0


def summary(result: Any) -> str:
    """The range of a large array, the elements of a small one."""
    if not isinstance(result, np.ndarray):
        return ""
    if result.size <= SHOWN or result.dtype.kind not in "fiub":
        values = ", ".join(printable(x) for x in result.reshape(-1)[:SHOWN].tolist())
        return f"[{values}{', …' if result.size > SHOWN else ''}]"
    wide = result.astype(np.float64)
    text = f"min {wide.min():.6g}  mean {wide.mean():.6g}  max {wide.max():.6g}"
    bad = int(result.size - np.isfinite(wide).sum())
    return f"{text}  ({bad} not finite)" if bad else text


def _shape(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{dtype_name(value.dtype)}{list(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, list) else type(value).__name__


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} µs"
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _save(path: str, names: list[str], results: list[Any]) -> None:
    plain: dict[str, Any] = {}
    for name, result in zip(names, results, strict=True):
        if not isinstance(result, np.ndarray):
            raise InputError(f"-o {path!r}: output {name!r} is a {_shape(result)}, which .npz cannot hold")
        plain[name] = result.astype(np.str_) if result.dtype.kind == "O" else result
    try:
        with open(path, "wb") as file:
            np.savez(file, **plain)
    except OSError as error:
        raise InputError(f"-o {path!r} cannot be written: {error.strerror or error}") from error
    print(f"wrote   {path}")

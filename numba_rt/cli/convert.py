"""`numba-rt convert`: write a model as a .nrt file, changed as asked for, and say what could not be done."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from numba_rt.cli.feeds import make_feeds
from numba_rt.errors import FormatError, InputError, LoadError, NumbaRtError
from numba_rt.format.container import is_nrt
from numba_rt.format.definition import ModelDef
from numba_rt.format.ready import write_prepared
from numba_rt.format.writer import Progress, write_model
from numba_rt.model import Model, load
from numba_rt.printable import printable

SHOWN_FROM = 1 << 26
"""Bytes of a model whose progress is shown."""

TOLERANCE = {None: 1e-4, "bf16": 0.1, "fp16": 2e-2}
"""Difference that --check allows, relative to the largest output, by how weights are stored."""


def command(args: argparse.Namespace) -> int:
    """Convert; 1 if the model uses what is not supported, or the check fails."""
    from converter.edit import choose_outputs, hold, set_dimensions, store_halves
    from converter.read import read
    from converter.simplify import simplify

    check_paths(args.model, args.output, ".nrt", args.force)
    start = time.perf_counter()
    model = read(args.model)
    if args.prepack or args.simplify:
        hold(model)
    changes = set_dimensions(model, sizes_of(args.set_dim)) if args.set_dim else []
    if args.outputs:
        changes += choose_outputs(model, [n.strip() for n in args.outputs.split(",")])
    if args.weights:
        changes += store_halves(model, args.weights)
    if args.simplify:
        changes += simplify(model)
    unsupported = _write(model, args, changes)
    for change in changes:
        print(f"changed     {printable(change)}")
    if unsupported:
        print(f"unsupported {printable(unsupported)}")
        print("            the file holds all of the model; only running it is refused")
    size = os.path.getsize(args.output)
    print(f"wrote       {printable(args.output)}, {size:,} bytes in {time.perf_counter() - start:.2f} s")
    if args.check is None or unsupported:
        return int(bool(unsupported))
    return _check(args)


def _write(model: ModelDef, args: argparse.Namespace, changes: list[str]) -> str:
    """Write the file; what keeps the model from being run."""
    from converter.model import to_graph

    progress = shown_progress()
    try:
        graph = to_graph(model)
        made = Model(graph, precision=args.optimize) if args.prepack else None
    except NumbaRtError as error:
        write_model(args.output, model, progress=progress)
        return str(error)
    if made is not None:
        assert made.declared is not None
        fired = made.report.fired
        try:
            write_prepared(args.output, model, graph, made.declared, fired, progress, args.optimize)
            return ""
        except FormatError as error:
            changes.append(f"no optimised graph is stored: {error}")
    del graph, made  # they may hold all weights, which are read again
    write_model(args.output, model, progress=progress)
    return ""


def _check(args: argparse.Namespace) -> int:
    """Run both models on the same inputs and compare what they have in common."""
    first, second = load(args.model), load(args.output, precision=args.optimize)
    args.input = [args.check] if args.check else []
    feeds, random = make_feeds(second, args)
    missing = [i.name for i in first.inputs if i.name not in feeds]
    if missing:
        raise InputError(f"--check: the model as it was needs the input {missing[0]!r} too")
    common = [o.name for o in first.outputs if o.name in {x.name for x in second.outputs}]
    if not common:
        raise InputError("--check: the two models have no output in common")
    worst = 0.0
    for name, a, b in zip(common, first.run(feeds, common), second.run(feeds, common), strict=True):
        difference = _difference(a, b)
        worst = max(worst, difference)
        print(f"checked     {printable(name)}: largest difference {difference:.3g} of the largest output")
    source = "random inputs" if random else "the inputs given"
    allowed = TOLERANCE[args.weights]
    print(f"check       {'passed' if worst <= allowed else 'FAILED'} on {source} (allowed {allowed:g})")
    return int(worst > allowed)


def _difference(a: Any, b: Any) -> float:
    """The largest difference relative to the largest finite element; 0 or infinity if it has no meaning."""
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray) or a.dtype.kind not in "fiubV":
        return 0.0 if np.array_equal(np.asarray(a, object), np.asarray(b, object)) else float("inf")
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    x, y = a.astype(np.float64).reshape(-1), b.astype(np.float64).reshape(-1)
    finite = np.isfinite(x)
    if not np.array_equal(x[~finite], y[~finite], equal_nan=True):
        return float("inf")
    x, y = x[finite], y[finite]
    return float(np.abs(x - y).max() / max(np.abs(x).max(), 1e-30)) if x.size else 0.0


def check_paths(source: str, target: str, suffix: str, force: bool) -> None:
    """Refuse a target that is the source, has another suffix, or is a file of somebody else.

    Raises:
        InputError: the target is refused.
        LoadError: the source does not exist.
    """
    if not os.path.exists(source):
        raise LoadError(f"{source!r} does not exist")
    if Path(target).suffix.lower() != suffix:
        raise InputError(f"the output {target!r} should have a name that ends in {suffix}")
    if not os.path.exists(target):
        return
    if os.path.samefile(source, target):
        raise InputError(f"the output {target!r} is the input: it is not overwritten")
    if not force and not (suffix == ".nrt" and is_nrt(target)):
        raise InputError(f"{target!r} exists: --force replaces it")


def sizes_of(texts: list[str]) -> dict[str, int]:
    """What `--set-dim name=size` says."""
    sizes = {}
    for text in texts:
        name, separator, size = text.rpartition("=")
        if not separator or not name or not (size.isascii() and size.isdecimal()) or name in sizes:
            raise InputError(f"--set-dim {text!r}: expected name=size, each name once")
        sizes[name] = int(size)
    return sizes


def shown_progress() -> Progress | None:
    """Progress of writing, on a terminal."""
    if not sys.stderr.isatty():
        return None
    last = [-1]

    def show(done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        if total >= SHOWN_FROM and percent != last[0]:
            last[0] = percent
            sys.stderr.write(f"\rwriting {percent} %" + ("\n" if done == total else ""))

    return show

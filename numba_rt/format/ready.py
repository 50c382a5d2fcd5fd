"""Files and optimised graphs: written with one, and opened as one where it fits this process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from numba_rt.format.container import Container, Kind
from numba_rt.format.definition import ModelDef
from numba_rt.format.freeze import freeze
from numba_rt.format.limits import LIMITS, Limits
from numba_rt.format.reader import read_ready, split_ready
from numba_rt.format.seal import is_ours, key, sign
from numba_rt.format.thaw import thaw
from numba_rt.format.writer import Optimised, Progress, write_model
from numba_rt.graph import Fact, Graph


@dataclass
class Prepared:
    """A graph that needs no optimisation any more."""

    graph: Graph
    declared: Sequence[Fact]
    """Facts of its outputs as the model declares them."""
    rewrites: Sequence[tuple[str, str]]
    """Rule and node of what the optimiser did."""


def write_prepared(
    path: str | os.PathLike[str],
    model: ModelDef,
    graph: Graph,
    declared: Sequence[Fact],
    rewrites: Iterable[tuple[str, str]],
    progress: Progress | None = None,
    precision: str = "fast",
) -> None:
    """Write a model and, next to it, what the optimiser made of it.

    Raises:
        LoadError: the model cannot be stored.
        OSError: the file cannot be written.
    """
    write_model(path, model, Optimised(freeze(graph, declared, rewrites), key(precision), sign), progress)


def open_prepared(container: Container, precision: str = "fast", limits: Limits = LIMITS) -> Prepared | str:
    """The optimised graph of a file, or why there is none that can be used.

    Raises:
        FormatError: it is damaged.
    """
    if Kind.READY not in container.sections:
        return "the file has none: numba-rt convert --prepack makes one"
    fits, signature, data = split_ready(container)
    if fits != key(precision):
        return "it was made for another processor, other settings or another version"
    ready, tensors = read_ready(container, data, limits)
    if not is_ours(signature, fits, data, tensors):
        return "it was not made with this kernel cache"
    return Prepared(*thaw(ready))

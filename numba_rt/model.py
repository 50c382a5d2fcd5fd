"""Model: load, run, look inside. The only place where all stages meet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from numba_rt import threads as thread_pool
from numba_rt.collection import paused
from numba_rt.dtypes import STRING, dtype_name
from numba_rt.errors import InputError, LoadError
from numba_rt.feeds import check_feed
from numba_rt.format.container import is_nrt
from numba_rt.graph import Dim, Fact, Graph, Sym, Value
from numba_rt.optimize import Report, optimize
from numba_rt.origin import Origin
from numba_rt.plan import Plan, schedule
from numba_rt.printable import printable
from numba_rt.program import program_of

if TYPE_CHECKING:
    from numba_rt.format.ready import Prepared
    from numba_rt.profile import Profile

MOST_ACCEPTED = 1024
"""Sets of input shapes a model remembers as valid."""


def load(
    source: str | os.PathLike[str] | bytes | Any,
    *,
    threads: int | None = None,
    optimize: bool = True,
    precision: str = "fast",
) -> Model:
    """Load a model.

    Args:
        source: path of an .onnx, .nrt or .rten file, its bytes, or an onnx.ModelProto.
        threads: most threads a run may use; by default the physical cores this process may use,
            or NUMBA_RT_NUM_THREADS.
        optimize: whether to rewrite the graph (fusions, folding) before planning.
        precision: "strict" computes convolutions without Winograd's algorithm. With "fast", the largest
            error of a 3x3 convolution, relative to its largest output, is about 5e-6 instead of 1e-6, and
            a NaN or Inf also reaches outputs up to three pixels beside those whose window contains it,
            or those of neighbouring small groups.

    Raises:
        LoadError: the file is missing, damaged, unsafe or inconsistent.
        UnsupportedOp: it uses operators that are not implemented; all are listed.
    """
    with paused():
        origin = Origin.of(source)
        prepared = _prepared(source, precision) if optimize and is_nrt(source) else None
        if prepared is not None:
            report = Report(fired=list(prepared.rewrites))
            return Model(prepared.graph, threads, True, precision, report, list(prepared.declared), origin)
        from converter import convert  # the one import against the direction of the layers

        return Model(convert(source), threads, optimize, precision, origin=origin)


def _prepared(source: Any, precision: str) -> Prepared | None:
    """The optimised graph of a .nrt file, if it has one that can be used here."""
    from numba_rt.format.container import open_container
    from numba_rt.format.ready import Prepared, open_prepared

    found = open_prepared(open_container(source), precision)
    return found if isinstance(found, Prepared) else None


@dataclass(frozen=True)
class TensorInfo:
    """Name, dtype and shape of an input or output; a dimension is a number, a symbolic name
    such as "batch", or None.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str | None, ...] | None
    kind: str = "tensor"

    @staticmethod
    def of(value: Value) -> TensorInfo:
        """The description of a graph's input or output."""
        fact = value.fact
        shape = None
        if fact.shape is not None:
            shape = tuple(_dim(d) for d in fact.shape)
        return TensorInfo(value.name, fact.dtype, shape, fact.kind)

    def __str__(self) -> str:
        dims = "?" if self.shape is None else ", ".join("?" if d is None else str(d) for d in self.shape)
        text = f"{dtype_name(self.dtype)}[{dims}]"
        return printable(f"{self.name}: " + (text if self.kind == "tensor" else f"{self.kind}({text})"))


class Outputs(Mapping[str, Any]):
    """Results of a run, by name and by position."""

    def __init__(self, names: Sequence[str], arrays: Sequence[Any]) -> None:
        self._names = list(names)
        self._arrays = list(arrays)

    def __getitem__(self, key: str | int) -> Any:
        if isinstance(key, int):
            return self._arrays[key]
        try:
            return self._arrays[self._names.index(key)]
        except ValueError:
            raise KeyError(f"no output {key!r}; outputs are {self._names}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        rows = [f"  {printable(n)}: {_describe(a)}" for n, a in zip(self._names, self._arrays, strict=True)]
        return "\n".join(["Outputs", *rows])


@dataclass(eq=False)
class Model:
    """A loaded model: call it with arrays. Safe to use from several threads at once."""

    graph: Graph
    threads: int | None = None
    optimized: bool = True
    precision: str = "fast"
    report: Report = field(default_factory=lambda: Report())
    declared: list[Fact] | None = None
    """What the model declares of its outputs, given with a graph that is optimised already."""
    origin: Origin | None = None

    def __post_init__(self) -> None:
        if self.precision not in ("fast", "strict"):
            raise InputError(f"precision = {self.precision!r}: expected 'fast' or 'strict'")
        self.graph.strict = self.precision == "strict"
        wanted = thread_pool.default_count() if self.threads is None else self.threads
        self.threads = thread_pool.checked_count(wanted)
        self.inputs = [TensorInfo.of(v) for v in self.graph.inputs]
        self.metadata = dict(self.graph.metadata)
        self._facts = [v.fact for v in self.graph.inputs]
        self._expected = [(v.name, _plain_dtype(v.fact)) for v in self.graph.inputs]
        self._accepted: set[tuple[tuple[int, ...], ...]] = set()
        if self.declared is None:
            self.declared = [v.fact for v in self.graph.outputs]
            self.report = optimize(self.graph, only_required=not self.optimized)
        declared = [
            TensorInfo.of(Value(v.name, f)) for v, f in zip(self.graph.outputs, self.declared, strict=True)
        ]
        if os.environ.get("NUMBA_RT_EXPLAIN", "0") not in ("", "0"):
            explain(self.report, self.graph.name)
        inferred = [TensorInfo.of(v) for v in self.graph.outputs]
        self.outputs = [
            replace(d, shape=i.shape) if d.shape is None else d
            for d, i in zip(declared, inferred, strict=True)
        ]
        self._program = program_of(schedule(self.graph), self.threads, optimized=self.optimized)

    # -- running ----------------------------------------------------------------------------

    def __call__(self, *args: Any, **named: Any) -> Outputs:
        """Run on arrays, by position, by name or in one mapping; results by name and index."""
        return Outputs([o.name for o in self.outputs], self.run(self._named(args, named)))

    def run(
        self,
        feeds: Mapping[str, Any],
        outputs: Sequence[str] | None = None,
        into: Mapping[str, np.ndarray | None] | None = None,
    ) -> list[Any]:
        """Run on named arrays.

        Args:
            feeds: input name → array of the declared dtype and rank.
            outputs: names of the outputs wanted; all by default.
            into: output name → array to write it to, where shape and dtype are the same, it is
                contiguous and shares no memory with an input.

        Returns:
            The outputs in the order asked for: new arrays, or those of `into` where these fit.

        Raises:
            InputError: a feed is missing, unknown, or of the wrong dtype or shape.
        """
        positions = self._positions(outputs) if outputs else None
        given = [into.get(o.name) for o in self.outputs] if into else None
        results = self._program.run(self._check(feeds), given)
        return results if positions is None else [results[i] for i in positions]

    def plan(self, *args: Any, **named: Any) -> Plan | list[Plan]:
        """The calls a run on these inputs makes; one plan, or one for each segment."""
        feeds = self._named(args, named)
        plans = self._program.plans(self._check(feeds))
        return plans[0] if len(plans) == 1 else plans

    def profile(self, *args: Any, runs: int = 10, warmup: int = 2, **named: Any) -> Profile:
        """Where the time of a run on these inputs goes: a table of steps, operators and shapes.

        Args:
            args, named: inputs, as in a call.
            runs: how many are recorded; numbers are medians.
            warmup: runs before that.
        """
        from numba_rt.profile import measure

        feeds = self._named(args, named)
        assert self.threads is not None
        return measure(self._program, self._check(feeds), runs, warmup, self.graph.name, self.threads)

    def save(self, path: str | os.PathLike[str], *, prepack: bool = False) -> None:
        """Write the model, as it was before optimisation, to a .nrt file.

        The file it was loaded from is read again for that; bytes and messages were kept.

        Args:
            path: where to; a file of that name is replaced in one step.
            prepack: also store the optimised graph with its packed weights.

        Raises:
            LoadError: the file the model was loaded from has changed, or the model cannot be stored.
        """
        if self.origin is None:
            raise LoadError("the model was made of a graph: only one that was loaded can be saved")
        if prepack and not self.optimized:
            raise LoadError("the model was loaded with optimize=False: it has no optimised graph to save")
        from numba_rt.format.ready import write_prepared
        from numba_rt.format.writer import write_model

        definition = self.origin.definition()
        if prepack:
            assert self.declared is not None
            write_prepared(
                path, definition, self.graph, self.declared, self.report.fired, precision=self.precision
            )
        else:
            write_model(path, definition)

    def _named(self, args: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
        """Feeds by name; a mapping in place of arrays holds them by name itself."""
        if (
            len(args) == 1
            and isinstance(args[0], Mapping)
            and self.inputs
            and not self.inputs[0].kind.endswith("map")
        ):
            return {**args[0], **named}
        if len(args) > len(self.inputs):
            raise InputError(f"{len(args)} inputs were fed, the model takes {len(self.inputs)}")
        feeds = dict(zip((i.name for i in self.inputs), args, strict=False))
        if twice := feeds.keys() & named.keys():
            raise InputError(f"inputs {sorted(twice)} were fed both by position and by name")
        return feeds | dict(named)

    def _positions(self, names: Sequence[str]) -> list[int]:
        known = [o.name for o in self.outputs]
        if unknown := [n for n in names if n not in known]:
            raise InputError(f"unknown outputs {unknown}: the model makes {known}")
        return [known.index(n) for n in names]

    def _check(self, feeds: Mapping[str, Any]) -> list[Any]:
        """The feeds in the order of the inputs, each as a C-contiguous array of its dtype."""
        arrays = []
        if type(feeds) is dict and len(feeds) == len(self._expected):
            for name, dtype in self._expected:
                array = feeds.get(name)
                if type(array) is not np.ndarray or array.dtype is not dtype or not array.flags.carray:
                    return self._check_each(feeds)
                arrays.append(array)
            if tuple([x.shape for x in arrays]) in self._accepted:
                return arrays
        return self._check_each(feeds)

    def _check_each(self, feeds: Mapping[str, Any]) -> list[Any]:
        if not isinstance(feeds, Mapping):
            raise InputError(f"feeds must be a mapping of names to arrays, found {type(feeds).__name__}")
        known = [name for name, _ in self._expected]
        missing = [n for n in known if n not in feeds]
        unknown = [n for n in feeds if n not in known]
        if missing or unknown:
            parts = [f"missing {missing}" if missing else "", f"unknown {unknown}" if unknown else ""]
            raise InputError(f"inputs {' and '.join(p for p in parts if p)}: the model takes {known}")
        sizes: dict[str, int] = {}
        arrays = [check_feed(n, feeds[n], f, sizes) for n, f in zip(known, self._facts, strict=True)]
        if all(dtype is not None for _, dtype in self._expected):
            if len(self._accepted) >= MOST_ACCEPTED:
                self._accepted.clear()
            self._accepted.add(tuple([x.shape for x in arrays]))
        return arrays

    def __repr__(self) -> str:
        rows = [f"Model {self.graph.name!r}: {len(self.graph.nodes)} nodes"]
        rows += [f"  input  {i}" for i in self.inputs] + [f"  output {o}" for o in self.outputs]
        return "\n".join(rows)


def explain(report: Report, name: str) -> None:
    """Write what the optimiser did to stderr, as NUMBA_RT_EXPLAIN asks."""
    lines = [f"  {printable(line)}" for line in str(report).splitlines()] or ["  no rewrite"]
    sys.stderr.write("\n".join([f"numba_rt: model {printable(name)}", *lines]) + "\n")


def _dim(dim: Dim) -> int | str | None:
    """A dimension as users see it: a size that has no name of its own is None."""
    if isinstance(dim, Sym):
        return None if "#" in str(dim) else str(dim)
    return int(dim)


def _plain_dtype(fact: Fact) -> np.dtype[Any] | None:
    """dtype of an input whose arrays can be taken as they are; None if elements must be looked at."""
    return fact.dtype if fact.kind == "tensor" and fact.dtype != STRING else None


def _describe(result: Any) -> str:
    if isinstance(result, np.ndarray):
        return f"{dtype_name(result.dtype)}{list(result.shape)}"
    return type(result).__name__

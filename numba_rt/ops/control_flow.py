"""If, Loop and Scan: operators that run graphs of their own.

A body takes its formal inputs and then the values it captures from outside, which are the node's
last inputs; `n_captures` says how many. A body is called with a list of arrays and returns one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from numba_rt.dtypes import STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, Graph, Sym, fresh_dim
from numba_rt.ops._checks import check_axis
from numba_rt.ops._op import Op, op

Body = Callable[[Sequence[Any]], list[Any]]


def either(left: Fact, right: Fact, what: str = "") -> Fact:
    """What is known of a value that is one of two; sizes that differ become unknown."""
    if left.dtype != right.dtype:
        raise ShapeError(f"{what} is {left} or {right}: expected the same dtype")
    kind = left.kind if left.kind == right.kind else "optional"
    if left.shape is None or right.shape is None or len(left.shape) != len(right.shape):
        return Fact(left.dtype, None, None, kind)
    pairs = zip(left.shape, right.shape, strict=True)
    return Fact(left.dtype, tuple(a if a == b else fresh_dim("either") for a, b in pairs), None, kind)


@op("If", since=25)
class If(Op):
    """The outputs of one of two graphs, chosen by a condition."""

    then_branch: Graph
    else_branch: Graph
    n_captures: int = 0

    any_rank = True
    half = False

    def infer(self, cond: Fact, *captures: Fact) -> tuple[Fact, ...]:
        then, other = self.then_branch.outputs, self.else_branch.outputs
        if len(then) != len(other):
            raise ShapeError(
                f"then_branch has {len(then)} outputs, else_branch has {len(other)}: expected as many"
            )
        if cond.shape is not None and cond.is_static and cond.size != 1:
            raise ShapeError(f"cond = {cond}: expected one element")
        pairs = enumerate(zip(then, other, strict=True))
        return tuple(either(a.fact, b.fact, f"output {i}") for i, (a, b) in pairs)

    def control(self, bodies: Mapping[str, Body], cond: np.ndarray, *captures: Any) -> list[Any]:
        return bodies["then_branch" if _truth(cond, "cond") else "else_branch"](captures)


@op("Loop", since=25)
class Loop(Op):
    """A graph run again and again on the values it carries from one round to the next."""

    body: Graph
    n_captures: int = 0

    any_rank = True
    half = False

    def infer(self, M: Fact | None = None, cond: Fact | None = None, *v_initial: Fact) -> tuple[Fact, ...]:
        carried = v_initial[: len(v_initial) - self.n_captures]
        made = [v.fact for v in self.body.outputs[1:]]
        if len(made) < len(carried):
            raise ShapeError(
                f"body has {len(made) + 1} outputs: expected a condition and {len(carried)} carried values"
            )
        trips = fresh_dim("trips")
        last = [
            either(a, b, f"carried value {i}") for i, (a, b) in enumerate(zip(carried, made, strict=False))
        ]
        return (*last, *(_stacked(f, trips, 0) for f in made[len(carried) :]))

    def control(
        self, bodies: Mapping[str, Body], M: Any = None, cond: Any = None, *v_initial: Any
    ) -> list[Any]:
        body = bodies["body"]
        own = len(v_initial) - self.n_captures
        carried, captures = list(v_initial[:own]), v_initial[own:]
        rounds: list[list[np.ndarray]] = [[] for _ in self.body.outputs[1 + own :]]
        limit = None if M is None else int(M.reshape(()))
        going = cond is None or _truth(cond, "cond")
        trip = 0
        while going and (limit is None or trip < limit):
            made = body([np.array(trip, np.int64), np.array(True), *carried, *captures])
            going = _truth(made[0], "the body's condition")
            carried = made[1 : 1 + own]
            for results, result in zip(rounds, made[1 + own :], strict=True):
                results.append(result)
            trip += 1
        facts = [v.fact for v in self.body.outputs[1 + own :]]
        return carried + [_stack(r, f, 0) for r, f in zip(rounds, facts, strict=True)]


@op("Scan", since=25)
class Scan(Op):
    """A graph run on one slice of its inputs after the other, carrying a state."""

    body: Graph
    num_scan_inputs: int
    scan_input_axes: tuple[int, ...] = ()
    scan_input_directions: tuple[int, ...] = ()
    scan_output_axes: tuple[int, ...] = ()
    scan_output_directions: tuple[int, ...] = ()
    n_captures: int = 0

    any_rank = True
    half = False

    def infer(self, *initial_state_and_scan_inputs: Fact) -> tuple[Fact, ...]:
        own = initial_state_and_scan_inputs[: len(initial_state_and_scan_inputs) - self.n_captures]
        states = len(own) - self.num_scan_inputs
        if not 1 <= self.num_scan_inputs <= len(own):
            raise ShapeError(f"num_scan_inputs = {self.num_scan_inputs}: expected 1 to {len(own)}")
        made = [v.fact for v in self.body.outputs]
        if len(made) < states:
            raise ShapeError(f"body has {len(made)} outputs: expected at least {states}, one for each state")
        n_out = len(made) - states
        for name, count in (("input", self.num_scan_inputs), ("output", n_out)):
            for kind in ("axes", "directions"):
                given = getattr(self, f"scan_{name}_{kind}")
                if given and len(given) != count:
                    raise ShapeError(f"scan_{name}_{kind} = {given}: expected {count} items")
        length = self._length(own[states:])
        last = [either(a, b, f"state {i}") for i, (a, b) in enumerate(zip(own, made[:states], strict=False))]
        axes = self.scan_output_axes or (0,) * n_out
        return (*last, *(_stacked(f, length, a) for f, a in zip(made[states:], axes, strict=True)))

    def _length(self, inputs: Sequence[Fact]) -> Dim:
        lengths = []
        for i, fact in enumerate(inputs):
            if fact.shape is not None:
                axis = self.scan_input_axes[i] if self.scan_input_axes else 0
                lengths.append(fact.shape[check_axis(axis, fact.rank, f"scan_input_axes[{i}]")])
        known = [n for n in lengths if not isinstance(n, Sym)]
        if len(set(known)) > 1:
            raise ShapeError(f"the scanned inputs have lengths {known}: expected one length")
        return known[0] if known else lengths[0] if lengths else fresh_dim("scan")

    def control(self, bodies: Mapping[str, Body], *values: Any) -> list[Any]:
        body = bodies["body"]
        own, captures = values[: len(values) - self.n_captures], values[len(values) - self.n_captures :]
        states = list(own[: len(own) - self.num_scan_inputs])
        scanned = [self._slices(i, x) for i, x in enumerate(own[len(states) :])]
        lengths = {len(x) for x in scanned}
        if len(lengths) > 1:
            raise ShapeError(
                f"the scanned inputs have lengths {[len(x) for x in scanned]}: expected one length"
            )
        n_states = len(states)
        rounds: list[list[np.ndarray]] = [[] for _ in self.body.outputs[n_states:]]
        for t in range(lengths.pop()):
            made = body([*states, *(np.asarray(x[t]) for x in scanned), *captures])
            states = made[:n_states]
            for results, result in zip(rounds, made[n_states:], strict=True):
                results.append(result)
        outputs = []
        for i, results in enumerate(rounds):
            if self.scan_output_directions and self.scan_output_directions[i]:
                results.reverse()
            axis = self.scan_output_axes[i] if self.scan_output_axes else 0
            outputs.append(_stack(results, self.body.outputs[n_states + i].fact, axis))
        return states + outputs

    def _slices(self, index: int, value: np.ndarray) -> np.ndarray:
        """The input with the scanned axis first, in the order it is scanned."""
        axis = check_axis(
            self.scan_input_axes[index] if self.scan_input_axes else 0,
            value.ndim,
            f"scan_input_axes[{index}]",
        )
        moved = np.moveaxis(value, axis, 0)
        if self.scan_input_directions and self.scan_input_directions[index]:
            moved = moved[::-1]
        return np.ascontiguousarray(moved)


def _truth(value: Any, what: str) -> bool:
    if value is None or value.size != 1:
        found = "absent" if value is None else f"of shape {list(value.shape)}"
        raise ShapeError(f"{what} is {found}: expected one truth value")
    return bool(value.reshape(()))


def _stacked(fact: Fact, length: Dim, axis: int) -> Fact:
    """The fact of results stacked along a new axis."""
    if fact.shape is None:
        return Fact(fact.dtype, None)
    axis = check_axis(axis, len(fact.shape) + 1, "the axis of a stacked output")
    return Fact(fact.dtype, (*fact.shape[:axis], length, *fact.shape[axis:]))


def _stack(results: list[np.ndarray], fact: Fact, axis: int) -> np.ndarray:
    """The results of all rounds stacked along a new axis; without rounds, unknown sizes are 0."""
    if not results:
        sizes = [0 if isinstance(d, Sym) else int(d) for d in fact.shape or ()]
        sizes.insert(axis % (len(sizes) + 1), 0)
        return np.empty(sizes, object if fact.dtype == STRING else fact.dtype)
    shapes = {x.shape for x in results}
    if len(shapes) > 1:
        raise ShapeError(f"an output to be stacked has the shapes {sorted(shapes)}: expected one shape")
    return np.ascontiguousarray(np.stack(results, axis))

"""Recurrent layers: RNN, LSTM and GRU."""

from __future__ import annotations

import itertools
import math
import weakref
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import FLOAT32, FLOATS, INT32, INT64
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact
from numba_rt.kernels import recurrent as kernels
from numba_rt.kernels.gemm import NO_ROWS
from numba_rt.kernels.packing import aligned_empty, pack_b, pack_columns, packed_size
from numba_rt.ops._checks import check_dtype, check_rank, check_same_dtype, same_dim
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops.matmul import FusedMatMul, MatMul
from numba_rt.ops.transpose import permute
from numba_rt.simd.tile import tile_addresses

DEFAULTS = {
    "Affine": (1.0, 0.0), "LeakyRelu": (0.01, 0.0), "ThresholdedRelu": (1.0, 0.0), "ScaledTanh": (1.0, 1.0),
    "HardSigmoid": (0.2, 0.5), "Elu": (1.0, 0.0),
}  # fmt: skip
"""alpha and beta of the activations that have them."""
HAS_BETA = ("Affine", "ScaledTanh", "HardSigmoid")
DIRECTIONS = {"forward": 1, "reverse": 1, "bidirectional": 2}
NONE = np.zeros(0, np.float32)
LEAST_ROWS = 3
"""Sequences of one direction that a task takes, at least."""

_prepared: dict[tuple[int, str], np.ndarray] = {}


def prepared(source: np.ndarray, make: Any, *args: Any) -> np.ndarray:
    """Constant weights in the order a kernel reads them; made once, kept as long as the weights are."""
    key = (id(source), make.__name__)
    if key not in _prepared:
        _prepared[key] = make(source, *args)
        weakref.finalize(source, _prepared.pop, key, None).atexit = False
    return _prepared[key]


def pack_inputs(source: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of the inputs for the matrix product."""
    return pack_b(source.reshape(shape), transposed=True)


def sum_biases(source: np.ndarray, dirs: int) -> np.ndarray:
    """Both biases of each direction, where they are only ever added to one another."""
    return np.ascontiguousarray(source.reshape(dirs, 2, -1).sum(1, dtype=source.dtype))


def pack_parts(source: np.ndarray, shape: tuple[int, ...], parts: list[tuple[int, int]]) -> np.ndarray:
    """Recurrent weights for the register tile, each part by itself."""
    r = source.reshape(shape)
    packed = [pack_b(r[d, a:b], transposed=True).reshape(-1) for d in range(shape[0]) for a, b in parts]
    whole = aligned_empty(sum(p.size for p in packed))
    np.concatenate(packed, out=whole)
    return whole


def pack_blocks(source: np.ndarray, shape: tuple[int, ...], blocks: list[tuple[int, int]]) -> np.ndarray:
    """Recurrent weights in blocks of columns."""
    r = source.reshape(shape)
    return np.concatenate([r[d, a:b].T.reshape(-1) for d in range(shape[0]) for a, b in blocks])


@dataclass(init=False, eq=False, repr=False)
class Recurrent(Op):
    """A layer that passes a state from each step of a sequence to the next."""

    activation_alpha: tuple[float, ...] | None = None
    activation_beta: tuple[float, ...] | None = None
    activations: tuple[str, ...] | None = None
    clip: float | None = None
    direction: str = "forward"
    hidden_size: int | None = None
    layout: int = 0

    gates: ClassVar[int]
    defaults: ClassVar[tuple[str, ...]]
    """Activations of one direction."""
    parts: ClassVar[tuple[int, ...]]
    """Gates whose recurrent products are made together."""
    flag: ClassVar[bool] = False

    @property
    def adds_biases(self) -> bool:
        """Whether the biases of inputs and states are simply added."""
        return True

    @property
    def directions(self) -> int:
        """1, or 2 if bidirectional."""
        if self.direction not in DIRECTIONS:
            raise ShapeError(f"direction = {self.direction!r}: expected one of {', '.join(DIRECTIONS)}")
        return DIRECTIONS[self.direction]

    def check(
        self, X: Fact, W: Fact, R: Fact, lens: Fact | None, **others: Fact | None
    ) -> tuple[Dim, Dim, Dim]:
        """Steps, batch and hidden size of valid inputs."""
        given = {"X": X, "W": W, "R": R, **{k: v for k, v in others.items() if v is not None}}
        for name, fact in given.items():
            check_dtype(fact, name, FLOATS)
        check_same_dtype(*given.items())
        for name, fact in (("X", X), ("W", W), ("R", R)):
            check_rank(fact, name, exactly=3)
        assert X.shape is not None and R.shape is not None
        if self.layout not in (0, 1):
            raise ShapeError(f"layout = {self.layout}: expected 0 or 1")
        steps, batch = X.shape[:2] if self.layout == 0 else X.shape[1::-1]
        hidden, dirs, gates = R.shape[2], self.directions, self.gates
        if self.hidden_size is not None and not same_dim(hidden, self.hidden_size):
            raise ShapeError(f"R = {R} is for {hidden} hidden units: hidden_size = {self.hidden_size}")
        state = (dirs, batch, hidden) if self.layout == 0 else (batch, dirs, hidden)
        wanted: dict[str, tuple[Dim, ...]] = {
            "W": (dirs, gates * hidden, X.shape[2]), "R": (dirs, gates * hidden, hidden),
            "B": (dirs, 2 * gates * hidden), "P": (dirs, 3 * hidden), "initial_h": state, "initial_c": state,
        }  # fmt: skip
        for name in wanted.keys() & given.keys():
            check_shape(name, given[name], wanted[name])
        if lens is not None:
            check_dtype(lens, "sequence_lens", {INT32})
            check_shape("sequence_lens", lens, (batch,))
        self.numbers()
        return steps, batch, hidden

    def outputs(self, X: Fact, sizes: tuple[Dim, Dim, Dim], count: int) -> tuple[Fact, ...]:
        """Facts of all states, the last one, and so on."""
        steps, batch, hidden = sizes
        dirs = self.directions
        every = (steps, dirs, batch, hidden) if self.layout == 0 else (batch, steps, dirs, hidden)
        last = (dirs, batch, hidden) if self.layout == 0 else (batch, dirs, hidden)
        return (Fact(X.dtype, every), *(Fact(X.dtype, last),) * (count - 1))

    def flops(self, X: View, W: View, R: View, *others: View | None) -> int:
        return 2 * math.prod(X.shape[:2]) * (W.size + R.size)

    def numbers(self) -> tuple[list[int], list[float]]:
        """Codes of the activations, three for each direction, and their alpha and beta in turn."""
        need = self.directions * len(self.defaults)
        names = self.activations or self.defaults * self.directions
        if len(names) < need:
            raise ShapeError(f"activations = {list(names)}: expected {need}")
        known = {name.lower(): name for name in kernels.ACTIVATIONS}
        codes: list[int] = []
        factors: list[float] = []
        alphas = _in_turn(self.activation_alpha, names[:need], tuple(DEFAULTS))
        betas = _in_turn(self.activation_beta, names[:need], HAS_BETA)
        for i, name in enumerate(names[:need]):
            proper = known.get(name.lower())
            if proper is None:
                raise ShapeError(f"activations = {list(names)}: expected some of {', '.join(known.values())}")
            alpha, beta = DEFAULTS.get(proper, (0.0, 0.0))
            codes.append(kernels.ACTIVATIONS.index(proper))
            given = zip((alphas[i], betas[i]), (alpha, beta), strict=True)
            factors += [default if value is None else value for value, default in given]
            if (i + 1) % len(self.defaults) == 0:
                missing = 3 - len(self.defaults)
                codes += [0] * missing
                factors += [0.0] * (2 * missing)
        return codes, factors

    def geometry(self, steps: int, batch: int, hidden: int) -> tuple[np.ndarray, np.ndarray]:
        """The arguments `g` and `f` of the kernels."""
        codes, factors = self.numbers()
        dirs = self.directions
        head = [steps, batch, hidden, dirs, self.direction == "reverse"]
        if self.layout == 0:
            strides = [batch, 1, dirs * batch * hidden, batch * hidden, hidden, batch * hidden, hidden]
        else:
            strides = [1, steps, dirs * hidden, hidden, steps * dirs * hidden, hidden, dirs * hidden]
        clip = math.inf if self.clip is None or self.clip <= 0 else self.clip
        return np.array([*head, *strides, self.flag, *codes], np.int64), np.array([clip, *factors])

    def project(self, low: Lowering, X: View, W: View, biases: np.ndarray | None) -> View:
        """The products of the inputs of all steps and the weights, for each direction, and the biases."""
        n, k = W.shape[1:]
        m = X.size // k if k else X.shape[0] * X.shape[1]
        made = low.scratch((W.shape[0], m, n), X.dtype)
        for d in range(W.shape[0]) if m else ():
            rows = low.view(X, (m, k))
            out = low.view(made, (m, n), offset=d * m * n * X.dtype.itemsize)
            if X.dtype == FLOAT32 and W.constant is not None:
                packed = prepared(W.constant, pack_inputs, W.shape)
                bias = None if biases is None else low.const(biases[d])
                FusedMatMul(packed=n).lower(low, rows, low.const(packed[d]), bias, None, out)
                continue
            own = low.view(W, (n, k), offset=d * n * k * X.dtype.itemsize)
            if X.dtype == FLOAT32:
                FusedMatMul(transB=True).lower(low, rows, own, None, None, out)
            else:
                turned = low.scratch((k, n), X.dtype)
                permute(low, own, turned, (n, k), (1, 0))
                MatMul().lower(low, rows, turned, out)
        return low.flat(made)

    def turn(self, low: Lowering, R: View) -> View:
        """The recurrent weights as the kernels read them."""
        dirs, _, hidden = R.shape
        bounds = [0, *itertools.accumulate(part * hidden for part in self.parts)]
        parts = list(itertools.pairwise(bounds))
        if R.dtype == FLOAT32:
            return self._packed(low, R, parts)
        columns = kernels.COLUMNS
        blocks = [(a, min(a + columns, stop)) for start, stop in parts for a in range(start, stop, columns)]
        if R.constant is not None:
            return low.const(prepared(R.constant, pack_blocks, R.shape, blocks))
        made = low.scratch((R.size,), R.dtype)
        for d in range(dirs):
            for a, b in blocks:
                shape, at = (b - a, hidden), (d * bounds[-1] + a) * hidden * R.dtype.itemsize
                permute(
                    low, low.view(R, shape, offset=at), low.view(made, shape[::-1], offset=at), shape, (1, 0)
                )
        return made

    def _packed(self, low: Lowering, R: View, parts: list[tuple[int, int]]) -> View:
        """The recurrent weights, packed for the register tile."""
        dirs, n, hidden = R.shape
        if R.constant is not None:
            return low.const(prepared(R.constant, pack_parts, R.shape, parts))
        sizes = [packed_size(hidden, b - a) for a, b in parts]
        made, at = low.scratch((dirs * sum(sizes),)), 0
        for d in range(dirs):
            for (a, b), size in zip(parts, sizes, strict=True):
                own = low.view(R, ((b - a) * hidden,), offset=(d * n + a) * hidden * 4)
                g = low.const(np.array([1, 1, hidden, b - a, hidden, 0, 0], np.int64))
                low.call(pack_columns, own, g, low.view(made, (size,), offset=at * 4), low.tasks(size))
                at += size
        return made

    def lower_layer(
        self, low: Lowering, kernel: Any, X: View, W: View, R: View, B: View | None, lens: View | None,
        constants: list[View | None], states: list[View | None], outputs: list[View],
    ) -> None:  # fmt: skip
        """Project the inputs and run the steps."""
        steps, batch = X.shape[:2] if self.layout == 0 else X.shape[1::-1]
        hidden, rows = R.shape[2], self.directions * batch
        if rows * hidden == 0:
            return
        biases = None
        own = None if B is None or W.constant is None or X.dtype != FLOAT32 else B.constant
        if own is not None and self.adds_biases:
            biases, B = prepared(own, sum_biases, self.directions), None
        x = self.project(low, X, W, biases)
        r = self.turn(low, R)
        none = low.const(NONE.astype(X.dtype))
        g, f = self.geometry(steps, batch, hidden)
        given = [none if v is None else low.flat(v) for v in (B, *constants)]
        lengths = low.const(np.zeros(0, np.int32)) if lens is None else lens
        firsts = [none if v is None else low.flat(v) for v in states]
        made = [low.flat(v) for v in outputs] + [none] * (1 + len(states) - len(outputs))
        # Every task reads all weights of its direction in each step: a few rows must share that.
        tasks = low.tasks(float(rows) * steps * hidden * R.shape[1])
        tasks = min(tasks, max(self.directions, rows // LEAST_ROWS))
        low.call(
            kernel, x, low.flat(r), *given, lengths, *firsts, low.const(tile_addresses()), low.const(NO_ROWS),
            low.const(g), low.const(f.astype(X.dtype)), *made,
            low.scratch((2 * rows * hidden,), X.dtype), low.scratch((3 * rows,), INT64), tasks,
        )  # fmt: skip


def _in_turn(
    given: tuple[float, ...] | None, names: tuple[str, ...], users: tuple[str, ...]
) -> list[float | None]:
    """One number for each activation: by position if there are as many, else for those that use one."""
    if not given:
        return [None] * len(names)
    if len(given) == len(names):
        return list(given)
    rest = iter(given)
    lower = {u.lower() for u in users}
    return [next(rest, None) if name.lower() in lower else None for name in names]


def check_shape(name: str, fact: Fact, shape: tuple[Dim, ...]) -> None:
    """Refuse an input of another shape."""
    check_rank(fact, name, exactly=len(shape))
    assert fact.shape is not None
    if not all(same_dim(a, b) for a, b in zip(fact.shape, shape, strict=True)):
        raise ShapeError(f"{name} = {fact}: expected the shape {list(shape)}")


@op("RNN", since=22)
class RNN(Recurrent):
    """H = act(X W + B + H R) for every step."""

    n_outputs: int = 2

    gates = 1
    parts = (1,)
    defaults = ("Tanh",)

    def infer(
        self, X: Fact, W: Fact, R: Fact, B: Fact | None = None, sequence_lens: Fact | None = None,
        initial_h: Fact | None = None,
    ) -> tuple[Fact, ...]:  # fmt: skip
        sizes = self.check(X, W, R, sequence_lens, B=B, initial_h=initial_h)
        return self.outputs(X, sizes, self.n_outputs)

    def lower(
        self, low: Lowering, X: View, W: View, R: View, B: View | None, sequence_lens: View | None,
        initial_h: View | None, *outputs: View,
    ) -> None:  # fmt: skip
        self.lower_layer(low, kernels.rnn, X, W, R, B, sequence_lens, [], [initial_h], list(outputs))


@op("GRU", since=22)
class GRU(Recurrent):
    """A layer of gated recurrent units."""

    linear_before_reset: bool = False
    n_outputs: int = 2

    gates = 3
    parts = (2, 1)
    defaults = ("Sigmoid", "Tanh")

    @property
    def flag(self) -> bool:  # type: ignore[override]
        """Where the reset gate multiplies."""
        return self.linear_before_reset

    @property
    def adds_biases(self) -> bool:
        """With `linear_before_reset` the reset gate multiplies one of them."""
        return not self.linear_before_reset

    def infer(
        self, X: Fact, W: Fact, R: Fact, B: Fact | None = None, sequence_lens: Fact | None = None,
        initial_h: Fact | None = None,
    ) -> tuple[Fact, ...]:  # fmt: skip
        sizes = self.check(X, W, R, sequence_lens, B=B, initial_h=initial_h)
        return self.outputs(X, sizes, self.n_outputs)

    def lower(
        self, low: Lowering, X: View, W: View, R: View, B: View | None, sequence_lens: View | None,
        initial_h: View | None, *outputs: View,
    ) -> None:  # fmt: skip
        self.lower_layer(low, kernels.gru, X, W, R, B, sequence_lens, [], [initial_h], list(outputs))


@op("LSTM", since=22)
class LSTM(Recurrent):
    """A layer of long short-term memory units."""

    input_forget: bool = False
    n_outputs: int = 3

    gates = 4
    parts = (4,)
    defaults = ("Sigmoid", "Tanh", "Tanh")

    @property
    def flag(self) -> bool:  # type: ignore[override]
        """Whether the forget gate is the rest of the input gate."""
        return self.input_forget

    def infer(
        self, X: Fact, W: Fact, R: Fact, B: Fact | None = None, sequence_lens: Fact | None = None,
        initial_h: Fact | None = None, initial_c: Fact | None = None, P: Fact | None = None,
    ) -> tuple[Fact, ...]:  # fmt: skip
        sizes = self.check(X, W, R, sequence_lens, B=B, initial_h=initial_h, initial_c=initial_c, P=P)
        return self.outputs(X, sizes, self.n_outputs)

    def lower(
        self, low: Lowering, X: View, W: View, R: View, B: View | None, sequence_lens: View | None,
        initial_h: View | None, initial_c: View | None, P: View | None, *outputs: View,
    ) -> None:  # fmt: skip
        states = [initial_h, initial_c]
        self.lower_layer(low, kernels.lstm, X, W, R, B, sequence_lens, [P], states, list(outputs))

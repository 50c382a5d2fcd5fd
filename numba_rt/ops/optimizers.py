"""Steps of optimisers that train a model: a learning rate, the step's number, then tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import FLOATS, INT64
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.ops._checks import check_dtype, same_dim
from numba_rt.ops._op import Op, op

TRAINING = "ai.onnx.preview.training"


@dataclass(init=False, eq=False, repr=False)
class Optimizer(Op):
    """Inputs: R, T, all tensors, all gradients, then each kind of state for all; outputs: the new
    tensors, then the new states. NumPy computes them.
    """

    states: ClassVar[int] = 1
    """Kinds of state a tensor has."""
    half = False

    def _groups(self, inputs: Sequence[Any]) -> list[list[Any]]:
        """For each tensor: itself, its gradient and its states."""
        kinds = self.states + 2
        if not inputs or len(inputs) % kinds:
            raise ShapeError(
                f"{len(inputs)} inputs follow R and T: expected {kinds} for each tensor, "
                f"which are the tensor, its gradient and {self.states} of state"
            )
        count = len(inputs) // kinds
        return [list(inputs[i::count]) for i in range(count)]

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        groups = self._groups(facts[2:])
        return tuple(group[0].dtype for _ in range(self.states + 1) for group in groups)

    def infer(self, R: Fact, T: Fact, *inputs: Fact) -> tuple[Fact, ...]:
        check_dtype(R, "R", FLOATS)
        check_dtype(T, "T", {INT64})
        groups = self._groups(inputs)
        for group in groups:
            check_dtype(group[0], "inputs", FLOATS)
            for other in group[1:]:
                if other.dtype != group[0].dtype or not _same_shape(other, group[0]):
                    raise ShapeError(f"{other} belongs to the tensor {group[0]}: expected the same shape")
        return tuple(group[0].without_value() for _ in range(self.states + 1) for group in groups)

    def run(self, R: np.ndarray, T: np.ndarray, *inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        self.infer(*(Fact(x.dtype, x.shape) for x in (R, T, *inputs)))
        groups = self._groups(inputs)
        with np.errstate(all="ignore"):
            made = [self.step(float(R.reshape(())), int(T.reshape(())), *group) for group in groups]
        return tuple(
            np.asarray(results[kind], group[0].dtype)
            for kind in range(self.states + 1)
            for group, results in zip(groups, made, strict=True)
        )

    def step(self, r: float, t: int, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """The new tensor and its new states."""
        raise NotImplementedError


def _same_shape(a: Fact, b: Fact) -> bool:
    return a.rank == b.rank and all(same_dim(x, y) for x, y in zip(a.shape or (), b.shape or (), strict=True))


@op("Adagrad", domain=TRAINING)
class Adagrad(Optimizer):
    """Steps that shrink with the sum of squared gradients."""

    decay_factor: float = 0.0
    epsilon: float = 1e-6
    norm_coefficient: float = 0.0

    def step(self, r: float, t: int, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, g, h = arrays
        g = self.norm_coefficient * x + g
        h = h + g * g
        return x - r / (1 + t * self.decay_factor) * g / (np.sqrt(h) + self.epsilon), h


@op("Adam", domain=TRAINING)
class Adam(Optimizer):
    """Steps along the mean gradient, divided by the root of its mean square."""

    alpha: float = 0.9
    beta: float = 0.999
    epsilon: float = 1e-6
    norm_coefficient: float = 0.0
    norm_coefficient_post: float = 0.0

    states = 2

    def step(self, r: float, t: int, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, g, v, h = arrays
        g = self.norm_coefficient * x + g
        v = self.alpha * v + (1 - self.alpha) * g
        h = self.beta * h + (1 - self.beta) * (g * g)
        if t > 0:
            r = r * (1 - self.beta**t) ** 0.5 / (1 - self.alpha**t)
        x = x - r * (v / (np.sqrt(h) + self.epsilon))
        return (1 - self.norm_coefficient_post) * x, v, h


@op("Momentum", domain=TRAINING)
class Momentum(Optimizer):
    """Steps along a decaying sum of gradients, looking one step ahead with mode "nesterov"."""

    alpha: float
    beta: float
    mode: str
    norm_coefficient: float

    def step(self, r: float, t: int, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        x, g, v = arrays
        if self.mode not in ("standard", "nesterov"):
            raise ShapeError(f"mode = {self.mode!r}: expected 'standard' or 'nesterov'")
        g = self.norm_coefficient * x + g
        v = self.alpha * v + (self.beta if t > 0 else 1.0) * g
        return x - r * (v if self.mode == "standard" else g + self.alpha * v), v

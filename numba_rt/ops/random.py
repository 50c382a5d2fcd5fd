"""Random numbers, drawn on the host: a seed gives the numbers NumPy's RandomState gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from numba_rt.dtypes import BOOL, FLOATS, HALVES, INT32, INT64, INTEGERS, dtype_name, from_onnx
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact
from numba_rt.ops._checks import check_dtype, check_rank
from numba_rt.ops._op import Op, op

REAL = FLOATS | HALVES


def generator(seed: float | None) -> np.random.RandomState:
    """Draws the same numbers every time if there is a seed, others every time if not."""
    if seed is None or np.isnan(seed):
        return np.random.RandomState()
    return np.random.RandomState(int(seed) % 2**32)


def chosen_dtype(
    code: int | None, default: np.dtype[Any], allowed: frozenset[np.dtype[Any]]
) -> np.dtype[Any]:
    """The dtype the attribute names, or the default."""
    dtype = default if code is None else from_onnx(code)
    if dtype not in allowed:
        names = ", ".join(sorted(dtype_name(d) for d in allowed))
        found = f"of input {dtype_name(default)}" if code is None else f"= {code}"
        raise ShapeError(f"dtype {found}: expected one of {names}")
    return dtype


class Random(Op):
    """Numbers that differ from run to run."""

    deterministic = False
    half = False

    def run(self, *inputs: np.ndarray | None) -> Any:
        self.infer(*(None if x is None else Fact.of(x) for x in inputs))
        return self.draw(*inputs)

    def draw(self, *inputs: Any) -> Any:
        """The result for valid inputs."""
        raise NotImplementedError


@dataclass(init=False, eq=False, repr=False)
class Filled(Random):
    """A value of a given shape."""

    shape: tuple[int, ...]
    dtype: int = 1
    seed: float | None = None

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (chosen_dtype(self.dtype, np.dtype(np.float32), REAL),)

    def infer(self) -> Fact:
        if any(d < 0 for d in self.shape):
            raise ShapeError(f"shape = {list(self.shape)}: expected no negative sizes")
        return Fact(self.out_dtypes()[0], self.shape)


@dataclass(init=False, eq=False, repr=False)
class Like(Random):
    """A value of the shape of another."""

    dtype: int | None = None
    seed: float | None = None

    allowed: ClassVar[frozenset[np.dtype[Any]]] = REAL

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (chosen_dtype(self.dtype, facts[0].dtype, self.allowed),)

    def infer(self, input: Fact) -> Fact:
        return Fact(self.out_dtypes(input)[0], input.shape)


@op("RandomNormal", since=22)
class RandomNormal(Filled):
    """Normally distributed numbers."""

    mean: float = 0.0
    scale: float = 1.0

    def draw(self) -> np.ndarray:
        drawn = generator(self.seed).standard_normal(self.shape)
        return np.asarray(drawn * self.scale + self.mean, self.out_dtypes()[0])


@op("RandomUniform", since=22)
class RandomUniform(Filled):
    """Numbers spread evenly between two limits."""

    low: float = 0.0
    high: float = 1.0

    def draw(self) -> np.ndarray:
        drawn = generator(self.seed).random_sample(self.shape)
        return np.asarray(drawn * (self.high - self.low) + self.low, self.out_dtypes()[0])


@op("RandomNormalLike", since=22)
class RandomNormalLike(Like):
    """Normally distributed numbers in the shape of the input."""

    mean: float = 0.0
    scale: float = 1.0

    def draw(self, input: np.ndarray) -> np.ndarray:
        drawn = generator(self.seed).standard_normal(input.shape)
        return np.asarray(drawn * self.scale + self.mean, self.out_dtypes(input)[0])


@op("RandomUniformLike", since=22)
class RandomUniformLike(Like):
    """Numbers spread evenly between two limits, in the shape of the input."""

    low: float = 0.0
    high: float = 1.0

    def draw(self, input: np.ndarray) -> np.ndarray:
        drawn = generator(self.seed).random_sample(input.shape)
        return np.asarray(drawn * (self.high - self.low) + self.low, self.out_dtypes(input)[0])


@op("Bernoulli", since=22)
class Bernoulli(Like):
    """1 with the probability the input gives, else 0."""

    allowed = REAL | INTEGERS | {BOOL}

    def infer(self, input: Fact) -> Fact:
        check_dtype(input, "input", REAL)
        return super().infer(input)

    def draw(self, input: np.ndarray) -> np.ndarray:
        drawn = generator(self.seed).random_sample(input.shape) < input.astype(np.float64)
        return np.asarray(drawn).astype(self.out_dtypes(input)[0])


@op("Multinomial", since=22)
class Multinomial(Random):
    """Classes drawn with the probabilities whose logarithms, up to a constant, the input gives."""

    dtype: int = 6
    sample_size: int = 1
    seed: float | None = None

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (chosen_dtype(self.dtype, INT32, frozenset({INT32, INT64})),)

    def infer(self, input: Fact) -> Fact:
        check_dtype(input, "input", REAL)
        check_rank(input, "input", exactly=2)
        if self.sample_size < 1:
            raise ShapeError(f"sample_size = {self.sample_size}: expected at least 1")
        assert input.shape is not None
        return Fact(self.out_dtypes()[0], (input.shape[0], self.sample_size))

    def draw(self, input: np.ndarray) -> np.ndarray:
        if input.shape[1] == 0:
            raise ShapeError(f"input of shape {list(input.shape)} has no classes")
        x = input.astype(np.float64)
        bounds = np.cumsum(np.exp(x - x.max(1, keepdims=True)), 1)
        drawn = generator(self.seed).random_sample((len(x), self.sample_size)) * bounds[:, -1:]
        rows = [np.searchsorted(b, d, side="right") for b, d in zip(bounds, drawn, strict=True)]
        return np.array(rows, self.out_dtypes()[0]).reshape(len(x), self.sample_size)


@op("Dropout", since=22)
class Dropout(Random):
    """In training, elements become 0 with the probability `ratio`, the others grow; else the input."""

    seed: int | None = None
    n_outputs: int = 1

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (facts[0].dtype, BOOL)[: self.n_outputs]

    def infer(
        self, data: Fact, ratio: Fact | None = None, training_mode: Fact | None = None
    ) -> tuple[Fact, ...]:
        check_dtype(data, "data", REAL)
        for name, fact in (("ratio", ratio), ("training_mode", training_mode)):
            if fact is not None:
                check_rank(fact, name, exactly=0)
        return (Fact(data.dtype, data.shape), Fact(BOOL, data.shape))[: self.n_outputs]

    def draw(
        self, data: np.ndarray, ratio: np.ndarray | None = None, training_mode: np.ndarray | None = None
    ) -> tuple[np.ndarray, ...]:
        share = 0.5 if ratio is None else float(ratio)
        if not 0 <= share < 1:
            raise ShapeError(f"ratio = {share}: expected at least 0 and less than 1")
        if training_mode is None or not training_mode or share == 0:
            return (data, np.ones(data.shape, np.bool_))[: self.n_outputs]
        mask = np.asarray(generator(self.seed).random_sample(data.shape) >= share)
        kept = np.where(mask, data.astype(np.float64) / (1 - share), 0)
        return (kept.astype(data.dtype), mask)[: self.n_outputs]

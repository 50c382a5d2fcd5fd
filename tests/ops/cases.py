"""The case record of the operator tests: one line is an operator, its attributes, its inputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from numba_rt.ops import Op, get

OPSET = 25
"""Opset of the reference models; operators added later say so in their case."""


@dataclass(eq=False)
class Case:
    """An operator on given inputs; the oracle is the onnx reference evaluator unless one is given."""

    op_type: str
    inputs: tuple[np.ndarray | None, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    n_outputs: int = 1
    oracle: Callable[..., Any] | None = None
    raises: str = ""
    """Text the error must contain; empty if the case is valid."""
    rtol: float = 1e-5
    atol: float = 1e-6
    opset: int = OPSET
    domain: str = ""
    label: str = ""

    @property
    def id(self) -> str:
        """Test id."""
        shapes = ",".join("-" if x is None else f"{x.dtype}{list(x.shape)}" for x in self.inputs)
        attributes = ",".join(f"{k}={v}" for k, v in self.attributes.items() if not isinstance(v, np.ndarray))
        return f"{self.op_type}({shapes},{attributes}){self.label}".replace(" ", "")[:150]

    def op(self) -> Op:
        """The operator with its attributes, as the converter would make it."""
        cls = get(self.domain, self.op_type)
        assert cls is not None, f"{self.op_type} is not registered"
        attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in self.attributes.items()}
        if "n_outputs" in getattr(cls, "__annotations__", {}):
            attributes["n_outputs"] = self.n_outputs
        return cls(**attributes)

    def expected(self) -> list[Any]:
        """What the oracle says."""
        if self.oracle is not None:
            made = self.oracle(*self.inputs, **self.attributes)
            return list(made) if isinstance(made, tuple) else [np.asarray(made)]
        return ReferenceEvaluator(self.onnx_model()).run(None, self.feeds())

    def feeds(self) -> dict[str, np.ndarray]:
        """The inputs by name."""
        return {f"i{k}": x for k, x in enumerate(self.inputs) if x is not None}

    def onnx_model(self) -> onnx.ModelProto:
        """A model of one node."""
        names = [f"i{k}" if x is not None else "" for k, x in enumerate(self.inputs)]
        outs = [f"o{k}" for k in range(self.n_outputs)]
        attributes = {
            k: (
                numpy_helper.from_array(v)
                if isinstance(v, np.ndarray)
                else int(v)
                if isinstance(v, bool)
                else v
            )
            for k, v in self.attributes.items()
        }
        node = helper.make_node(self.op_type, names, outs, domain=self.domain, **attributes)
        inputs = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for n, x in zip(names, self.inputs, strict=True)
            if x is not None
        ]
        outputs = [onnx.ValueInfoProto(name=n) for n in outs]
        graph = helper.make_graph([node], "case", inputs, outputs)
        opsets = [helper.make_opsetid("", self.opset)]
        if self.domain:
            opsets.append(helper.make_opsetid(self.domain, 1))
        return helper.make_model(graph, opset_imports=opsets)


def rng(seed: int = 0) -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(seed)


def f32(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 values."""
    return rng(seed).standard_normal(shape).astype(np.float32)


def f64(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float64 values."""
    return rng(seed).standard_normal(shape)


def positive(*shape: int, seed: int = 0) -> np.ndarray:
    """float32 values in (0.1, 2)."""
    return rng(seed).uniform(0.1, 2, shape).astype(np.float32)


def integers(*shape: int, low: int = -9, high: int = 10, dtype: Any = np.int64, seed: int = 0) -> np.ndarray:
    """Integers in [low, high)."""
    return rng(seed).integers(low, high, shape).astype(dtype)


def bools(*shape: int, seed: int = 0) -> np.ndarray:
    """Random truth values."""
    return rng(seed).integers(0, 2, shape).astype(np.bool_)


def i64(*values: int) -> np.ndarray:
    """A vector of int64."""
    return np.array(values, np.int64)

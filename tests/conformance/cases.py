"""The onnx package's backend cases: models with inputs and the outputs they must give."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test import loader
from onnx.backend.test.case.test_case import TestCase

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
RANDOM = ("test_bernoulli",)
"""Names begin of cases whose outputs are drawn at random: ones and zeros."""

Arrays = list[Any]


@dataclass(frozen=True)
class Case:
    """A model of the suite with its data."""

    kind: str
    given: TestCase

    @property
    def id(self) -> str:
        """`node/test_add`."""
        return f"{self.kind}/{self.given.name}"

    @property
    def is_random(self) -> bool:
        """Whether outputs are drawn at random."""
        return self.given.name.startswith(RANDOM)

    def model(self) -> onnx.ModelProto:
        """The model."""
        if self.given.model is not None:
            return self.given.model
        return onnx.load(self._directory() / "model.onnx" if self.given.model_dir else self._light())

    def data_sets(self, model: onnx.ModelProto) -> Iterator[tuple[Arrays, Arrays]]:
        """Inputs with the outputs they must give."""
        if self.given.data_sets is not None:
            for inputs, outputs in self.given.data_sets:
                yield [_value(x) for x in inputs], [_value(x) for x in outputs]
        elif self.given.model_dir:
            stored = {t.name for t in model.graph.initializer}
            inputs = [v for v in model.graph.input if v.name not in stored]
            for directory in sorted(self._directory().glob("test_data_set*")):
                yield _read(directory, "input", inputs), _read(directory, "output", model.graph.output)
        else:
            yield self._light_data(model)

    def _directory(self) -> Path:
        return Path(self.given.model_dir)

    def _light(self) -> Path:
        name = self.given.name.removeprefix("test_")
        return Path(onnx.backend.test.__file__).parent / "data" / "light" / f"light_{name}.onnx"

    def _light_data(self, model: onnx.ModelProto) -> tuple[Arrays, Arrays]:
        """Rising numbers from 0 to 1, as the package's own runner feeds these models."""
        stored = {t.name for t in model.graph.initializer}
        inputs = []
        for value in model.graph.input:
            if value.name not in stored:
                shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
                n = int(np.prod(shape))
                inputs.append((np.arange(n, dtype=np.float32) / n).reshape(shape))
        path = self._light()
        output = onnx.load_tensor(path.with_name(f"{path.stem}_output_0.pb"))
        return inputs, [numpy_helper.to_array(output)]


@cache
def all_cases() -> tuple[Case, ...]:
    """Every case of the suite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some expected outputs hold infinities on purpose
        return tuple(Case(kind, case) for kind in KINDS for case in loader.load_model_tests(kind=kind))


def _value(value: Any) -> Any:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, onnx.SequenceProto):
        return numpy_helper.to_list(value)
    if isinstance(value, onnx.OptionalProto):
        return numpy_helper.to_optional(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _read(directory: Path, what: str, declared: Any) -> Arrays:
    protos = {
        "tensor_type": onnx.TensorProto,
        "sequence_type": onnx.SequenceProto,
        "optional_type": onnx.OptionalProto,
    }
    found = []
    for i in range(len(list(directory.glob(f"{what}_*.pb")))):
        proto = protos[declared[i].type.WhichOneof("value")]()
        proto.ParseFromString((directory / f"{what}_{i}.pb").read_bytes())
        found.append(_value(proto))
    return found

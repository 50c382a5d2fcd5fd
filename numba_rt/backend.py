"""The onnx package's backend interface: `prepare`, `run_model`, `run_node`, `supports_device`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep, namedtupledict

from numba_rt.errors import InputError, LoadError, UnsupportedOp
from numba_rt.model import Model, load


class PreparedModel(BackendRep):
    """A loaded model behind the backend interface."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._names = [i.name for i in model.inputs]
        self._outputs = namedtupledict("Outputs", [o.name for o in model.outputs])

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs by position and name.

        Args:
            inputs: arrays in the model's order, a mapping of names to arrays, or one array.
            kwargs: none are known; accepted as the interface asks for it.
        """
        if isinstance(inputs, Mapping):
            feeds = dict(inputs)
        else:
            arrays = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
            if len(arrays) > len(self._names):
                raise InputError(f"{len(arrays)} inputs were fed: the model takes {len(self._names)}")
            feeds = dict(zip(self._names, arrays, strict=False))
        return tuple(self._outputs(*self.model.run(feeds)))


class NumbaBackend(Backend):
    """Runs models with numba_rt on the processor."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether every operator of the model is implemented."""
        try:
            load(model)
        except UnsupportedOp:
            return False
        return cls.supports_device(device)

    @classmethod
    def prepare(
        cls,
        model: onnx.ModelProto | str | os.PathLike[str] | bytes | Model | PreparedModel,
        device: str = "CPU",
        threads: int | None = None,
        optimize: bool = True,
        **kwargs: Any,
    ) -> PreparedModel:
        """Load a model."""
        if not cls.supports_device(device):
            raise LoadError(f"device {device!r} is not available: expected 'CPU'")
        if isinstance(model, PreparedModel):
            return model
        loaded = model if isinstance(model, Model) else load(model, threads=threads, optimize=optimize)
        return PreparedModel(loaded)

    @classmethod
    def run_model(
        cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any
    ) -> tuple[Any, ...]:
        """Load a model and run it once."""
        return cls.prepare(model, device, **kwargs).run(inputs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[Any, tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Any, ...]:
        """Run one node; `opset_version` (of the node's domain) may be given."""
        arrays = dict(inputs if isinstance(inputs, Mapping) else zip(node.input, inputs, strict=False))
        feeds = {n: x for n, x in arrays.items() if n and x is not None}
        declared = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
            for n, x in feeds.items()
        ]
        outputs = [onnx.ValueInfoProto(name=n) for n in node.output if n]
        since = onnx.defs.get_schema(node.op_type, node.domain).since_version
        version = kwargs.pop("opset_version", None) or since
        opsets = [helper.make_opsetid(node.domain, version)]
        model = helper.make_model(helper.make_graph([node], "node", declared, outputs), opset_imports=opsets)
        return cls.prepare(model, device).run(feeds)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether models can run on a device: "CPU" is the only one."""
        return device.split(":")[0].upper() == "CPU"


is_compatible = NumbaBackend.is_compatible
prepare = NumbaBackend.prepare
run_model = NumbaBackend.run_model
run_node = NumbaBackend.run_node
supports_device = NumbaBackend.supports_device

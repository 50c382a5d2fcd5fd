"""InferenceSession: a Model behind the calls of onnxruntime, for programs written against those."""

from __future__ import annotations

import json
import os
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from numba_rt.appending import Appending
from numba_rt.dtypes import ONNX_TO_NUMPY, ort_type_name
from numba_rt.graph import Fact, Graph, Sym, Value
from numba_rt.growing import Growing
from numba_rt.model import Model, load
from numba_rt.ort_value import IOBinding, OrtValue, fed
from numba_rt.session_options import ExecutionMode, GraphOptimizationLevel, RunOptions, SessionOptions

if TYPE_CHECKING:
    from numba_rt.decoder import Decoder
    from numba_rt.profile.session import SessionProfile

PROVIDERS = ("CPUExecutionProvider",)
_ALIASES = ("AzureExecutionProvider",)
"""Providers other runtimes list by default; asked for, they mean the processor here."""

NO_VERSION = 2**63 - 1
"""What onnxruntime reports for a model without a version."""


@dataclass(frozen=True)
class NodeArg:
    """An input or output of a model."""

    name: str
    type: str
    shape: list[int | str | None]

    @staticmethod
    def of(name: str, fact: Fact) -> NodeArg:
        """The description of a value."""
        tensor = f"tensor({ort_type_name(fact.dtype)})"
        dims = fact.shape if fact.kind == "tensor" and fact.shape is not None else ()
        return NodeArg(name, _typed(fact.kind, tensor), [_shown(d) for d in dims])

    def __str__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape})"


@dataclass(frozen=True)
class ModelMetadata:
    """What a model says of itself."""

    custom_metadata_map: dict[str, str] = field(default_factory=dict)
    description: str = ""
    domain: str = ""
    graph_description: str = ""
    graph_name: str = ""
    producer_name: str = ""
    version: int = NO_VERSION


class InferenceSession:
    """A model with onnxruntime's calls; `model` is the Model underneath.

    Args:
        path_or_bytes: path of a model file, its bytes, or an onnx.ModelProto.
        sess_options: see SessionOptions.
        providers: accepted; models run on the processor whatever is asked for.
        provider_options: accepted, one mapping for each provider.
        kwargs: further arguments of onnxruntime, which have no meaning here.
    """

    def __init__(
        self,
        path_or_bytes: str | bytes | os.PathLike[str] | Any,
        sess_options: SessionOptions | None = None,
        providers: Sequence[str | tuple[str, Mapping[str, Any]]] | None = None,
        provider_options: Sequence[Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> None:
        began = time.perf_counter_ns()
        is_path = isinstance(path_or_bytes, (str, os.PathLike))
        self._model_path = os.fspath(path_or_bytes) if is_path else None
        self._model_bytes = path_or_bytes if isinstance(path_or_bytes, bytes) else None
        self._sess_options = sess_options or SessionOptions()
        self._sess_options.warn_of_ignored()
        self.set_providers(providers, provider_options)
        self.model = self._load(path_or_bytes)
        graph, declared = self.model.graph, self.model.declared or []
        self._inputs_meta = [NodeArg.of(v.name, v.fact) for v in graph.inputs]
        self._outputs_meta = [_output(v, f) for v, f in zip(graph.outputs, declared, strict=True)]
        self._profile: SessionProfile | None = None
        if self._sess_options.enable_profiling:
            from numba_rt.profile.session import SessionProfile

            self._profile = SessionProfile(self._sess_options.profile_file_prefix, began)
            self.model = self._profile.recorded(self.model)
        self._sess = self.model
        self._output_names = [o.name for o in self._outputs_meta]
        recorded = self._profile.recorded if self._profile is not None else lambda model: model
        self._appending = Appending(self.model, recorded)
        self._growing = Growing(self.model.graph, self._appending, self.model.run)

    def _load(self, source: Any) -> Model:
        options = self._sess_options
        threads = options.intra_op_num_threads or None
        optimized = options.graph_optimization_level != GraphOptimizationLevel.ORT_DISABLE_ALL
        if not options.free_dimensions:
            return load(source, threads=threads, optimize=optimized)
        from converter import convert  # the converter stands above every other layer

        graph = convert(source)
        _fix_dimensions(graph, options.free_dimensions)
        return Model(graph, threads=threads, optimized=optimized)

    # -- running ----------------------------------------------------------------------------

    def run(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        run_options: RunOptions | None = None,
    ) -> list[Any]:
        """Outputs in the order of `output_names`; all of them for None or an empty list.

        Raises:
            InputError: (a ValueError) a feed is missing, unknown, or of the wrong dtype or shape.
        """
        return self._growing.run(input_feed, output_names)

    def run_async(
        self,
        output_names: Sequence[str] | None,
        input_feed: Mapping[str, Any],
        callback: Callable[[list[Any], Any, str], Any],
        user_data: Any = None,
        run_options: RunOptions | None = None,
    ) -> None:
        """Run in a thread, then call `callback(results, user_data, error)`; error is "" if all is well."""

        def work() -> None:
            try:
                results, error = self.run(output_names, input_feed, run_options), ""
            except Exception as failure:  # goes to the caller through the callback
                results, error = [], str(failure)
            callback(results, user_data, error)

        threading.Thread(target=work, name="numba_rt-run-async").start()

    def run_with_ort_values(
        self,
        output_names: Sequence[str] | None,
        input_dict_ort_values: Mapping[str, OrtValue],
        run_options: RunOptions | None = None,
    ) -> list[OrtValue]:
        """Like `run`, on OrtValues; caches handed back are appended to, as in `run_with_iobinding`."""
        return self._run_values(input_dict_ort_values, output_names, {})

    def io_binding(self) -> IOBinding:
        """A new set of bound inputs and outputs."""
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: RunOptions | None = None) -> None:
        """Run on bound inputs; results go where outputs are bound.

        Where the caches among the inputs are OrtValues that an earlier run returned (its `present`, bound as
        `past`), and the new ones are bound to no memory, the run appends to them and copies none. An
        OrtValue keeps its contents whatever becomes of it: it may be handed back more than once.
        """
        bound = iobinding.outputs
        iobinding.take(self._run_values(iobinding.inputs(), list(bound), bound))

    def _run_values(
        self, inputs: Mapping[str, Any], wanted: Sequence[str] | None, into: Mapping[str, np.ndarray | None]
    ) -> list[OrtValue]:
        """Outputs that know where they come from, so that caches handed back can be appended to."""
        names = list(wanted or self._output_names)
        found = self._appending.run(inputs, names, into)
        if found is not None:
            return found
        made = self._growing.run(fed(inputs), names, into)
        token = self._appending.token
        return [OrtValue(x, (token, name)) for x, name in zip(made, names, strict=True)]

    def decoder(self, batch: int = 1) -> Decoder:
        """A Decoder of the same model, which appends to caches that it keeps; weights are shared.

        Args:
            batch: sequences that are decoded together.

        Raises:
            InputError: the model has no caches.
        """
        from numba_rt.decoder import Decoder

        return Decoder(self.model, batch=batch)

    # -- profiling --------------------------------------------------------------------------

    def end_profiling(self) -> str:
        """Write the profile of the runs so far, and return the file's name; "" if there is none."""
        return "" if self._profile is None else self._profile.end()

    def get_profiling_start_time_ns(self) -> int:
        """When profiling began, in nanoseconds since 1970; 0 without profiling."""
        return 0 if self._profile is None else self._profile.started

    # -- describing -------------------------------------------------------------------------

    def get_inputs(self) -> list[NodeArg]:
        """The inputs to feed."""
        return self._inputs_meta

    def get_outputs(self) -> list[NodeArg]:
        """The outputs."""
        return self._outputs_meta

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Inputs with a stored value; here they always have that value."""
        stored = json.loads(self.model.metadata.get("numba_rt.overridable", "[]"))
        return [NodeArg.of(name, Fact(ONNX_TO_NUMPY[code], tuple(dims))) for name, code, dims in stored]

    def get_modelmeta(self) -> ModelMetadata:
        """What the model says of itself."""
        told = self.model.metadata
        own = {k: v for k, v in told.items() if not k.startswith("numba_rt.")}
        names = ("description", "domain", "graph_description", "producer_name")
        about = {name: told.get(f"numba_rt.{name}", "") for name in names}
        version = int(told.get("numba_rt.model_version", NO_VERSION))
        return ModelMetadata(own, graph_name=self.model.graph.name, version=version, **about)

    def get_session_options(self) -> SessionOptions:
        """The options the session was made with."""
        return self._sess_options

    # -- providers --------------------------------------------------------------------------

    def get_providers(self) -> list[str]:
        """Where the model runs."""
        return list(self._providers)

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        """Options by provider."""
        return self._provider_options

    def set_providers(
        self,
        providers: Sequence[str | tuple[str, Mapping[str, Any]]] | None = None,
        provider_options: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Accept a choice of providers, with a warning for those that do not exist here."""
        asked = [p if isinstance(p, str) else p[0] for p in providers or ()]
        for name in asked:
            if name not in (*PROVIDERS, *_ALIASES):
                warnings.warn(
                    f"provider {name!r} is not available: the model runs on {PROVIDERS[0]!r}", stacklevel=3
                )
        self._providers = list(PROVIDERS)
        self._provider_options: dict[str, dict[str, str]] = {name: {} for name in PROVIDERS}

    def disable_fallback(self) -> None:
        """Accepted: there is one provider, so nothing to fall back to."""

    def enable_fallback(self) -> None:
        """Accepted: there is one provider, so nothing to fall back to."""


def get_available_providers() -> list[str]:
    """Names of the providers models can run on."""
    return list(PROVIDERS)


def get_all_providers() -> list[str]:
    """Names of the providers there are."""
    return list(PROVIDERS)


def get_device() -> str:
    """The kind of device models run on."""
    return "CPU"


def set_default_logger_severity(severity: int) -> None:
    """Accepted: nothing is logged."""


def _typed(kind: str, tensor: str) -> str:
    """The type of a value of some kind as onnxruntime writes it."""
    if kind.startswith("optional"):
        return f"optional({_typed(kind.removeprefix('optional').strip(), tensor)})"
    if kind.endswith("sequence"):
        return f"seq({_typed(kind.removesuffix('sequence').strip(), tensor)})"
    return f"map({kind.split()[0]},{tensor})" if kind.endswith("map") else tensor


def _shown(dim: int | Sym) -> int | str | None:
    """A dimension as onnxruntime shows it: sizes the model did not name are None."""
    if isinstance(dim, Sym):
        return None if "#" in str(dim) else str(dim)
    return int(dim)


def _output(value: Value, declared: Fact) -> NodeArg:
    """An output with the sizes' names the model declares, or else what was inferred."""
    return NodeArg.of(value.name, value.fact if declared.shape is None else declared)


def _fix_dimensions(graph: Graph, sizes: Mapping[str, int]) -> None:
    """Replace symbolic sizes of the inputs."""
    for value in graph.inputs:
        if sizes and value.fact.shape is not None:
            shape = tuple(sizes.get(str(d), d) if isinstance(d, Sym) else d for d in value.fact.shape)
            value.fact = Fact(value.fact.dtype, shape, None, value.fact.kind)


__all__ = [
    "ExecutionMode",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtValue",
    "RunOptions",
    "SessionOptions",
    "get_all_providers",
    "get_available_providers",
    "get_device",
    "set_default_logger_severity",
]

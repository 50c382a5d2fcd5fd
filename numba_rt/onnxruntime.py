"""The names of the module onnxruntime, for programs that import it.

`import numba_rt.onnxruntime as ort` serves one's own program; after `numba_rt.onnxruntime.install()`, so does
`import onnxruntime` in any other package.
"""

from __future__ import annotations

import sys
from types import ModuleType

import numba_rt
from numba_rt.errors import InputError, LoadError, NumbaRtError, UnsupportedOp
from numba_rt.ort_value import IOBinding, OrtValue
from numba_rt.session import (
    InferenceSession,
    ModelMetadata,
    NodeArg,
    get_all_providers,
    get_available_providers,
    get_device,
    set_default_logger_severity,
)
from numba_rt.session_options import (
    ExecutionMode,
    ExecutionOrder,
    GraphOptimizationLevel,
    RunOptions,
    SessionOptions,
)

__version__ = "1.23.0"
"""The version of onnxruntime whose calls these are: programs compare it."""

EXCEPTIONS: dict[str, type[Exception]] = {
    "EPFail": NumbaRtError,
    "EngineError": NumbaRtError,
    "Fail": NumbaRtError,
    "InvalidArgument": InputError,
    "InvalidGraph": LoadError,
    "InvalidProtobuf": LoadError,
    "ModelLoaded": NumbaRtError,
    "NoModel": LoadError,
    "NoSuchFile": LoadError,
    "NotImplemented": UnsupportedOp,
    "RuntimeException": NumbaRtError,
}
"""What onnxruntime calls its exceptions → what is raised here."""


def set_default_logger_verbosity(verbosity: int) -> None:
    """Accepted: nothing is logged."""


def disable_telemetry_events() -> None:
    """Accepted: nothing is ever sent."""


def enable_telemetry_events() -> None:
    """Accepted: nothing is ever sent."""


def set_seed(seed: int) -> None:
    """Accepted: an operator that draws random numbers has a seed of its own."""


def get_version_string() -> str:
    """The version of onnxruntime whose calls these are."""
    return __version__


def get_build_info() -> str:
    """What this is."""
    return f"numba_rt {numba_rt.__version__}"


def install() -> None:
    """Let `import onnxruntime`, from now on, mean this module; before it, import no package that uses it."""
    module = sys.modules[__name__]
    capi = ModuleType("onnxruntime.capi")
    state = ModuleType("onnxruntime.capi.onnxruntime_pybind11_state")
    collection = ModuleType("onnxruntime.capi.onnxruntime_inference_collection")
    for found in (state, collection):
        vars(found).update({name: getattr(module, name) for name in __all__})
    vars(state).update(EXCEPTIONS)
    vars(capi).update(
        _pybind_state=state, onnxruntime_pybind11_state=state, onnxruntime_inference_collection=collection
    )
    sys.modules["onnxruntime"] = module
    sys.modules["onnxruntime.capi"] = capi
    for name, part in vars(capi).items():
        if isinstance(part, ModuleType):
            sys.modules[f"onnxruntime.capi.{name}"] = part
    vars(module)["capi"] = capi


__all__ = [
    "ExecutionMode",
    "ExecutionOrder",
    "GraphOptimizationLevel",
    "IOBinding",
    "InferenceSession",
    "ModelMetadata",
    "NodeArg",
    "OrtValue",
    "RunOptions",
    "SessionOptions",
    "disable_telemetry_events",
    "enable_telemetry_events",
    "get_all_providers",
    "get_available_providers",
    "get_build_info",
    "get_device",
    "get_version_string",
    "install",
    "set_default_logger_severity",
    "set_default_logger_verbosity",
    "set_seed",
]

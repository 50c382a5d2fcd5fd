"""numba_rt runs ONNX models: every operator is a Numba kernel, every model a cached plan.

Words, from the model file to the loop that computes:

- *Graph*: inputs, outputs and *Node*s in order. A Node is an *Op* and the *Value*s it reads and makes;
  the *Fact* of a Value is what is known before it is computed: dtype, shape, perhaps the value.
- *Op*: an operator, one frozen class: attributes, shape inference, and how it is computed.
- *Rule*: a rewrite of the graph; the optimiser applies them in one order and reports what it did.
- *Schedule*: what is decided once per model. A *Segment* is a run of nodes planned together; nodes whose
  results cannot be sized beforehand are host steps between segments.
- *Plan*: a segment bound to one set of shapes: *Call*s of kernels with ready arguments, and offsets in
  the *arena*, the memory that one run leases.

Stages, each importing only what stands before it:

    errors, dtypes, jit, threads → graph → kernels → ops → optimize → plan → execute → program → model

`converter` makes Graphs of ONNX files; `model` is where all stages meet; `session` and `backend` give a
Model the calls of onnxruntime and of the onnx package's backend tests.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from numba_rt.collection import paused

if TYPE_CHECKING:
    from numba_rt.decoder import Decoder
    from numba_rt.errors import (
        FormatError,
        IndexRangeError,
        InputError,
        KernelError,
        LoadError,
        MissingExtra,
        NumbaRtError,
        ShapeError,
        UnsupportedOp,
    )
    from numba_rt.model import Model, load
    from numba_rt.session import (
        ExecutionMode,
        GraphOptimizationLevel,
        InferenceSession,
        RunOptions,
        SessionOptions,
        get_available_providers,
        get_device,
    )

    __version__: str

__all__ = [
    "Decoder",
    "ExecutionMode",
    "FormatError",
    "GraphOptimizationLevel",
    "IndexRangeError",
    "InferenceSession",
    "InputError",
    "KernelError",
    "LoadError",
    "MissingExtra",
    "Model",
    "NumbaRtError",
    "RunOptions",
    "SessionOptions",
    "ShapeError",
    "UnsupportedOp",
    "__version__",
    "get_available_providers",
    "get_device",
    "load",
]

_MODEL = ("Model", "load")
_ERRORS = (*(n for n in __all__ if n.endswith("Error")), "MissingExtra", "UnsupportedOp")


def __getattr__(name: str) -> Any:
    """Public names on first use, so that importing a part does not import all operators."""
    if name == "__version__":
        from importlib.metadata import version

        return version("numba_rt")
    if name not in __all__:
        raise AttributeError(f"module 'numba_rt' has no attribute {name!r}")
    home = (
        "decoder"
        if name == "Decoder"
        else "model"
        if name in _MODEL
        else "errors"
        if name in _ERRORS
        else "session"
    )
    with paused():
        return getattr(import_module(f"numba_rt.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

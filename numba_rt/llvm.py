"""The compiler's own modules, for what emits code: imported when something is compiled, not before."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["cgutils", "ir", "types"]


class _Deferred:
    """Stands for a module until an attribute of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(importlib.import_module(self._name), attribute)
        setattr(self, attribute, found)
        return found


if TYPE_CHECKING:
    from llvmlite import ir
    from numba.core import cgutils, types
else:
    ir = _Deferred("llvmlite.ir")
    cgutils = _Deferred("numba.core.cgutils")
    types = _Deferred("numba.core.types")

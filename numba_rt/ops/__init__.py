"""Operators, one family per file. To add one: a class in its family's file and a line of cases in
tests/ops; every module here whose name does not begin with _ is imported, nothing lists operators.
"""

from importlib import import_module
from pkgutil import iter_modules

from numba_rt.ops._op import REGISTRY, Op, get

__all__ = ["REGISTRY", "Op", "get"]

for _module in iter_modules(__path__):
    if not _module.name.startswith("_"):
        import_module(f"numba_rt.ops.{_module.name}")

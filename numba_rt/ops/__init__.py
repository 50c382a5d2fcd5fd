"""Operators, one family per file. To add one: a class in its family's file and a line of cases in
tests/ops; nothing lists operators. A family is imported when one of its operators is asked for.
"""

from numba_rt.ops._op import Op, get
from numba_rt.ops._registry import REGISTRY

__all__ = ["REGISTRY", "Op", "get"]

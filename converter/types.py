"""TypeDef → Fact."""

from __future__ import annotations

import numpy as np

from converter.raw import check_names
from numba_rt.dtypes import STRING, from_onnx
from numba_rt.errors import LoadError
from numba_rt.format.definition import DimensionDef, DimensionKind, TypeDef, TypeKind
from numba_rt.graph import Dim, Fact, Sym, fresh_dim

UNKNOWN = Fact(np.dtype(np.float32), None)
"""The fact of a value of which nothing is declared."""


def to_fact(declared: TypeDef | None, where: str) -> Fact:
    """What a declaration says; a size that has neither number nor name equals no other."""
    kind = TypeKind.NONE if declared is None else declared.kind
    if declared is None or kind not in _KINDS:
        if kind == TypeKind.SPARSE_TENSOR:
            raise LoadError(f"{where} is a sparse tensor: only stored values may be sparse")
        raise LoadError(f"{where} has no type: expected a tensor, sequence, optional or map")
    if kind != TypeKind.TENSOR:
        inner = to_fact(declared.element, where)
        if kind == TypeKind.MAP:
            key = "string" if from_onnx(declared.elem_type) == STRING else "int64"
            return Fact(inner.dtype, None, None, f"{key} map")
        if kind == TypeKind.SEQUENCE:
            name = f"{inner.kind} sequence" if inner.kind.endswith("map") else "sequence"
            return Fact(inner.dtype, inner.shape, None, name)
        name = "optional sequence" if inner.kind == "sequence" else "optional"
        return Fact(inner.dtype, inner.shape, None, name)
    dtype = from_onnx(declared.elem_type)
    if dtype is None:
        raise LoadError(f"{where} has element type {declared.elem_type}, which is not known")
    if declared.shape is None:
        return Fact(dtype, None)
    return Fact(dtype, tuple(_dim(d, where) for d in declared.shape.dim))


NAMELESS = ("", "?", "-1", "None")
"""What exporters write for a size without a name: each is a size of its own."""
_KINDS = (TypeKind.TENSOR, TypeKind.SEQUENCE, TypeKind.MAP, TypeKind.OPTIONAL)


def _dim(dim: DimensionDef, where: str) -> Dim:
    check_names([dim.dim_param], where)
    if dim.kind == DimensionKind.VALUE and dim.dim_value >= 0:
        return int(dim.dim_value)
    return fresh_dim("unknown") if dim.dim_param in NAMELESS else Sym(dim.dim_param)

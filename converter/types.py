"""TypeProto → Fact and back."""

from __future__ import annotations

import numpy as np
import onnx

from converter.raw import check_names
from numba_rt.dtypes import NUMPY_TO_ONNX, from_onnx
from numba_rt.errors import LoadError
from numba_rt.graph import Dim, Fact, Sym, fresh_dim

UNKNOWN = Fact(np.dtype(np.float32), None)
"""The fact of a value of which nothing is declared."""


def to_fact(declared: onnx.TypeProto, where: str) -> Fact:
    """What a declaration says; a size that has neither number nor name equals no other."""
    kind = declared.WhichOneof("value")
    if kind == "optional_type":
        inner = to_fact(declared.optional_type.elem_type, where)
        kind = "optional sequence" if inner.kind == "sequence" else "optional"
        return Fact(inner.dtype, inner.shape, None, kind)
    if kind == "sequence_type":
        inner = to_fact(declared.sequence_type.elem_type, where)
        return Fact(inner.dtype, inner.shape, None, "sequence")
    if kind == "map_type":
        inner = to_fact(declared.map_type.value_type, where)
        return Fact(inner.dtype, None, None, "map")
    if kind == "sparse_tensor_type":
        raise LoadError(f"{where} is a sparse tensor: only stored values may be sparse")
    if kind != "tensor_type":
        raise LoadError(f"{where} has no type: expected a tensor, sequence, optional or map")
    dtype = from_onnx(declared.tensor_type.elem_type)
    if dtype is None:
        raise LoadError(f"{where} has element type {declared.tensor_type.elem_type}, which is not known")
    if not declared.tensor_type.HasField("shape"):
        return Fact(dtype, None)
    dims = declared.tensor_type.shape.dim
    return Fact(dtype, tuple(_dim(d, where) for d in dims))


def _dim(dim: onnx.TensorShapeProto.Dimension, where: str) -> Dim:
    check_names([dim.dim_param], where)
    if dim.HasField("dim_value") and dim.dim_value >= 0:
        return int(dim.dim_value)
    return Sym(dim.dim_param) if dim.dim_param else fresh_dim("unknown")


def to_type(fact: Fact) -> onnx.TypeProto:
    """The declaration of a fact."""
    out = onnx.TypeProto()
    if fact.kind == "sequence":
        out.sequence_type.elem_type.CopyFrom(to_type(Fact(fact.dtype, fact.shape)))
    elif fact.kind.startswith("optional"):
        inner = Fact(fact.dtype, fact.shape, None, "tensor" if fact.kind == "optional" else "sequence")
        out.optional_type.elem_type.CopyFrom(to_type(inner))
    else:
        out.tensor_type.elem_type = NUMPY_TO_ONNX[fact.dtype]
        if fact.shape is not None:
            out.tensor_type.shape.SetInParent()
            for dim in fact.shape:
                made = out.tensor_type.shape.dim.add()
                if isinstance(dim, Sym):
                    made.dim_param = str(dim)
                else:
                    made.dim_value = int(dim)
    return out

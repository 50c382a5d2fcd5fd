"""Stored tensors of every element type; sizes that do not fit are refused."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from converter.from_onnx import FromOnnx
from converter.tensors import sparse_to_array, to_array
from numba_rt.dtypes import ONNX_TO_NUMPY
from numba_rt.errors import LoadError

TYPES = sorted(ONNX_TO_NUMPY)


def values(code: int) -> np.ndarray:
    """Five values that every element type holds exactly."""
    dtype = ONNX_TO_NUMPY[code]
    if dtype.kind == "O":
        return np.array(["", "a", "ü", "日本", "x y"], object)
    numbers = [1, 2, 4, 1, 2] if "e8m0" in dtype.name else [0, 1, 1, 0, 1]
    if dtype.kind == "i" or dtype.name in ("int4", "int2"):
        numbers[1] = -1
    return np.array(numbers).astype(dtype)


@pytest.mark.parametrize("code", TYPES)
@pytest.mark.parametrize("raw", [True, False])
def test_every_element_type(code: int, raw: bool) -> None:
    expected = values(code)
    if raw and expected.dtype.kind == "O":
        return
    if raw:
        tensor = numpy_helper.from_array(expected)
        assert tensor.HasField("raw_data")
    else:
        given = expected.astype(np.float32).tolist() if code > 15 else expected.tolist()
        tensor = helper.make_tensor("t", code, [5], given)
        assert not tensor.HasField("raw_data")
    got = to_array(FromOnnx().tensor(tensor))
    assert got.dtype == expected.dtype
    assert got.tolist() == expected.tolist()
    assert got.flags.c_contiguous
    assert got.flags.aligned


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 5), (5, 1)])
def test_shapes(shape: tuple[int, ...]) -> None:
    expected = np.zeros(shape, np.int64)
    assert to_array(FromOnnx().tensor(numpy_helper.from_array(expected))).shape == shape


def test_bool_bytes_are_zero_or_one() -> None:
    tensor = TensorProto(dims=[3], data_type=TensorProto.BOOL, raw_data=b"\x00\x02\xff")
    assert to_array(FromOnnx().tensor(tensor)).view(np.uint8).tolist() == [0, 1, 1]


def test_float_bits_survive() -> None:
    expected = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45], np.float32)
    assert to_array(FromOnnx().tensor(numpy_helper.from_array(expected))).tobytes() == expected.tobytes()


F32 = TensorProto.FLOAT
FOUR = np.zeros(6, np.float32).tobytes()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (TensorProto(dims=[-1, 3], data_type=F32, raw_data=FOUR), "no negative size"),
        (TensorProto(dims=[2**32, 2**32], data_type=F32), "more elements than can be stored"),
        (TensorProto(dims=[2**32, 0, 2**32], data_type=F32), "more elements than can be stored"),
        (TensorProto(dims=[2**40], data_type=F32), "0 items in float_data"),
        (TensorProto(dims=[2, 4], data_type=F32, raw_data=FOUR), "24 bytes of data: expected 32"),
        (TensorProto(dims=[5], data_type=F32, raw_data=FOUR), "24 bytes of data: expected 20"),
        (TensorProto(dims=[1] * 65, data_type=F32, float_data=[1]), "65 axes"),
        (TensorProto(dims=[2], data_type=F32, float_data=[1]), "1 items in float_data: expected 2"),
        (TensorProto(dims=[1], data_type=F32, int64_data=[1]), "data in int64_data: expected float_data"),
        (
            TensorProto(dims=[1], data_type=F32, float_data=[1], raw_data=b"\0\0\0\0"),
            "both raw_data and float_data",
        ),
        (TensorProto(dims=[1], data_type=0, raw_data=b"\0"), "element type 0"),
        (TensorProto(dims=[1], data_type=99, raw_data=b"\0"), "element type 99"),
        (TensorProto(dims=[3], data_type=TensorProto.INT4, raw_data=b"\0"), "1 bytes of data: expected 2"),
        (TensorProto(dims=[1], data_type=TensorProto.STRING, raw_data=b"a"), "strings in raw_data"),
        (TensorProto(dims=[1], data_type=TensorProto.STRING, string_data=[b"\xff"]), "not valid UTF-8"),
        (
            TensorProto(dims=[1], data_type=F32, float_data=[1], segment=TensorProto.Segment(begin=0, end=1)),
            "segments",
        ),
    ],
)
def test_refused(tensor: onnx.TensorProto, message: str) -> None:
    tensor.name = "weights"
    with pytest.raises(LoadError) as error:
        to_array(FromOnnx().tensor(tensor))
    assert message in str(error.value)
    assert "'weights'" in str(error.value)


def sparse(values: list[float], indices: object, dims: list[int]) -> onnx.SparseTensorProto:
    return helper.make_sparse_tensor(
        numpy_helper.from_array(np.array(values, np.float32), "s"),
        numpy_helper.from_array(np.array(indices, np.int64)),
        dims,
    )


@pytest.mark.parametrize("indices", [[1, 5], [[0, 1], [1, 2]]])
def test_sparse(indices: object) -> None:
    got = sparse_to_array(FromOnnx().sparse(sparse([3, 4], indices, [2, 3])), "s")
    assert got.tolist() == [[0, 3, 0], [0, 0, 4]]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([1, 6], "outside its shape"),
        ([-1, 2], "outside its shape"),
        ([1], "expected int64[2]"),
        ([[0, 3], [0, 0]], "outside"),
    ],
)
def test_bad_sparse(indices: object, message: str) -> None:
    with pytest.raises(LoadError) as error:
        sparse_to_array(FromOnnx().sparse(sparse([3, 4], indices, [2, 3])), "s")
    assert message in str(error.value)


def test_nibbles_are_low_first() -> None:
    tensor = TensorProto(dims=[3], data_type=TensorProto.INT4, raw_data=b"\xf1\x07")
    got = to_array(FromOnnx().tensor(tensor))
    assert got.dtype == ml_dtypes.int4
    assert got.astype(int).tolist() == [1, -1, 7]

"""Maps: what comes in as a dict and what goes out as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, ValueInfoProto, helper

from numba_rt import InferenceSession, InputError, NumbaRtError


def session(op_type: str, x: ValueInfoProto, y: ValueInfoProto, **attributes: Any) -> InferenceSession:
    node = helper.make_node(op_type, ["x"], ["y"], domain="ai.onnx.ml", **attributes)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return InferenceSession(
        helper.make_model(helper.make_graph([node], "maps", [x], [y]), opset_imports=opsets)
    )


def map_type(key: int, value: int) -> Any:
    return helper.make_map_type_proto(key, helper.make_tensor_type_proto(value, None))


def mapping(key: int, value: int) -> ValueInfoProto:
    return helper.make_value_info("x", map_type(key, value))


def tensor(name: str, dtype: int) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, None)


@pytest.mark.parametrize(
    ("labels", "kind"),
    [({"classlabels_strings": ["a", "b"]}, "string"), ({"classlabels_int64s": [4, 2]}, "int64")],
)
def test_zip_map(labels: dict[str, list[Any]], kind: str) -> None:
    key = TensorProto.STRING if kind == "string" else TensorProto.INT64
    rows = helper.make_sequence_type_proto(map_type(key, TensorProto.FLOAT))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])
    made = session("ZipMap", x, helper.make_value_info("y", rows), **labels)
    (found,) = made.run(None, {"x": np.array([[1, 2], [3, 4]], np.float32)})
    first, second = next(iter(labels.values()))
    assert found == [{first: 1.0, second: 2.0}, {first: 3.0, second: 4.0}]
    assert made.get_outputs()[0].type == f"seq(map({kind},tensor(float)))"


def test_zip_map_refuses_other_columns() -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    with pytest.raises(NumbaRtError, match="expected 2 columns"):
        session("ZipMap", x, ValueInfoProto(name="y"), classlabels_int64s=[1, 2])


def test_dict_vectorizer() -> None:
    made = session(
        "DictVectorizer",
        mapping(TensorProto.STRING, TensorProto.DOUBLE),
        tensor("y", TensorProto.DOUBLE),
        string_vocabulary=["a", "c", "b"],
    )
    assert made.get_inputs()[0].type == "map(string,tensor(double))"
    (found,) = made.run(None, {"x": {"b": 4, "a": 8.5}})
    assert found.dtype == np.float64
    assert found.tolist() == [[8.5, 0, 4]]
    for wrong, text in (
        ({"z": 1.0}, "'z', which is not"),
        ({1: 1.0}, "expected strings"),
        ({"a": "1"}, "double|float64"),
        ([1.0], "expected a dict"),
    ):
        with pytest.raises(InputError, match=text):
            made.run(None, {"x": wrong})


@pytest.mark.parametrize(
    ("attributes", "value", "expected"),
    [
        ({}, {5: 1.5, 2: 2}, [[2.0, 1.5]]),
        ({"map_form": "SPARSE", "max_map": 4, "cast_to": "TO_INT64"}, {3: 1.0, 0: 2.0}, [[2, 0, 0, 1]]),
        ({"cast_to": "TO_STRING"}, {3: 1.5}, [["1.5"]]),
    ],
)
def test_cast_map(attributes: dict[str, Any], value: dict[int, float], expected: list[Any]) -> None:
    kinds = {"TO_INT64": TensorProto.INT64, "TO_STRING": TensorProto.STRING}
    y = tensor("y", kinds.get(attributes.get("cast_to", ""), TensorProto.FLOAT))
    made = session("CastMap", mapping(TensorProto.INT64, TensorProto.FLOAT), y, **attributes)
    assert made.run(None, {"x": value})[0].tolist() == expected


def test_cast_map_refuses_keys_out_of_range() -> None:
    x, y = mapping(TensorProto.INT64, TensorProto.FLOAT), tensor("y", TensorProto.FLOAT)
    made = session("CastMap", x, y, map_form="SPARSE", max_map=2)
    with pytest.raises(InputError, match="keys 1 to 2: expected 0 to 1"):
        made.run(None, {"x": {1: 1.0, 2: 1.0}})

"""Operators of old opsets against ONNX Runtime, or NumPy where that is too new for them."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import numba_rt
from converter.upgrades import RULES
from numba_rt.errors import UnsupportedOp
from tests.converter.build import array, model, node

X = array(2, 3, 4, 5)


def feed(arrays: Any) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Inputs i0, i1, … and what to feed them."""
    feeds = {f"i{k}": np.asarray(a) for k, a in enumerate(arrays)}
    types = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in feeds.items()
    ]
    return types, feeds


def run(
    op_type: str, opset: int, arrays: Any, outputs: int, attributes: Any, stored: Any = ()
) -> tuple[Any, Any, Any]:
    types, feeds = feed(arrays)
    constants = [numpy_helper.from_array(np.asarray(a), f"s{k}") for k, a in enumerate(stored)]
    names = [f"o{k}" for k in range(outputs)]
    made = node(op_type, [*feeds, *(c.name for c in constants)], names, "n", **attributes)
    proto = model([made], types, names, constants, opset)
    proto.ir_version = 8
    return proto, feeds, load(proto).run(feeds)


def load(proto: onnx.ModelProto) -> numba_rt.Model:
    try:
        return numba_rt.load(proto)
    except UnsupportedOp as error:
        if "not implemented:" in str(error):
            pytest.skip(str(error))
        raise


def case_id(case: Any) -> str:
    attributes = next(part for part in case if isinstance(part, dict))
    return f"{case[0]}-{case[1]}-{','.join(attributes)}"


CASES: list[tuple[str, int, list[Any], dict[str, Any]]] = [
    ("Squeeze", 11, [array(2, 1, 3)], {"axes": [1]}),
    ("Unsqueeze", 11, [array(2, 3)], {"axes": [0, 3]}),
    ("ReduceSum", 11, [X], {"axes": [1, -1], "keepdims": 0}),
    ("ReduceSum", 11, [X], {}),
    ("ReduceMean", 13, [X], {"axes": [2]}),
    ("ReduceMax", 11, [X], {"axes": [0]}),
    ("ReduceLogSumExp", 13, [X], {"axes": [1]}),
    ("Slice", 9, [X], {"starts": [0, 1], "ends": [1, -1], "axes": [0, 3]}),
    ("Slice", 9, [X], {"starts": [1], "ends": [1000]}),
    ("Clip", 10, [X], {"min": -0.5, "max": 0.5}),
    ("Clip", 10, [X], {"max": 0.5}),
    ("Clip", 10, [X], {}),
    ("Pad", 10, [X], {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "value": 3.0}),
    ("Pad", 10, [X], {"pads": [0, 0, 1, 2, 0, 0, 2, 1], "mode": "reflect"}),
    ("TopK", 9, [X], {"k": 2, "axis": 1}),
    ("Split", 11, [X], {"axis": 3, "split": [2, 3]}),
    ("Split", 11, [X], {"axis": 2}),
    ("Split", 13, [X], {"axis": 2}),
    ("Softmax", 11, [X], {}),
    ("Softmax", 11, [X], {"axis": 2}),
    ("Softmax", 11, [X], {"axis": -1}),
    ("Softmax", 11, [array(2, 5, 1, 1)], {"axis": 1}),
    ("LogSoftmax", 11, [X], {"axis": -2}),
    ("Hardmax", 11, [X], {}),
    ("Dropout", 7, [X], {"ratio": 0.3}),
    ("Dropout", 11, [X], {"ratio": 0.3}),
    ("BatchNormalization", 7, [X, array(3), array(3), array(3), np.abs(array(3))], {"spatial": 1}),
    ("BatchNormalization", 9, [X, array(3), array(3), array(3), np.abs(array(3))], {"epsilon": 0.1}),
    ("GridSample", 16, [X, array(2, 3, 3, 2) / 3], {"mode": "bilinear"}),
    ("Upsample", 7, [X], {"scales": [1.0, 1.0, 2.0, 3.0], "mode": "nearest"}),
    ("Upsample", 9, [X, np.float32([1, 1, 2, 2])], {"mode": "linear"}),
    ("Resize", 10, [X, np.float32([1, 1, 2.5, 1])], {"mode": "nearest"}),
    ("Resize", 10, [X, np.float32([1, 1, 2, 1.5])], {"mode": "linear"}),
    ("Scatter", 9, [X, np.array([[[[1, 2]]]]), array(1, 1, 1, 2)], {"axis": 3}),
    ("RoiAlign", 10, [X, np.float32([[0, 0, 3, 3]]), np.array([1])], {"output_height": 2, "output_width": 2}),
    ("RNN", 7, [array(3, 2, 4), array(1, 5, 4), array(1, 5, 5)], {"hidden_size": 5}),
    ("MaxPool", 7, [X], {"kernel_shape": [2, 2]}),
    ("AveragePool", 7, [X], {"kernel_shape": [2, 2], "count_include_pad": 1, "pads": [1, 1, 1, 1]}),
    ("Gemm", 7, [array(3, 4), array(4, 5), array(5)], {"alpha": 0.5}),
    ("Flatten", 9, [X], {"axis": 2}),
    ("Max", 8, [X, array(5)], {}),
    ("ArgMax", 11, [X], {"axis": 1}),
    ("Cast", 9, [X], {"to": TensorProto.INT64}),
    ("Equal", 7, [np.array([1, 2]), np.array([1, 3])], {}),
    ("DFT", 17, [array(2, 5, 1)], {}),
    ("OneHot", 9, [np.array([0, 2]), np.array([3]), np.float32([2, 5])], {}),
    ("QuantizeLinear", 10, [X, np.float32(0.1), np.uint8(9)], {}),
    ("Scan", 8, [array(2, 4), array(2, 3, 4)], {}),
]


def outputs_of(op_type: str) -> int:
    return {"TopK": 2, "Split": 2, "Scan": 2}.get(op_type, 1)


def scan_attributes() -> dict[str, Any]:
    formals = [onnx.ValueInfoProto(name=n) for n in ("s", "v")]
    body = helper.make_graph(
        [node("Add", ["s", "v"], ["sum"]), node("Neg", ["sum"], ["out"])],
        "body",
        [helper.make_tensor_value_info(f.name, TensorProto.FLOAT, [4]) for f in formals],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in ("sum", "out")],
    )
    return {"body": body, "num_scan_inputs": 1}


def ort_run(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> list[Any]:
    for output in proto.graph.output:
        output.ClearField("type")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


@pytest.mark.parametrize(("op_type", "opset", "arrays", "attributes"), CASES, ids=map(case_id, CASES))
def test_as_onnxruntime(op_type: str, opset: int, arrays: list[Any], attributes: dict[str, Any]) -> None:
    if op_type == "Scan":
        types, feeds = feed(arrays)
        made = node("Scan", ["", *feeds], ["o0", "o1"], "n", **scan_attributes())
        proto = model([made], types, ["o0", "o1"], [], opset)
        got = load(proto).run(feeds)
        sums = arrays[0][:, None] + np.cumsum(arrays[1], axis=1)
        expected = [sums[:, -1], -sums]
    else:
        proto, feeds, got = run(op_type, opset, arrays, outputs_of(op_type), attributes)
        expected = ort_run(proto, feeds)
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert g.dtype == e.dtype
        np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-5)


def groups_normalised(x: np.ndarray) -> np.ndarray:
    """Two groups of channels."""
    groups = x.reshape(len(x), 2, -1)
    unit = (groups - groups.mean(2, keepdims=True)) / np.sqrt(groups.var(2, keepdims=True) + 1e-5)
    return unit.reshape(x.shape)


EARLY: list[tuple[str, int, list[Any], list[Any], dict[str, Any], Any]] = [
    ("Add", 6, [X, array(3)], [], {"broadcast": 1, "axis": 1}, lambda a, b: a + b[:, None, None]),
    ("Mul", 6, [X, array(3, 4)], [], {"broadcast": 1, "axis": 1}, lambda a, b: a * b[:, :, None]),
    ("Sub", 6, [X, array(5)], [], {"broadcast": 1}, lambda a, b: a - b),
    ("Div", 1, [X, np.abs(X) + 1], [], {"consumed_inputs": [0, 0]}, lambda a, b: a / b),
    ("Greater", 1, [X, array(2)], [], {"broadcast": 1, "axis": 0}, lambda a, b: a > b[:, None, None, None]),
    ("PRelu", 6, [X, array(3)], [], {}, lambda a, b: np.where(a < 0, a * b[:, None, None], a)),
    ("Gemm", 6, [array(3, 4), array(4, 5), array(5)], [], {"broadcast": 1}, lambda a, b, c: a @ b + c),
    ("Reshape", 1, [X], [], {"shape": [0, -1]}, lambda a: a.reshape(2, -1)),
    ("Cast", 1, [X], [], {"to": "INT32"}, lambda a: a.astype(np.int32)),
    ("Concat", 1, [X, X], [], {}, lambda a, b: np.concatenate((a, b), 1)),
    ("Pad", 1, [array(2, 3)], [], {"paddings": [0, 1, 1, 0]}, lambda a: np.pad(a, ((0, 1), (1, 0)))),
    ("Tile", 1, [array(2, 3)], [np.int64(2), np.int64(1)], {}, lambda a: np.tile(a, (1, 2))),
    ("Clip", 6, [X], [], {"min": 0.0}, lambda a: np.maximum(a, 0)),
    ("Upsample", 1, [X], [], {"height_scale": 2.0, "width_scale": 1.0}, lambda a: a.repeat(2, 2)),
    ("Selu", 1, [X], [], {}, lambda a: np.where(a > 0, 1.0507 * a, 1.0507 * 1.6732 * (np.exp(a) - 1))),
    (
        "BatchNormalization", 7, [X, *(np.abs(array(3, 4, 5, seed=i)) for i in range(4))], [], {"spatial": 0},
        lambda x, s, b, m, v: (x - m) / np.sqrt(v + 1e-5) * s + b,
    ),
    (
        "GroupNormalization", 18, [array(2, 4, 5), np.float32([1, 2]), np.float32([0, 3])], [],
        {"num_groups": 2}, lambda x, s, b: groups_normalised(x) * s.repeat(2)[:, None] + b.repeat(2)[:, None],
    ),
    (
        "LSTM", 1, [array(3, 2, 4), array(1, 20, 4), array(1, 20, 5)], [],
        {"hidden_size": 5, "output_sequence": 1}, None,
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", EARLY, ids=map(case_id, EARLY))
def test_as_numpy(case: Any) -> None:
    op_type, opset, arrays, stored, attributes, oracle = case
    _, _, got = run(op_type, opset, arrays, 1, attributes, stored)
    if oracle is None:
        (expected,) = run(op_type, 14, arrays, 1, {"hidden_size": 5})[2]
    else:
        expected = oracle(*arrays)
    np.testing.assert_allclose(got[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [0.3, 0.6, 0.9, 1.5])
def test_nearest_rounded_up_where_an_axis_shrank(scale: float) -> None:
    stored = [np.float32([1, 1, 1, scale])]
    proto, feeds, got = run("Resize", 10, [array(1, 1, 2, 10)], 1, {"mode": "nearest"}, stored)
    np.testing.assert_array_equal(got[0], ort_run(proto, feeds)[0])


def test_dropout_mask_had_the_dtype_of_the_data() -> None:
    _, _, (y, mask) = run("Dropout", 7, [X], 2, {"ratio": 0.5})
    np.testing.assert_array_equal(y, X)
    assert mask.dtype == np.float32
    assert (mask == 1).all()


def test_training_outputs_of_old_batch_normalization() -> None:
    arrays = [X, array(3), array(3), array(3), np.abs(array(3))]
    with pytest.raises(UnsupportedOp, match="of training before opset 14"):
        run("BatchNormalization", 9, arrays, 5, {})


# -- completeness -----------------------------------------------------------------------------


def changes() -> list[tuple[str, int, str]]:
    """Attributes that standard operators no longer have: operator, opset that dropped it, attribute."""
    history: dict[str, list[Any]] = defaultdict(list)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            history[schema.name].append(schema)
    found = []
    for name, schemas in history.items():
        schemas.sort(key=lambda s: s.since_version)
        for old, new in pairwise(schemas):
            for attribute in set(old.attributes) - set(new.attributes) - {"consumed_inputs"}:
                found.append((name, new.since_version, attribute))
    return sorted(found)


@pytest.mark.parametrize(("op_type", "opset", "attribute"), changes())
def test_every_dropped_attribute_has_a_rule(op_type: str, opset: int, attribute: str) -> None:
    assert any(changed >= opset for changed, _ in RULES.get(op_type, ()))


def test_every_replaced_operator_has_a_rule() -> None:
    deprecated = {s.name for s in onnx.defs.get_all_schemas() if s.deprecated and s.domain == ""}
    assert deprecated <= RULES.keys()

"""RTen's files compute what the ONNX models compute from which they were made; damaged ones are refused."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from rten_convert.errors import ConversionError

import numba_rt
from converter.rten import read_rten
from converter.rten_schema import ATTRIBUTES, OPERATORS
from numba_rt.cli import main
from numba_rt.errors import LoadError, NumbaRtError, UnsupportedOp
from tests.converter.build import array, model, node, tensor
from tests.converter.rten_files import converted, header, written
from tests.ops.cases import Case

I64, BOOL = TensorProto.INT64, TensorProto.BOOL
PLAIN = {"float32", "int32", "int64", "bool", "int8", "uint8"}

LOSSY = {  # what RTen's converter changes without saying so
    "Cast": lambda c: c.attributes["to"] == BOOL,
    "Resize": lambda c: c.attributes.get("mode") == "cubic",
    "Softmax": lambda c: "axis" not in c.attributes,
    "LogSoftmax": lambda c: "axis" not in c.attributes,
}


def narrowed(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Feeds in the dtypes that RTen has."""
    info = np.iinfo(np.int32)
    wide = {k: v for k, v in feeds.items() if v.dtype in (np.int64, np.bool_)}
    return feeds | {
        k: np.clip(v.astype(np.int64), info.min, info.max).astype(np.int32) for k, v in wide.items()
    }


def check(
    file: Any, expected: Any, feeds: dict[str, np.ndarray], rtol: float = 1e-5, atol: float = 1e-6
) -> None:
    got = numba_rt.load(file, threads=1).run(narrowed(feeds))
    assert len(got) == len(expected)
    for g, e in zip(got, map(np.asarray, expected), strict=True):
        assert g.shape == e.shape
        assert str(g.dtype) in PLAIN - {"int64", "bool"}
        np.testing.assert_allclose(g.astype(np.float64), e.astype(np.float64), rtol, atol)


def cases() -> list[Case]:
    """For each operator the first case that RTen's converter takes, if possible one on floats."""
    families = sorted({cls.__module__.rpartition(".")[2] for cls in numba_rt.ops.REGISTRY.values()})
    found: dict[str, Case] = {}
    for family in families:
        if not (Path(__file__).parents[1] / "ops" / f"{family}.py").exists():
            continue
        family_cases = import_module(f"tests.ops.{family}").CASES
        for case in sorted(
            family_cases, key=lambda c: not (c.inputs and str(c.inputs[0].dtype) == "float32")
        ):
            if case.domain or case.raises or case.op_type in found or case.op_type not in OPERATORS:
                continue
            dtypes = {str(x.dtype) for x in case.inputs if x is not None}
            if dtypes <= PLAIN and not LOSSY.get(case.op_type, lambda c: False)(case):
                try:
                    converted(case.onnx_model(), 1)
                except (ConversionError, ValueError):
                    continue
                found[case.op_type] = case
    return list(found.values())


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.id)
def test_operators(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "case.rten"
    path.write_bytes(converted(case.onnx_model(), 1))
    check(path, case.expected(), case.feeds(), case.rtol, case.atol)


def test_tables_are_those_of_the_published_converter() -> None:
    import rten_convert.schema_generated as schema

    operators = {v: k for k, v in vars(schema.OperatorType).items() if isinstance(v, int)}
    attributes = {v: k for k, v in vars(schema.OperatorAttrs).items() if isinstance(v, int)}
    assert list(OPERATORS[: len(operators)]) == [operators[i] for i in range(len(operators))]
    names = [attributes[i].removesuffix("Attrs") for i in range(1, len(attributes))]
    assert [name for name, _ in ATTRIBUTES[: len(names)]] == names


# -- operators of later versions ------------------------------------------------------------

X = array(2, 3, 4)
WRITTEN: list[tuple[str, tuple[Any, ...], dict[str, Any], Any]] = [
    ("Celu", (X,), {"alpha": 2.0}, None),
    ("ThresholdedRelu", (X,), {"alpha": 0.5}, None),
    ("Selu", (X,), {}, None),
    ("Shrink", (X,), {"bias": 0.1}, None),
    ("Softsign", (X,), {}, None),
    ("LpNormalization", (X,), {"axis": 1, "p": 1}, None),
    ("BitwiseNot", (np.arange(4, dtype=np.int32),), {}, None),
    ("ReduceLogSumExp", (X, np.array([1], np.int32)), {"keepdims": True}, {"keepdims": 1}),
    ("CumSum", (X, np.array(1, np.int32)), {"reverse": True}, {"reverse": 1}),
    ("ReverseSequence", (X, np.array([1, 2, 1], np.int32)), {}, {}),
]


@pytest.mark.parametrize(
    ("op_type", "inputs", "given", "standard"), WRITTEN, ids=lambda x: x if isinstance(x, str) else ""
)
def test_operators_of_later_versions(op_type: str, inputs: Any, given: Any, standard: Any) -> None:
    tables = {"Celu": "Elu", "ThresholdedRelu": "Elu", "ReduceLogSumExp": "ReduceMean"}
    file = written(op_type, [str(x.dtype) for x in inputs], table=tables.get(op_type, op_type), **given)
    names = [f"i{k}" for k in range(len(inputs))]
    wide = [x.astype(np.int64) if k and op_type != "CumSum" else x for k, x in enumerate(inputs)]
    infos = [
        tensor(n, x.shape, helper.np_dtype_to_tensor_dtype(x.dtype)) for n, x in zip(names, wide, strict=True)
    ]
    if op_type == "Selu":
        given = {"alpha": 1.6732632, "gamma": 1.0507009}
    attributes = given if standard is None else standard
    original = model([node(op_type, names, ("o0",), **attributes)], infos, ("o0",), opset=24)
    feeds = dict(zip(names, wide, strict=True))
    check(file, numba_rt.load(original).run(feeds), feeds)


def test_inputs_without_a_dtype() -> None:
    """Old files do not say dtypes: what an operator reads as integers is int32, all else float32."""
    loaded = numba_rt.load(written("Gather", ["", ""], axis=0))
    assert [str(i.dtype) for i in loaded.inputs] == ["float32", "int32"]
    np.testing.assert_array_equal(loaded.run({"i0": X, "i1": np.array([1], np.int32)})[0], X[[1]])


# -- whole models ---------------------------------------------------------------------------


def weights(name: str, *shape: int, seed: int = 0) -> onnx.TensorProto:
    return numpy_helper.from_array(array(*shape, seed=seed), name)


def number(name: str, value: Any, dtype: Any = np.int64) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(value, dtype), name)


def network() -> onnx.ModelProto:
    """Large and small constants, shape arithmetic, truth values, two outputs."""
    nodes = [
        node("Conv", ("image", "filters", "bias"), ("a",), "conv", pads=[1, 1, 1, 1]),
        node("Relu", ("a",), ("b",), "relu"),
        node("Shape", ("b",), ("s",), "shape"),
        node("Gather", ("s", "zero"), ("n",), "size"),
        node("Concat", ("n", "rest"), ("to",), "concat", axis=0),
        node("Reshape", ("b", "to"), ("rows",), "reshape"),
        node("MatMul", ("rows", "matrix"), ("logits",), "matmul"),
        node("Greater", ("logits", "limit"), ("above",), "greater"),
        node("Not", ("above",), ("below",), "not"),
        node("Where", ("below", "limit", "logits"), ("kept",), "where"),
    ]
    constants = [
        weights("filters", 4, 3, 3, 3), weights("bias", 4), weights("matrix", 4 * 6 * 5, 7, seed=1),
        number("zero", [0]), number("rest", [-1]), number("limit", 0.5, np.float32),
    ]  # fmt: skip
    return model(
        nodes, [tensor("image", ("batch", 3, 6, 5))], ["above", tensor("kept", ("batch", 7))], constants, 18
    )


def control_flow() -> onnx.ModelProto:
    """A Loop that captures, and an If in it."""
    bigger = helper.make_graph([node("Add", ("v", "step"), ("t",))], "then", [], [tensor("t", None)])
    smaller = helper.make_graph([node("Sub", ("v", "step"), ("e",))], "else", [], [tensor("e", None)])
    body = helper.make_graph(
        [
            node("ReduceSum", ("v", "axes"), ("total",), "sum", keepdims=0),
            node("Less", ("total", "most"), ("go",), "less"),
            node("If", ("go",), ("w",), "if", then_branch=bigger, else_branch=smaller),
            node("Cast", ("i",), ("f",), "cast", to=TensorProto.FLOAT),
            node("Add", ("total", "f"), ("seen",), "seen"),
        ],
        "body",
        [tensor("i", (), I64), tensor("go_in", (), BOOL), tensor("v", (2, 3))],
        [tensor("go", (), BOOL), tensor("w", (2, 3)), tensor("seen", ())],
    )
    nodes = [node("Loop", ("count", "yes", "x"), ("y", "totals"), "loop", body=body)]
    constants = [
        number("count", 5), number("yes", True, np.bool_), number("axes", [0, 1]),
        number("most", 20, np.float32), weights("step", 2, 3),
    ]  # fmt: skip
    return model(nodes, ["x"], ["y", "totals"], constants, 18)


def recurrent() -> onnx.ModelProto:
    nodes = [
        node("LSTM", ("x", "w", "r", "b"), ("y", "h", "c"), "lstm", hidden_size=5, direction="bidirectional"),
        node("GRU", ("x", "gw", "gr"), ("", "g"), "gru", hidden_size=4, linear_before_reset=1),
    ]
    constants = [
        weights("w", 2, 20, 3), weights("r", 2, 20, 5), weights("b", 2, 40), weights("gw", 1, 12, 3),
        weights("gr", 1, 12, 4),
    ]  # fmt: skip
    return model(nodes, [tensor("x", ("time", 2, 3))], ["y", "c", "g"], constants, 18)


def sequences() -> onnx.ModelProto:
    nodes = [
        node("SplitToSequence", ("x", "parts"), ("s",), "split", axis=1),
        node("SequenceAt", ("s", "one"), ("first",), "at"),
        node("SequenceLength", ("s",), ("n",), "length"),
        node("ConcatFromSequence", ("s",), ("whole",), "concat", axis=0),
    ]
    constants = [number("parts", 1), number("one", 1)]
    return model(nodes, ["x"], ["first", "n", "whole"], constants, 18)


MODELS = [
    (network, {"image": array(2, 3, 6, 5)}),
    (control_flow, {"x": array(2, 3)}),
    (recurrent, {"x": array(4, 2, 3)}),
    (sequences, {"x": array(2, 3)}),
]


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("make", "feeds"), MODELS, ids=lambda x: getattr(x, "__name__", ""))
def test_models(make: Any, feeds: dict[str, np.ndarray], version: int, tmp_path: Path) -> None:
    path = tmp_path / "model.rten"
    path.write_bytes(converted(make(), version))
    expected = numba_rt.load(make(), threads=1).run(feeds)
    check(path, expected, feeds)
    if version == 2:
        check(path.read_bytes(), expected, feeds)


def test_truth_values_stay_so_between_operators() -> None:
    """Only those that leave the model become int32."""
    definition = read_rten(converted(network()))
    assert definition.graph is not None
    casts = [n for n in definition.graph.node if n.op_type == "Cast"]
    assert not [n for n in casts if n.attribute[0].i == BOOL]


def test_what_a_model_declares_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "model.rten"
    path.write_bytes(converted(network(), description="a test", license="MIT", run_url="https://x"))
    loaded = numba_rt.load(path)
    assert [(i.name, str(i.dtype), i.shape) for i in loaded.inputs] == [
        ("image", "float32", ("batch", 3, 6, 5))
    ]
    assert [(o.name, str(o.dtype)) for o in loaded.outputs] == [("above", "int32"), ("kept", "float32")]
    assert loaded.graph.metadata["license"] == "MIT"
    assert loaded.graph.metadata["run_url"] == "https://x"
    assert main(["inspect", "--json", str(path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["about"]["description"] == "a test"
    assert shown["parameters"]["count"] == 108 + 4 + 840 + 3
    assert shown["operators"]["Conv"] == 1


# -- damage ---------------------------------------------------------------------------------


def loads(data: bytes) -> bool:
    """Whether a file loads; if not, the error is one of ours."""
    try:
        numba_rt.load(data, threads=1)
    except NumbaRtError:
        return False
    return True


FILES = [converted(network()), converted(control_flow()), written("Gather", ["", ""], axis=0)]


@pytest.mark.parametrize("file", FILES, ids=["network", "control flow", "version 1"])
def test_truncated_files_are_refused(file: bytes) -> None:
    for part in range(1, 64):
        data = file[: len(file) * part // 64]
        if len(data) >= 8:
            assert not loads(data), f"{len(data)} of {len(file)} bytes"


@pytest.mark.parametrize("file", FILES, ids=["network", "control flow", "version 1"])
def test_flipped_bits_are_refused_or_mean_something_else(file: bytes) -> None:
    for at in range(8, len(file), max(1, len(file) // 64)):
        for bit in (0x01, 0x80):
            loads(file[:at] + bytes([file[at] ^ bit]) + file[at + 1 :])


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_edit_is_refused_or_means_something_else(data: st.DataObject) -> None:
    file = bytearray(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(8, len(file) - 4))
        new = data.draw(
            st.sampled_from([b"\0", b"\xff", b"\xff\xff\xff\xff", b"\x80", b"\0\0\0\x80", b"\x04\0"])
        )
        file[at : at + len(new)] = new
    loads(bytes(file))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"RTEN\2\0\0\0", "ends within the header"),
        (header(3, 32, 0, 32), "version 3"),
        (header(2, 32, 100, 32), "outside of 32 bytes"),
        (header(2, 0, 8, 8), "outside of 32 bytes"),
        (header(2, 32, 4, 36) + b"\xff" * 4, "damaged"),
        (bytes(64), "damaged"),
    ],
)
def test_messages(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "model.rten"
    path.write_bytes(data)
    with pytest.raises(LoadError, match=message):
        numba_rt.load(path)


def test_missing_files_and_unknown_operators(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="does not exist"):
        numba_rt.load(tmp_path / "none.rten")
    (tmp_path / "directory.rten").mkdir()
    with pytest.raises(LoadError, match="not a regular file"):
        numba_rt.load(tmp_path / "directory.rten")
    file = bytearray(written("BitwiseNot", ["int32"]))
    at = file.rindex(bytes([OPERATORS.index("BitwiseNot")]))
    file[at] = 250
    with pytest.raises(UnsupportedOp, match="RTenOperator250"):
        numba_rt.load(bytes(file))


def test_an_onnx_model_of_a_producer_called_rten() -> None:
    """Its first bytes have the name where a FlatBuffer has its identifier."""
    made = model([node("Relu")])
    made.ir_version, made.producer_name = 8, "RTEN"
    data = made.SerializeToString()
    assert data[4:8] == b"RTEN"
    assert numba_rt.load(data).outputs[0].name == "y"

"""Reading ONNX files without the onnx package: what its reader finds, and nothing twice in memory."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto, helper, numpy_helper

from converter import source
from converter.from_onnx import FromOnnx
from converter.messages import Model
from converter.source import Memory
from converter.tensors import to_array, to_arrays
from converter.to_onnx import to_proto
from converter.wire import WireError, read_message
from numba_rt.errors import LoadError
from numba_rt.format.definition import GraphDef
from tests.format.models import everything, mixed

LARGE = np.random.default_rng(0).standard_normal((200, 300)).astype(np.float32)


def shown(message: object) -> bytes:
    """A message by way of the definition, as bytes that are equal if the definitions are."""
    try:
        return to_proto(FromOnnx().model(message)).SerializeToString(deterministic=True)  # type: ignore[arg-type]
    except (LoadError, TypeError, ValueError) as error:
        return f"{type(error).__name__}".encode()


def ours(data: bytes) -> bytes | None:
    message = Model()
    try:
        read_message(message, Memory(data))
    except WireError:
        return None
    return shown(message)


def theirs(data: bytes) -> bytes | None:
    message = onnx.ModelProto()
    try:
        message.ParseFromString(data)
    except DecodeError:
        return None
    return shown(message)


def large() -> onnx.ModelProto:
    """Tensors too large to be read with what is around them: stored, in a Constant, in a body, typed."""
    tensor = numpy_helper.from_array(LARGE, "w")
    typed = [
        helper.make_tensor("f", TensorProto.FLOAT, LARGE.shape, LARGE.reshape(-1)),
        helper.make_tensor("i", TensorProto.INT64, [30_000], range(-15_000, 15_000)),
        helper.make_tensor("h", TensorProto.FLOAT16, [40_000], np.arange(40_000) / 64),
    ]
    body = helper.make_graph([], "body", [], [onnx.ValueInfoProto(name="w")], [tensor])
    nodes = [
        helper.make_node("Constant", [], ["c"], value=tensor),
        helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body),
    ]
    doc = "long " * 20_000
    graph = helper.make_graph(
        nodes, "g", [], [onnx.ValueInfoProto(name="y")], [tensor, *typed], doc_string=doc
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


@pytest.mark.parametrize("make", [everything, mixed, large])
def test_every_field_is_read_as_protobuf_reads_it(make: object) -> None:
    data = make().SerializeToString()  # type: ignore[operator]
    assert ours(data) == theirs(data)


def test_damaged_bytes_are_refused_or_mean_the_same() -> None:
    data, rng = everything().SerializeToString(), np.random.default_rng(1)
    for position in range(0, len(data), 3):
        damaged = bytearray(data)
        damaged[position] ^= 1 << rng.integers(8)
        found = ours(bytes(damaged))
        assert found in (None, b"LoadError") or found == theirs(bytes(damaged)), position


def test_what_is_given_twice_is_merged() -> None:
    first, second = everything().SerializeToString(), mixed().SerializeToString()
    assert ours(first + second) == theirs(first + second)
    dim = b"\x08\x03\x12\x01n"  # a size, then a name in its place
    shape = b"\x12" + _length(b"\x0a" + _length(dim))
    info = b"\x5a" + _length(b"\x12" + _length(b"\x0a" + _length(shape)))
    assert ours(b"\x3a" + _length(info)) == theirs(b"\x3a" + _length(info)) != b""


def test_messages_nested_too_deeply_are_refused() -> None:
    data = b""
    for _ in range(300):  # a type of sequences of sequences ...
        inner = b"\x22" + _length(b"\x0a" + _length(data))
        data = inner
    with pytest.raises(WireError, match="nested"):
        read_message(Model(), Memory(b"\x3a" + _length(b"\x5a" + _length(b"\x12" + _length(data)))))


def _length(data: bytes) -> bytes:
    size, text = len(data), b""
    while size >= 0x80:
        text, size = text + bytes([size & 0x7F | 0x80]), size >> 7
    return text + bytes([size]) + data


def weights(path: Path) -> GraphDef:
    made, directory = source.read(path)
    graph = FromOnnx(directory).model(made).graph
    assert graph is not None
    return graph


def test_large_tensors_are_read_from_the_file_when_needed(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(large().SerializeToString())
    tensor = weights(path).initializer[0]
    os.replace(path, tmp_path / "elsewhere.onnx")  # the file itself is what was opened
    array = to_array(tensor)
    assert array.tobytes() == LARGE.tobytes()
    assert array.flags.writeable  # memory of its own, which needs no copy later


@pytest.mark.parametrize("change", ["truncated", "longer", "emptied"])
def test_a_file_that_changes_meanwhile(change: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data := large().SerializeToString())
    tensor = weights(path).initializer[0]
    os.truncate(path, {"truncated": 1000, "longer": len(data) + 1, "emptied": 0}[change])
    with pytest.raises(LoadError, match=r"'w' of .*m\.onnx.* has changed"):
        to_array(tensor)


def test_many_large_tensors_are_read_by_two_threads(tmp_path: Path) -> None:
    arrays = [LARGE * i for i in range(2 * 2**20 // LARGE.size)]
    tensors = [numpy_helper.from_array(a, f"w{i}") for i, a in enumerate(arrays)]
    graph = helper.make_graph([], "g", [], [], tensors)
    path = tmp_path / "m.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    found = to_arrays(weights(path).initializer)
    assert [a.tobytes() for a in found] == [a.tobytes() for a in arrays]
    for i in (7, 3):
        tensors[i].dims[0] += 1
    with pytest.raises(LoadError, match="'w3' has 240000 bytes"):
        to_arrays(FromOnnx().graph(helper.make_graph([], "g", [], [], tensors)).initializer)


def test_a_system_that_cannot_read_at_a_position(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "preadv", raising=False)
    path = tmp_path / "m.onnx"
    path.write_bytes(large().SerializeToString())
    assert to_array(weights(path).initializer[0]).tobytes() == LARGE.tobytes()

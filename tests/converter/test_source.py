"""Files and bytes that are no model, each with one error that says so."""

from __future__ import annotations

import contextlib
import gzip
import os
from pathlib import Path

import numpy as np
import onnx
import pytest

import numba_rt
from numba_rt import LoadError
from tests.converter.build import relu

GOOD = relu().SerializeToString()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def check_works() -> None:
    x = np.array([[-1, 0, 1], [2, -2, 3]], np.float32)
    np.testing.assert_array_equal(numba_rt.load(GOOD).run({"x": x})[0], np.maximum(x, 0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is no model\n", "(it is text)"),
        (b'{"a": 1}', "(it is text)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (gzip.compress(GOOD, mtime=0), "gzip-compressed"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x00", "not an ONNX model"),
        (b"\xff" * 100, "not an ONNX model"),
        (onnx.ModelProto(ir_version=10).SerializeToString(), "holds no graph"),
    ],
    ids=["empty", "text", "json", "lfs", "gzip", "zip", "nul", "ones", "no-graph"],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_what_is_no_model(data: bytes, message: str, as_file: bool, tmp_path: Path) -> None:
    source = write(tmp_path / "m.onnx", data) if as_file else data
    with pytest.raises(LoadError) as error:
        numba_rt.load(source)
    assert message in str(error.value)
    if as_file:
        assert "m.onnx" in str(error.value)
    check_works()


@pytest.mark.parametrize("sixteenths", range(16))
def test_truncated(sixteenths: int) -> None:
    with pytest.raises(LoadError):
        numba_rt.load(GOOD[: len(GOOD) * sixteenths // 16])


def test_flipped_bits_never_raise_anything_else() -> None:
    rng = np.random.default_rng(0)
    for position in range(len(GOOD)):
        damaged = bytearray(GOOD)
        damaged[position] ^= 1 << rng.integers(8)
        with contextlib.suppress(numba_rt.NumbaRtError):
            numba_rt.load(bytes(damaged))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="does not exist"):
        numba_rt.load(tmp_path / "absent.onnx")


def test_directory(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="is a directory"):
        numba_rt.load(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(LoadError, match="not a regular file"):
        numba_rt.load(tmp_path / "pipe")


def test_file_larger_than_protobuf_reads(tmp_path: Path) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.write(b"\xa2\x06\x80\x80\x80\x80\x08")  # field 100, of 2 GiB, not known and not read
        file.seek(2**31, os.SEEK_CUR)
        file.write(GOOD)
    assert len(numba_rt.load(path).graph.nodes) == 1


@pytest.mark.parametrize("name", ["with space.onnx", "ünï.onnx", "no_suffix"])
def test_any_file_name(name: str, tmp_path: Path) -> None:
    assert len(numba_rt.load(str(write(tmp_path / name, GOOD))).graph.nodes) == 1


def test_other_types() -> None:
    with pytest.raises(LoadError, match="cannot be loaded from int"):
        numba_rt.load(3)


def test_bytes_path_and_proto_give_the_same(tmp_path: Path) -> None:
    sources = (GOOD, bytearray(GOOD), relu(), write(tmp_path / "m.onnx", GOOD))
    assert {repr(numba_rt.load(s)) for s in sources} == {repr(numba_rt.load(GOOD))}

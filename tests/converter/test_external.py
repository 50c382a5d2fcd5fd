"""External data: read next to the model, refused everywhere else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import numba_rt
from numba_rt.errors import LoadError
from tests.converter.build import model, node, tensor

WEIGHTS = np.arange(6, dtype=np.float32).reshape(2, 3)


def stored(directory: Path, entries: dict[str, str]) -> Path:
    """A model that adds an external [2, 3] tensor to its input, in `directory`/m.onnx."""
    weights = TensorProto(name="w", dims=[2, 3], data_type=TensorProto.FLOAT)
    weights.data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        weights.external_data.add(key=key, value=value)
    made = model([node("Add", ["x", "w"])], [tensor("x")], ["y"], [weights])
    (directory / "m.onnx").write_bytes(made.SerializeToString())
    return directory / "m.onnx"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A directory with data, itself and below, and a secret outside."""
    directory = tmp_path / "model"
    (directory / "inside").mkdir(parents=True)
    data = b"12345678" + WEIGHTS.tobytes()
    (directory / "data.bin").write_bytes(data)
    (directory / "inside" / "data.bin").write_bytes(data)
    (tmp_path / "secret.bin").write_bytes(data)
    return directory


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "data.bin", "offset": "8", "length": "24"},
        {"location": "data.bin", "offset": "8"},
        {"location": "./data.bin", "offset": "8"},
        {"location": "inside/data.bin", "offset": "8", "checksum": "x"},
    ],
)
@pytest.mark.parametrize("relative", [True, False])
def test_reads(entries: dict[str, str], relative: bool, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = stored(home, entries)
    monkeypatch.chdir(home)
    loaded = numba_rt.load("m.onnx" if relative else path)
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(loaded.run({"x": x})[0], x + WEIGHTS)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../secret.bin", "offset": "8"}, "leaves the model's directory"),
        ({"location": "inside/../../secret.bin", "offset": "8"}, "leaves the model's directory"),
        ({"location": "..\\secret.bin", "offset": "8"}, "leaves the model's directory"),
        ({"location": "/etc/passwd"}, "absolute path"),
        ({"location": "C:\\secret.bin"}, "absolute path"),
        ({"location": "\\\\server\\secret.bin"}, "absolute path"),
        ({"location": ""}, "expected the name of a file"),
        ({}, "expected the name of a file"),
        ({"location": "."}, "expected the name of a file"),
        ({"location": "data.bin\0"}, "expected the name of a file"),
        ({"location": "inside"}, "not a regular file"),
        ({"location": "absent.bin"}, "cannot be read"),
        ({"location": "data.bin/x"}, "cannot be read"),
        ({"location": "x" * 5000}, "cannot be read"),
        ({"location": "data.bin", "offset": "-8"}, "offset = '-8'"),
        ({"location": "data.bin", "offset": "eight"}, "expected a number"),
        ({"location": "data.bin", "offset": "9" * 30}, "expected a number"),
        ({"location": "data.bin", "offset": "12"}, "which has 32 bytes"),
        ({"location": "data.bin", "offset": "9223372036854775807"}, "which has 32 bytes"),
        ({"location": "data.bin", "length": "32"}, "need 24 bytes"),
        ({"location": "data.bin", "length": "-24"}, "length = '-24'"),
        ({"location": "data.bin", "__class__": "x"}, "the key '__class__'"),
    ],
)
def test_refuses(entries: dict[str, str], message: str, home: Path) -> None:
    with pytest.raises(LoadError) as error:
        numba_rt.load(stored(home, entries))
    assert message in str(error.value)
    assert "'w'" in str(error.value)


def test_refuses_twice_the_same_key(home: Path) -> None:
    made = onnx.load(stored(home, {"location": "data.bin"}), load_external_data=False)
    made.graph.initializer[0].external_data.add(key="location", value="../secret.bin")
    (home / "m.onnx").write_bytes(made.SerializeToString())
    with pytest.raises(LoadError, match="two entries"):
        numba_rt.load(home / "m.onnx")


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="the system has no symbolic links")
@pytest.mark.parametrize("location", ["link.bin", "parent/secret.bin", "near.bin"])
def test_refuses_links(location: str, home: Path) -> None:
    (home / "link.bin").symlink_to(home.parent / "secret.bin")
    (home / "near.bin").symlink_to(home / "data.bin")
    (home / "parent").symlink_to(home.parent)
    with pytest.raises(LoadError, match="symbolic link"):
        numba_rt.load(stored(home, {"location": location, "offset": "8"}))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_refuses_pipes_without_waiting(home: Path) -> None:
    os.mkfifo(home / "pipe")
    with pytest.raises(LoadError, match="not a regular file"):
        numba_rt.load(stored(home, {"location": "pipe"}))


def test_from_memory_there_is_no_directory(home: Path) -> None:
    path = stored(home, {"location": "data.bin", "offset": "8"})
    for source in (path.read_bytes(), onnx.load(path, load_external_data=False)):
        with pytest.raises(LoadError, match="load the model by its path"):
            numba_rt.load(source)


def test_packed_types(home: Path) -> None:
    weights = TensorProto(name="w", dims=[3], data_type=TensorProto.INT4, data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="nibbles.bin")
    (home / "nibbles.bin").write_bytes(b"\xf1\x07")
    made = model([node("Cast", ["w"], to=TensorProto.INT8)], [], ["y"], [weights])
    (home / "m.onnx").write_bytes(made.SerializeToString())
    assert numba_rt.load(home / "m.onnx").run({})[0].tolist() == [1, -1, 7]


def test_strings_are_refused(home: Path) -> None:
    path = stored(home, {"location": "data.bin"})
    made = onnx.load(path, load_external_data=False)
    made.graph.initializer[0].data_type = TensorProto.STRING
    path.write_bytes(made.SerializeToString())
    with pytest.raises(LoadError, match="strings in external data"):
        numba_rt.load(path)


@pytest.mark.skipif(not hasattr(os, "link"), reason="the system has no hard links")
def test_refuses_files_with_other_names(home: Path) -> None:
    os.link(home.parent / "secret.bin", home / "hard.bin")
    with pytest.raises(LoadError, match="2 names"):
        numba_rt.load(stored(home, {"location": "hard.bin", "offset": "8"}))

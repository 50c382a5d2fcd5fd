"""Files: mapped and shared, replaced while read, larger than 2 GB, readable by any FlatBuffers library."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import numba_rt
from converter.from_onnx import FromOnnx
from converter.read import read
from numba_rt.errors import FormatError, LoadError
from numba_rt.format.container import (
    ALIGNMENT,
    ENTRY,
    HEADER,
    MAGIC,
    Kind,
    checksum,
    header_checksum,
    open_container,
)
from numba_rt.format.definition import Held, TensorDef
from numba_rt.format.pack import pack
from numba_rt.format.reader import read_model
from numba_rt.format.writer import write_model
from tests.format import accessors_generated as accessors
from tests.format.models import encoded, feeds, mixed


def saved(path: Path, prepack: bool = False) -> Path:
    numba_rt.load(mixed()).save(path, prepack=prepack)
    return path


def test_weights_are_views_of_the_file(tmp_path: Path) -> None:
    model = read(saved(tmp_path / "m.nrt"))
    assert model.graph is not None
    for tensor in model.graph.initializer:
        assert tensor.source is not None
        assert tensor.offset % ALIGNMENT == 0
        if tensor.data_type != TensorProto.STRING:
            data = tensor.source.read("")
            assert not data.flags.writeable
            assert not data.flags.owndata
            assert data.ctypes.data % ALIGNMENT == 0


def test_any_flatbuffers_library_reads_the_graph() -> None:
    container = open_container(encoded(mixed()))
    model = accessors.Model.GetRootAs(container.bytes_of(Kind.GRAPH).tobytes())
    graph = model.Graph()
    assert graph.Name() == b"mixed"
    assert [graph.Node(i).OpType() for i in range(graph.NodeLength())] == [b"MatMul", b"Add", b"If"]
    branch = graph.Node(2).Attribute(0)
    assert branch.Name() == b"else_branch"
    assert branch.G().Node(0).OpType() == b"Identity"
    weights = graph.Initializer(0)
    assert weights.DimsAsNumpy().tolist() == [7, 5]
    section = container.bytes_of(Kind.TENSORS)
    found = section[weights.Offset() : weights.Offset() + weights.Length()].view(np.float32)
    expected = numpy_helper.to_array(mixed().graph.initializer[0])
    np.testing.assert_array_equal(found.reshape(7, 5), expected)


def test_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.nrt")
    definition = FromOnnx().model(mixed())
    expected = numba_rt.load(path).run(feeds())[0]
    failures: list[BaseException] = []
    done = threading.Event()

    def write() -> None:
        for _ in range(40):
            write_model(path, definition)
        done.set()

    def look() -> None:
        try:
            while not done.is_set():
                model = numba_rt.load(path)
                np.testing.assert_array_equal(model.run(feeds())[0], expected)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=f) for f in (write, look, look)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert [p.name for p in tmp_path.iterdir()] == ["m.nrt"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.nrt")
    before = path.read_bytes()
    definition = FromOnnx().model(mixed())
    assert definition.graph is not None
    definition.graph.initializer[0].source = Held(np.zeros(3, np.uint8))
    with pytest.raises(LoadError, match="'w' has 3 bytes"):
        write_model(path, definition)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["m.nrt"]


def test_saving_over_the_file_a_model_runs_from(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.nrt")
    model = numba_rt.load(path)
    expected = model.run(feeds())[0]
    model.save(path)
    np.testing.assert_array_equal(model.run(feeds())[0], expected)
    with pytest.raises(LoadError, match="has changed"):
        model.save(tmp_path / "other.nrt")


def test_a_model_from_memory_or_its_parts_can_be_saved(tmp_path: Path) -> None:
    data = encoded(mixed())
    numba_rt.load(data).save(tmp_path / "m.nrt")
    assert (tmp_path / "m.nrt").read_bytes() == data
    graph = numba_rt.load(data).graph
    with pytest.raises(LoadError, match="made of a graph"):
        numba_rt.Model(graph).save(tmp_path / "n.nrt")


PAGES = """
import sys, numpy as np, numba_rt
model = numba_rt.load(sys.argv[1])
weights = model.graph.nodes[0].inputs[1].constant
weights.sum()
clean = dirty = 0
with open("/proc/self/smaps") as file:
    inside = False
    for line in file:
        if "-" in line.split()[0]:
            inside = line.rstrip().endswith(".nrt")
        elif inside and line.startswith(("Private_Dirty", "Shared_Dirty")):
            dirty += int(line.split()[1])
        elif inside and line.startswith("Rss"):
            clean += int(line.split()[1])
print(clean, dirty)
"""


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system does not tell about pages")
def test_processes_share_the_pages_of_weights(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((1 << 20, 4), np.float32), "w")
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1 << 20, 4]) for n in "xy"]
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], [weights]))
    write_model(tmp_path / "m.nrt", FromOnnx().model(model))
    out = subprocess.run(
        [sys.executable, "-c", PAGES, str(tmp_path / "m.nrt")], check=True, capture_output=True, text=True
    )
    resident, written = map(int, out.stdout.split())
    assert resident >= 16 << 10  # all weights are pages of the file,
    assert written == 0  # none of which is this process's own


def test_large_sections_are_checked_when_asked(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.ones((600, 600), np.float32), "w")
    info = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [600, 600]) for n in "xy"]
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    model = helper.make_model(helper.make_graph(nodes, "g", info[:1], info[1:], [weights]))
    data = bytearray(encoded(model))
    data[-7] ^= 1
    container = open_container(bytes(data))
    read_model(container)
    container.check(Kind.GRAPH)
    with pytest.raises(FormatError, match="tensor section"):
        container.check(Kind.TENSORS)


def sparse_file(path: Path, rows: int) -> None:
    """A model that gathers rows of a table of zeros with one row of ones at its end."""
    columns = 256
    info = [helper.make_tensor_value_info("i", TensorProto.INT64, ["n"])]
    info.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", columns]))
    graph = helper.make_graph([helper.make_node("Gather", ["w", "i"], ["y"])], "g", info[:1], info[1:])
    definition = FromOnnx().model(helper.make_model(graph))
    assert definition.graph is not None
    size = rows * columns * 4
    definition.graph.initializer = [TensorDef("w", TensorProto.FLOAT, (rows, columns), 0, size)]
    data = pack(definition, "Model")
    start = HEADER.size + 2 * ENTRY.size
    tensors = start + len(data) + -(start + len(data)) % ALIGNMENT
    table = ENTRY.pack(Kind.GRAPH, checksum(data), start, len(data))
    table += ENTRY.pack(Kind.TENSORS, 0, tensors, size)
    head = HEADER.pack(MAGIC, 1, 0, tensors + size, 2, 0)
    head = HEADER.pack(MAGIC, 1, 0, tensors + size, 2, header_checksum(head, table))
    with open(path, "wb") as file:
        file.write(head + table + data)
        file.truncate(tensors + size)
        file.seek(tensors + size - columns * 4)
        file.write(np.ones(columns, np.float32).tobytes())


PEAK = """
import resource, sys, numba_rt.model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
numba_rt.load(sys.argv[1])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are told in other units elsewhere")
def test_loading_touches_no_weights(tmp_path: Path) -> None:
    path = tmp_path / "m.nrt"
    sparse_file(path, rows=1 << 18)
    script = [sys.executable, "-c", PEAK, str(path)]
    out = subprocess.run(script, check=True, capture_output=True, text=True)
    assert int(out.stdout) < 64 << 10  # kilobytes, of 256 MB


def test_a_file_of_three_gigabytes(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize if hasattr(os, "statvfs") else 0
    if free < 4 << 30:
        pytest.skip("the disk has no room for a file of 3 GB")
    path = tmp_path / "large.nrt"
    sparse_file(path, rows=3 << 20)
    assert path.stat().st_size > 3 << 30
    model = numba_rt.load(path)
    last = (3 << 20) - 1
    assert model(np.array([0, last, 5]))[0].sum(axis=1).tolist() == [0, 256, 0]

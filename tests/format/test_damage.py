"""Damaged files: always FormatError, whatever was changed, in bounded time and memory."""

from __future__ import annotations

import contextlib
import tempfile
import tracemalloc
import zlib
from functools import cache
from pathlib import Path

import flatbuffers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import numba_rt
from converter.read import read
from numba_rt.errors import FormatError, LoadError
from numba_rt.format.container import ENTRY, HEADER, Kind, header_checksum, open_container
from numba_rt.format.limits import Limits
from numba_rt.format.reader import read_model
from numba_rt.format.verifier import Verifier
from tests.format.models import encoded, feeds, mixed

MOST = 2**20
"""Bytes that reading may take besides twice the file: modules and messages."""


@cache
def sound() -> bytes:
    return encoded(mixed())


@cache
def prepacked() -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "m.nrt")
        numba_rt.load(mixed()).save(path, prepack=True)
        return path.read_bytes()


def refused(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            numba_rt.load(data)
        assert tracemalloc.get_traced_memory()[1] < 2 * len(data) + MOST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("make", [sound, prepacked])
def test_flipped_bytes(make: object) -> None:
    data = make()  # type: ignore[operator]
    numba_rt.load(data)
    step = max(len(data) // 64, 1)
    for at in range(8, len(data), step):  # another magic is no .nrt file
        changed = bytearray(data)
        changed[at] ^= 0xFF
        refused(bytes(changed))


@pytest.mark.parametrize("make", [sound, prepacked])
def test_truncated(make: object) -> None:
    data = make()  # type: ignore[operator]
    for size in range(8, len(data), max(len(data) // 64, 1)):
        refused(data[:size])
    refused(data + b"\0")


def test_every_bit_of_the_header() -> None:
    data = sound()
    end = HEADER.size + 2 * ENTRY.size
    for bit in range(64, 8 * end):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(FormatError):
            numba_rt.load(bytes(changed))


def sealed(data: bytes) -> bytes:
    """A file whose checksums are right again."""
    out = bytearray(data)
    count = int.from_bytes(out[24:28], "little")
    for at in range(HEADER.size, HEADER.size + count * ENTRY.size, ENTRY.size):
        kind, _, offset, size = ENTRY.unpack(out[at : at + ENTRY.size])
        crc = zlib.crc32(out[offset : offset + size])
        out[at : at + ENTRY.size] = ENTRY.pack(kind, crc, offset, size)
    head, table = bytes(out[: HEADER.size]), bytes(out[HEADER.size : HEADER.size + count * ENTRY.size])
    out[28:32] = header_checksum(head, table).to_bytes(4, "little")
    return bytes(out)


def place(kind: Kind) -> tuple[int, int]:
    section = open_container(sound()).sections[kind]
    return section.offset, section.size


def test_sealing_a_sound_file_changes_nothing() -> None:
    assert sealed(sound()) == sound()


@settings(max_examples=400, deadline=2000)
@given(st.lists(st.tuples(st.integers(0, 2**30), st.integers(0, 255)), min_size=1, max_size=4))
def test_graphs_with_right_checksums(changes: list[tuple[int, int]]) -> None:
    """What is refused is refused as such; what is not is a model, if another one."""
    offset, size = place(Kind.GRAPH)
    changed = bytearray(sound())
    for at, value in changes:
        changed[offset + at % size] = value
    data = sealed(bytes(changed))
    with contextlib.suppress(numba_rt.NumbaRtError):
        numba_rt.load(data).run(feeds())


@settings(max_examples=200, deadline=2000)
@given(st.integers(0, 2**30), st.sampled_from([0, 1, 2, 4, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0]))
def test_words_of_graphs(at: int, word: int) -> None:
    offset, size = place(Kind.GRAPH)
    changed = bytearray(sound())
    at = offset + at % (size // 4) * 4
    changed[at : at + 4] = word.to_bytes(4, "little")
    try:
        read(sealed(bytes(changed)))
    except LoadError as error:
        assert isinstance(error, FormatError)


@settings(max_examples=200, deadline=2000)
@given(st.integers(8, HEADER.size + 2 * ENTRY.size - 1), st.binary(min_size=1, max_size=8))
def test_headers_with_right_checksums(at: int, piece: bytes) -> None:
    changed = bytearray(sound())
    changed[at : at + len(piece)] = piece
    changed = changed[: len(sound())]
    head = bytes(changed[: HEADER.size])
    count = int.from_bytes(head[24:28], "little")
    table = bytes(changed[HEADER.size : HEADER.size + min(count, 16) * ENTRY.size])
    changed[28:32] = header_checksum(head, table).to_bytes(4, "little")
    with contextlib.suppress(FormatError):
        numba_rt.load(bytes(changed))


@settings(max_examples=300, deadline=2000)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for root in ("Model", "Ready", "Node", "Tensor"):
        with contextlib.suppress(FormatError):
            Verifier(data).root(root)


def shared_children(levels: int) -> bytes:
    """A FlatBuffer of types inside types in which each list of fields points to one table twice."""
    builder = flatbuffers.Builder(0)
    name = builder.CreateString("x")
    builder.StartObject(10)
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    child = builder.EndObject()
    for _ in range(levels):
        builder.StartVector(4, 2, 4)
        builder.PrependUOffsetTRelative(child)
        builder.PrependUOffsetTRelative(child)
        items = builder.EndVector()
        builder.StartObject(19)
        builder.PrependUOffsetTRelativeSlot(13, items, 0)
        attribute = builder.EndObject()
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(attribute)
        attributes = builder.EndVector()
        builder.StartObject(10)
        builder.PrependUOffsetTRelativeSlot(3, attributes, 0)
        node = builder.EndObject()
        builder.StartVector(4, 1, 4)
        builder.PrependUOffsetTRelative(node)
        nodes = builder.EndVector()
        builder.StartObject(10)
        builder.PrependUOffsetTRelativeSlot(1, nodes, 0)
        child = builder.EndObject()
    builder.Finish(child)
    return bytes(builder.Output())


def test_tables_may_not_be_shared() -> None:
    with pytest.raises(FormatError, match="referred to twice"):
        Verifier(shared_children(15)).root("Graph")


def test_limits() -> None:
    container = open_container(sound())
    cases = {"depth": 3, "nodes": 2, "subgraphs": 0, "tables": 5, "rank": 1, "name": 3, "graph_bytes": 64}
    for field, value in cases.items():
        with pytest.raises(FormatError):
            read_model(container, Limits(**{field: value}))
    with pytest.raises(FormatError, match="sections"):
        open_container(sound(), Limits(sections=1))


def test_a_directory_an_empty_file_and_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.nrt").write_bytes(b"")
    (tmp_path / "dangling.nrt").symlink_to(tmp_path / "none")
    for path in (tmp_path, tmp_path / "empty.nrt", tmp_path / "dangling.nrt"):
        with pytest.raises(LoadError):
            numba_rt.load(path)


def test_a_later_version_is_named() -> None:
    data = bytearray(sound())
    data[8:12] = (2).to_bytes(4, "little")
    with pytest.raises(FormatError, match="version 2 of the format"):
        numba_rt.load(sealed(bytes(data)))

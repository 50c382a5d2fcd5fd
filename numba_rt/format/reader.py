"""Container → the model's definition, its tensors being views of the file."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from numba_rt.dtypes import from_onnx, stored_bytes
from numba_rt.errors import FormatError
from numba_rt.format.container import ALIGNMENT, Container, Kind
from numba_rt.format.definition import ModelDef, TensorDef
from numba_rt.format.limits import LIMITS, Limits
from numba_rt.format.ready_definition import ReadyDef
from numba_rt.format.verifier import Verifier

SIGNATURE = 32
"""Bytes of the signature of an optimised graph."""

STRINGS = 8
"""ONNX's element type of tensors of strings."""


@dataclass(slots=True)
class Stored:
    """Elements in the tensor section."""

    data: np.ndarray

    def read(self, where: str) -> np.ndarray:
        """The bytes, read-only."""
        return self.data

    def strings(self, where: str) -> list[bytes]:
        """The elements: their number + 1 offsets, then the bytes these point into."""
        count = int(self.data[:8].view(np.uint64)[0]) if self.data.size >= 8 else -1
        if not 0 <= count <= self.data.size // 8 - 2:
            raise FormatError(f"{where}: the strings are damaged")
        ends = self.data[8 : 16 + 8 * count].view(np.uint64)
        text = self.data[16 + 8 * count :].tobytes()
        if ends[0] != 0 or ends[-1] != len(text) or (ends[1:] < ends[:-1]).any():
            raise FormatError(f"{where}: the strings are damaged")
        places = ends.tolist()
        return [text[a:b] for a, b in pairwise(places)]


def encode_strings(items: list[bytes]) -> np.ndarray:
    """What `Stored.strings` reads."""
    ends = np.cumsum([0, *map(len, items)], dtype=np.uint64)
    return np.frombuffer(np.uint64(len(items)).tobytes() + ends.tobytes() + b"".join(items), np.uint8)


def read_model(container: Container, limits: Limits = LIMITS) -> ModelDef:
    """The model as it was before optimisation.

    Raises:
        FormatError: the graph is damaged, or its tensors do not fit into the file.
    """
    verifier = Verifier(container.bytes_of(Kind.GRAPH).tobytes(), limits)
    model: ModelDef = verifier.root("Model")
    if model.graph is None:
        raise FormatError(f"{container.where} is damaged: it has no graph")
    _place(container, verifier.tensors, limits, in_memory=False)
    return model


def read_ready(
    container: Container, data: bytes, limits: Limits = LIMITS
) -> tuple[ReadyDef, list[TensorDef]]:
    """The optimised graph of a FlatBuffer, and its tensors.

    Raises:
        FormatError: it is damaged.
    """
    verifier = Verifier(data, limits)
    ready: ReadyDef = verifier.root("Ready")
    if ready.graph is None:
        raise FormatError(f"{container.where} is damaged: its optimised graph is empty")
    _place(container, verifier.tensors, limits, in_memory=True)
    return ready, verifier.tensors


def split_ready(container: Container) -> tuple[str, bytes, bytes]:
    """Of the section of the optimised graph: what it fits, who made it, the FlatBuffer.

    Raises:
        FormatError: the section is absent or damaged.
    """
    data = container.bytes_of(Kind.READY).tobytes()
    length = int.from_bytes(data[:8], "little")
    start = 8 + length + SIGNATURE
    start += -start % ALIGNMENT
    if not data or start > len(data):
        raise FormatError(f"{container.where} is damaged: its optimised graph has no head")
    try:
        key = data[8 : 8 + length].decode()
    except UnicodeDecodeError:
        raise FormatError(f"{container.where} is damaged: its optimised graph has no key") from None
    return key, data[8 + length : 8 + length + SIGNATURE], data[start:]


def _place(container: Container, tensors: Iterable[TensorDef], limits: Limits, in_memory: bool) -> None:
    """Give tensors their bytes: ranges inside the section that do not overlap, of the size the dims say."""
    section = container.bytes_of(Kind.TENSORS)
    spans: set[tuple[int, int]] = set()
    for tensor in tensors:
        where = f"{container.where}: tensor {tensor.name!r}"
        dtype = from_onnx(tensor.data_type)
        if dtype is None:
            raise FormatError(f"{where} has element type {tensor.data_type}, which is not known")
        count = checked_count(tensor.dims, limits, where)
        start, end = tensor.offset, tensor.offset + tensor.length
        if end > section.size or start % ALIGNMENT:
            raise FormatError(f"{where} lies at {start} to {end} of a section of {section.size} bytes")
        expected = count * dtype.itemsize if in_memory else stored_bytes(dtype, count)
        if tensor.data_type != STRINGS and tensor.length != expected:
            raise FormatError(f"{where} has {tensor.length} bytes: its dims and dtype need {expected}")
        if tensor.length:
            spans.add((start, end))
        tensor.source = Stored(section[start:end])
    places = sorted(spans)
    for (_, end), (start, _) in pairwise(places):
        if start < end:
            raise FormatError(
                f"{container.where} is damaged: two tensors overlap at {start} of their section"
            )


def checked_count(dims: Iterable[int], limits: Limits, where: str) -> int:
    """Number of elements of a tensor."""
    sizes = [int(d) for d in dims]
    if len(sizes) > limits.rank:
        raise FormatError(f"{where} has {len(sizes)} axes: expected at most {limits.rank}")
    if any(d < 0 for d in sizes) or math.prod(d or 1 for d in sizes) > limits.elements:
        raise FormatError(f"{where} has dims {sizes}: negative, or more elements than can be stored")
    return math.prod(sizes)

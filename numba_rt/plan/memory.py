"""Offsets in the arena.

Each block goes to the lowest offset where it overlaps no block that lives at the same time. Two
orders are tried: by size [TensorFlow Lite Micro's memory planner], and by first use, which is
better where sizes grow along the model. The smaller arena is kept.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ALIGNMENT = 64


@dataclass(slots=True)
class Block:
    """Bytes needed from node `first` to node `last`, both included."""

    nbytes: int
    first: int
    last: int
    offset: int = -1


_ORDERS: tuple[Callable[[Block], Any], ...] = (
    lambda b: (-b.nbytes, b.first),
    lambda b: (b.first, -b.nbytes),
)


def assign_offsets(blocks: Sequence[Block]) -> int:
    """Set every block's offset; returns the size of the arena."""
    least = most_alive(blocks)
    best: list[int] = []
    size = -1
    for order in _ORDERS:
        total = _place(sorted(blocks, key=order))
        if size < 0 or total < size:
            best, size = [b.offset for b in blocks], total
        if size == least:
            break
    for block, offset in zip(blocks, best, strict=True):
        block.offset = offset
    return max(size, 0)


def most_alive(blocks: Sequence[Block]) -> int:
    """Bytes alive at the moment when they are most: no arena can be smaller."""
    change: dict[int, int] = {}
    for block in blocks:
        change[block.first] = change.get(block.first, 0) + aligned(block.nbytes)
        change[block.last + 1] = change.get(block.last + 1, 0) - aligned(block.nbytes)
    alive = most = 0
    for at in sorted(change):
        alive += change[at]
        most = max(most, alive)
    return most


def _place(blocks: list[Block]) -> int:
    placed: list[Block] = []
    total = 0
    for block in blocks:
        size = aligned(block.nbytes)
        offset = 0
        for other in placed:
            if other.first <= block.last and block.first <= other.last:
                if offset + size <= other.offset:
                    break
                offset = max(offset, other.offset + aligned(other.nbytes))
        block.offset = offset
        total = max(total, offset + size)
        insort(placed, block, key=lambda b: b.offset)
    return total


def aligned(nbytes: int) -> int:
    """The next multiple of the alignment."""
    return (nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT

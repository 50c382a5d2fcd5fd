"""Offsets in the arena.

Greedy by size [TensorFlow Lite Micro's memory planner]: the largest block first, each at the
lowest offset where it overlaps no block that lives at the same time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(slots=True)
class Block:
    """Bytes needed from call `first` to call `last`, both included."""

    nbytes: int
    first: int
    last: int
    offset: int = -1


def assign_offsets(blocks: Sequence[Block]) -> int:
    """Set every block's offset; returns the size of the arena."""
    placed: list[Block] = []
    total = 0
    for block in sorted(blocks, key=lambda b: (-b.nbytes, b.first)):
        size = _aligned(block.nbytes)
        offset = 0
        for other in placed:
            if other.first <= block.last and block.first <= other.last:
                if offset + size <= other.offset:
                    break
                offset = max(offset, other.offset + _aligned(other.nbytes))
        block.offset = offset
        total = max(total, offset + size)
        _insert(placed, block)
    return total


def _insert(placed: list[Block], block: Block) -> None:
    """Keep `placed` sorted by offset."""
    low, high = 0, len(placed)
    while low < high:
        middle = (low + high) // 2
        if placed[middle].offset < block.offset:
            low = middle + 1
        else:
            high = middle
    placed.insert(low, block)


def _aligned(nbytes: int) -> int:
    return (nbytes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT

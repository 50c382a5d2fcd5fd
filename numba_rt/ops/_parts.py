"""Part: where the elements of one array lie among those of a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod


@dataclass(frozen=True, slots=True)
class Part:
    """Elements in their order: `rows` runs of `run` neighbours, `pitch` apart, from `offset` on."""

    offset: int
    rows: int
    run: int
    pitch: int

    @property
    def end(self) -> int:
        """One past the last element."""
        return self.offset + (self.rows - 1) * self.pitch + self.run

    def within(self, outer: Part) -> Part | None:
        """Where the elements are in the array that `outer` is a part of; None if not in even rows."""
        if outer.rows == 1:
            return replace(self, offset=self.offset + outer.offset)
        row, start = divmod(self.offset, outer.run)
        at = outer.offset + row * outer.pitch + start
        if start + self.end - self.offset <= outer.run:
            return replace(self, offset=at)
        if start + self.run <= outer.run and self.pitch % outer.run == 0:
            return Part(at, self.rows, self.run, self.pitch // outer.run * outer.pitch)
        if self.rows == 1 and start == 0 and self.run % outer.run == 0:
            return Part(at, self.run // outer.run, outer.run, outer.pitch)
        return None

    def overlaps(self, other: Part) -> bool:
        """Whether they may have an element in common; never wrong where it says no."""
        if self.end <= other.offset or other.end <= self.offset:
            return False
        if self.pitch != other.pitch or self.rows == 1:
            return True
        a, b = self.offset % self.pitch, other.offset % other.pitch
        in_columns = a + self.run <= self.pitch and b + other.run <= other.pitch
        return not in_columns or (a < b + other.run and b < a + self.run)


def whole(size: int) -> Part:
    """All of an array."""
    return Part(0, 1, size, size)


@lru_cache(1024)
def box(shape: tuple[int, ...], starts: tuple[int, ...], sizes: tuple[int, ...]) -> Part | None:
    """The elements of an array of this shape from `starts` on, `sizes` of them along each axis;
    None if they are not in even rows.
    """
    offset = sum(start * prod(shape[i + 1 :]) for i, start in enumerate(starts))
    cut = [i for i, (n, size) in enumerate(zip(shape, sizes, strict=True)) if n != size]
    lead = cut[-1] if cut else 0
    run = prod(sizes[lead:])
    while lead and sizes[lead - 1] == 1:
        lead -= 1
    moving = [i for i in range(lead) if sizes[i] != 1]
    if any(sizes[i] != shape[i] for i in moving[1:]) or (set(range(*_span(moving))) & set(cut)):
        return None
    rows, pitch = prod(sizes[:lead]), prod(shape[lead:])
    if rows == 1 or run == pitch:
        return Part(offset, 1, rows * run, rows * run)
    return Part(offset, rows, run, pitch)


def _span(axes: Sequence[int]) -> tuple[int, int]:
    """The axes after the first of some, up to the last of them."""
    return (axes[0] + 1, axes[-1] + 1) if axes else (0, 0)


def rows_fit(shape: Sequence[int], run: int) -> bool:
    """Whether a row of `run` elements is made of whole axes."""
    size = 1
    for n in reversed(shape):
        if size >= run:
            break
        size *= n
    return size == run


def row_strides(shape: Sequence[int], run: int, pitch: int) -> list[int]:
    """Elements between neighbours along each axis of an array whose rows of `run` elements are
    `pitch` apart, or follow one another if `pitch` is 0.
    """
    strides, step, size = [], 1, 1
    for n in reversed(shape):
        if pitch and size == run:
            step = pitch
        strides.append(step)
        size, step = size * n, step * n
    return strides[::-1]

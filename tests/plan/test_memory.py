"""Offsets in the arena."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from numba_rt.plan.memory import ALIGNMENT, Block, aligned, assign_offsets, most_alive


@st.composite
def blocks(draw: st.DrawFn) -> list[Block]:
    made = []
    for _ in range(draw(st.integers(0, 20))):
        first = draw(st.integers(0, 20))
        made.append(Block(draw(st.integers(0, 5000)), first, first + draw(st.integers(0, 8))))
    return made


@settings(deadline=None, derandomize=True)
@given(blocks())
def test_blocks_alive_together_do_not_overlap(drawn: list[Block]) -> None:
    size = assign_offsets(drawn)
    for i, a in enumerate(drawn):
        assert a.offset % ALIGNMENT == 0
        assert 0 <= a.offset <= a.offset + a.nbytes <= size
        for b in drawn[:i]:
            if a.first <= b.last and b.first <= a.last:
                assert a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
    assert most_alive(drawn) <= size <= sum(aligned(b.nbytes) for b in drawn)


def test_memory_is_used_again() -> None:
    drawn = [Block(100, 0, 1), Block(100, 1, 2), Block(100, 2, 3), Block(100, 3, 4)]
    assert assign_offsets(drawn) == 2 * aligned(100)


def test_growing_blocks_go_by_first_use() -> None:
    """Placed by size, the small block between two others would split the free space."""
    drawn = [Block(100, 0, 5), Block(200, 1, 2), Block(300, 3, 4), Block(64, 2, 6)]
    assert assign_offsets(drawn) == most_alive(drawn)

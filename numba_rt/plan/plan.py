"""Plan: everything decided for one set of input shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from numba_rt.dtypes import dtype_name
from numba_rt.ops._lowering import Call, Guard, View
from numba_rt.plan.memory import Block
from numba_rt.plan.reuse import Buffer


@dataclass(frozen=True, slots=True)
class Place:
    """Where a view's source lies: in the arena, in an input, in an output, or in the status words."""

    kind: str
    index: int


@dataclass(eq=False)
class Plan:
    """Kernel calls with their arguments placed; frozen once made, shared by all threads."""

    calls: list[Call]
    places: dict[int, Place]
    """id of a view's source → place."""
    outputs: list[tuple[tuple[int, ...], np.dtype[Any]]]
    arena_bytes: int
    guards: list[Guard]
    takeovers: dict[int, str] = field(default_factory=dict)
    """id of a node → name of the value whose buffer its output took over."""
    buffers: list[Buffer] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    keep: list[Any] = field(default_factory=list)
    """Objects whose ids are used above."""

    def __str__(self) -> str:
        """One line per call: operator, kernel, shapes, where the result lies, what it took over."""
        rows = [self._row(call) for call in self.calls]
        widths = [max((len(r[i]) for r in rows), default=0) for i in range(4)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=False)).rstrip() for r in rows]
        lines.append(f"{len(self.calls)} calls, arena {self.arena_bytes:,} bytes")
        return "\n".join(lines)

    def _row(self, call: Call) -> list[str]:
        views = [a for a in call.args if isinstance(a, View)]
        shapes = " ".join(f"{dtype_name(v.dtype)}{list(v.shape)}".replace(" ", "") for v in views[-3:])
        name = call.node.describe() if call.node is not None else "copy"
        kernel = call.kernel.name + ("" if call.parallel else " (serial)")
        where = self._where(views[-1]) if views else ""
        taken = self.takeovers.get(id(call.node))
        return [_printable(name), kernel, shapes, where + (f" ={_printable(taken)}" if taken else "")]

    def _where(self, view: View) -> str:
        place = self.places.get(id(view.source))
        if place is None:
            return "constant"
        return f"@{place.index + view.offset}" if place.kind == "arena" else f"{place.kind} {place.index}"


def _printable(text: str) -> str:
    """Names come from the model: keep control characters out of terminals."""
    return "".join(c if c.isprintable() else "?" for c in text)

"""Profile: where the time of a model goes, by node, by operator and by shape."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any

from numba_rt.printable import printable
from numba_rt.profile.record import Run
from numba_rt.profile.step import Step
from numba_rt.profile.trace import events, write

VIEWS = ("op", "shape", "node")
WIDEST = 60
"""Characters of a text in a table."""


@dataclass(frozen=True)
class Row:
    """Steps that were added up, per run."""

    op_type: str
    name: str
    shape: str
    algorithm: str
    tasks: int
    nodes: int
    calls: float
    """How often they ran."""
    seconds: float
    """Median over the runs."""
    share: float
    """Of the time of a run."""
    flops: float
    nbytes: float
    depth: int = 0

    @property
    def flops_per_second(self) -> float:
        """Of the plain algorithm's operations."""
        return self.flops / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Bytes of all operands, each counted once."""
        return self.nbytes / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, repr=False)
class Profile:
    """Times of the steps of a model; printed, a table.

    Args:
        model: name of the graph.
        threads: most threads of a run.
        peak: float32 operations per second the threads reach on registers; 0 if not measured.
        runs: the recorded runs.
        plain: seconds of runs that were not recorded, made in turn with the others.
    """

    model: str
    threads: int
    peak: float
    runs: Sequence[Run]
    plain: Sequence[float]

    @cached_property
    def seconds(self) -> float:
        """Time of a recorded run: the median."""
        return statistics.median(run.end - run.start for run in self.runs) / 1e9

    @cached_property
    def outside(self) -> float:
        """Time of a recorded run between steps: Python, the clock, new outputs; the median."""
        gaps = [run.end - run.start - sum(e.own for e in run.events) for run in self.runs]
        return statistics.median(gaps) / 1e9

    @cached_property
    def nodes(self) -> list[Row]:
        """A row for each node and set of shapes, in the order they ran."""
        times: dict[Step, list[int]] = {}
        calls: dict[Step, int] = defaultdict(int)
        for number, run in enumerate(self.runs):
            for event in run.events:
                of_step = times.setdefault(event.step, [0] * len(self.runs))
                of_step[number] += event.own
                calls[event.step] += 1
        return [self._row([step], times, calls) for step in times]

    @cached_property
    def _groups(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {"node": self.nodes}
        keys: dict[str, Any] = {
            "op": lambda r: r.op_type,
            "shape": lambda r: (r.op_type, r.shape, r.algorithm),
        }
        for by, key in keys.items():
            groups: dict[Any, list[Row]] = {}
            for row in self.nodes:
                groups.setdefault(key(row), []).append(row)
            rows = [_sum(group) for group in groups.values()]
            found[by] = sorted(rows, key=lambda r: -r.seconds)
        return found

    def rows(self, by: str = "node") -> list[Row]:
        """Rows by "node" (in the order they ran), "op" or "shape" (the slowest first)."""
        if by not in VIEWS:
            raise ValueError(f"by = {by!r}: expected one of {', '.join(VIEWS)}")
        return self._groups[by]

    def _row(self, steps: list[Step], times: dict[Step, list[int]], calls: dict[Step, int]) -> Row:
        (step,) = steps
        seconds = statistics.median(times[step]) / 1e9
        count = calls[step] / len(self.runs)
        return Row(
            step.op_type, step.name, step.shape, step.algorithm, step.tasks, 1, count, seconds,
            seconds / self.seconds if self.seconds else 0.0, step.flops * count, step.nbytes * count,
            step.depth,
        )  # fmt: skip

    # -- showing ----------------------------------------------------------------------------

    @property
    def summary(self) -> str:
        """What was measured, in a line."""
        text = f"{printable(self.model) or 'model'}: {_ms(self.seconds)} ms"
        if self.plain:
            text += f" ({_ms(statistics.median(self.plain))} without the clock)"
        text += f", {_ms(self.outside)} ms between steps, {len(self.runs)} runs, "
        text += f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return text + (f", peak {self.peak / 1e9:.0f} GFLOP/s" if self.peak else "")

    def table(self, by: str = "op", most: int | None = None) -> str:
        """Aligned columns; the slowest `most` rows if that is given."""
        head, rows = self._cells(by, most)
        widths = [max(len(r[i]) for r in (head, *rows)) for i in range(len(head))]
        numbers = _number_columns(by)
        lines = [
            "  ".join(
                cell.rjust(width) if i < numbers else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, *rows)
        ]
        return "\n".join(lines)

    def _cells(self, by: str, most: int | None) -> tuple[list[str], list[list[str]]]:
        """Heads and texts of a table, safe to print."""
        rows = self.rows(by)
        if most is not None:
            slowest = {id(r) for r in sorted(rows, key=lambda r: -r.seconds)[:most]}
            rows = [r for r in rows if id(r) in slowest]
        head = ["ms", "%", "calls", "GFLOP/s", "% peak", "GB/s"]
        head += {
            "op": ["nodes", "operator"],
            "shape": ["nodes", "tasks", "operator", "shape", "algorithm"],
        }.get(by, ["tasks", "operator", "name", "shape", "algorithm"])
        return head, [[_cut(printable(cell)) for cell in self._texts(row, by)] for row in rows]

    def _texts(self, row: Row, by: str) -> list[str]:
        rate, peak = row.flops_per_second, ""
        if self.peak and rate:
            peak = f"{100 * rate / self.peak:.0f}"
        texts = [
            _ms(row.seconds), f"{100 * row.share:.1f}", f"{row.calls:g}",
            f"{rate / 1e9:.1f}" if rate else "", peak,
            f"{row.bytes_per_second / 1e9:.1f}" if row.nbytes else "",
        ]  # fmt: skip
        if by == "op":
            return [*texts, str(row.nodes), row.op_type]
        if by == "shape":
            return [*texts, str(row.nodes), str(row.tasks), row.op_type, row.shape, row.algorithm]
        return [*texts, str(row.tasks), "· " * row.depth + row.op_type, row.name, row.shape, row.algorithm]

    def __str__(self) -> str:
        return f"{self.summary}\n\n{self.table('op')}\n\n{self.table('shape', 20)}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        parts = [f"<p>{escape(self.summary)}</p>"]
        for by, most in (("op", None), ("shape", 20), ("node", None)):
            head, rows = self._cells(by, most)
            numbers = _number_columns(by)
            body = "".join(f"<tr>{_html(row, 'td', numbers)}</tr>" for row in rows)
            table = (
                f"<table><thead><tr>{_html(head, 'th', numbers)}</tr></thead><tbody>{body}</tbody></table>"
            )
            opened = " open" if by == "op" else ""
            parts.append(f"<details{opened}><summary>by {by}</summary>{table}</details>")
        return "".join(parts)

    # -- writing ----------------------------------------------------------------------------

    def to_chrome(self, path: str | os.PathLike[str]) -> None:
        """Write a Chrome trace with onnxruntime's keys, for Perfetto and for tools that read its profiles."""
        write(path, self.trace())

    def trace(self) -> list[dict[str, Any]]:
        """The events of the trace."""
        return events(self.runs, self.runs[0].start if self.runs else 0)

    def to_dict(self) -> dict[str, Any]:
        """Numbers of the summary and of all tables, for JSON."""
        fields = ("op_type", "name", "shape", "algorithm", "tasks", "nodes", "calls", "seconds", "share")
        return {
            "model": self.model, "threads": self.threads, "runs": len(self.runs), "seconds": self.seconds,
            "plain_seconds": statistics.median(self.plain) if self.plain else None,
            "outside_seconds": self.outside, "peak_flops_per_second": self.peak,
            **{
                f"by_{by}": [
                    {**{f: getattr(r, f) for f in fields}, "flops": r.flops, "bytes": r.nbytes}
                    for r in self.rows(by)
                ]
                for by in VIEWS
            },
        }  # fmt: skip


def _sum(rows: list[Row]) -> Row:
    first = rows[0]
    return Row(
        first.op_type, first.name, first.shape, first.algorithm, max(r.tasks for r in rows), len(rows),
        sum(r.calls for r in rows), sum(r.seconds for r in rows), sum(r.share for r in rows),
        sum(r.flops for r in rows), sum(r.nbytes for r in rows),
    )  # fmt: skip


def _number_columns(by: str) -> int:
    """How many columns of numbers stand first."""
    return {"op": 7, "shape": 8, "node": 7}[by]


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3f}"


def _cut(text: str) -> str:
    return text if len(text) <= WIDEST else f"{text[: WIDEST // 2]}…{text[-WIDEST // 2 + 1 :]}"


def _html(cells: list[str], tag: str, numbers: int) -> str:
    return "".join(
        f'<{tag} style="text-align:{"right" if i < numbers else "left"}">{escape(cell)}</{tag}>'
        for i, cell in enumerate(cells)
    )

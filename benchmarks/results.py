"""Results of comparisons: the JSON file, tables, a plot, and the README's part."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from html import escape
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.engines import OURS, PACKAGES
from benchmarks.rounds import ratio

FORMAT = 1
BEGIN = "<!-- benchmarks: begin -->"
END = "<!-- benchmarks: end -->"
HEADS = (
    "model", "runtime", "median ms", "    p10", "    p90", "ratio", "GFLOP/s", "import s", "load s",
    "first s", "cold s", "peak MB", "difference",
)  # fmt: skip
NOTES = (
    "The ratio is to the fastest other runtime: below 1, numba_rt is faster. Start is from the import to the",
    "first output, with compiled kernels in the cache; memory is the peak of the process; ONNX Runtime's are",
    "in brackets.",
)
"""What stands below the README's table."""
TITLES = {"numba_rt": "numba_rt", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}


def machine(threads: int) -> dict[str, Any]:
    """What results depend on besides the code."""
    from numba_rt.cli.doctor import examine

    facts = examine().facts
    versions = {"python": platform.python_version()}
    for package in (*PACKAGES.values(), "numba", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": facts["processor"]["model"], "vectors": facts["processor"]["vectors"],
        "cores": facts["threads"]["usable cores"], "threads": threads,
        "system": f"{platform.system()} {platform.machine()}", "versions": versions,
    }  # fmt: skip


def store(path: Path, where: dict[str, Any], results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Put results into a file, in the place of older ones of the same model; all that are in it."""
    kept: list[dict[str, Any]] = []
    if path.exists():
        old = json.loads(path.read_text(encoding="utf-8"))
        if old["machine"] != where:
            raise SystemExit(f"{path} is of another machine, version or number of threads: choose another")
        new = {key(r) for r in results}
        kept = [r for r in old["results"] if key(r) not in new]
    everything = [*kept, *results]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"format": FORMAT, "machine": where, "results": everything}, indent=1)
    path.write_text(text + "\n", encoding="utf-8")
    return everything


def read(path: Path) -> dict[str, Any]:
    """A file of results."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found.get("format") != FORMAT:
        raise SystemExit(f"{path} has format {found.get('format')}: expected {FORMAT}")
    return found


def key(result: dict[str, Any]) -> tuple[str, str]:
    """What makes a result another one."""
    return result["name"], described(result)


def described(result: dict[str, Any]) -> str:
    """The sizes of a result's inputs, in words."""
    sizes = {**({"batch": result["batch"]} if result.get("batch") else {}), **result.get("sizes", {})}
    return ", ".join(f"{name} {size}" for name, size in sizes.items())


def table(results: Sequence[dict[str, Any]], heads: bool = True) -> str:
    """Everything measured, a line for each model and runtime."""
    rows = [_line(r, name, of) for r in results for name, of in r["engines"].items()]
    widths = [max(len(row[i]) for row in (HEADS, *rows)) for i in range(len(HEADS))]
    widths[:2] = max(widths[0], 36), max(widths[1], 11)
    lines = []
    for row in (HEADS, *rows) if heads else rows:
        cells = [
            c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=False))
        ]
        lines.append("  ".join([*cells, *row[len(widths) :]]).rstrip())
    return "\n".join(lines)


def _line(result: dict[str, Any], name: str, of: dict[str, Any]) -> tuple[str, ...]:
    label = f"{result['name']} {described(result)}".strip()
    if "error" in of:
        return (label, name, *[""] * (len(HEADS) - 2), of["error"])
    beside = ratio(result["engines"]) if name == OURS else None
    rate = f"{result['flops'] / of['median'] / 1e9:.1f}" if result.get("flops") else ""
    return (
        label, name, *(f"{of[k] * 1e3:.3f}" for k in ("median", "p10", "p90")),
        "" if beside is None else f"{beside:.2f}", rate,
        *(_shown(of.get(f"{k}_seconds"), ".2f") for k in ("import", "load", "first", "cold")),
        _shown(of.get("peak_bytes", 0) / 1e6 or None, ".0f"), _shown(of.get("relative_difference"), ".1e"),
    )  # fmt: skip


def _shown(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)


def markdown(found: dict[str, Any]) -> str:
    """The table of the README."""
    results, where = found["results"], found["machine"]
    names = [n for n in TITLES if any("median" in r["engines"].get(n, {}) for r in results)]
    titles = [*(f"{TITLES[n]} ms" for n in names), "ratio", "start s", "memory MB"]
    lines = [f"| model | sizes | {' | '.join(titles)} |", f"|---|---|{'---:|' * len(titles)}"]
    for result in results:
        medians = [result["engines"].get(n, {}).get("median") for n in names]
        cells = ["–" if m is None else f"{m * 1e3:.3g}" if m < 0.1 else f"{m * 1e3:.0f}" for m in medians]
        beside = ratio(result["engines"])
        sizes = described(result) or "–"
        shown = "–" if beside is None else f"{beside:.2f}"
        starts, peaks = (_beside(result["engines"], of) for of in (_start, _peak))
        lines.append(" | ".join([f"| {result['name']}", sizes, *cells, shown, starts, f"{peaks} |"]))
    versions = ", ".join(f"{TITLES[n]} {where['versions'].get(n, '?')}" for n in names)
    lines += ["", f"Medians on {where['processor']}, {where['threads']} threads, float32; {versions}."]
    return "\n".join([*lines, *NOTES])


def _beside(engines: dict[str, Any], of: Callable[[dict[str, Any]], str]) -> str:
    """What is measured of numba_rt, with ONNX Runtime's in brackets."""
    return f"{of(engines.get(OURS, {}))} ({of(engines.get('onnxruntime', {}))})"


def _start(engine: dict[str, Any]) -> str:
    seconds = [engine.get(f"{name}_seconds") for name in ("import", "load", "first")]
    return "–" if None in seconds else f"{sum(s for s in seconds if s is not None):.2f}"


def _peak(engine: dict[str, Any]) -> str:
    return f"{engine['peak_bytes'] / 1e6:.0f}" if engine.get("peak_bytes") else "–"


def write_readme(readme: Path, found: dict[str, Any]) -> None:
    """Replace what stands between the two markers."""
    text = readme.read_text(encoding="utf-8")
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise SystemExit(f"{readme} needs the lines {BEGIN} and {END}: the table goes between them")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{markdown(found)}\n{END}{after}", encoding="utf-8")


def plot(results: Sequence[dict[str, Any]]) -> str:
    """An SVG: for each model a bar of our time, in units of the fastest other runtime's."""
    bars = [(f"{r['name']} {described(r)}".strip(), ratio(r["engines"])) for r in results]
    shown = [(name, value) for name, value in bars if value is not None]
    left, unit, step = 330, 320, 22
    most = max([1.25, *(value for _, value in shown)])
    width, height = left + unit * most + 70, step * len(shown) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width:.0f}" height="{height}" fill="white"/>',
    ]
    for row, (name, value) in enumerate(shown):
        y, colour = 10 + row * step, "#2a7f62" if value <= 1 else "#b3543a"
        parts.append(f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{left}" y="{y}" width="{unit * value:.1f}" height="16" fill="{colour}"/>')
        parts.append(f'<text x="{left + unit * value + 6:.1f}" y="{y + 13}">{value:.2f}</text>')
    x, bottom = left + unit, height - 24
    parts.append(f'<line x1="{x}" y1="4" x2="{x}" y2="{bottom}" stroke="black" stroke-dasharray="4 3"/>')
    parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">the fastest other runtime = 1</text>')
    return "\n".join([*parts, "</svg>", ""])

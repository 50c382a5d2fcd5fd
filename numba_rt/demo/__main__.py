"""Recognises handwritten digits: `python -m numba_rt.demo`."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

import numba_rt
from numba_rt import jit
from numba_rt.demo.scans import INK, Scans, held_out
from numba_rt.kernel_cache import Stats

T = TypeVar("T")

MODEL = Path(__file__).parent / "digits.onnx"
SHADES = " ░▒▓█"
PLAIN_SHADES = " .+*#"
COLUMN = 22

NEXT = """\
Where to go next
  README.md                       load and run your own model in five lines
  notebooks/                      the same, step by step
  numba-rt inspect {model}
                                  inputs, outputs, operators, parameters
  numba-rt run {model} -s batch=4
                                  run a model on random or stored inputs
  numba-rt doctor                 processor, threads, kernel cache, versions\
"""


def main() -> int:
    """Recognise the held-out scans and tell how it went."""
    scans = held_out()
    pixels, n = scans.pixels(), len(scans)
    single = pixels[:1]
    before = jit.stats()
    model, load_time = timed(lambda: numba_rt.load(MODEL))
    _, first_single = timed(lambda: model(image=single))
    outputs, first_all = timed(lambda: model(image=pixels))
    after = jit.stats()
    probabilities = outputs["probabilities"]

    print(f"numba_rt {numba_rt.__version__}: {MODEL.name}, {MODEL.stat().st_size / 1000:.0f} kB\n")
    print(show(scans, probabilities, choose(scans, probabilities)))
    right = int((probabilities.argmax(axis=1) == scans.labels).sum())
    print(f"\nAccuracy     {right / n:.1%}: {right} of {n} held-out scans are recognised\n")
    print(f"Load         {duration(load_time)}")
    print(f"Compile      {compilation(before, after)}")
    print(f"First run    {duration(first_single)} for 1 scan, {duration(first_all)} for {n}")
    steady_single, steady_all = steady(lambda: model(image=single)), steady(lambda: model(image=pixels))
    print(f"Steady run   {duration(steady_single)} for 1 scan, {duration(steady_all)} for {n} (median)\n")
    print(NEXT.format(model=shortest(MODEL)))
    return 0


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a call returns, and the seconds it took."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def steady(call: Callable[[], object], seconds: float = 0.5, most: int = 1000) -> float:
    """Median time of as many calls as fit into some seconds."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or (len(times) < most and time.perf_counter() < end):
        times.append(timed(call)[1])
    return statistics.median(times)


def duration(seconds: float) -> str:
    """Seconds with three digits in the unit that suits them."""
    micro = "µs" if can_print("µs") else "us"
    size, unit = next((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (0, micro)) if seconds >= s)
    value = seconds / (size or 1e-6)
    return f"{value:.{max(0, 2 - int(math.log10(max(value, 1))))}f} {unit}"


def compilation(before: Stats, after: Stats) -> str:
    """What happened to the kernels between two readings of the counters."""
    compiled, loaded = after.compiled - before.compiled, after.loaded - before.loaded
    if compiled:
        seconds = after.compile_seconds - before.compile_seconds
        return f"{compiled} kernels in {duration(seconds)} (cold); the next start finds them in the cache"
    return f"nothing: {loaded} kernels came from the cache" if loaded else "nothing to do"


def choose(scans: Scans, probabilities: np.ndarray) -> list[int]:
    """The first scan of two digits, and the one that the model is least sure of."""
    firsts = [int((scans.labels == digit).argmax()) for digit in (3, 6)]
    return [*firsts, int(probabilities.max(axis=1).argmin())]


def show(scans: Scans, probabilities: np.ndarray, chosen: list[int]) -> str:
    """Scans side by side as text, with what was recognised below each."""
    shades = SHADES if can_print(SHADES) else PLAIN_SHADES
    levels = (scans.images[chosen].astype(int) * (len(shades) - 1) + INK // 2) // INK
    lines = [
        "".join("".join(2 * shades[v] for v in row).ljust(COLUMN) for row in rows)
        for rows in levels.swapaxes(0, 1)
    ]
    caption = ""
    for i in chosen:
        digit = int(probabilities[i].argmax())
        truth = "" if digit == scans.labels[i] else f", is {scans.labels[i]}"
        caption += f"{digit}  ({probabilities[i, digit]:.1%}{truth})".ljust(COLUMN)
    return "\n".join(("  " + line).rstrip() for line in (*lines, "", caption))


def can_print(text: str) -> bool:
    """Whether standard output can encode text."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def shortest(path: Path) -> Path:
    """path relative to the current directory where it lies inside it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


if __name__ == "__main__":
    raise SystemExit(main())

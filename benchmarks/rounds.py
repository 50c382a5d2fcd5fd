"""Interleaved rounds: all runtimes are loaded, and each runs some times in turn."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import OURS, REFERENCE, Engine, EngineError, Feeds

MOST_RUNS = 200
"""Runs of a turn."""
PAUSE = 0.05
"""Seconds between turns, in which threads that wait actively for work give up."""


@dataclass(frozen=True)
class Settings:
    """How long and with what is measured."""

    engines: Sequence[str]
    threads: int = 2
    rounds: int = 10
    turn: float = 0.25
    """Seconds of a turn, roughly."""


def compare(
    engines: Mapping[str, Engine], path: Path, feeds: Feeds, settings: Settings, folder: Path
) -> dict[str, dict[str, Any]]:
    """What was measured of each runtime; `error` instead where it failed."""
    found: dict[str, dict[str, Any]] = {}
    for name, engine in engines.items():
        try:
            found[name] = asdict(engine.open(path, feeds, folder / f"{name}.npz"))
        except EngineError as error:
            found[name] = {"error": str(error).replace(str(path), path.name)}
    times = _rounds({n: e for n, e in engines.items() if "error" not in found[n]}, found, settings)
    for name, seconds in times.items():
        if "error" not in found[name]:
            found[name].update(_summary(seconds), peak_bytes=engines[name].peak_bytes())
    _add_differences(found, folder)
    return found


def _rounds(
    engines: dict[str, Engine], found: dict[str, dict[str, Any]], settings: Settings
) -> dict[str, list[float]]:
    """Seconds of all runs. Each round begins with another runtime, so that none has a better place."""
    times: dict[str, list[float]] = {name: [] for name in engines}
    counts: dict[str, int] = {}
    for number in range(-1, settings.rounds):
        order = list(engines)
        shift = number % max(1, len(order))
        for name in order[shift:] + order[:shift]:
            if "error" in found[name]:
                continue
            time.sleep(PAUSE)
            try:
                seconds = engines[name].run(counts.get(name, 2))
            except EngineError as error:
                found[name] = {"error": str(error)}
                continue
            if number >= 0:
                times[name] += seconds
            else:  # says how many runs make a turn
                counts[name] = max(1, min(MOST_RUNS, int(settings.turn / max(min(seconds), 1e-6))))
    return times


def _summary(seconds: list[float]) -> dict[str, Any]:
    low, median, high = np.quantile(seconds, [0.1, 0.5, 0.9])
    return {
        "median": float(median), "p10": float(low), "p90": float(high), "least": min(seconds),
        "runs": len(seconds),
    }  # fmt: skip


def _add_differences(found: dict[str, dict[str, Any]], folder: Path) -> None:
    """The largest difference of any output from the reference's, also relative to the largest number."""
    if "error" in found.get(REFERENCE, {"error": ""}):
        return
    expected = _outputs(folder / f"{REFERENCE}.npz")
    for name, result in found.items():
        if name != REFERENCE and "error" not in result:
            pairs = zip(_outputs(folder / f"{name}.npz"), expected, strict=False)
            differences = [_difference(a, b) for a, b in pairs]
            result["difference"] = max(d for d, _ in differences)
            result["relative_difference"] = max(r for _, r in differences)


def _outputs(file: Path) -> list[np.ndarray]:
    with np.load(file, allow_pickle=False) as stored:
        return [stored[name] for name in stored.files]


def _difference(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    if a.shape != b.shape or a.dtype.kind not in "fiub" or not a.size:
        return (0.0, 0.0) if np.array_equal(a, b) else (float("inf"), float("inf"))
    wide = b.astype(np.float64)
    most = float(np.abs(a.astype(np.float64) - wide).max())
    return most, most / max(float(np.abs(wide).max()), 1e-30)


def ratio(found: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Our median beside that of the fastest other runtime; None if there is nothing to compare."""
    peers = [r["median"] for n, r in found.items() if n != OURS and "median" in r]
    ours = found.get(OURS, {}).get("median")
    return None if ours is None or not peers else ours / min(peers)

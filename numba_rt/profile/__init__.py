"""Profiles: where the time of a model goes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from numba_rt.errors import InputError
from numba_rt.profile.machine import peak_flops
from numba_rt.profile.record import RecordedProgram, Recorder, Runnable
from numba_rt.profile.report import Profile, Row

__all__ = ["Profile", "RecordedProgram", "Recorder", "Row", "measure"]


def measure(
    program: Runnable, inputs: Sequence[Any], runs: int, warmup: int, name: str, threads: int
) -> Profile:
    """The profile of some runs on the same inputs, each beside an ordinary one."""
    if runs < 1 or warmup < 0:
        raise InputError(f"runs = {runs}, warmup = {warmup}: expected at least 1 and 0")
    recorder = Recorder()
    recorded = RecordedProgram(program, recorder)
    for _ in range(warmup):
        program.run(inputs)
        recorded.run(inputs)
    recorder.clear()
    plain = []
    for _ in range(runs):
        start = time.perf_counter()
        program.run(inputs)
        plain.append(time.perf_counter() - start)
        recorded.run(inputs)
    return Profile(name, threads, peak_flops(threads), recorder.runs, plain)

"""The trace of a session: all its runs, written to a file when profiling ends."""

from __future__ import annotations

import copy
import threading
import time
import warnings
import weakref
from datetime import datetime
from typing import TypeVar

from numba_rt.profile.record import RecordedProgram, Recorder
from numba_rt.profile.trace import events, session_event, write

Model = TypeVar("Model")


class SessionProfile:
    """Records runs until `end`, at the latest until the process ends.

    Args:
        prefix: folder and first part of the file's name.
        began: when loading began, by `time.perf_counter_ns`; time 0 of the trace.
    """

    def __init__(self, prefix: str, began: int) -> None:
        now = datetime.now()
        self.path = f"{prefix}_{now:%Y-%m-%d_%H-%M-%S}_{now.microsecond // 1000:03}.json"
        write(self.path, [])  # that a folder cannot be written is better known now
        self.started = time.time_ns() - (time.perf_counter_ns() - began)
        self._recorder = Recorder()
        loading = session_event(
            "session_initialization", began, time.perf_counter_ns(), began, threading.get_native_id()
        )
        self._end = weakref.finalize(self, _write, self.path, self._recorder, began, loading)

    def recorded(self, model: Model) -> Model:
        """A copy of a Model whose runs are recorded."""
        twin = copy.copy(model)
        program = RecordedProgram(model._program, self._recorder)  # type: ignore[attr-defined]
        twin._program = program  # type: ignore[attr-defined]
        return twin

    def end(self) -> str:
        """Write the file; its name, "" if it was written before."""
        return self._end() or ""


def _write(path: str, recorder: Recorder, began: int, loading: dict[str, object]) -> str:
    with recorder.lock:
        recorder.is_on = False
        if recorder.is_full:
            warnings.warn(f"the profile {path!r} has not all runs: it would be too large", stacklevel=4)
        write(path, [loading, *events(recorder.runs, began)])
        recorder.clear()
    return path

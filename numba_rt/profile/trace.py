"""Chrome traces with onnxruntime's keys."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from numba_rt.errors import InputError
from numba_rt.printable import printable
from numba_rt.profile.record import Event, Run
from numba_rt.profile.step import Typed

PROVIDER = "CPUExecutionProvider"


def events(runs: Iterable[Run], origin: int) -> list[dict[str, Any]]:
    """Events of recorded runs; `origin` is the clock's value at their time 0."""
    found = []
    for run in runs:
        found.append(session_event("model_run", run.start, run.end, origin, run.thread))
        inner = (run.events[0].start, max(e.end for e in run.events)) if run.events else (run.start, run.end)
        found.append(session_event("SequentialExecutor::Execute", *inner, origin, run.thread))
        found += [_node_event(event, origin, run.thread) for event in run.events]
    return found


def session_event(name: str, start: int, end: int, origin: int, thread: int) -> dict[str, Any]:
    """Something that is not a node's; times are those of `time.perf_counter_ns`."""
    return _event("Session", name, start, end, origin, thread, {})


def _node_event(event: Event, origin: int, thread: int) -> dict[str, Any]:
    step = event.step
    args = {
        "op_name": step.op_type,
        "provider": PROVIDER,
        "node_index": str(step.index),
        "input_type_shape": _shapes(step.inputs),
        "output_type_shape": _shapes(step.outputs),
        "activation_size": str(step.activation_bytes),
        "parameter_size": str(step.parameter_bytes),
        "output_size": str(step.output_bytes),
        "thread_scheduling_stats": {
            "main_thread": {"thread_id": str(thread), "block_size": []},
            "sub_threads": {},
        },
        "algorithm": step.algorithm,
        "tasks": step.tasks,
        "flops": step.flops,
        "bytes": step.nbytes,
    }
    return _event("Node", f"{printable(step.name)}_kernel_time", event.start, event.end, origin, thread, args)


def _event(
    category: str, name: str, start: int, end: int, origin: int, thread: int, args: dict[str, Any]
) -> dict[str, Any]:
    """Times are in microseconds."""
    return {
        "cat": category,
        "pid": os.getpid(),
        "tid": thread,
        "dur": round((end - start) / 1e3, 3),
        "ts": round((start - origin) / 1e3, 3),
        "ph": "X",
        "name": name,
        "args": args,
    }


def _shapes(typed: Iterable[Typed]) -> list[dict[str, list[int]]]:
    return [{name: list(shape)} for name, shape in typed]


def write(path: str | os.PathLike[str], found: list[dict[str, Any]]) -> None:
    """Write the events, one in a line."""
    lines = ",\n".join(json.dumps(event) for event in found)
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"[\n{lines}\n]\n")
    except OSError as error:
        raise InputError(f"{os.fspath(path)!r} cannot be written: {error.strerror or error}") from error

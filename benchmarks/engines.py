"""Runtimes to compare, each in a process of its own."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

Feeds = Mapping[str, np.ndarray]
Run = Callable[[Feeds], list[Any]]

PACKAGES = {"numba_rt": "numba_rt", "onnxruntime": "onnxruntime", "openvino": "openvino"}
OURS = "numba_rt"
REFERENCE = "onnxruntime"
PATIENCE = 900.0
"""Seconds to wait for an answer; the first one may include compilation."""


class EngineError(Exception):
    """A runtime cannot do what it was asked to."""


@dataclass(frozen=True)
class Opened:
    """How long it took to get to the first output."""

    import_seconds: float
    load_seconds: float
    first_seconds: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.import_seconds + self.load_seconds + self.first_seconds


def installed() -> list[str]:
    """The runtimes that are here."""
    return [name for name, package in PACKAGES.items() if importlib.util.find_spec(package)]


class Engine:
    """A runtime in its process."""

    def __init__(self, name: str, threads: int, environment: Mapping[str, str] | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(name, threads, environment or {}, theirs), daemon=True
        )
        self._process.start()
        theirs.close()

    def open(self, path: Path, feeds: Feeds, results: Path) -> Opened:
        """Load a model and run it once; the outputs go to a file."""
        return self._ask("open", str(path), dict(feeds), str(results))

    def run(self, count: int) -> list[float]:
        """Seconds of so many runs, after one that is not counted."""
        return self._ask("run", count)

    def peak_bytes(self) -> int:
        """The most memory the process has had; 0 if the system does not tell."""
        return self._ask("peak")

    def close(self) -> None:
        """End the process."""
        if self._process.is_alive():
            self._connection.close()
            self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, *message: Any) -> Any:
        try:
            self._connection.send(message)
            if not self._connection.poll(PATIENCE):
                raise EngineError(f"no answer within {PATIENCE:.0f} s")
            is_fine, answer = self._connection.recv()
        except (EOFError, ConnectionError):
            raise EngineError("the process ended") from None
        if not is_fine:
            raise EngineError(answer)
        return answer


def _serve(name: str, threads: int, environment: Mapping[str, str], connection: Connection) -> None:
    """Answer messages until the other side hangs up."""
    os.environ.update(OMP_NUM_THREADS=str(threads), NUMBA_RT_PROGRESS="0", **environment)
    state = _State(name, threads)
    while True:
        try:
            kind, *args = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = True, getattr(state, kind)(*args)
        except Exception as error:  # goes to the table
            answer = False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        connection.send(answer)


class _State:
    """What a process keeps between messages."""

    def __init__(self, name: str, threads: int) -> None:
        self._load = globals()[f"_load_{name}"]
        self._threads = threads
        self._run: Run | None = None
        self._feeds: Feeds = {}

    def open(self, path: str, feeds: Feeds, results: str) -> Opened:
        self._run, self._feeds = None, feeds
        times = [time.perf_counter()]  # the runtime is imported between the first two
        make = self._load(self._threads)
        times.append(time.perf_counter())
        self._run = make(path)
        times.append(time.perf_counter())
        outputs = self._run(feeds)
        times.append(time.perf_counter())
        np.savez(results, *[np.asarray(x) for x in outputs])
        return Opened(*(b - a for a, b in pairwise(times)))

    def run(self, count: int) -> list[float]:
        run, feeds, times = self._run, self._feeds, []
        assert run is not None
        run(feeds)
        for _ in range(count):
            begin = time.perf_counter()
            run(feeds)
            times.append(time.perf_counter() - begin)
        return times

    def peak(self) -> int:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return 0
        sizes = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        return int(sizes[0]) * 1024 if sizes else 0


def _load_numba_rt(threads: int) -> Callable[[str], Run]:
    from numba_rt import load

    def make(path: str) -> Run:
        model = load(path, threads=threads)
        return lambda feeds: model.run(feeds)

    return make


def _load_onnxruntime(threads: int) -> Callable[[str], Run]:
    import onnxruntime

    def make(path: str) -> Run:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda feeds: session.run(None, feeds)

    return make


def _load_openvino(threads: int) -> Callable[[str], Run]:
    import openvino

    def make(path: str) -> Run:
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
        }
        model = openvino.Core().compile_model(path, "CPU", settings)
        return lambda feeds: list(model(feeds).values())

    return make

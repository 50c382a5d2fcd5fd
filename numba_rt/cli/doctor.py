"""`numba-rt doctor`: what this machine offers, and what keeps it from being fast or safe."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import warnings
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba

from numba_rt import cache_directory, cores, threads
from numba_rt.printable import printable
from numba_rt.simd.isa import ISA

FORMAT = 1
"""Version of the JSON."""

PACKAGES = ("numba_rt", "numba", "llvmlite", "numpy", "onnx")


@dataclass
class Findings:
    """Facts by topic, and problems with what to do about them."""

    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def command(args: argparse.Namespace) -> int:
    """Show what was found; 1 if there are problems."""
    found = examine()
    if args.json:
        print(json.dumps({"format": FORMAT, **found.facts, "problems": found.problems}, indent=2))
    else:
        for topic, facts in found.facts.items():
            print(topic)
            for name, value in facts.items():
                print(f"  {name:18} {printable(value)}")
        print("problems" if found.problems else "no problems found")
        for problem in found.problems:
            print(f"  {printable(problem)}")
    return int(bool(found.problems))


def examine() -> Findings:
    """All checks."""
    found = Findings()
    for check in (_versions, _processor, _threads, _cache):
        check(found)
    return found


def _versions(found: Findings) -> None:
    versions = {"python": f"{platform.python_implementation()} {platform.python_version()}"}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
            if package != "numba_rt":
                found.problems.append(f"{package} is not installed: pip install {package}")
    found.facts["versions"] = {**versions, "system": f"{platform.system()} {platform.machine()}"}
    if numba.config.DISABLE_JIT:
        found.problems.append("NUMBA_DISABLE_JIT is set: kernels run as Python. Unset it.")


def _processor(found: Findings) -> None:
    found.facts["processor"] = {
        "model": _processor_name(),
        "llvm": llvm.get_host_cpu_name(),
        "vectors": f"{ISA.name}, {ISA.lanes} float32",
        "register tile": f"{ISA.mr} × {ISA.nr}",
    }
    if ISA.name == "portable":
        found.problems.append("neither AVX2 nor NEON is available to generated code: products are slow here")


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _threads(found: Findings) -> None:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota, physical = cores.cpu_quota(), cores.physical_cores()
    count = threads.default_count()
    layer = threads.layer()
    found.facts["threads"] = {
        "processors": os.cpu_count(),
        "usable": allowed,
        "usable cores": physical,
        "container limit": "none" if quota == sys.maxsize else quota,
        "count": f"{count}, {_reason(count, physical, quota)}",
        "layer": layer.name,
        "concurrent runs": "at once" if layer.is_concurrent else "one after another",
        "after fork": "threads" if layer.survives_fork else "one thread",
    }
    if layer.name == "workqueue":
        found.problems.append(
            "the threading layer is workqueue: parallel loops start slowly and concurrent runs wait for each "
            "other. Install libgomp (apt install libgomp1) or TBB (pip install tbb)."
        )
    if importlib.util.find_spec("numba.np.ufunc.omppool") is None and layer.name != "workqueue":
        found.facts["threads"]["openmp"] = "not available"


def _reason(count: int, physical: int, quota: int) -> str:
    stated = os.environ.get("NUMBA_RT_NUM_THREADS", "").strip()
    if stated:
        return "as NUMBA_RT_NUM_THREADS says" if int(stated) == count else "the most Numba allows"
    if count == int(numba.config.NUMBA_NUM_THREADS) < min(physical, quota):
        return "as NUMBA_NUM_THREADS says"
    return "the container's limit" if quota < physical else "one for each usable core"


def _cache(found: Findings) -> None:
    root = cache_directory.root()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        opened = cache_directory.store()
    files = [p for directory in opened.read for p in directory.rglob("*") if p.is_file()]
    kernels = [p for p in files if p.suffix == ".kernel"]
    found.facts["cache"] = {
        "directory": str(opened.write),
        "kernels": len(kernels),
        "bytes": f"{sum(p.stat().st_size for p in files):,}",
    }
    others = [p for p in root.glob("numba*-*-*") if p.is_dir() and p not in opened.read]
    if others:
        found.facts["cache"]["other toolchains"] = len(others)
    if not opened.write.is_relative_to(root):
        reason = str(said[-1].message) if said else f"{root} cannot be written"
        found.problems.append(reason.removeprefix("numba_rt: "))

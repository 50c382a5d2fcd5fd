"""How many processors this process may use: cores, affinity and container limits."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from functools import cache
from pathlib import Path


def physical_cores(system: Path = Path("/sys")) -> int:
    """Cores in the affinity mask, those that share a core counted once."""
    if sys.platform == "darwin":
        return _apple_cores() or os.cpu_count() or 1
    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    return len({_siblings(system / f"devices/system/cpu/cpu{cpu}/topology", cpu) for cpu in cpus})


def _siblings(topology: Path, cpu: int) -> str:
    """Names the core of a processor."""
    for name in ("core_cpus_list", "thread_siblings_list"):
        try:
            return (topology / name).read_text().strip()
        except OSError:
            continue
    return str(cpu)


def _apple_cores() -> int:
    """The fast cores: work is cut into equal pieces, and slow ones would hold it up."""
    system = ctypes.CDLL(None)
    for name in (b"hw.perflevel0.physicalcpu", b"hw.physicalcpu"):
        count = ctypes.c_int(0)
        size = ctypes.c_size_t(ctypes.sizeof(count))
        if (
            system.sysctlbyname(name, ctypes.byref(count), ctypes.byref(size), None, 0) == 0
            and count.value > 0
        ):
            return count.value
    return 0


@cache
def cpu_quota(root: Path = Path("/")) -> int:
    """Processors a container may keep busy, rounded up; a large number where there is no limit. Read once."""
    limits = [math.inf]
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return sys.maxsize
    for group in groups:
        _, controllers, path = group.split(":", 2)
        if not controllers:
            limits += [_quota_v2(folder) for folder in _upwards(root / "sys/fs/cgroup", path)]
        elif "cpu" in controllers.split(","):
            for mount in (controllers, "cpu"):
                limits += [_quota_v1(folder) for folder in _upwards(root / "sys/fs/cgroup" / mount, path)]
    least = min(limits)
    return max(1, math.ceil(least)) if math.isfinite(least) else sys.maxsize


def _upwards(mount: Path, path: str) -> list[Path]:
    """A group's directory and those above it, each of which may limit it."""
    folder = mount / path.lstrip("/")
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(mount))]


def _quota_v2(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota == "max" else int(quota) / int(period)


def _quota_v1(folder: Path) -> float:
    try:
        quota = int((folder / "cpu.cfs_quota_us").read_text())
        period = int((folder / "cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf
    return quota / period if quota > 0 and period > 0 else math.inf

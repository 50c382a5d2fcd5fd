"""What generated code depends on, as far as it is known without importing the compiler.

Importing Numba and LLVM takes longer than loading the kernels of a model, and more memory, so that a
process which finds all its kernels in the cache does neither.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

_DEFAULTS: dict[str, Any] = {
    "DISABLE_JIT": 0,
    "OPT": 3,
    "LOOP_VECTORIZE": 1,
    "SLP_VECTORIZE": 0,
    "BOUNDSCHECK": None,
    "DEBUGINFO_DEFAULT": 0,
    "CPU_NAME": None,
    "CPU_FEATURES": None,
    "THREADING_LAYER": "default",
    "THREADING_LAYER_PRIORITY": "",
}


def _config() -> Any:
    """Numba's settings if it is loaded, or must be: a settings file is its own to read."""
    if "numba" not in sys.modules and not Path(".numba_config.yaml").exists():
        return None
    import numba

    return numba.config


def setting(name: str) -> Any:
    """A setting of Numba's: the one in use if Numba is loaded, else what its variable says."""
    config = _config()
    if config is not None:
        found = getattr(config, name)
        return int(found) if name == "OPT" else found
    stated = os.environ.get(f"NUMBA_{name.removesuffix('_DEFAULT')}")
    default = _DEFAULTS[name]
    if name == "CPU_FEATURES" and setting("CPU_NAME") == "generic":
        default = ""
    if stated is None:
        return default
    try:
        return int(stated) if isinstance(default, int) else stated
    except ValueError:
        return default


def is_default(name: str) -> bool:
    """Whether nobody chose another value for a setting."""
    return "numba" not in sys.modules and setting(name) == _DEFAULTS[name]


def most_threads() -> int:
    """Threads Numba launches: `NUMBA_NUM_THREADS`, or one for each processor of this process."""
    config = _config()
    if config is not None:
        return int(config.NUMBA_NUM_THREADS)
    stated = os.environ.get("NUMBA_NUM_THREADS")
    if stated is not None:
        return int(stated)
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def package_folder(name: str) -> Path:
    """Where an installed package lies."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{name} is not installed: pip install {name}")
    return Path(spec.submodule_search_locations[0])


def identity() -> tuple[object, ...]:
    """All that machine code depends on besides its sources."""
    versions = tuple((package_folder(name) / "_version.py").read_bytes() for name in ("numba", "llvmlite"))
    options = ("OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT")
    target = (platform.system(), platform.machine(), processor())
    chosen = tuple(str(setting(name)) for name in (*options, "CPU_NAME", "CPU_FEATURES"))
    return (sys.version, *versions, *target, *chosen)


@cache
def processor() -> tuple[object, ...]:
    """The kind of this machine's processor and what it can do."""
    facts = _cpuinfo()
    if facts:
        names = ("vendor_id", "cpu family", "model", "stepping", "CPU implementer", "CPU part")
        return (*(facts.get(name, "") for name in names), *sorted(_flags(facts)))
    import llvmlite.binding as llvm

    return llvm.get_host_cpu_name(), *sorted(name for name, on in llvm.get_host_cpu_features().items() if on)


def features() -> frozenset[str]:
    """Of the vector instructions "avx2", "fma", "avx512f" and "neon", those of generated code: the
    processor's, as restricted by `NUMBA_CPU_NAME` and `NUMBA_CPU_FEATURES`.
    """
    if platform.machine().lower() in ("aarch64", "arm64"):
        return frozenset({"neon"})
    host = frozenset(str(fact) for fact in processor())
    stated, cpu = setting("CPU_FEATURES"), setting("CPU_NAME")
    if stated is not None:
        changes = [item.strip() for item in stated.split(",") if item.strip()]
        host = host if cpu is None or cpu == _llvm_name() else frozenset()
        host |= {item[1:] for item in changes if item[0] == "+"}
        host -= {item[1:] for item in changes if item[0] == "-"}
    return host & {"avx2", "fma", "avx512f"}


def _llvm_name() -> str:
    import llvmlite.binding as llvm

    return str(llvm.get_host_cpu_name())


def _cpuinfo(file: Path = Path("/proc/cpuinfo")) -> dict[str, str]:
    """What Linux tells of the first processor; nothing elsewhere."""
    facts: dict[str, str] = {}
    try:
        with file.open() as lines:
            for line in lines:
                if not line.strip() and facts:
                    break
                name, _, value = line.partition(":")
                facts[name.strip()] = value.strip()
    except OSError:
        return {}
    return facts if _flags(facts) else {}


def _flags(facts: dict[str, str]) -> list[str]:
    return (facts.get("flags") or facts.get("Features") or "").split()

"""What the processor offers to explicit vector code: the table kernels are generated from."""

from __future__ import annotations

from dataclasses import dataclass

import llvmlite.binding as llvm
import numba


@dataclass(frozen=True)
class Isa:
    """A vector instruction set, and the register tile of `mr` rows by `nv` vectors that fills
    its registers: `mr * nv` accumulators, `nv` vectors of B and a broadcast element of A.
    """

    name: str
    lanes: int
    """float32 lanes of a vector."""
    registers: int
    fused: bool
    """Whether multiply-add is one instruction; without it LLVM's `fma` is a library call."""
    mr: int
    nv: int
    """Two: the tile of a ragged last panel uses one vector or both."""

    @property
    def nr(self) -> int:
        """Columns of the register tile: the width of a packed panel."""
        return self.nv * self.lanes


AVX512 = Isa("avx512", lanes=16, registers=32, fused=True, mr=14, nv=2)
AVX2 = Isa("avx2", lanes=8, registers=16, fused=True, mr=6, nv=2)
NEON = Isa("neon", lanes=4, registers=32, fused=True, mr=8, nv=2)
PORTABLE = Isa("portable", lanes=4, registers=16, fused=False, mr=4, nv=2)


def detect() -> Isa:
    """The widest set among the features LLVM generates code for."""
    if llvm.get_default_triple().startswith(("aarch64", "arm64")):
        return NEON
    features = enabled_features()
    if "avx512f" in features:
        return AVX512
    if {"avx2", "fma"} <= features:
        return AVX2
    return PORTABLE


def enabled_features() -> set[str]:
    """CPU features of generated code: the host's, as restricted by `NUMBA_CPU_NAME` and
    `NUMBA_CPU_FEATURES`.
    """
    host = {name for name, on in llvm.get_host_cpu_features().items() if on}
    stated = numba.config.CPU_FEATURES
    if stated is None:
        return host
    changes = [item.strip() for item in stated.split(",") if item.strip()]
    same_cpu = numba.config.CPU_NAME in (None, llvm.get_host_cpu_name())
    features = host if same_cpu else set()
    features |= {item[1:] for item in changes if item[0] == "+"}
    return features - {item[1:] for item in changes if item[0] == "-"}


ISA = detect()

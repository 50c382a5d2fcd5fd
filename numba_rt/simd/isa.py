"""What the processor offers to explicit vector code: the table kernels are generated from."""

from __future__ import annotations

from dataclasses import dataclass

from numba_rt.toolchain import features

MAX_K = 1024
"""Longest `k` of one call of the register tile."""
MAX_CHANNELS = 4096
"""Most channels of one call of a depthwise tile: the length of the row of zeros."""


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
    """The widest set among the features of generated code."""
    found = features()
    if "neon" in found:
        return NEON
    if "avx512f" in found:
        return AVX512
    if {"avx2", "fma"} <= found:
        return AVX2
    return PORTABLE


ISA = detect()

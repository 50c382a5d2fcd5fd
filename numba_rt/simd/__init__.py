"""Vector code: what the processor offers, and generators of LLVM code for kernels."""

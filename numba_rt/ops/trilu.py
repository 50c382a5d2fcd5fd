"""Trilu: triangles of matrices."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import INT64, STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, Sym
from numba_rt.kernels.move import trilu
from numba_rt.ops._checks import check_dtype, check_rank
from numba_rt.ops._lowering import Lowering, View
from numba_rt.ops._op import Op, op
from numba_rt.ops._strided import words_of


@op("Trilu", since=14)
class Trilu(Op):
    """The upper (or lower) triangle of the last two axes from diagonal k, zeros elsewhere."""

    upper: bool = True

    half = False
    inplace = (0,)

    def infer(self, input: Fact, k: Fact | None = None) -> Fact:
        check_rank(input, "input", at_least=2)
        if k is not None:
            check_dtype(k, "k", {INT64})
            if not isinstance(k.size, Sym) and k.size != 1:
                raise ShapeError(f"k = {k}: expected one number")
        return input.without_value()

    def evaluate(self, input: np.ndarray, k: np.ndarray | None = None) -> np.ndarray:
        rows, columns = np.indices(input.shape[-2:])
        shift = 0 if k is None else int(k.reshape(-1)[0])
        kept = columns - rows >= shift if self.upper else columns - rows <= shift
        return np.where(kept, input, "" if input.dtype == STRING else input.dtype.type(0))

    def lower(self, low: Lowering, input: View, k: View | None, output: View) -> None:
        words = words_of(input.dtype)
        *_, m, n = input.shape
        if input.size == 0:
            return
        shape = (input.size // (m * n), m, n * words)
        shift = low.const(np.zeros(1, np.int64)) if k is None else low.view(k, (1,))
        x, y = low.view(low.bits(input), shape), low.view(low.bits(output), shape)
        low.call(trilu, x, words, shift, self.upper, y, low.tasks(input.nbytes / 8))

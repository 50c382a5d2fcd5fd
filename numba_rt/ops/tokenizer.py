"""com.microsoft's Tokenizer, which pipelines over text are exported with; on the host."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from numba_rt.dtypes import STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Fact, fresh_dim
from numba_rt.ops._checks import check_dtype, check_rank
from numba_rt.ops._op import Op, op

BEGIN, END = "\x02", "\x03"


@op("Tokenizer", domain="com.microsoft")
class Tokenizer(Op):
    """The tokens of each string along a new last axis, filled up with pad_value.

    Tokens are what tokenexp matches, what separators (patterns) leave, or, if the one separator is "",
    single characters. RE2's patterns are read by Python's `re`.
    """

    mark: bool
    mincharnum: int
    pad_value: str
    separators: tuple[str, ...] = ()
    tokenexp: str = ""

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", {STRING})
        check_rank(X, "X", at_least=1)
        assert X.shape is not None
        if self.mincharnum < 1:
            raise ShapeError(f"mincharnum = {self.mincharnum}: expected at least 1")
        if bool(self.separators) == bool(self.tokenexp):
            raise ShapeError("separators and tokenexp: expected one of them")
        for pattern in (*self.separators, self.tokenexp):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ShapeError(f"{pattern!r} is not a pattern: {error}") from error
        return Fact(STRING, (*X.shape, fresh_dim("tokens")))

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        found = [self._tokens(text) for text in X.flat]
        if self.mark:
            found = [[BEGIN, *tokens, END] for tokens in found]
        most = max(map(len, found), default=0)
        made = np.full((len(found), most), self.pad_value, STRING)
        for row, tokens in zip(made, found, strict=True):
            row[: len(tokens)] = tokens
        return made.reshape(*X.shape, most)

    def _tokens(self, text: str) -> list[str]:
        if self.tokenexp:
            found: list[Any] = [m.group() for m in re.finditer(self.tokenexp, text)]
        elif "" in self.separators:
            return list(text) if self.mincharnum == 1 else []
        else:
            found = [text]
            for separator in self.separators:
                found = [part for token in found for part in _parts(separator, token)]
        return [token for token in found if len(token) >= self.mincharnum]


def _parts(separator: str, text: str) -> list[str]:
    """What lies between the matches of a pattern."""
    made, begin = [], 0
    for match in re.finditer(separator, text):
        if match.end() > match.start():
            made.append(text[begin : match.start()])
            begin = match.end()
    return [*made, text[begin:]]

"""Operators on strings, computed on the host."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from numba_rt.dtypes import BOOL, FLOAT32, INT32, INT64, STRING
from numba_rt.errors import ShapeError
from numba_rt.graph import Dim, Fact, fresh_dim
from numba_rt.ops._checks import broadcast_shape, check_dtype
from numba_rt.ops._op import Op, op


def elementwise(function: Callable[..., Any], dtype: Any, *arrays: np.ndarray) -> np.ndarray:
    """A function applied to every element, with broadcasting."""
    broadcast = np.broadcast_arrays(*arrays)
    made = np.empty(broadcast[0].shape, dtype)
    flat = made.reshape(-1)
    for i, elements in enumerate(zip(*(array.flat for array in broadcast), strict=True)):
        flat[i] = function(*elements)
    return made


@op("StringConcat", since=20)
class StringConcat(Op):
    """Each string of X followed by that of Y."""

    def infer(self, X: Fact, Y: Fact) -> Fact:
        check_dtype(X, "X", {STRING})
        check_dtype(Y, "Y", {STRING})
        return Fact(STRING, broadcast_shape(X, Y))

    def run(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape), Fact(Y.dtype, Y.shape))
        return elementwise(lambda x, y: x + y, STRING, X, Y)


@op("StringSplit", since=20)
class StringSplit(Op):
    """The parts of each string along a new last axis, filled up with "", and how many there are."""

    delimiter: str = ""
    maxsplit: int | None = None

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return STRING, INT64

    def infer(self, X: Fact) -> tuple[Fact, ...]:
        check_dtype(X, "X", {STRING})
        assert X.shape is not None
        return Fact(STRING, (*X.shape, fresh_dim("parts"))), Fact(INT64, X.shape)

    def run(self, X: np.ndarray) -> tuple[np.ndarray, ...]:
        limit = -1 if self.maxsplit is None else self.maxsplit
        parts = [x.split(self.delimiter or None, limit) for x in X.flat]
        most = max((len(p) for p in parts), default=0)
        made = np.full((len(parts), most), "", STRING)
        for row, found in zip(made, parts, strict=True):
            row[: len(found)] = found
        counts = np.array([len(p) for p in parts], np.int64)
        return made.reshape(*X.shape, most), counts.reshape(X.shape)


@op("RegexFullMatch", since=20)
class RegexFullMatch(Op):
    r"""Whether the pattern matches the whole of each string.

    The standard asks for RE2's syntax; Python's `re` reads the pattern. What RE2 has and `re` has
    not is refused (`\p{...}`, `\pN`, `\Q...\E`, `\C`, `(?U)`), and so is what only `re` has
    (references to groups, lookaround, atomic groups). Possessive repetition (`a*+`) is not told apart.
    """

    pattern: str | None = None

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (BOOL,)

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", {STRING})
        self._compiled()
        return Fact(BOOL, X.shape)

    def _compiled(self) -> re.Pattern[str]:
        pattern = "" if self.pattern is None else self.pattern.replace(r"\z", r"\Z")
        outside = re.sub(r"\\\\", "", pattern)
        if found := re.search(r"\(\?(<?[=!]|P=|\(|>)|\\[1-9]", outside):
            raise ShapeError(f"pattern = {pattern!r}: {found.group()!r} is not RE2 syntax")
        try:
            return re.compile(pattern)
        except re.error as error:
            raise ShapeError(f"pattern = {pattern!r} cannot be read: {error}") from error

    def run(self, X: np.ndarray) -> np.ndarray:
        compiled = self._compiled()
        return elementwise(lambda x: compiled.fullmatch(x) is not None, BOOL, X)


@op("StringNormalizer", since=10)
class StringNormalizer(Op):
    """The strings that are no stop words, in upper or lower case. Case follows Unicode, whatever
    the locale.
    """

    case_change_action: str = "NONE"
    is_case_sensitive: bool = False
    locale: str = ""
    stopwords: tuple[str, ...] = ()

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", {STRING})
        if self.case_change_action not in ("NONE", "LOWER", "UPPER"):
            raise ShapeError(
                f"case_change_action = {self.case_change_action!r}: expected NONE, LOWER or UPPER"
            )
        lead = (X.shape or ())[:-1]
        if X.rank not in (1, 2) or (X.rank == 2 and isinstance(lead[0], int) and lead[0] != 1):
            raise ShapeError(f"X = {X}: expected the shape [C] or [1, C]")
        made: tuple[Dim, ...] = (fresh_dim("kept"),)
        return Fact(STRING, (1, *made) if lead else made)

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        fold: Callable[[str], str] = str if self.is_case_sensitive else str.lower
        stop = {fold(word) for word in self.stopwords}
        changes: dict[str, Callable[[str], str]] = {"NONE": str, "LOWER": str.lower, "UPPER": str.upper}
        change = changes[self.case_change_action]
        kept = [change(x) for x in X.flat if fold(x) not in stop] or [""]
        return np.array(kept, STRING).reshape((1, -1) if X.ndim == 2 else (-1,))


@op("TfIdfVectorizer", since=9)
class TfIdfVectorizer(Op):
    """How often each sequence of words of a pool occurs in a row, perhaps with words skipped
    between, perhaps weighted.
    """

    max_gram_length: int
    max_skip_count: int
    min_gram_length: int
    mode: str
    ngram_counts: tuple[int, ...]
    ngram_indexes: tuple[int, ...]
    pool_int64s: tuple[int, ...] | None = None
    pool_strings: tuple[str, ...] | None = None
    weights: tuple[float, ...] | None = None

    def out_dtypes(self, *facts: Any) -> tuple[np.dtype[Any], ...]:
        return (FLOAT32,)

    def infer(self, X: Fact) -> Fact:
        check_dtype(X, "X", {STRING} if self.pool_strings else {INT32, INT64})
        if X.rank not in (1, 2):
            raise ShapeError(f"X = {X}: expected the shape [C] or [N, C]")
        if self.mode not in ("TF", "IDF", "TFIDF"):
            raise ShapeError(f"mode = {self.mode!r}: expected TF, IDF or TFIDF")
        if not 1 <= self.min_gram_length <= self.max_gram_length or self.max_skip_count < 0:
            raise ShapeError(
                f"min_gram_length, max_gram_length, max_skip_count = {self.min_gram_length}, "
                f"{self.max_gram_length}, {self.max_skip_count}: expected 1 <= min <= max, 0 <= skip"
            )
        grams = self._grams()
        for name, numbers in (("ngram_indexes", self.ngram_indexes), ("weights", self.weights)):
            if numbers and len(numbers) != len(grams):
                raise ShapeError(f"{name} has {len(numbers)} numbers: the pool has {len(grams)} n-grams")
        if min(self.ngram_indexes, default=-1) < 0:
            raise ShapeError(f"ngram_indexes = {list(self.ngram_indexes)}: expected numbers of at least 0")
        return Fact(FLOAT32, (*(X.shape or ())[:-1], max(self.ngram_indexes) + 1))

    def _grams(self) -> list[tuple[Any, ...]]:
        """The n-grams of the pool in their order."""
        pool: tuple[Any, ...] = self.pool_strings or self.pool_int64s or ()
        starts = [*self.ngram_counts, len(pool)]
        grams = []
        for n, (start, end) in enumerate(pairwise(starts), 1):
            if not 0 <= start <= end <= len(pool) or (end - start) % n:
                raise ShapeError(
                    f"ngram_counts = {list(self.ngram_counts)} does not cut a pool of {len(pool)} words"
                )
            grams += [tuple(pool[i : i + n]) for i in range(start, end, n)]
        return grams

    def run(self, X: np.ndarray) -> np.ndarray:
        self.infer(Fact(X.dtype, X.shape))
        places = {gram: i for i, gram in enumerate(self._grams())}
        rows = X.reshape(-1, X.shape[-1]).tolist()
        counts = np.zeros((len(rows), len(self.ngram_indexes)), np.float32)
        for row, counted in zip(rows, counts, strict=True):
            for gram in self._found(row):
                if gram in places:
                    counted[places[gram]] += 1
        if self.mode == "IDF":
            counts = np.minimum(counts, 1)
        if self.mode != "TF" and self.weights:
            counts = counts * np.array(self.weights, np.float32)
        made = np.zeros((len(rows), max(self.ngram_indexes) + 1), np.float32)
        for i, place in enumerate(self.ngram_indexes):
            made[:, place] += counts[:, i]
        return made.reshape(*X.shape[:-1], made.shape[1])

    def _found(self, row: list[Any]) -> list[tuple[Any, ...]]:
        """All n-grams of a row; single words once, longer ones for each number of words skipped."""
        found = []
        for n in range(self.min_gram_length, self.max_gram_length + 1):
            for step in range(1, 2 if n == 1 else self.max_skip_count + 2):
                reach = (n - 1) * step + 1
                found += [tuple(row[i : i + reach : step]) for i in range(len(row) - reach + 1)]
        return found

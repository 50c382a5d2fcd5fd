"""Symbolic dimensions: integer polynomials over named sizes, with opaque atoms for //, %, min, max."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Union

Dim = Union[int, "Sym"]
"""A dimension: a known size, or an expression over sizes known only when a model runs."""

_Monomial = tuple[str, ...]


class Undecided(Exception):
    """A comparison whose answer depends on sizes that are not known yet."""


class Sym:
    """A polynomial with integer coefficients over named sizes; every size is at least zero.

    Arithmetic with integers and other expressions gives an int as soon as no name is left, so
    `Sym("n") - Sym("n") == 0`. Order comparisons that depend on a size raise Undecided.
    """

    __slots__ = ("atoms", "terms")

    def __init__(self, name: str | None = None) -> None:
        self.terms: dict[_Monomial, int] = {} if name is None else {(name,): 1}
        self.atoms: dict[str, tuple[str, Dim, Dim]] = {}

    def __add__(self, other: Dim) -> Dim:
        return _combine(self, other, 1)

    __radd__ = __add__

    def __sub__(self, other: Dim) -> Dim:
        return _combine(self, other, -1)

    def __rsub__(self, other: Dim) -> Dim:
        return _combine(_as_sym(other), self, -1)

    def __neg__(self) -> Dim:
        return 0 - self

    def __mul__(self, other: Dim) -> Dim:
        if not _is_dim(other):
            return NotImplemented
        right = _as_sym(other)
        terms: dict[_Monomial, int] = {}
        for m1, c1 in self.terms.items():
            for m2, c2 in right.terms.items():
                key = tuple(sorted(m1 + m2))
                terms[key] = terms.get(key, 0) + c1 * c2
        return _build(terms, self.atoms | right.atoms)

    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        exact = _exact_quotient(self, other)
        return _opaque("//", self, other) if exact is None else exact

    def __rfloordiv__(self, other: Dim) -> Dim:
        return 0 if other == 0 else _opaque("//", other, self)

    __truediv__ = __floordiv__

    def __mod__(self, other: Dim) -> Dim:
        exact = _exact_quotient(self, other)
        return _opaque("%", self, other) if exact is None else 0

    def __rmod__(self, other: Dim) -> Dim:
        return _opaque("%", other, self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sym):
            return self.terms == other.terms
        return False

    def __hash__(self) -> int:
        return hash(frozenset(self.terms.items()))

    def __lt__(self, other: Dim) -> bool:
        return _is_positive(other - self, f"{self} < {other}")

    def __gt__(self, other: Dim) -> bool:
        return _is_positive(self - other, f"{self} > {other}")

    def __le__(self, other: Dim) -> bool:
        return not self > other

    def __ge__(self, other: Dim) -> bool:
        return not self < other

    def __bool__(self) -> bool:
        raise Undecided(f"whether {self} is zero is not known before the model runs")

    def __index__(self) -> int:
        raise Undecided(f"the size {self} is not known before the model runs")

    __int__ = __index__

    def __repr__(self) -> str:
        parts = []
        for monomial, coefficient in sorted(self.terms.items(), key=lambda t: (-len(t[0]), t[0])):
            names = "*".join(monomial)
            if not names:
                parts.append(str(coefficient))
            elif coefficient == 1:
                parts.append(names)
            elif coefficient == -1:
                parts.append(f"-{names}")
            else:
                parts.append(f"{coefficient}*{names}")
        return "+".join(parts).replace("+-", "-")

    def substitute(self, sizes: Mapping[str, Dim]) -> Dim:
        """The expression with the given names replaced by sizes."""
        total: Dim = 0
        for monomial, coefficient in self.terms.items():
            product: Dim = coefficient
            for name in monomial:
                product = product * self._atom_value(name, sizes)
            total = total + product
        return total

    def _atom_value(self, name: str, sizes: Mapping[str, Dim]) -> Dim:
        if name in sizes:
            return sizes[name]
        if name not in self.atoms:
            return Sym(name)
        kind, left, right = self.atoms[name]
        left, right = substitute(left, sizes), substitute(right, sizes)
        if kind == "//":
            return left // right
        if kind == "%":
            return left % right
        return dim_max(left, right) if kind == "max" else dim_min(left, right)


_counter = itertools.count(1)


def fresh_dim(what: str) -> Sym:
    """A size that depends on data, equal to no other."""
    return Sym(f"{what}#{next(_counter)}")


def number_from(name: str) -> None:
    """Let fresh sizes have higher numbers than this name of a size, which was read from a file."""
    global _counter
    number = name.rpartition("#")[2]
    if "#" in name and number.isdecimal() and len(number) < 16:
        _counter = itertools.count(max(int(number) + 1, next(_counter)))


def names_in(dim: Dim) -> set[str]:
    """The free names of an expression."""
    if not isinstance(dim, Sym):
        return set()
    names: set[str] = set()
    for monomial in dim.terms:
        for name in monomial:
            if name in dim.atoms:
                _, left, right = dim.atoms[name]
                names |= names_in(left) | names_in(right)
            else:
                names.add(name)
    return names


def substitute(dim: Dim, sizes: Mapping[str, Dim]) -> Dim:
    """`dim` with named sizes replaced."""
    return dim.substitute(sizes) if isinstance(dim, Sym) else dim


def dim_max(left: Dim, right: Dim) -> Dim:
    """The larger of two dimensions; an opaque expression if that is not known."""
    return _extreme("max", left, right)


def dim_min(left: Dim, right: Dim) -> Dim:
    """The smaller of two dimensions; an opaque expression if that is not known."""
    return _extreme("min", left, right)


def _extreme(kind: str, left: Dim, right: Dim) -> Dim:
    difference = left - right if kind == "max" else right - left
    if _never_negative(difference):
        return left
    if _never_negative(-difference):
        return right
    for one, other in ((left, right), (right, left)):
        if _is_extreme_of("min" if kind == "max" else "max", one, other):
            return other  # max(min(a, b), b) is b
    return _opaque(kind, *sorted((left, right), key=str))


def _is_extreme_of(kind: str, dim: Dim, part: Dim) -> bool:
    """Whether `dim` is min(part, ...) or max(part, ...)."""
    if not isinstance(dim, Sym) or len(dim.terms) != 1:
        return False
    ((monomial, coefficient),) = dim.terms.items()
    atom = dim.atoms.get(monomial[0]) if coefficient == 1 and len(monomial) == 1 else None
    return atom is not None and atom[0] == kind and part in atom[1:]


def _is_dim(x: object) -> bool:
    return isinstance(x, Sym) or hasattr(x, "__index__")


def _as_sym(dim: Dim) -> Sym:
    if isinstance(dim, Sym):
        return dim
    out = Sym()
    if dim != 0:
        out.terms = {(): int(dim)}
    return out


def _build(terms: dict[_Monomial, int], atoms: dict[str, tuple[str, Dim, Dim]]) -> Dim:
    terms = {m: c for m, c in terms.items() if c}
    if not terms:
        return 0
    if len(terms) == 1 and () in terms:
        return terms[()]
    out = Sym()
    out.terms = terms
    if atoms:
        names = {name for monomial in terms for name in monomial}
        out.atoms = {k: v for k, v in atoms.items() if k in names}
    return out


def _combine(left: Dim, right: Dim, sign: int) -> Dim:
    if not _is_dim(right):
        return NotImplemented
    a, b = _as_sym(left), _as_sym(right)
    terms = dict(a.terms)
    for monomial, coefficient in b.terms.items():
        terms[monomial] = terms.get(monomial, 0) + sign * coefficient
    return _build(terms, a.atoms | b.atoms)


def _exact_quotient(left: Sym, right: Dim) -> Dim | None:
    """left / right where it divides term by term, else None."""
    divisor = _as_sym(right)
    if len(divisor.terms) != 1:
        return 1 if left == right else None
    ((monomial, coefficient),) = divisor.terms.items()
    terms = {}
    for names, c in left.terms.items():
        rest = list(names)
        for name in monomial:
            if name not in rest:
                return None
            rest.remove(name)
        if coefficient == 0 or c % coefficient:
            return None
        terms[tuple(rest)] = c // coefficient
    return _build(terms, left.atoms)


def _opaque(kind: str, left: Dim, right: Dim) -> Dim:
    name = f"{kind}({left},{right})" if kind in ("min", "max") else f"({left}{kind}{right})"
    out = Sym(name)
    out.atoms = {name: (kind, left, right)}
    return out


def _is_positive(difference: Dim, question: str) -> bool:
    """Whether a difference is above zero; Undecided if that depends on the sizes in it."""
    if not isinstance(difference, Sym):
        return difference > 0
    if _never_negative(difference - 1):
        return True
    if _never_negative(-difference):
        return False
    raise Undecided(f"{question} is not known before the model runs")


def _never_negative(dim: Dim) -> bool:
    """Whether an expression is certainly at least zero."""
    if not isinstance(dim, Sym):
        return dim >= 0
    return all(c >= 0 for c in dim.terms.values()) and all(
        _atom_never_negative(*dim.atoms[name]) for m in dim.terms for name in m if name in dim.atoms
    )


def _atom_never_negative(kind: str, left: Dim, right: Dim) -> bool:
    if kind == "%":
        return not isinstance(right, Sym) and right > 0
    if kind == "max":
        return _never_negative(left) or _never_negative(right)
    return _never_negative(left) and _never_negative(right)

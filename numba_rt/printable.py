"""Names from a model, made safe to show."""

from __future__ import annotations


def printable(text: object) -> str:
    """Text in which nothing a terminal acts on is left: control characters appear as escapes."""
    return "".join(c if c.isprintable() else _escape(c) for c in str(text))


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")

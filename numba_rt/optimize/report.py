"""Which rewrites happened where, and why others did not."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """Events of an optimisation, in order."""

    fired: list[tuple[str, str]] = field(default_factory=list)
    """(rule, node) for every rewrite made."""
    refused: list[tuple[str, str, str]] = field(default_factory=list)
    """(rule, node, reason) where a pattern was found but not rewritten."""

    def fire(self, rule: str, where: str) -> None:
        """Record a rewrite."""
        self.fired.append((rule, where))

    def refuse(self, rule: str, where: str, reason: str) -> None:
        """Record why a match was left alone."""
        event = (rule, where, reason)
        if event not in self.refused:
            self.refused.append(event)

    def counts(self) -> dict[str, int]:
        """How often each rule fired."""
        out: dict[str, int] = {}
        for rule, _ in self.fired:
            out[rule] = out.get(rule, 0) + 1
        return out

    def __str__(self) -> str:
        lines = [f"{rule}: {where}" for rule, where in self.fired]
        lines += [f"{rule} skipped at {where}: {reason}" for rule, where, reason in self.refused]
        return "\n".join(lines)

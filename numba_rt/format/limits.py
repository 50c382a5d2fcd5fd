"""What a file may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds that a reader enforces; whoever knows better gives others."""

    depth: int = 64
    """Tables inside tables."""
    tables: int = 8_000_000
    nodes: int = 1_000_000
    subgraphs: int = 20
    """Graphs inside graphs."""
    rank: int = 64
    elements: int = 2**48
    name: int = 65_536
    """Bytes of a name."""
    graph_bytes: int = 2**31 - 1
    sections: int = 16


LIMITS = Limits()

"""Old opsets rewritten to the current meaning."""

from __future__ import annotations

from converter.raw import RawNode
from converter.scope import Scope


def upgrade(node: RawNode, version: int, scope: Scope) -> list[RawNode]:
    """The nodes of the current meaning that do what `node` does at opset `version`."""
    return [node]

"""expected_failures.txt: the cases that fail today, each with its reason."""

from __future__ import annotations

from pathlib import Path

LIST = Path(__file__).parent / "expected_failures.txt"

HEAD = """\
# Cases of the onnx package's backend suite that fail. The list is strict: a case that fails without
# an entry, an entry that passes and an entry that names no case each fail the run.
# `python -m tests.conformance.update` writes it anew.
#
# One case a line: name, colon, reason. Lines of one reason stand together:
#   X is not implemented          the operator has no class yet
#   rounding of 16-bit steps      computed in float32 and rounded once, where the suite rounds each step
#   differs                       the result is wrong
#   anything else                 the error that loading or running raises
"""


def read() -> dict[str, str]:
    """Case id → reason."""
    lines = [line for line in LIST.read_text().splitlines() if line and not line.startswith("#")]
    entries = [line.split(": ", 1) for line in lines]
    assert all(len(entry) == 2 and entry[1] for entry in entries), "every entry needs a reason"
    found = dict(entries)
    assert len(found) == len(entries), "a case is listed twice"
    return found


def write(failures: dict[str, str]) -> None:
    """Write the list, grouped by reason."""
    lines = [HEAD]
    last = ""
    for name, reason in sorted(failures.items(), key=lambda f: (f[1], f[0])):
        if reason != last:
            lines.append("")
            last = reason
        lines.append(f"{name}: {reason}")
    LIST.write_text("\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n")

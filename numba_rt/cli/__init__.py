"""The command `numba-rt`: look at a model, run it, see where its time goes, examine this machine.

Exit codes: 0 fine, 1 something was found (unsupported operators, problems), 2 it could not be done.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module, metadata
from typing import Any

from numba_rt.errors import NumbaRtError
from numba_rt.printable import printable

__all__ = ["main"]

INPUT_HELP = "an input: name=file.npy, or file.npz; others are random"
SIZE_HELP = "size of a symbolic dimension of random inputs; input.axis=size where it has no name"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        code: int = import_module(f"numba_rt.cli.{args.command}").command(args)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (NumbaRtError, OSError, MemoryError) as error:
        if os.environ.get("NUMBA_RT_DEBUG", "0") not in ("", "0"):
            raise
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"numba-rt: {printable(text)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("numba-rt: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="numba-rt",
        description="Look at ONNX models and run them with Numba kernels.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"numba-rt {metadata.version('numba_rt')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    inspect = commands.add_parser(
        "inspect", allow_abbrev=False, help="what a model takes, makes and consists of"
    )
    inspect.add_argument("--plan", action="store_true", help="show the kernel calls for given sizes")
    inspect.add_argument(
        "--explain", action="store_true", help="list all rewrites, and why others were not made"
    )
    inspect.add_argument("--json", action="store_true", help="write JSON")
    inspect.add_argument(
        "--verify", action="store_true", help="compare all of a .nrt file with its checksums"
    )

    run = commands.add_parser(
        "run", allow_abbrev=False, help="run a model on arrays from files, or on random ones"
    )
    run.add_argument("-o", "--output", metavar="FILE.npz", help="write the outputs")
    run.add_argument("-n", "--repeat", type=_count, default=10, metavar="N", help="runs to time (default 10)")

    profile = commands.add_parser("profile", allow_abbrev=False, help="where the time of a model goes")
    profile.add_argument(
        "--by",
        choices=("op", "shape", "node"),
        action="append",
        help="what to add up; may be repeated (default op, then shape)",
    )
    profile.add_argument(
        "--runs", type=_positive, default=10, metavar="N", help="runs to record (default 10)"
    )
    profile.add_argument("--most", type=_positive, metavar="N", help="show the slowest N rows of a table")
    profile.add_argument("--json", metavar="FILE.json", help="write a Chrome trace with onnxruntime's keys")

    for command in (inspect, run, profile):
        command.add_argument("model", metavar="MODEL", help="an .onnx, .nrt or .rten file")
        command.add_argument(
            "-i", "--input", metavar="[NAME=]FILE", action="append", default=[], help=INPUT_HELP
        )
        command.add_argument("-s", "--size", metavar="NAME=SIZE", action="append", default=[], help=SIZE_HELP)
        command.add_argument("--seed", type=int, default=0, help="of random inputs (default 0)")
        command.add_argument("--threads", type=_positive, metavar="N", help="most threads a run may use")

    _add_files(commands)
    doctor = commands.add_parser("doctor", help="what this machine offers, and what is wrong with it")
    doctor.add_argument("--json", action="store_true", help="write JSON")
    return parser


def _add_files(commands: Any) -> None:
    """The commands that write model files."""
    convert = commands.add_parser("convert", allow_abbrev=False, help="write a model as a .nrt file")
    convert.add_argument("model", metavar="MODEL", help="an .onnx, .nrt or .rten file")
    convert.add_argument("output", metavar="OUTPUT.nrt")
    convert.add_argument(
        "--prepack", action="store_true", help="also store the optimised graph and packed weights"
    )
    convert.add_argument(
        "--optimize", choices=("fast", "strict"), default="fast", help="the precision --prepack is for"
    )
    convert.add_argument(
        "--set-dim", metavar="NAME=SIZE", action="append", default=[], help="fix a symbolic dimension"
    )
    convert.add_argument("--outputs", metavar="A,B", help="values to make, and nothing else")
    convert.add_argument("--weights", choices=("fp16", "bf16"), help="how float32 weights are stored")
    convert.add_argument("--simplify", action="store_true", help="compute what does not depend on inputs")
    convert.add_argument(
        "--check",
        nargs="?",
        const="",
        metavar="INPUTS.npz",
        help="run both models and compare (random inputs)",
    )
    convert.add_argument("-s", "--size", metavar="NAME=SIZE", action="append", default=[], help=SIZE_HELP)
    convert.add_argument("--seed", type=int, default=0, help="of random inputs (default 0)")

    export = commands.add_parser("export", allow_abbrev=False, help="write a model as an .onnx file")
    export.add_argument("model", metavar="MODEL", help="a .nrt, .onnx or .rten file")
    export.add_argument("output", metavar="OUTPUT.onnx")
    for command in (convert, export):
        command.add_argument("--force", action="store_true", help="replace a file that exists")


def _positive(text: str) -> int:
    count = _count(text)
    if count == 0:
        raise argparse.ArgumentTypeError("expected a number of at least 1, found 0")
    return count


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"expected a number, found {text!r}")
    return int(text)

"""`numba-rt export`: write a model as an .onnx file, as it was before it was converted."""

from __future__ import annotations

import argparse
import os

from numba_rt.cli.convert import check_paths
from numba_rt.printable import printable


def command(args: argparse.Namespace) -> int:
    """Export; weights of large models go into a file beside the model."""
    from converter.read import read
    from converter.to_onnx import export

    check_paths(args.model, args.output, ".onnx", args.force)
    check_beside(args)
    beside = export(read(args.model), args.output)
    for path in (args.output, beside):
        if path is not None:
            print(f"wrote {printable(path)}, {os.path.getsize(path):,} bytes")
    return 0


def check_beside(args: argparse.Namespace) -> None:
    """Refuse to replace a file of tensors that may belong to another model."""
    beside = args.output + ".data"
    if os.path.exists(beside):
        check_paths(args.model, beside, ".data", args.force)

"""`numba-rt profile`: where the time of a model goes."""

from __future__ import annotations

import argparse

from numba_rt.cli.feeds import make_feeds
from numba_rt.model import load
from numba_rt.printable import printable


def command(args: argparse.Namespace) -> int:
    """Run a model with a clock at every step, and show a table."""
    model = load(args.model, threads=args.threads)
    feeds, _ = make_feeds(model, args)
    profile = model.profile(*feeds.values(), runs=args.runs)
    tables = [profile.table(by, args.most) for by in args.by or ("op", "shape")]
    print("\n\n".join([profile.summary, *tables]))
    if args.json:
        profile.to_chrome(args.json)
        print(f"\nwrote {printable(args.json)}")
    return 0

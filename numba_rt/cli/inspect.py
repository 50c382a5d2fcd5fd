"""`numba-rt inspect`: what a model takes, makes and consists of, and what becomes of it."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from numba_rt.cli.feeds import make_feeds
from numba_rt.errors import InputError, UnsupportedOp
from numba_rt.format.container import NAMES, is_nrt, open_container
from numba_rt.format.reader import read_model
from numba_rt.format.ready import open_prepared
from numba_rt.graph import Fact, Graph, Node, Sym
from numba_rt.model import Model, load
from numba_rt.plan.schedule import subgraphs
from numba_rt.printable import printable

FORMAT = 1
"""Version of the JSON."""


def command(args: argparse.Namespace) -> int:
    """Show a model; 1 if it uses what is not supported."""
    from converter.overview import overview
    from converter.read import read

    seen = overview(args.model)
    shown: dict[str, Any] = {
        "format": FORMAT,
        "model": seen.name,
        "about": seen.about,
        "opsets": seen.opsets,
        "metadata": seen.metadata,
        "inputs": [_value(name, fact) for name, fact in seen.inputs],
        "outputs": [_value(name, fact) for name, fact in seen.outputs],
        "parameters": {"count": seen.parameters, "bytes": seen.parameter_bytes},
        "operators": dict(sorted(seen.operators.items(), key=lambda item: (-item[1], item[0]))),
    }
    if is_nrt(args.model):
        shown["file"] = _file(args.model, args.verify)
    elif args.verify:
        raise InputError("--verify compares the checksums of .nrt files: this is none")
    unsupported = False
    try:
        # Why rules did not fire is known only where they are tried.
        model = load(read(args.model) if args.explain else args.model, threads=args.threads)
    except UnsupportedOp as error:
        unsupported = True
        shown["unsupported"] = str(error)
    else:
        _add_rewrites(shown, model, args.explain)
        if args.plan:
            shown["plan"] = _plan(model, args)
        elif args.size or args.input:
            raise InputError("-s and -i are only used with --plan")
    print(json.dumps(shown, indent=2) if args.json else text(shown))
    return int(unsupported)


def _file(path: str, verify: bool) -> dict[str, Any]:
    """The sections of a .nrt file, and whether its optimised graph is used here."""
    container = open_container(path)
    if verify:
        for kind in container.sections:
            container.check(kind)
        read_model(container)
    prepared = open_prepared(container)
    told = {NAMES[s.kind]: {"offset": s.offset, "bytes": s.size} for s in container.sections.values()}
    out: dict[str, Any] = {"version": container.version, "sections": told}
    out["optimised graph"] = prepared if isinstance(prepared, str) else "used on this machine"
    return out | ({"checksums": "all match"} if verify else {})


def _value(name: str, fact: Fact) -> dict[str, Any]:
    shape = None
    if fact.shape is not None:
        shape = [(None if "#" in str(d) else str(d)) if isinstance(d, Sym) else d for d in fact.shape]
    return {"name": name, "dtype": str(fact.without_value()).split("[")[0], "shape": shape}


def _add_rewrites(shown: dict[str, Any], model: Model, explain: bool) -> None:
    shown["rewrites"] = model.report.counts()
    kernels = Counter(n.op.op_type for n in _nodes(model.graph))
    shown["optimised operators"] = dict(sorted(kernels.items(), key=lambda item: (-item[1], item[0])))
    if explain:
        shown["fired"] = [{"rule": rule, "node": node} for rule, node in model.report.fired]
        shown["refused"] = [
            {"rule": rule, "node": node, "reason": reason} for rule, node, reason in model.report.refused
        ]


def _nodes(graph: Graph) -> Iterator[Node]:
    for node in graph.nodes:
        yield node
        for _, body in subgraphs(node):
            yield from _nodes(body)


def _plan(model: Model, args: argparse.Namespace) -> list[str]:
    feeds, _ = make_feeds(model, args)
    plans = model.plan(*feeds.values())
    return [str(plan) for plan in (plans if isinstance(plans, list) else [plans])]


def text(shown: dict[str, Any]) -> str:
    """What was found, for people."""
    versions = ", ".join(f"{k} {v}" for k, v in shown["opsets"].items())
    lines = [f"model       {shown['model'] or '(no name)'}"]
    lines += [f"{k:11} {v}" for k, v in shown["about"].items()]
    lines += [f"opsets      {versions}"]
    if "file" in shown:
        file = shown["file"]
        parts = ", ".join(f"{name} {s['bytes']:,}" for name, s in file["sections"].items())
        lines += [f"file        version {file['version']}, bytes: {parts}"]
        lines += [f"prepacked   {file['optimised graph']}"]
        lines += [f"checksums   {file['checksums']}"] if "checksums" in file else []
    lines += [f"metadata    {k}: {v}" for k, v in shown["metadata"].items()]
    for kind in ("input", "output"):
        lines += [f"{kind:11} {_declared(value)}" for value in shown[f"{kind}s"]]
    parameters = shown["parameters"]
    lines.append(f"parameters  {parameters['count']:,} in {parameters['bytes']:,} bytes")
    lines += _counts("operators", shown["operators"])
    if "unsupported" in shown:
        lines.append(f"unsupported {shown['unsupported']}")
    if "rewrites" in shown:
        lines += _counts("rewrites", shown["rewrites"])
        lines += _counts("optimised", shown["optimised operators"])
    lines += [f"fired       {e['rule']}: {e['node']}" for e in shown.get("fired", [])]
    lines += [f"refused     {e['rule']}: {e['node']}: {e['reason']}" for e in shown.get("refused", [])]
    for plan in shown.get("plan", []):
        lines += ["plan", *(f"  {line}" for line in plan.splitlines())]
    return "\n".join(printable(line) for line in lines)


def _declared(value: dict[str, Any]) -> str:
    shape = value["shape"]
    dims = "?" if shape is None else ", ".join("?" if d is None else str(d) for d in shape)
    return f"{value['name']}: {value['dtype']}[{dims}]"


def _counts(title: str, counts: dict[str, int]) -> list[str]:
    total = sum(counts.values())
    return [f"{title:11} {total}", *(f"  {name:24} {count}" for name, count in counts.items())]

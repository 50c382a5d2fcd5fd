"""Compare numba_rt with ONNX Runtime and OpenVINO, as far as they are installed.

    python -m benchmarks.compare MODEL.onnx FOLDER ... [-s seq=128] [--batch 8] [--threads 2]
    python -m benchmarks.compare --layers conv [--network resnet50]
    python -m benchmarks.compare MODEL.onnx --json benchmarks/results/NAME.json --plot NAME.svg
    python -m benchmarks.compare --readme benchmarks/results/NAME.json

Each runtime has a process of its own. All are loaded; then, in each round, one after the other runs the
model for a quarter of a second. Inputs are the same; the first outputs are compared with ONNX Runtime's.
Kernels are compiled before anything is measured.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.engines import OURS, PACKAGES, Engine, EngineError, Feeds, installed
from benchmarks.inputs import ModelInputs
from benchmarks.layers import build, read_layers
from benchmarks.rounds import Settings, compare

README = Path(__file__).parents[1] / "README.md"


@contextmanager
def started(names: list[str], threads: int) -> Iterator[dict[str, Engine]]:
    """Processes of the runtimes."""
    engines: dict[str, Engine] = {}
    try:
        for name in names:
            engines[name] = Engine(name, threads)
        yield engines
    finally:
        for engine in engines.values():
            engine.close()


def compile_kernels(path: Path, feeds: Feeds, settings: Settings, folder: Path) -> None:
    """Run the model in a process that is not measured, which leaves its kernels in the cache."""
    if OURS in settings.engines:
        with started([OURS], settings.threads) as engines:
            compile_here(engines[OURS], path, feeds, folder)


def compile_here(engine: Engine, path: Path, feeds: Feeds, folder: Path) -> None:
    """Run the model once; if that fails, it is told when it is measured."""
    with suppress(EngineError):
        engine.open(path, feeds, folder / "unused.npz")


def cold_seconds(path: Path, feeds: Feeds, threads: int, folder: Path) -> float | None:
    """Seconds to import, load and run once with an empty kernel cache; None if the model does not run."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        engine = Engine(OURS, threads, {"NUMBA_RT_CACHE_DIR": cache})
        try:
            return engine.open(path, feeds, folder / "unused.npz").seconds
        except EngineError:
            return None
        finally:
            engine.close()


def models(paths: list[Path]) -> list[Path]:
    """The files named, and those in the folders named."""
    found: list[Path] = []
    for path in paths:
        inside = sorted(path.rglob("*.onnx")) if path.is_dir() else [path]
        if not inside or not all(p.is_file() for p in inside):
            raise SystemExit(f"{path}: no such file, or no .onnx file in it")
        found += inside
    return found


def of_model(path: Path, options: argparse.Namespace, settings: Settings, folder: Path) -> dict[str, Any]:
    """The comparison of a model."""
    inputs = ModelInputs(path)
    file = path if options.batch is None else inputs.set_batch(options.batch, folder)
    feeds, sizes = inputs.feeds(dict(options.size), dict(options.fill))
    cold = cold_seconds(file, feeds, settings.threads, folder) if options.cold else None
    compile_kernels(file, feeds, settings, folder)
    with started(list(settings.engines), settings.threads) as engines:
        found = compare(engines, file, feeds, settings, folder)
    if cold is not None and OURS in found:
        found[OURS]["cold_seconds"] = cold
    return {"name": path.stem, "batch": options.batch, "sizes": sizes, "engines": found}


def of_layers(options: argparse.Namespace, settings: Settings, folder: Path) -> Iterator[dict[str, Any]]:
    """The comparison of each layer; the processes stay."""
    batch = options.batch or 1
    with started(list(settings.engines), settings.threads) as engines:
        for layer in read_layers(options.layers, options.network):
            model, flops = build(layer, batch)
            path = folder / "layer.onnx"
            path.write_bytes(model.SerializeToString())
            feeds, _ = ModelInputs(path).feeds({}, {})
            if OURS in engines:
                compile_here(engines[OURS], path, feeds, folder)
            found = compare(engines, path, feeds, settings, folder)
            for result in found.values():  # these are of the process, not of the layer
                result.pop("import_seconds", None)
                result.pop("peak_bytes", None)
            yield {"name": layer.name, "batch": options.batch, "flops": flops, "engines": found}


def pair(text: str) -> tuple[str, int]:
    """name=number"""
    name, separator, number = text.rpartition("=")
    if not separator or not number.lstrip("-").isdecimal():
        raise argparse.ArgumentTypeError(f"expected name=number, found {text!r}")
    return name, int(number)


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, prog="benchmarks.compare"
    )
    made.add_argument("models", nargs="*", type=Path, help="model files, and folders with model files")
    made.add_argument("--layers", choices=("conv", "matmul"), help="compare layers of real networks instead")
    made.add_argument("--network", action="append", help="only layers of this network; may be repeated")
    made.add_argument(
        "-s",
        "--size",
        type=pair,
        action="append",
        default=[],
        metavar="NAME=SIZE",
        help="of a dimension, by name or input.axis; * is a wildcard",
    )
    made.add_argument(
        "--fill", type=pair, action="append", default=[], metavar="INPUT=NUMBER", help="an input's elements"
    )
    made.add_argument("--batch", type=int, help="length of the first axis of every input")
    made.add_argument("--engines", default=",".join(installed()), help="comma-separated; default: all here")
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--rounds", type=int, default=10)
    made.add_argument("--turn", type=float, default=0.25, help="seconds each runtime runs in a round")
    made.add_argument("--cold", action="store_true", help="also the first run with an empty kernel cache")
    made.add_argument("--json", type=Path, help="file of results; those of other models stay in it")
    made.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the ratios")
    made.add_argument("--readme", type=Path, metavar="FILE.json", help="write the README's table and stop")
    return made


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    options = parser().parse_args(argv)
    if options.readme:
        read = results.read(options.readme)
        results.write_readme(README, read)
        if options.plot:
            options.plot.write_text(results.plot(read["results"]), encoding="utf-8")
        return
    if bool(options.models) == bool(options.layers):
        raise SystemExit("name model files, or --layers conv or --layers matmul")
    names = [name for name in options.engines.split(",") if name]
    if missing := [name for name in names if name not in installed()]:
        raise SystemExit(f"{missing} cannot be compared: of {list(PACKAGES)}, {installed()} are installed")
    settings = Settings(names, options.threads, options.rounds, options.turn)
    where = results.machine(options.threads)
    if hasattr(os, "getloadavg"):
        print(f"{where['processor']}, {options.threads} threads, load {os.getloadavg()[0]:.2f}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = []
        produced = (
            of_layers(options, settings, folder)
            if options.layers
            else (of_model(path, options, settings, folder) for path in models(options.models))
        )
        for result in produced:
            found.append(result)
            print(results.table([result], heads=len(found) == 1), flush=True)
            if options.json:
                everything = results.store(options.json, where, [result])
        shown = everything if options.json else found
    if options.plot:
        options.plot.write_text(results.plot(shown), encoding="utf-8")


if __name__ == "__main__":
    main()

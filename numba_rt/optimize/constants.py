"""Passes: fold what is constant, merge what is computed twice, drop what nobody reads."""

from __future__ import annotations

import numpy as np

from numba_rt.dtypes import INT64, STRING
from numba_rt.errors import NumbaRtError
from numba_rt.graph import Graph, Node, Sym, Value
from numba_rt.graph.dim import names_in
from numba_rt.graph.fact import SMALL
from numba_rt.ops._eager import run_op
from numba_rt.ops._infer import as_dtype, infer_node, is_symbolic
from numba_rt.ops.shape import SizeArithmetic
from numba_rt.optimize.report import Report
from numba_rt.optimize.rule import replace_value

SAMPLES = 64
"""Elements of a large constant that are looked at first, to find those that may be equal."""

FOLD_LIMIT = 1 << 28
"""Larger results (in bytes) are computed at run time, not stored in the model."""


def fold_constants(graph: Graph, report: Report) -> None:
    """Replace nodes whose results are known by constants."""
    for node in list(graph.nodes):
        infer_node(node)
        results = _known_results(node)
        if results is None:
            continue
        for value, array in zip(node.outputs, results, strict=False):
            replace_value(graph, value, _constant(graph, value, array))
        report.fire("fold_constants", node.describe())
    graph.remove_dead()


def _constant(graph: Graph, value: Value, array: np.ndarray) -> Value:
    made = graph.constant(_own(array), value.name)
    if graph.is_output(value):
        made.name, value.name = value.name, made.name
    return made


def _own(array: np.ndarray) -> np.ndarray:
    """C-contiguous and writable: kernels have one signature for all arguments."""
    array = np.ascontiguousarray(array).reshape(array.shape)
    return array if array.flags.writeable else array.copy()


def _known_results(node: Node) -> list[np.ndarray] | None:
    op = node.op
    facts = [v.fact for v in node.outputs]
    if any(f.kind != "tensor" for f in facts) or not op.deterministic or op.has("control"):
        return None
    known = [f.value for f in facts]
    if all(v is not None and not is_symbolic(v, f.dtype) for v, f in zip(known, facts, strict=True)):
        return [as_dtype(v, f.dtype) for v, f in zip(known, facts, strict=True) if v is not None]
    if not node.inputs or not all(v is None or v.is_constant for v in node.inputs):
        return None
    if any(f.shape is not None and f.is_static and f.nbytes > FOLD_LIMIT for f in facts):
        return None
    inputs = [None if v is None else v.constant for v in node.inputs]
    try:
        return _compute(node, inputs)
    except NumbaRtError:
        return None


def _compute(node: Node, inputs: list[np.ndarray | None]) -> list[np.ndarray] | None:
    if node.op.has("evaluate"):
        made = node.op.evaluate(*inputs)  # type: ignore[attr-defined]
        results = made if isinstance(made, tuple) else (made,)
        return [as_dtype(np.asarray(r), v.fact.dtype) for r, v in zip(results, node.outputs, strict=False)]
    if node.op.has("run") and not node.op.data_dependent:
        return run_op(node.op, inputs, len(node.outputs), node.describe())
    small = all(v is None or v.size <= SMALL for v in inputs)
    if small and not any(v is not None and v.dtype == STRING for v in inputs):
        return None  # not worth compiling a kernel for
    return run_op(node.op, inputs, len(node.outputs), node.describe())


def lift_sizes(graph: Graph, report: Report) -> None:
    """Replace shape arithmetic by expressions over the sizes of the graph's inputs: nothing then reads
    a value only for its shape. Not for subgraphs, whose inputs may change shape from step to step.
    """
    origin: dict[str, tuple[Value, int]] = {}
    for value in graph.inputs:
        for axis, dim in enumerate(value.fact.shape or ()):
            if isinstance(dim, Sym):
                origin.setdefault(str(dim), (value, axis))
    for node in list(graph.nodes):
        made = node.outputs[0]
        known = made.fact.value
        if (
            known is None
            or made.fact.dtype != INT64
            or not is_symbolic(known, INT64)
            or len(node.outputs) > 1
        ):
            continue
        names = sorted(set().union(*(names_in(d) for d in known.reshape(-1).tolist())))
        if node.op.op_type == "SizeArithmetic" or not all(n in origin for n in names):
            continue
        sources = list(dict.fromkeys(origin[n][0] for n in names))
        symbols = tuple((n, sources.index(origin[n][0]), origin[n][1]) for n in names)
        lifted = graph.node(
            SizeArithmetic(expressions=known, symbols=symbols), sources, 1, node.name, before=node
        )
        infer_node(lifted)
        replace_value(graph, made, lifted.outputs[0])
        report.fire("lift_sizes", node.describe())
    graph.remove_dead()


def merge_common(graph: Graph, report: Report) -> None:
    """Let nodes that compute the same from the same values be one node."""
    seen: dict[object, Node] = {}
    constants: dict[object, Value] = {}
    for value in graph.constants():
        array = value.constant
        if array is not None and array.dtype != STRING and not graph.is_output(value):
            first = constants.setdefault((array.dtype, array.shape, _some_of(array)), value)
            if first is not value and _same(array, first.constant):
                graph.replace(value, first)
    merged = []
    for node in graph.nodes:
        key = node.op.key()
        if key is None:
            continue
        identity = (key, len(node.outputs), tuple(None if v is None else id(v) for v in node.inputs))
        try:
            first_node = seen.setdefault(identity, node)
        except TypeError:
            continue
        if first_node is node or any(graph.is_output(v) for v in node.outputs):
            continue
        for value, kept in zip(node.outputs, first_node.outputs, strict=True):
            graph.replace(value, kept)
        merged.append(node)
        report.fire("merge_common", node.describe())
    graph.remove(merged)


def _some_of(array: np.ndarray) -> bytes:
    """All elements of a small array, a few of a large one."""
    if array.nbytes <= SMALL:
        return array.tobytes()
    step = max(1, array.size // SAMPLES)
    return np.asarray(array.reshape(-1)[::step] if array.flags.c_contiguous else array.flat[::step]).tobytes()


def _same(array: np.ndarray, other: np.ndarray | None) -> bool:
    """Whether two arrays of one dtype and shape, with the same samples, are equal bit by bit."""
    if array.nbytes <= SMALL or array is other:
        return True
    if other is None:
        return False
    ours, theirs = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (array, other))
    return np.array_equal(ours, theirs)


def remove_dead(graph: Graph, report: Report) -> None:
    """Take out nodes nobody reads."""
    if graph.remove_dead():
        report.fire("remove_dead", graph.name)

"""Parallel regions: the `prange` loop of a kernel, shared between threads.

The function is compiled once. When it reaches its parallel loop with more than one task, it has
each thread call the same function again with one task's number, hidden in the argument `tasks`;
such a call repeats the statements before the loop, does its one turn of the loop and returns.
So the machine code of a kernel exists once, for one thread and for many, and compiling it takes
a third of the time that Numba's own parallel loops need.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from numba_rt.errors import KernelError
from numba_rt.threads import NO_THREADS

_I64 = ir.IntType(64)
_STATUS = ir.IntType(32)
_BYTES = ir.IntType(8).as_pointer()
_TASK_BITS = 20
_TASKS_MASK = (1 << _TASK_BITS) - 1
_ALLOCATIONS = frozenset(
    {"empty", "zeros", "ones", "full", "empty_like", "zeros_like", "ones_like", "full_like"}
)


def shared(function: Callable[..., None], source: str) -> Callable[..., None]:
    """The function with its `prange` loop made a parallel region.

    Args:
        function: Has one `prange` loop, among its own statements, and `tasks` as last parameter.
        source: Text of the file the function comes from.
    """
    code = function.__code__
    definition = _definition(code, ast.parse(source))
    definition.decorator_list = []
    whole = compile(source, code.co_filename, "exec", dont_inherit=True)
    # A notebook compiles the statements of a cell one by one, a module all at once; that can differ.
    if code.co_code not in {_compiled(definition, code.co_filename).co_code, *_codes(whole)}:
        raise KernelError(f"kernel {function.__name__}: its source has changed since it was imported")
    _split(definition, function.__name__)
    names = {**function.__globals__, "_numba_rt_task": _task, "_numba_rt_turns": _turns}
    made = FunctionType(_compiled(definition, code.co_filename), names, function.__name__)
    made.__qualname__ = function.__qualname__
    made.__module__ = function.__module__
    return made


def _definition(code: CodeType, tree: ast.Module) -> ast.FunctionDef:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    raise KernelError(f"kernel {code.co_name}: not found at line {code.co_firstlineno} of {code.co_filename}")


def _codes(code: CodeType) -> Iterator[bytes]:
    """Bytecode of all functions in compiled source."""
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield const.co_code
            yield from _codes(const)


def _compiled(definition: ast.FunctionDef, file: str) -> CodeType:
    module = ast.fix_missing_locations(ast.Module([definition], []))
    made = compile(module, file, "exec", dont_inherit=True)
    return next(const for const in made.co_consts if isinstance(const, CodeType))


def _split(definition: ast.FunctionDef, name: str) -> None:
    """Puts into the function what makes it run one task, or all."""
    body = definition.body
    at = next((i for i, statement in enumerate(body) if _is_parallel_loop(statement)), None)
    if at is None:
        raise KernelError(f"kernel {name}: its prange loop is not a statement of the function itself")
    loop, before, after = body[at], body[:at], body[at + 1 :]
    assert isinstance(loop, ast.For) and isinstance(loop.iter, ast.Call)
    _check_before(before, name)
    _check_after(loop, after, name)
    tasks = definition.args.args[-1].arg
    count = ast.unparse(loop.iter.args[0])
    begin = ast.parse(f"_task, {tasks} = _numba_rt_task({tasks})").body
    turns = ast.parse(f"_first, _stop = _numba_rt_turns({count}, _task, {tasks})").body
    end = ast.parse("if _task >= 0:\n    return").body
    for statement in [*begin, *turns, *end]:
        for node in ast.walk(statement):
            ast.copy_location(node, loop)
    loop.iter = ast.copy_location(ast.parse("range(_first, _stop)", mode="eval").body, loop)
    definition.body = [*begin, *before, *turns, loop, *end, *after]


def _is_parallel_loop(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.For)
        and isinstance(statement.iter, ast.Call)
        and isinstance(statement.iter.func, ast.Name)
        and statement.iter.func.id == "prange"
        and len(statement.iter.args) == 1
    )


def _check_before(before: list[ast.stmt], name: str) -> None:
    """Refuses statements before the loop that must not be repeated by each task."""
    for node in _repeated(before):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            what = "stores into an array"
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            what = "calls for effect"
        elif isinstance(called, ast.Attribute) and called.attr in _ALLOCATIONS:
            what = "makes an array"
        else:
            continue
        raise KernelError(
            f"kernel {name}: line {node.lineno} {what} before the prange loop; each task repeats what "
            "stands there, so it may only compute scalars"
        )


def _repeated(statements: list[ast.stmt]) -> Iterator[Any]:
    """All nodes of statements, without branches that leave the function."""
    for statement in statements:
        if isinstance(statement, ast.If):
            yield from ast.walk(statement.test)
            for branch in (statement.body, statement.orelse):
                if not (branch and isinstance(branch[-1], ast.Return | ast.Raise)):
                    yield from _repeated(branch)
        else:
            yield from ast.walk(statement)


def _check_after(loop: ast.For, after: list[ast.stmt], name: str) -> None:
    """Refuses scalars that leave the loop: tasks share arrays only."""
    inside = _names(loop.body, ast.Store)
    plain = [
        node for statement in after for node in ast.walk(statement) if isinstance(node, ast.Assign | ast.For)
    ]
    renewed = _names([target for node in plain for target in _targets(node)], ast.Store)
    for escaped in sorted(inside & _names(after, ast.Load) - renewed):
        raise KernelError(
            f"kernel {name}: {escaped!r} is computed in the prange loop and used after it; "
            "tasks can only hand over what they store in arrays"
        )


def _targets(node: ast.Assign | ast.For) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]


def _names(trees: list[Any], context: type[ast.expr_context]) -> set[str]:
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


@intrinsic
def _task(typing_context, tasks):  # type: ignore[no-untyped-def]
    """The task this call is for (-1 if it is for all), and the number of tasks."""
    if tasks != types.int64:
        raise TypingError(f"the last argument of a kernel is `tasks`, an int64; found {tasks}")

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        hidden = builder.not_(args[0])
        is_task = builder.icmp_signed("<", args[0], _I64(0))
        task = builder.select(is_task, builder.lshr(hidden, _I64(_TASK_BITS)), _I64(-1))
        count = builder.select(is_task, builder.and_(hidden, _I64(_TASKS_MASK)), args[0])
        return context.make_tuple(builder, signature.return_type, [task, count])

    return types.UniTuple(types.int64, 2)(tasks), codegen


@intrinsic
def _turns(typing_context, count, task, tasks):  # type: ignore[no-untyped-def]
    """First and stop of the turns of the loop this call takes itself, after others took theirs."""

    def codegen(context: Any, builder: ir.IRBuilder, signature: Any, args: list[ir.Value]) -> ir.Value:
        count, task, tasks = args
        zero, one = _I64(0), _I64(1)
        builder.function.attributes.add("noinline")
        is_task = builder.icmp_signed(">=", task, zero)
        first = builder.select(is_task, task, zero)
        stop = cgutils.alloca_once_value(builder, builder.select(is_task, builder.add(task, one), count))
        stays = builder.icmp_signed("!=", builder.load(_symbol(builder.module, NO_THREADS)), zero)
        stays = builder.or_(builder.or_(is_task, stays), builder.icmp_signed("<=", count, one))
        with builder.if_then(builder.not_(stays)):
            _emit_region(builder, count, tasks)
            builder.store(zero, stop)
        return context.make_tuple(builder, signature.return_type, [first, builder.load(stop)])

    return types.UniTuple(types.int64, 2)(types.int64, types.int64, types.int64), codegen


def _symbol(module: ir.Module, name: str) -> ir.GlobalVariable:
    """A word outside of the module."""
    return module.globals.get(name) or ir.GlobalVariable(module, _I64, name)


def _emit_region(builder: ir.IRBuilder, count: ir.Value, tasks: ir.Value) -> None:
    """Has the threads call the function being built once for each of `count` tasks."""
    function, module = builder.function, builder.module
    error_type = function.args[1].type.pointee
    passed = [*function.args[2:-1], tasks, count, error_type(None), _STATUS(0)]
    frame_type = ir.LiteralStructType([value.type for value in passed])
    frame = cgutils.alloca_once(builder, frame_type)
    for position, value in enumerate(passed):
        builder.store(value, cgutils.gep_inbounds(builder, frame, 0, position))
    width = builder.call(
        cgutils.get_or_insert_function(module, ir.FunctionType(_I64, []), "get_num_threads"), []
    )
    turns = builder.select(builder.icmp_signed(">", count, width), count, width)
    base = builder.bitcast(frame, _BYTES)
    bases, sizes, steps = (cgutils.alloca_once_value(builder, v) for v in (base, turns, _I64(1)))
    parallel_for = ir.FunctionType(ir.VoidType(), [_BYTES] * 5 + [_I64] * 3)
    builder.call(
        cgutils.get_or_insert_function(module, parallel_for, "numba_parallel_for"),
        [
            *(builder.bitcast(v, _BYTES) for v in (_emit_worker(function, frame_type), bases, sizes, steps)),
            *(base, _I64(0), _I64(1), width),
        ],
    )
    error, status = (
        builder.load(cgutils.gep_inbounds(builder, frame, 0, len(passed) - back)) for back in (2, 1)
    )
    with builder.if_then(builder.icmp_signed("!=", status, _STATUS(0)), likely=False):
        builder.store(error, function.args[1])
        builder.ret(status)


def _emit_worker(function: ir.Function, frame_type: ir.LiteralStructType) -> ir.Function:
    """What a thread runs, as Numba's threading layers call it: worker(bases, sizes, steps, frame).

    The layer moves the first base by one byte per task, which tells the worker where its tasks begin.
    """
    words = _I64.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [_BYTES.as_pointer(), words, words, _BYTES])
    worker = ir.Function(function.module, kind, name=f"{function.name}.worker")
    worker.linkage = "internal"
    builder = ir.IRBuilder(worker.append_basic_block("entry"))
    bases, sizes, _, base = worker.args
    frame = builder.bitcast(base, frame_type.as_pointer())
    slots = [cgutils.gep_inbounds(builder, frame, 0, i) for i in range(len(frame_type.elements))]
    *passed, tasks, count = (builder.load(slot) for slot in slots[:-2])
    start = builder.sub(builder.ptrtoint(builder.load(bases), _I64), builder.ptrtoint(base, _I64))
    result, error = (cgutils.alloca_once(builder, arg.type.pointee, zfill=True) for arg in function.args[:2])
    with cgutils.for_range(builder, builder.load(sizes)) as turn:
        task = builder.add(start, turn.index)
        with builder.if_then(builder.icmp_signed("<", task, count)):
            hidden = builder.not_(builder.or_(builder.shl(task, _I64(_TASK_BITS)), tasks))
            status = builder.call(function, [result, error, *passed, hidden])
            with builder.if_then(builder.icmp_signed("!=", status, _STATUS(0)), likely=False):
                builder.store(builder.load(error), slots[-2])
                builder.store(status, slots[-1])
    builder.ret_void()
    return worker

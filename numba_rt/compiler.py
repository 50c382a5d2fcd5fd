"""Numba's compiler for kernels: the only place that imports its decorators.

A kernel becomes machine code with a second function beside it, which takes a frame (`frame.py`) and
calls the first with what is in it. There is no wrapper for Python objects.
"""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.bytecode import FunctionIdentity
from numba.core.compiler import Compiler, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.registry import cpu_target
from numba.core.typed_passes import NativeLowering
from numba.core.typing.typeof import typeof_impl
from numba.extending import intrinsic, overload

from numba_rt import threads
from numba_rt.errors import KernelError
from numba_rt.jit import Codes, Inline, Intrinsic, Kernel, Overload, source_file
from numba_rt.kernel_cache import source_digest, source_text
from numba_rt.machine_code import Image
from numba_rt.region import shared

_OPTIONS = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}
_I64 = ir.IntType(64)

_compiled: list[Any] = []
"""Keeps code that was compiled here: its addresses are in use."""


def compile_kernel(kernel: Kernel, codes: Codes) -> tuple[Image, int]:
    """Compiles a kernel for arguments of these types.

    Returns:
        What can be kept, and the address of the function that takes a frame, in this process.
    """
    if kernel.is_parallel:
        for name in ("numba_parallel_for", "get_num_threads", threads.NO_THREADS):
            llvm.add_symbol(name, threads.symbol(name))
    dispatcher = numba.njit(fastmath=set(kernel.fastmath), pipeline_class=_KernelCompiler, **_OPTIONS)(
        kernel.function
    )
    signature = tuple(map(numba_type, codes))
    dispatcher.compile(signature)
    result = dispatcher.overloads[signature]
    if result.signature.return_type != types.none:
        raise KernelError(f"kernel {kernel.name}: it returns a value; a kernel's results are arrays")
    library = result.library
    _compiled.append(library)
    symbols = [*library._final_module.functions, *library._final_module.global_variables]
    needed = {s.name for s in symbols if s.is_declaration and not s.name.startswith("llvm.")}
    entry = _entry_name(result.fndesc)
    image = Image(entry, tuple(sorted(needed)), library._get_compiled_object())
    return image, library.get_pointer_to_function(entry)


def numba_type(code: str) -> Any:
    """Numba's type of an argument."""
    dtype, is_array, rank = code.partition(":")
    scalar = numba.from_dtype(np.dtype(dtype))
    return types.Array(scalar, int(rank), "C") if is_array else scalar


def _entry_name(descriptor: Any) -> str:
    return f"{descriptor.llvm_func_name}.frame"


# Functions that kernels call


def inline_dispatcher(inline: Inline) -> Any:
    """Numba's view of a function that is compiled into kernels."""
    if inline.dispatcher is None:
        inline.dispatcher = numba.njit(fastmath=set(inline.fastmath), **_OPTIONS)(inline.function)
    return inline.dispatcher


def intrinsic_of(deferred: Intrinsic) -> Any:
    """Numba's view of a function that emits code."""
    if deferred.made is None:
        deferred.made = intrinsic(deferred.function)
        cpu_target.typing_context.refresh()
    return deferred.made


def install(overloads: list[Overload]) -> None:
    """Makes known to Numba what modules of kernels stated."""
    while overloads:
        made = overloads.pop()
        overload(made.function, jit_options=made.options)(made.choose)


@typeof_impl.register(Inline)
def _typeof_inline(value: Inline, context: Any) -> Any:
    return numba.typeof(inline_dispatcher(value))


@typeof_impl.register(Intrinsic)
def _typeof_intrinsic(value: Intrinsic, context: Any) -> Any:
    return cpu_target.typing_context.resolve_value_type(intrinsic_of(value))


# Kernels


@register_pass(mutates_CFG=True, analysis_only=False)
class _KernelLowering(NativeLowering):
    """Numba's lowering, with the function that takes a frame in the place of one for Python objects."""

    _name = "numba_rt_kernel_lowering"

    @property
    def lowering_class(self) -> type[Lower]:
        """What writes the code of a function."""
        return _KernelLower


class _KernelLower(Lower):
    def create_cpython_wrapper(self, release_gil: bool = False) -> None:
        """The function that takes a frame."""
        module = self.context.create_module("frame")
        kind = self.context.call_conv.get_function_type(self.fndesc.restype, self.fndesc.argtypes)
        kernel = ir.Function(module, kind, self.fndesc.llvm_func_name)
        entry = ir.Function(
            module, ir.FunctionType(ir.IntType(32), [_I64.as_pointer()]), _entry_name(self.fndesc)
        )
        builder = ir.IRBuilder(entry.append_basic_block("entry"))
        results = []
        for arg in kernel.args[:2]:
            slot = builder.alloca(arg.type.pointee)
            builder.store(ir.Constant(arg.type.pointee, None), slot)
            results.append(slot)
        values = [_read(builder, entry.args[0], n, arg.type) for n, arg in enumerate(kernel.args[2:])]
        builder.ret(builder.call(kernel, [*results, *values]))
        self.library.add_ir_module(module)


def _read(builder: ir.IRBuilder, frame: ir.Value, index: int, kind: ir.Type) -> ir.Value:
    """A word of the frame as an argument of this type."""
    word = builder.load(builder.gep(frame, [_I64(index)]))
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(word, kind)
    if isinstance(kind, ir.DoubleType):
        return builder.bitcast(word, kind)
    if isinstance(kind, ir.FloatType):
        return builder.bitcast(builder.trunc(word, ir.IntType(32)), kind)
    if not isinstance(kind, ir.IntType):
        raise KernelError(f"arguments of the type {kind} are not supported")
    return word if kind.width == 64 else builder.trunc(word, kind)


class _KernelCompiler(Compiler):
    """Numba's pipeline for kernels: arguments are different arrays, and symbols are unique.

    Numba numbers functions as they are compiled, so two processes may give the same symbol to
    different versions of a function; when both are loaded, the linker would take one for both.
    """

    def define_pipelines(self) -> list[Any]:
        """The usual passes, the last of which writes a function that takes a frame."""
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes = manager.passes
        manager.passes = [
            (_KernelLowering if kind is NativeLowering else kind, text) for kind, text in passes
        ]
        manager.finalize()
        return [manager]

    def compile_extra(self, func: Callable[..., None]) -> Any:
        """Compiles with function numbers counted from a digest of all that the code depends on."""
        flags = self.state.flags
        flags.noalias = True
        path = source_file(func)
        version = source_digest(path) if path else func.__code__.co_code
        identity = repr(
            (func.__module__, func.__qualname__, self.state.args, flags.get_mangle_string(), version)
        )
        start = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:7])
        saved = FunctionIdentity._unique_ids
        FunctionIdentity._unique_ids = itertools.count(start)
        try:
            return super().compile_extra(_with_region(func, path))
        finally:
            FunctionIdentity._unique_ids = saved


def _with_region(function: Callable[..., None], path: Path | None) -> Callable[..., None]:
    """The function that is compiled; without source text its loop stays in the calling thread."""
    if "prange" not in function.__code__.co_names:
        return function
    try:
        text = source_text(path) if path else "".join(inspect.findsource(function)[0])
    except OSError:
        return function
    return shared(function, text)

"""Cached machine code brought into memory.

A compiled kernel is a relocatable object file. For Linux on x86-64, where it is an ELF file with one
kind of relocation, it is placed here; anything else is left to LLVM, which takes longer to load than all
kernels of a model.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
import threading
from functools import cache
from typing import NamedTuple

from numba_rt import threads


class Image(NamedTuple):
    """The machine code of a kernel."""

    entry: str
    """Symbol of the function that takes a frame."""
    needed: tuple[str, ...]
    """Symbols that it refers to and does not define."""
    code: bytes


def load(image: Image) -> int | None:
    """Address of the entry; nothing if a symbol is not to be had without the compiler."""
    allocates = any(name.startswith("NRT_") and name != _DESTRUCTOR for name in image.needed)
    if _is_elf(image.code) and not allocates:
        try:
            return _place(image)
        except _NotHere:
            pass
    return _link(image)


class _NotHere(Exception):
    """The code has something in it that only LLVM places."""


# ELF

_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_SYMBOLS, _RELOCATIONS, _NO_BITS = 2, 4, 8
_WRITE, _ALLOCATED = 1, 2
_ABSOLUTE, _COMMON = 0xFFF1, 0xFFF2
_ADDRESS_64 = 1
"""The relocation R_X86_64_64: an address, written in full."""

_PAGE = mmap.PAGESIZE
_placed: list[mmap.mmap] = []
"""Never given back: addresses of functions are kept in places that nobody can follow."""
_lock = threading.Lock()


def _is_elf(code: bytes) -> bool:
    """Whether this is code for this process in the form that is placed here."""
    return (
        sys.platform == "linux"
        and platform.machine() == "x86_64"
        and code[:6] == b"\x7fELF\x02\x01"
        and struct.unpack_from("<HH", code, 16) == (1, 62)
    )


def _place(image: Image) -> int:
    """Copies sections into memory of their own, writes addresses into them, and makes code executable."""
    code = image.code
    sections = _sections(code)
    starts, size, writable = _layout(code, sections)
    symbols = next((s for s in sections if s[1] == _SYMBOLS), None)
    if symbols is None:
        raise _NotHere
    values = list(_SYMBOL.iter_unpack(code[symbols[4] : symbols[4] + symbols[5]]))
    names = sections[symbols[6]][4]
    commons = {n: v for n, v in enumerate(values) if v[3] == _COMMON}
    ends = {}
    for n, (_, _, _, _, alignment, nbytes) in commons.items():
        writable = -(-writable // max(alignment, 1)) * max(alignment, 1)
        ends[n], writable = writable, writable + nbytes
    fixed = _memory(size)
    free = _memory(writable) if writable else fixed
    base, data = _address(fixed), _address(free)

    def start(section: int) -> int:
        offset = starts[section]
        return (data if sections[section][2] & _WRITE else base) + offset

    def value(n: int) -> int:
        name, _, _, section, offset, _ = values[n]
        if n in ends:
            return data + ends[n]
        if section == 0:
            return _symbol(code[names + name : code.index(b"\0", names + name)].decode())
        if section == _ABSOLUTE or section not in starts:
            raise _NotHere
        return start(section) + offset

    for n, offset in starts.items():
        section = sections[n]
        if section[1] != _NO_BITS:
            target = free if section[2] & _WRITE else fixed
            target[offset : offset + section[5]] = code[section[4] : section[4] + section[5]]
    for section in sections:
        if section[1] == _RELOCATIONS and section[7] in starts:
            owner = section[7]
            target = free if sections[owner][2] & _WRITE else fixed
            for at, info, addend in _RELOCATION.iter_unpack(code[section[4] : section[4] + section[5]]):
                if info & 0xFFFFFFFF != _ADDRESS_64:
                    raise _NotHere
                word = (value(info >> 32) + addend) & 0xFFFFFFFFFFFFFFFF
                struct.pack_into("<Q", target, starts[owner] + at, word)
    wanted = image.entry.encode() + b"\0"
    entry = next(n for n, v in enumerate(values) if v[0] and code.startswith(wanted, names + v[0]))
    _make_executable(base, len(fixed))
    with _lock:
        _placed.extend((fixed, free))
    return value(entry)


def _sections(code: bytes) -> list[tuple[int, ...]]:
    """name, kind, flags, address, offset, size, link, info, alignment, size of an entry."""
    (at,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    return [_SECTION.unpack_from(code, at + n * size) for n in range(count)]


def _layout(code: bytes, sections: list[tuple[int, ...]]) -> tuple[dict[int, int], int, int]:
    """Offsets of the sections that are needed, in memory for code and constants or in writable memory,
    and the sizes of both.
    """
    sizes = {True: 0, False: 0}
    starts = {}
    for n, (name, kind, flags, _, _, size, _, _, alignment, _) in enumerate(sections):
        if flags & _ALLOCATED and size and not _is_for_unwinding(code, sections, name, kind):
            is_writable = bool(flags & _WRITE)
            starts[n] = -(-sizes[is_writable] // max(alignment, 1)) * max(alignment, 1)
            sizes[is_writable] = starts[n] + size
    return starts, sizes[False], sizes[True]


def _is_for_unwinding(code: bytes, sections: list[tuple[int, ...]], name: int, kind: int) -> bool:
    """Whether this is `.eh_frame`: nothing is thrown through kernels."""
    (names,) = struct.unpack_from("<H", code, 62)
    return code.startswith(b".eh_frame\0", sections[names][4] + name)


def _memory(size: int) -> mmap.mmap:
    """Whole pages of private memory."""
    size = max(1, -(-size // _PAGE)) * _PAGE
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE)


def _address(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _make_executable(address: int, size: int) -> None:
    if _process().mprotect(ctypes.c_void_p(address), ctypes.c_size_t(size), mmap.PROT_READ | mmap.PROT_EXEC):
        raise _NotHere


@cache
def _process() -> ctypes.CDLL:
    """Everything that is loaded."""
    return ctypes.CDLL(None, use_errno=True)


_DESTRUCTOR = "NRT_MemInfo_call_dtor"
"""Ends the life of an array that a kernel made; code for all arrays refers to it."""


@cache
def _symbol(name: str) -> int:
    """Address of a function of the C library, or of the threads."""
    own = 0 if name == _DESTRUCTOR else threads.symbol(name)
    if own is not None:
        return own
    try:
        return ctypes.cast(getattr(_process(), name), ctypes.c_void_p).value or 0
    except AttributeError:
        raise _NotHere from None


# LLVM


def _link(image: Image) -> int | None:
    """Address of the entry, placed by LLVM's linker, which ends the process if it lacks a symbol."""
    import llvmlite.binding as llvm

    engine = _engine()
    for name in image.needed:
        own = threads.symbol(name)
        if own is not None:
            llvm.add_symbol(name, own)
    if not all(map(llvm.address_of_symbol, image.needed)):
        from numba.core.registry import cpu_target

        cpu_target.target_context.refresh()  # makes the functions of Numba's runtime known
        if not all(map(llvm.address_of_symbol, image.needed)):
            return None
    with _lock:
        engine.add_object_file(llvm.ObjectFileRef.from_data(image.code))
        engine.finalize_object()
        return int(engine.get_function_address(image.entry))


@cache
def _engine():  # type: ignore[no-untyped-def]
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine()
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)

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
    if _is_elf(image.code) and not _makes_arrays(image):
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
_COMMON = 0xFFF2
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
    """Address of the entry, with the code in executable memory of its own."""
    return _Elf(image.code).place(image.entry)


class _Section(NamedTuple):
    """An entry of the table of sections."""

    name: int
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class _Symbol(NamedTuple):
    """An entry of the table of symbols; `value` is an offset in a section, or an alignment."""

    name: int
    info: int
    other: int
    section: int
    value: int
    size: int


class _Elf:
    """An object file: its sections in memory, code and constants apart from what is written to."""

    def __init__(self, code: bytes) -> None:
        self.code = code
        (at,) = struct.unpack_from("<Q", code, 40)
        size, count, names = struct.unpack_from("<HHH", code, 58)
        self.sections = [_Section(*_SECTION.unpack_from(code, at + n * size)) for n in range(count)]
        table = next((s for s in self.sections if s.kind == _SYMBOLS), None)
        if table is None:
            raise _NotHere
        self.symbols = [_Symbol(*entry) for entry in _SYMBOL.iter_unpack(self._content(table))]
        self._symbol_names = self.sections[table.link].offset
        self._section_names = self.sections[names].offset
        self._sizes = {False: 0, True: 0}
        self._starts = {
            n: self._reserve(s.size, s.alignment, self._is_writable(n))
            for n, s in enumerate(self.sections)
            if s.flags & _ALLOCATED and s.size and not self._is_for_unwinding(s)
        }
        self._commons = {
            n: self._reserve(s.size, s.value, True)
            for n, s in enumerate(self.symbols)
            if s.section == _COMMON
        }
        self._memory = {kind: _memory(size) for kind, size in self._sizes.items()}
        self._bases = {kind: _address(memory) for kind, memory in self._memory.items()}

    def place(self, entry: str) -> int:
        """Copies sections, writes addresses into them, and makes code executable."""
        for n, start in self._starts.items():
            if self.sections[n].kind != _NO_BITS:
                content = self._content(self.sections[n])
                self._memory[self._is_writable(n)][start : start + len(content)] = content
        for section in self.sections:
            if section.kind == _RELOCATIONS and section.info in self._starts:
                self._relocate(section)
        found = next(n for n, s in enumerate(self.symbols) if self._name(s) == entry)
        _make_executable(self._bases[False], len(self._memory[False]))
        with _lock:
            _placed.extend(self._memory.values())
        return self._address_of(found)

    def _relocate(self, section: _Section) -> None:
        """Writes the addresses that a section lists into the section it is about."""
        memory, start = self._memory[self._is_writable(section.info)], self._starts[section.info]
        for at, info, addend in _RELOCATION.iter_unpack(self._content(section)):
            if info & 0xFFFFFFFF != _ADDRESS_64:
                raise _NotHere
            word = (self._address_of(info >> 32) + addend) & 0xFFFFFFFFFFFFFFFF
            struct.pack_into("<Q", memory, start + at, word)

    def _address_of(self, number: int) -> int:
        symbol = self.symbols[number]
        if number in self._commons:
            return self._bases[True] + self._commons[number]
        if symbol.section == 0:
            return _outside(self._name(symbol))
        if symbol.section not in self._starts:
            raise _NotHere
        base = self._bases[self._is_writable(symbol.section)]
        return base + self._starts[symbol.section] + symbol.value

    def _reserve(self, size: int, alignment: int, is_writable: bool) -> int:
        start = -(-self._sizes[is_writable] // max(alignment, 1)) * max(alignment, 1)
        self._sizes[is_writable] = start + size
        return start

    def _content(self, section: _Section) -> bytes:
        return self.code[section.offset : section.offset + section.size]

    def _name(self, symbol: _Symbol) -> str:
        start = self._symbol_names + symbol.name
        return self.code[start : self.code.index(b"\0", start)].decode()

    def _is_writable(self, number: int) -> bool:
        return bool(self.sections[number].flags & _WRITE)

    def _is_for_unwinding(self, section: _Section) -> bool:
        """Whether this is `.eh_frame`: nothing is thrown through kernels."""
        return self.code.startswith(b".eh_frame\0", self._section_names + section.name)


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


def _makes_arrays(image: Image) -> bool:
    """Whether the kernel needs Numba's runtime."""
    return any(name.startswith("NRT_") and name != _DESTRUCTOR for name in image.needed)


@cache
def _outside(name: str) -> int:
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
        if name == _DESTRUCTOR and not (_makes_arrays(image) or llvm.address_of_symbol(name)):
            own = ctypes.cast(ctypes.pythonapi.Py_FatalError, ctypes.c_void_p).value  # never called
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

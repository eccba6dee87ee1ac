"""Compiled objects: open, configure, share maps, load; their programs and maps.

Order: `open` → `set_global`, `resize`, `reuse` → `load` → `programs`, `maps`.
After `load` the object's configuration is frozen.

Source:
    libbpf 1.1 `libbpf.h`; Linux Documentation/bpf/libbpf/libbpf_overview.rst.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from cilia.kernel import libbpf
from cilia.kernel.btf import Btf
from cilia.kernel.elf import symbol
from cilia.kernel.errors import VerifierError, kernel_error
from cilia.kernel.libbpf import bpf, check, ffi
from cilia.kernel.maps import Map, MapKind

_LOG_BYTES = 1 << 20


class ProgramFacts(msgspec.Struct, frozen=True):
    """What the kernel says of a loaded program."""

    id: int
    name: str
    """Cut to 15 characters by the kernel."""
    tag: str
    """Hash of its instructions, hex."""
    verified_instructions: int
    """How many the verifier walked: its budget is a million."""
    map_ids: tuple[int, ...]


class Program:
    """A loaded program. Its file descriptor belongs to this value."""

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self.fd = fd

    @classmethod
    def open(cls, path: Path) -> "Program":
        """A pinned program.

        Raises:
            NotFoundError: Nothing is pinned there.
        """
        fd = check(bpf.bpf_obj_get(bytes(path)), "open", f"pinned program {path}")
        return cls(path.name, fd)

    def pin(self, path: Path) -> None:
        """Keeps the program loaded under `path` on a bpf file system."""
        check(bpf.bpf_obj_pin(self.fd, bytes(path)), "pin", f"program {self.name} at {path}")

    def facts(self) -> ProgramFacts:
        """Id, tag and verifier's count, from the kernel."""
        found = ffi.new("struct bpf_prog_info *")
        ids = ffi.new("__u32[64]")
        found.nr_map_ids, found.map_ids = 64, int(ffi.cast("uintptr_t", ids))
        size = ffi.new("__u32 *", ffi.sizeof(found[0]))
        check(bpf.bpf_obj_get_info_by_fd(self.fd, found, size), "ask about", f"program {self.name}")
        return ProgramFacts(
            id=int(found.id),
            name=libbpf.text(found.name),
            tag=bytes(found.tag).hex(),
            verified_instructions=int(found.verified_insns),
            map_ids=tuple(int(ids[i]) for i in range(min(found.nr_map_ids, 64))),
        )

    def close(self) -> None:
        """Lets go of the file descriptor; an attached or pinned program lives on."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __del__(self) -> None:
        if getattr(self, "fd", -1) >= 0:
            self.close()

    def __repr__(self) -> str:
        return f"<Program {self.name} fd={self.fd}>"


class BpfObject:
    """One `.bpf.o`, from opening to closing. Programs and maps outlive it."""

    def __init__(self, path: Path) -> None:
        """Opens and parses; nothing reaches the kernel before `load`.

        Raises:
            NotFoundError: No such file.
            KernelError: Not a kernel object.
        """
        self.path = path
        if not path.exists():
            raise kernel_error(
                "open", f"object {path}", errno.ENOENT, "build it with `make -C bpf`"
            )
        libbpf.said()
        self.btf = Btf.from_object(path)
        self._object: Any = bpf.bpf_object__open_file(bytes(path), ffi.NULL)
        if not self._object:
            raise kernel_error("open", f"object {path}", int(ffi.errno), libbpf.said())
        self._reused: list[Map] = []
        self.programs: dict[str, Program] = {}
        """By name, once loaded."""
        self.maps: dict[str, Map] = {}
        """By name, once loaded; without the compiler's own (.rodata)."""

    def __enter__(self) -> "BpfObject":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Frees libbpf's part; `programs` and `maps` stay usable."""
        if self._object:
            bpf.bpf_object__close(self._object)
            self._object = ffi.NULL

    def map_names(self) -> list[str]:
        """The maps that the object declares, the compiler's own left out."""
        return [libbpf.text(bpf.bpf_map__name(one)) for one in self._each_map()]

    def program_names(self) -> list[str]:
        """The programs that the object holds."""
        return [libbpf.text(bpf.bpf_program__name(one)) for one in self._each_program()]

    def set_global(self, name: str, value: bytes) -> None:
        """Sets a `const volatile` variable before load.

        Raises:
            KeyError: The object has no such variable in .rodata.
            ValueError: `value` has not the variable's size.
        """
        if name not in self.btf.variables(".rodata"):
            raise KeyError(f"{self.path.name}: no variable {name} in .rodata")
        offset, size = symbol(self.path, name)
        if len(value) != size:
            raise ValueError(f"{self.path.name}: {name} has {size} bytes, not {len(value)}")
        room = ffi.new("size_t *")
        for one in self._each_map(internal=True):
            if libbpf.text(bpf.bpf_map__name(one)).endswith(".rodata"):
                place = bpf.bpf_map__initial_value(one, room)
                ffi.buffer(place, room[0])[offset : offset + size] = value

    def resize(self, name: str, max_entries: int) -> None:
        """Gives a map another capacity than its declaration."""
        result = bpf.bpf_map__set_max_entries(self._map(name), max_entries)
        check(result, "resize", f"map {name} to {max_entries}")

    def reuse(self, name: str, existing: Map) -> None:
        """Lets the object use a map that exists instead of making its own.

        Raises:
            KernelError: Its kind or sizes differ from the declaration.
        """
        declared = self._map(name)
        wanted = (
            int(bpf.bpf_map__type(declared)),
            int(bpf.bpf_map__key_size(declared)),
            int(bpf.bpf_map__value_size(declared)),
        )
        found = (int(existing.kind), existing.key.itemsize, existing.value.itemsize)
        if existing.kind is not MapKind.RINGBUF and wanted != found:
            raise kernel_error(
                "reuse",
                f"map {name}",
                errno.EINVAL,
                f"it has (kind, key bytes, value bytes) {found}, the object declares {wanted}",
            )
        check(bpf.bpf_map__reuse_fd(declared, existing.fd), "reuse", f"map {name}")
        self._reused.append(existing)

    def load(self, only: str | None = None) -> "BpfObject":
        """Creates the maps, verifies and loads the programs, or one of them.

        Raises:
            VerifierError: A program was refused; `.log` has all of the verifier's words.
            KernelError: A map could not be made.
        """
        logs = {}
        for program in self._each_program():
            name = libbpf.text(bpf.bpf_program__name(program))
            if only is not None and name != only:
                bpf.bpf_program__set_autoload(program, False)
            # Calloc'ed pages that nobody touches cost nothing; a log is only
            # asked of the kernel again after a failure, at level 0.
            logs[name] = ffi.new("char[]", _LOG_BYTES)
            bpf.bpf_program__set_log_buf(program, logs[name], _LOG_BYTES)
        libbpf.said()
        result = bpf.bpf_object__load(self._object)
        if result < 0:
            self._refused(-result, {name: libbpf.text(log) for name, log in logs.items()})
        self._collect()
        return self

    def _refused(self, number: int, logs: dict[str, str]) -> None:
        words = libbpf.said()
        for name, log in logs.items():
            if log and f"prog '{name}'" in words:
                raise VerifierError(name, number, log)
        raise kernel_error("load", f"object {self.path.name}", number, words)

    def _collect(self) -> None:
        for program in self._each_program():
            name, fd = libbpf.text(bpf.bpf_program__name(program)), bpf.bpf_program__fd(program)
            if fd >= 0:
                self.programs[name] = Program(name, os.dup(fd))
        declared = set(self.btf.maps())
        for one in self._each_map():
            name = libbpf.text(bpf.bpf_map__name(one))
            key, value = self.btf.map_types(name) if name in declared else (None, None)
            self.maps[name] = Map(os.dup(bpf.bpf_map__fd(one)), key, value)

    def _each_map(self, internal: bool = False) -> Iterator[Any]:
        one = bpf.bpf_object__next_map(self._object, ffi.NULL)
        while one:
            if bool(bpf.bpf_map__is_internal(one)) == internal:
                yield one
            one = bpf.bpf_object__next_map(self._object, one)

    def _each_program(self) -> Iterator[Any]:
        one = bpf.bpf_object__next_program(self._object, ffi.NULL)
        while one:
            yield one
            one = bpf.bpf_object__next_program(self._object, one)

    def _map(self, name: str) -> Any:
        for one in self._each_map():
            if libbpf.text(bpf.bpf_map__name(one)) == name:
                return one
        raise KeyError(f"{self.path.name} has no map {name}")


def open_map(path: Path, btf: Btf, name: str | None = None) -> Map:
    """A pinned map with the dtypes that an object's BTF declares for it."""
    return Map.open(path, *btf.map_types(name or path.name))

"""BTF, the kernel's type format, to numpy dtypes: layouts are declared once, in C.

Byte order travels in the type's name (`__be16`), units in decl tags, enums with
their values. A union becomes opaque bytes (`V16` for `union address`): one cell
a row, which compares, sorts and hashes as bytes do.

Source:
    Linux Documentation/bpf/btf.rst.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cilia.kernel.elf import section

DType = np.dtype[np.void]

INT, PTR, ARRAY, STRUCT, UNION, ENUM = 1, 2, 3, 4, 5, 6
TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC_PROTO, VAR, DATASEC = 8, 9, 10, 11, 13, 14, 15
FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = 16, 17, 18, 19
_WRAPPERS = (TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG)
_EXTRA = {
    INT: (4, 0), ARRAY: (12, 0), STRUCT: (0, 12), UNION: (0, 12), ENUM: (0, 8),
    FUNC_PROTO: (0, 8), VAR: (4, 0), DATASEC: (0, 12), DECL_TAG: (4, 0), ENUM64: (0, 12),
}  # fmt: skip
"""Bytes that follow a type's header: fixed, and for each of its `vlen` parts."""
_MAGIC = 0xEB9F


class BtfType:
    """One type record; `size` is bytes, or the id of the type that it refers to."""

    __slots__ = ("extra", "flag", "kind", "name", "size", "vlen")

    def __init__(self, kind: int, name: str, vlen: int, flag: bool, size: int, extra: bytes):
        self.kind, self.name, self.vlen, self.flag = kind, name, vlen, flag
        self.size, self.extra = size, extra


class Btf:
    """The types of one object, by name."""

    def __init__(self, raw: bytes) -> None:
        """Reads a `.BTF` section.

        Raises:
            ValueError: It is not BTF, or ends too early.
        """
        if len(raw) < 24 or struct.unpack_from("<HB", raw) != (_MAGIC, 1):
            raise ValueError("not BTF version 1, little-endian")
        header, type_offset, type_length, text_offset, text_length = struct.unpack_from(
            "<5I", raw, 4
        )
        if len(raw) < header + max(type_offset + type_length, text_offset + text_length):
            raise ValueError("broken BTF: it ends too early")
        self._text = raw[header + text_offset : header + text_offset + text_length]
        self._types = [BtfType(0, "void", 0, False, 0, b"")]
        try:
            self._types += self._read(raw[header + type_offset :][:type_length])
        except (struct.error, ValueError) as error:
            raise ValueError(f"broken BTF after type {len(self._types) - 1}") from error
        self._ids: dict[tuple[int, str], int] = {}
        for number, kind in enumerate(self._types):
            self._ids.setdefault((kind.kind, kind.name), number)

    @classmethod
    def from_object(cls, path: Path) -> "Btf":
        """The types of a compiled kernel object, or of a raw file such as /sys/kernel/btf."""
        with path.open("rb") as file:
            magic = file.read(2)
        if magic == struct.pack("<H", _MAGIC):
            return cls(path.read_bytes())
        return cls(section(path, ".BTF"))

    def struct(self, name: str) -> DType:
        """The dtype of `struct name`: named fields at their offsets, padding kept.

        Raises:
            KeyError: The object mentions no such struct.
            ValueError: It has a bit-field or a pointer, which Python shall not share.
        """
        return self.dtype(self._find(STRUCT, name, "struct"))

    def enum(self, name: str) -> dict[str, int]:
        """Names and values of `enum name`, in the order of the source."""
        for kind in (ENUM, ENUM64):
            if (kind, name) in self._ids:
                return dict(self._values(self._types[self._ids[kind, name]]))
        raise KeyError(f"no enum {name} in this object's BTF")

    def names(self, kind: int) -> list[str]:
        """Names of all types of one kind (STRUCT, ENUM, ...), in the object's order."""
        return [one.name for one in self._types if one.kind == kind and one.name]

    def constants(self) -> dict[str, int]:
        """Every enum value of the object, the nameless enums' among them."""
        return {
            key: value
            for kind in self._types
            if kind.kind in (ENUM, ENUM64)
            for key, value in self._values(kind)
        }

    def units(self, name: str) -> dict[str, str]:
        """Which fields of `struct name` carry a unit: {"last_seen": "ns"}."""
        number = self._find(STRUCT, name, "struct")
        fields = [field for field, _, _ in self._members(self._types[number])]
        found = {}
        for tag in self._types:
            if tag.kind == DECL_TAG and tag.size == number and tag.name.startswith("unit:"):
                (index,) = struct.unpack("<i", tag.extra)
                if index >= 0:
                    found[fields[index]] = tag.name.removeprefix("unit:")
        return found

    def variable(self, part: str, name: str) -> tuple[int, int]:
        """Offset and size in bytes of a global in its data section (".rodata", ".bss")."""
        for number, offset, size in self._section(part):
            if self._types[number].name == name:
                return offset, size
        raise KeyError(f"no variable {name} in {part}")

    def variables(self, part: str) -> list[str]:
        """Names of the globals of a data section."""
        return [self._types[number].name for number, _, _ in self._section(part)]

    def map_types(self, name: str) -> tuple[DType | None, DType | None]:
        """dtypes of a map's key and value, as its C declaration gives them."""
        for number, _, _ in self._section(".maps"):
            if self._types[number].name == name:
                declared = self._types[self._resolve(self._types[number].size)]
                parts = {field: inner for field, inner, _ in self._members(declared)}
                key, value = (
                    self.dtype(self._types[self._resolve(parts[part])].size)
                    if part in parts
                    else None
                    for part in ("key", "value")
                )
                return key, value
        raise KeyError(f"no map {name} in this object's BTF")

    def maps(self) -> list[str]:
        """Names of the maps that the object declares."""
        return [self._types[number].name for number, _, _ in self._section(".maps")]

    def dtype(self, number: int) -> DType:
        """The dtype of a type by its BTF id."""
        name = ""
        while self._types[number].kind in _WRAPPERS:
            name = name or self._types[number].name
            if name in ("__be16", "__be32", "__be64"):
                return np.dtype(f">u{int(name[4:]) // 8}")
            name = ""
            number = self._types[number].size
        kind = self._types[number]
        if kind.kind == INT:
            return self._integer(kind)
        if kind.kind in (ENUM, ENUM64):
            return np.dtype(f"<{'i' if kind.flag else 'u'}{kind.size}")
        if kind.kind == ARRAY:
            inner, _, count = struct.unpack("<III", kind.extra)
            return np.dtype((self.dtype(inner), (count,)))
        if kind.kind == UNION:
            return np.dtype(f"V{kind.size}")
        if kind.kind == STRUCT:
            return self._structure(kind)
        raise ValueError(f"type {kind.name!r} of BTF kind {kind.kind} has no layout to share")

    def _structure(self, kind: BtfType) -> DType:
        names, formats, offsets = [], [], []
        for name, inner, bits in self._members(kind):
            if bits % 8 or (kind.flag and bits >> 24):
                raise ValueError(f"struct {kind.name}: {name} is a bit-field")
            layout = self.dtype(inner)
            if name:
                names.append(name)
                formats.append(layout)
                offsets.append(bits // 8)
            elif layout.names is not None:
                for field in layout.names:
                    names.append(field)
                    formats.append(layout[field])
                    offsets.append(bits // 8 + layout.fields[field][1])  # type: ignore[index]
        return np.dtype(
            {"names": names, "formats": formats, "offsets": offsets, "itemsize": kind.size}
        )

    @staticmethod
    def _integer(kind: BtfType) -> DType:
        (encoding,) = struct.unpack("<I", kind.extra)
        if (encoding >> 16) & 255 or encoding & 255 != kind.size * 8:
            raise ValueError(f"{kind.name}: a bit-field")
        if kind.size > 8:
            return np.dtype(f"V{kind.size}")
        return np.dtype(f"<{'i' if encoding >> 24 & 1 else 'u'}{kind.size}")

    def _find(self, kind: int, name: str, word: str) -> int:
        try:
            return self._ids[kind, name]
        except KeyError:
            raise KeyError(f"no {word} {name} in this object's BTF") from None

    def _name(self, offset: int) -> str:
        return self._text[offset : self._text.index(b"\0", offset)].decode()

    def _resolve(self, number: int) -> int:
        while self._types[number].kind in _WRAPPERS:
            number = self._types[number].size
        return number

    def _read(self, raw: bytes) -> Iterator[BtfType]:
        at = 0
        while at < len(raw):
            name, word, size = struct.unpack_from("<III", raw, at)
            kind, vlen = word >> 24 & 31, word & 0xFFFF
            fixed, each = _EXTRA.get(kind, (0, 0))
            end = at + 12 + fixed + each * vlen
            if end > len(raw):
                raise ValueError("a type runs past the end")
            extra = raw[at + 12 : end]
            yield BtfType(kind, self._name(name), vlen, bool(word >> 31), size, extra)
            at = end

    def _members(self, kind: BtfType) -> Iterator[tuple[str, int, int]]:
        for name, inner, bits in struct.iter_unpack("<III", kind.extra):
            yield self._name(name), inner, bits

    def _values(self, kind: BtfType) -> Iterator[tuple[str, int]]:
        if kind.kind == ENUM:
            for name, value in struct.iter_unpack("<Ii" if kind.flag else "<II", kind.extra):
                yield self._name(name), value
            return
        for name, low, high in struct.iter_unpack("<III", kind.extra):
            value = high << 32 | low
            yield self._name(name), value - (1 << 64) if kind.flag and high >> 31 else value

    def _section(self, name: str) -> list[tuple[int, int, int]]:
        if (DATASEC, name) not in self._ids:
            return []
        return list(struct.iter_unpack("<III", self._types[self._ids[DATASEC, name]].extra))

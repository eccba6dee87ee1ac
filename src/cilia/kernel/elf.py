"""Just enough ELF to find a section and a symbol of a kernel object."""

import struct
from collections.abc import Iterator
from pathlib import Path


def _sections(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes of every section of a 64-bit little-endian ELF file.

    Raises:
        ValueError: Not such a file.
    """
    image = path.read_bytes()
    if len(image) < 64 or image[:6] != b"\x7fELF\x02\x01":
        raise ValueError(f"{path}: not a 64-bit little-endian ELF object")
    (headers,) = struct.unpack_from("<Q", image, 40)
    size, count, names_index = struct.unpack_from("<HHH", image, 58)
    try:
        rows = [struct.unpack_from("<IIQQQQ", image, headers + i * size) for i in range(count)]
        names = image[rows[names_index][4] :]
        for name_offset, _, _, _, offset, length in rows:
            name = names[name_offset : names.index(b"\0", name_offset)]
            yield name, image[offset : offset + length]
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"{path}: broken section table") from error


def section(path: Path, name: str) -> bytes:
    """The bytes of a section of a 64-bit little-endian ELF file.

    Raises:
        ValueError: Not such a file, or it has no section of that name.
    """
    for found, content in _sections(path):
        if found == name.encode():
            return content
    raise ValueError(f"{path}: no section {name}; build it with clang -g")


def symbol(path: Path, name: str) -> tuple[int, int]:
    """Offset within its section and size, in bytes, of a variable.

    BTF does not tell: the offsets of a section's variables are filled in by the loader.

    Raises:
        KeyError: The object defines no such symbol.

    Source:
        System V ABI, "Symbol Table".
    """
    names = section(path, ".strtab")
    for place, _, _, _, offset, size in struct.iter_unpack("<IBBHQQ", section(path, ".symtab")):
        if names[place : names.index(b"\0", place)] == name.encode():
            return offset, size
    raise KeyError(f"{path}: no symbol {name}")

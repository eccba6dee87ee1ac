"""Just enough ELF to find a section of a kernel object."""

import struct
from pathlib import Path


def section(path: Path, name: str) -> bytes:
    """The bytes of a section of a 64-bit little-endian ELF file.

    Raises:
        ValueError: Not such a file, or it has no section of that name.
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
            if names[name_offset : names.index(b"\0", name_offset)] == name.encode():
                return image[offset : offset + length]
    except (struct.error, IndexError, ValueError) as error:
        raise ValueError(f"{path}: broken section table") from error
    raise ValueError(f"{path}: no section {name}; build it with clang -g")

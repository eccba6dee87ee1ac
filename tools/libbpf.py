"""Writes src/cilia/kernel/_libbpf.py from libbpf.h beside it: cffi's reading of the C text.

python tools/libbpf.py [OUTPUT]
"""

import sys
from pathlib import Path

import cffi

KERNEL = Path(__file__).parents[1] / "src/cilia/kernel"


def write(output: Path) -> None:
    """Writes the module; nothing is compiled."""
    ffi = cffi.FFI()
    ffi.cdef((KERNEL / "libbpf.h").read_text())
    ffi.set_source("cilia.kernel._libbpf", None)
    ffi.emit_python_code(str(output))


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else KERNEL / "_libbpf.py")

"""libbpf and the few libc calls that Python lacks, behind one typed file.

ABI mode: nothing is compiled at run time, only libbpf.so.1 must be there. The
declarations in libbpf.h are those of libbpf 1.1 (Debian 12), the oldest that we run
on; `_libbpf.py` is made of them, because reading C takes longer than all else here.
Nothing of cffi leaves the kernel room.

Source:
    libbpf 1.1, `bpf.h`, `libbpf.h`; Linux include/uapi/linux/bpf.h.
"""

import threading
from typing import Any

from cilia.kernel._libbpf import ffi as declared
from cilia.kernel.errors import UnsupportedError, kernel_error

ffi: Any = declared

LIBRARY = "libbpf.so.1"


def _open() -> tuple[Any, Any]:
    try:
        return ffi.dlopen(LIBRARY), ffi.dlopen(None)
    except OSError as error:
        raise UnsupportedError(LIBRARY, "Debian's package libbpf1 (libbpf 1.1 or newer)") from error


bpf, libc = _open()

_said = threading.local()


# va_list reaches a function as a pointer on x86-64 and arm64, so vsnprintf may have it.
@ffi.callback("int(int, const char *, void *)")  # type: ignore[untyped-decorator]
def _print(level: int, form: Any, args: Any) -> int:
    buffer = ffi.new("char[1024]")
    libc.vsnprintf(buffer, 1024, form, args)
    if level == 0:
        _said.__dict__.setdefault("lines", []).append(ffi.string(buffer).decode(errors="replace"))
    return 0


bpf.libbpf_set_print(_print)


def said() -> str:
    """What libbpf warned of on this thread since the last call, as one line."""
    lines: list[str] = _said.__dict__.pop("lines", [])
    return "; ".join(line.strip().removeprefix("libbpf: ") for line in lines)


def text(value: Any) -> str:
    """A C string as text."""
    return str(ffi.string(value).decode())


def check(result: int, action: str, target: str, remedy: str = "") -> int:
    """`result` of a libbpf call when it succeeded.

    Raises:
        KernelError: `result` is negative: libbpf 1.x returns -errno.
    """
    if result < 0:
        raise kernel_error(action, target, -result, remedy)
    return result


def check_libc(result: int, action: str, target: str, remedy: str = "") -> int:
    """The same for a libc call, which leaves its errno beside its result."""
    if result < 0:
        raise kernel_error(action, target, int(ffi.errno), remedy)
    return result

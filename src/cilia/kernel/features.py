"""What this kernel can do, and clear words when it cannot."""

import os
import re
from pathlib import Path

import msgspec

from cilia.kernel.errors import UnsupportedError

OLDEST = (6, 1)
TCX_SINCE = (6, 6)


class Features(msgspec.Struct, frozen=True):
    """What was found."""

    kernel: tuple[int, int]
    release: str
    btf: bool
    """The kernel describes its own types in /sys/kernel/btf/vmlinux."""
    jit: bool
    """Programs are compiled to machine code."""


def version(release: str) -> tuple[int, int]:
    """Major and minor number of a kernel release.

    >>> version("6.18.44-fc-v445")
    (6, 18)
    """
    found = re.match(r"(\d+)\.(\d+)", release)
    if not found:
        raise ValueError(f"kernel release {release!r} does not begin with two numbers")
    return int(found[1]), int(found[2])


def features() -> Features:
    """What the running kernel has."""
    release = os.uname().release
    jit = Path("/proc/sys/net/core/bpf_jit_enable")
    return Features(
        kernel=version(release),
        release=release,
        btf=Path("/sys/kernel/btf/vmlinux").exists(),
        jit=not jit.exists() or jit.read_text().strip() != "0",
    )


def require(found: Features) -> None:
    """Refuses a kernel that we cannot run on.

    Raises:
        UnsupportedError: It is older than 6.1, or built without BTF.
    """
    if found.kernel < OLDEST:
        raise UnsupportedError(
            f"kernel {found.release}", f"{OLDEST[0]}.{OLDEST[1]} or newer (Debian 12 has 6.1)"
        )
    if not found.btf:
        raise UnsupportedError(
            f"eBPF on kernel {found.release}", "a kernel built with CONFIG_DEBUG_INFO_BTF=y"
        )
